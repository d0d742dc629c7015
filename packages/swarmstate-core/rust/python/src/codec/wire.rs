//! Writes msgpack with minimal headers, and defines ext codes and limits for both directions.

/// Ext codes of LangGraph's `JsonPlusSerializer`; see docs/formats.md.
pub mod ext {
    pub const CONSTRUCT_ONE: i8 = 0;
    pub const CONSTRUCT_ARGS: i8 = 1;
    pub const CONSTRUCT_KWARGS: i8 = 2;
    pub const METHOD: i8 = 3;
    pub const PYDANTIC_V1: i8 = 4;
    pub const PYDANTIC_V2: i8 = 5;
    pub const NUMPY: i8 = 6;
    pub const DELTA_SNAPSHOT: i8 = 7;

    // Ours: values that LangGraph's serializer loses or rejects. Append only.
    pub const BIG_INT: i8 = 32;
    pub const SURROGATES: i8 = 33;
    pub const BYTEARRAY: i8 = 34;
    pub const COMPLEX: i8 = 35;
    pub const FRACTION: i8 = 36;
    pub const RANGE: i8 = 37;
    pub const PURE_PATH: i8 = 38;
    pub const COUNTER: i8 = 39;
    pub const ORDERED_DICT: i8 = 40;
    pub const DEFAULT_DICT: i8 = 41;
    pub const DEQUE: i8 = 42;
    pub const PAIRS: i8 = 43;
    pub const DATETIME: i8 = 44;
    pub const STRUCTURED_ARRAY: i8 = 45;
    pub const ELLIPSIS: i8 = swarmstate_engine::vectors::UNKNOWN;
}

/// The maximum nesting of containers within one payload (the whole message, or the content of one
/// ext). LangGraph's serializer writes up to 255 levels and reads up to 1022, so we read all that
/// it writes, and it reads all that we write.
pub const MAX_DEPTH: usize = 1022;

/// The maximum nesting of ext payloads. LangGraph's serializer stops at about 498, when it reaches
/// Python's recursion limit.
pub const MAX_EXT_DEPTH: usize = 512;

/// Room for the ext header of payloads below 256 bytes, the most common ones.
const EXT_RESERVED: usize = 3;

#[inline]
pub fn write_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

#[inline]
pub fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

#[inline]
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

#[inline]
pub fn write_int(out: &mut Vec<u8>, value: i64) {
    if value >= 0 {
        write_uint(out, value.unsigned_abs());
    } else if value >= -32 {
        out.push(value as i8 as u8);
    } else if let Ok(small) = i8::try_from(value) {
        out.extend_from_slice(&[0xd0, small as u8]);
    } else if let Ok(small) = i16::try_from(value) {
        out.push(0xd1);
        out.extend_from_slice(&small.to_be_bytes());
    } else if let Ok(small) = i32::try_from(value) {
        out.push(0xd2);
        out.extend_from_slice(&small.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[inline]
pub fn write_uint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else if let Ok(small) = u8::try_from(value) {
        out.extend_from_slice(&[0xcc, small]);
    } else if let Ok(small) = u16::try_from(value) {
        out.push(0xcd);
        out.extend_from_slice(&small.to_be_bytes());
    } else if let Ok(small) = u32::try_from(value) {
        out.push(0xce);
        out.extend_from_slice(&small.to_be_bytes());
    } else {
        out.push(0xcf);
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Write a length with the smallest of the given markers; false if none fits.
#[inline]
fn write_length(out: &mut Vec<u8>, len: usize, m8: Option<u8>, m16: u8, m32: u8) -> bool {
    match (
        m8,
        u8::try_from(len),
        u16::try_from(len),
        u32::try_from(len),
    ) {
        (Some(marker), Ok(len), _, _) => out.extend_from_slice(&[marker, len]),
        (_, _, Ok(len), _) => {
            out.push(m16);
            out.extend_from_slice(&len.to_be_bytes());
        }
        (_, _, _, Ok(len)) => {
            out.push(m32);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => return false,
    }
    true
}

/// Write a string; false if it exceeds msgpack's limit of 4 GiB.
#[inline]
#[must_use]
pub fn write_str(out: &mut Vec<u8>, value: &str) -> bool {
    let fits = if value.len() < 32 {
        out.push(0xa0 | value.len() as u8);
        true
    } else {
        write_length(out, value.len(), Some(0xd9), 0xda, 0xdb)
    };
    if fits {
        out.extend_from_slice(value.as_bytes());
    }
    fits
}

/// Write bytes; false if they exceed msgpack's limit of 4 GiB.
#[must_use]
pub fn write_bin(out: &mut Vec<u8>, value: &[u8]) -> bool {
    let fits = write_length(out, value.len(), Some(0xc4), 0xc5, 0xc6);
    if fits {
        out.extend_from_slice(value);
    }
    fits
}

#[inline]
#[must_use]
pub fn write_array_header(out: &mut Vec<u8>, len: usize) -> bool {
    if len < 16 {
        out.push(0x90 | len as u8);
        return true;
    }
    write_length(out, len, None, 0xdc, 0xdd)
}

#[inline]
#[must_use]
pub fn write_map_header(out: &mut Vec<u8>, len: usize) -> bool {
    if len < 16 {
        out.push(0x80 | len as u8);
        return true;
    }
    write_length(out, len, None, 0xde, 0xdf)
}

/// Reserve room for an ext header; the payload is then written after it.
///
/// Returns the position to pass to [`end_ext`].
pub fn begin_ext(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; EXT_RESERVED]);
    start
}

/// Put the smallest header before the payload that was begun with [`begin_ext`].
///
/// Returns false if the payload exceeds msgpack's limit of 4 GiB.
#[must_use]
pub fn end_ext(out: &mut Vec<u8>, start: usize, code: i8) -> bool {
    let code = code as u8;
    let body = start + EXT_RESERVED;
    let len = out.len() - body;
    let fixed = match len {
        1 => 0xd4,
        2 => 0xd5,
        4 => 0xd6,
        8 => 0xd7,
        16 => 0xd8,
        _ => 0,
    };
    if fixed != 0 {
        out[start..start + 2].copy_from_slice(&[fixed, code]);
        out.copy_within(body.., start + 2);
        out.truncate(start + 2 + len);
    } else if let Ok(len) = u8::try_from(len) {
        out[start..body].copy_from_slice(&[0xc7, len, code]);
    } else if let Ok(small) = u16::try_from(len) {
        out.push(0);
        out.copy_within(body..body + len, start + 4);
        let [high, low] = small.to_be_bytes();
        out[start..start + 4].copy_from_slice(&[0xc8, high, low, code]);
    } else if let Ok(large) = u32::try_from(len) {
        out.extend_from_slice(&[0; 3]);
        out.copy_within(body..body + len, start + 6);
        out[start] = 0xc9;
        out[start + 1..start + 5].copy_from_slice(&large.to_be_bytes());
        out[start + 5] = code;
    } else {
        return false;
    }
    true
}
