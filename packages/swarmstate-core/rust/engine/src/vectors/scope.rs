//! Lists of texts as bytes, such that a list begins with another if its bytes do.

/// Ends a text; within one it is followed by `ESCAPED`.
const END: u8 = 0;
const ESCAPED: u8 = 0xff;

/// Returns the bytes of a list of texts.
pub(super) fn encode(texts: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for text in texts {
        for byte in text.bytes() {
            bytes.push(byte);
            if byte == END {
                bytes.push(ESCAPED);
            }
        }
        // UTF-8 holds no byte 0xff, so an end is never taken for an escape.
        bytes.push(END);
    }
    bytes
}

/// Returns the list that `encode` was given.
pub(super) fn decode(bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = Vec::new();
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != END || rest.next_if_eq(&ESCAPED).is_some() {
            text.push(byte);
        } else {
            texts.push(String::from_utf8_lossy(&text).into_owned());
            text.clear();
        }
    }
    texts
}
