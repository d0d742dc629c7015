//! Lists of texts as bytes, such that a list begins with another exactly if its bytes do.

/// Ends a text, and is nowhere else: so what is not a whole text is never taken for one.
const END: u8 = 0;
/// Stands for a byte 0 of a text; UTF-8 holds no such byte.
const NUL: u8 = 0xff;

/// Returns the bytes of a list of texts.
pub(super) fn encode(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend(text.bytes().map(|byte| if byte == 0 { NUL } else { byte }));
        bytes.push(END);
    }
    bytes
}

/// Returns the list that `encode` was given.
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
