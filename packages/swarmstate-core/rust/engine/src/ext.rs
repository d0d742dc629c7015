//! msgpack extension types, which frame values that a layer over a store has transformed.
//!
//! A framed value is still standard msgpack, and no value written by the codec starts like one.

/// The extension code of an encrypted value.
pub(crate) const ENCRYPTED: u8 = 64;
/// The extension code of a value written by a compressing layer.
pub(crate) const COMPRESSED: u8 = 65;

/// Appends the head of an extension with a payload of `length` bytes, or returns None if that is
/// too long for msgpack.
pub(crate) fn begin(out: &mut Vec<u8>, code: u8, length: usize) -> Option<()> {
    match length {
        1 => out.push(0xd4),
        2 => out.push(0xd5),
        4 => out.push(0xd6),
        8 => out.push(0xd7),
        16 => out.push(0xd8),
        _ => {
            if let Ok(length) = u8::try_from(length) {
                out.extend([0xc7, length]);
            } else if let Ok(length) = u16::try_from(length) {
                out.push(0xc8);
                out.extend(length.to_be_bytes());
            } else {
                out.push(0xc9);
                out.extend(u32::try_from(length).ok()?.to_be_bytes());
            }
        }
    }
    out.push(code);
    Some(())
}

/// Returns the payload of `data` if it is an extension of this code with a head as written by
/// `begin`.
pub(crate) fn payload(data: &[u8], code: u8) -> Option<&[u8]> {
    let head = match data.first()? {
        0xd4..=0xd8 => 2,
        0xc7 => 3,
        0xc8 => 4,
        0xc9 => 6,
        _ => return None,
    };
    let payload = data.get(head..)?;
    let mut expected = Vec::with_capacity(6);
    begin(&mut expected, code, payload.len())?;
    (data[..head] == expected).then_some(payload)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn payloads_of_every_length_are_found_again() {
        for length in (0..300).chain([65_535, 65_536]) {
            let mut data = Vec::new();
            begin(&mut data, 7, length).unwrap();
            data.resize(data.len() + length, 0xab);
            assert_eq!(payload(&data, 7).unwrap().len(), length);
            assert_eq!(payload(&data, 8), None);
            assert_eq!(payload(&data[..data.len() - 1], 7), None);
        }
    }

    #[test]
    fn longer_heads_than_needed_are_refused() {
        assert_eq!(payload(&[0xc7, 1, 7, 0], 7), None);
        assert_eq!(payload(&[0xd4, 7, 0], 7), Some(&[0][..]));
    }
}
