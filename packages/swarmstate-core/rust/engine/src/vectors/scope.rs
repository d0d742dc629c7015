//! Encodes lists of texts so that a list is a prefix of another exactly if its bytes are.

/// Ends a text and occurs nowhere else, so that part of a text is never taken for a whole one.
const END: u8 = 0;
/// Stands for a zero byte in a text; this byte never occurs in UTF-8.
const NUL: u8 = 0xff;

/// Encodes a list of texts.
pub(super) fn encode(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend(text.bytes().map(|byte| if byte == 0 { NUL } else { byte }));
        bytes.push(END);
    }
    bytes
}

/// Decodes a list encoded by `encode`.
pub(super) fn decode(bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = Vec::new();
    for byte in bytes {
        match *byte {
            END => {
                texts.push(String::from_utf8_lossy(&text).into_owned());
                text.clear();
            }
            NUL => text.push(0),
            byte => text.push(byte),
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a\0\u{ff}]{0,3}", 0..4)
    }

    proptest! {
        #[test]
        fn a_list_begins_with_another_exactly_if_its_bytes_do(all in texts(), some in texts()) {
            prop_assert_eq!(&decode(&encode(&all)), &all);
            prop_assert_eq!(encode(&all).starts_with(&encode(&some)), all.starts_with(&some));
            let first = &all[..all.len() / 2];
            prop_assert!(encode(&all).starts_with(&encode(first)));
        }
    }
}
