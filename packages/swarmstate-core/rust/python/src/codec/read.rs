//! Reads msgpack, checking every length against the available bytes.

use pyo3::prelude::*;

use super::error::damaged;

/// What begins at a position in a message; lengths are not yet checked against the input.
pub enum Token<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Array(usize),
    Map(usize),
    Ext(i8, usize),
}

impl Token<'_> {
    /// Return a description for messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::Uint(_) => "an int",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::Bin(_) => "bytes",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Ext(..) => "an ext",
        }
    }
}

/// A position in a message, and where the current payload ends.
pub struct Reader<'a> {
    data: &'a [u8],
    pub pos: usize,
    pub limit: usize,
}

/// Return where the value that begins at `pos` ends; None if `data` ends first.
pub fn end_of(data: &[u8], pos: usize) -> Option<usize> {
    let mut reader = Reader::new(data);
    reader.pos = pos;
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        match reader.token().ok()? {
            Token::Array(len) => left += len,
            Token::Map(len) => left += len * 2,
            Token::Ext(_, len) => reader.pos += len,
            _ => {}
        }
    }
    Some(reader.pos)
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            pos: 0,
            limit: data.len(),
        }
    }

    #[inline]
    fn take(&mut self, len: usize, what: &str) -> PyResult<&'a [u8]> {
        let left = self.limit - self.pos;
        if len > left {
            return Err(damaged(
                self.pos,
                format_args!("expected {len} bytes of {what}, found {left}"),
            ));
        }
        let start = self.pos;
        self.pos += len;
        Ok(&self.data[start..self.pos])
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, what: &str) -> PyResult<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N, what)?);
        Ok(bytes)
    }

    fn length<const N: usize>(&mut self) -> PyResult<usize> {
        let bytes = self.fixed::<N>("a length")?;
        Ok(bytes
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn string(&mut self, len: usize) -> PyResult<Token<'a>> {
        self.take(len, "a string").map(Token::Str)
    }

    fn bin(&mut self, len: usize) -> PyResult<Token<'a>> {
        self.take(len, "binary data").map(Token::Bin)
    }

    /// Read a container's length; each item takes at least `least` bytes.
    fn items(&self, len: usize, least: usize, what: &str) -> PyResult<usize> {
        let left = self.limit - self.pos;
        if len.saturating_mul(least) > left {
            return Err(damaged(
                self.pos,
                format_args!("expected {what} of {len} items, found {left} bytes"),
            ));
        }
        Ok(len)
    }

    fn array(&self, len: usize) -> PyResult<Token<'a>> {
        self.items(len, 1, "an array").map(Token::Array)
    }

    fn map(&self, len: usize) -> PyResult<Token<'a>> {
        self.items(len, 2, "a map").map(Token::Map)
    }

    fn extension(&mut self, len: usize) -> PyResult<Token<'a>> {
        let [code] = self.fixed("an ext code")?;
        let left = self.limit - self.pos;
        if len > left {
            return Err(damaged(
                self.pos,
                format_args!("expected {len} bytes of an ext payload, found {left}"),
            ));
        }
        Ok(Token::Ext(code as i8, len))
    }

    /// Skip these bytes, if they come next.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.data[self.pos..self.limit].starts_with(bytes);
        if is_next {
            self.pos += bytes.len();
        }
        is_next
    }

    /// Return the bytes read since a position.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.data[start..self.pos]
    }

    /// Read a string of less than 32 bytes, the most common token; None if another token is next.
    #[inline]
    pub fn short(&mut self) -> Option<&'a [u8]> {
        let rest = &self.data[self.pos..self.limit];
        let (marker, rest) = rest.split_first()?;
        if marker & 0xe0 != 0xa0 {
            return None;
        }
        let text = rest.get(..usize::from(marker & 0x1f))?;
        self.pos += 1 + text.len();
        Some(text)
    }

    /// Read one token: a whole scalar, or the header of a container or ext.
    #[inline]
    pub fn token(&mut self) -> PyResult<Token<'a>> {
        let [marker] = self.fixed("a value")?;
        match marker {
            0x00..=0x7f => Ok(Token::Uint(u64::from(marker))),
            0x80..=0x8f => self.map(usize::from(marker & 0x0f)),
            0x90..=0x9f => self.array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => self.string(usize::from(marker & 0x1f)),
            0xc0 => Ok(Token::Nil),
            0xc2 => Ok(Token::Bool(false)),
            0xc3 => Ok(Token::Bool(true)),
            0xc4 => self.length::<1>().and_then(|len| self.bin(len)),
            0xc5 => self.length::<2>().and_then(|len| self.bin(len)),
            0xc6 => self.length::<4>().and_then(|len| self.bin(len)),
            0xc7 => self.length::<1>().and_then(|len| self.extension(len)),
            0xc8 => self.length::<2>().and_then(|len| self.extension(len)),
            0xc9 => self.length::<4>().and_then(|len| self.extension(len)),
            0xca => self
                .fixed("a float")
                .map(|b| Token::Float(f32::from_be_bytes(b).into())),
            0xcb => self
                .fixed("a float")
                .map(|b| Token::Float(f64::from_be_bytes(b))),
            0xcc => self
                .fixed("an int")
                .map(|b| Token::Uint(u8::from_be_bytes(b).into())),
            0xcd => self
                .fixed("an int")
                .map(|b| Token::Uint(u16::from_be_bytes(b).into())),
            0xce => self
                .fixed("an int")
                .map(|b| Token::Uint(u32::from_be_bytes(b).into())),
            0xcf => self
                .fixed("an int")
                .map(|b| Token::Uint(u64::from_be_bytes(b))),
            0xd0 => self
                .fixed("an int")
                .map(|b| Token::Int(i8::from_be_bytes(b).into())),
            0xd1 => self
                .fixed("an int")
                .map(|b| Token::Int(i16::from_be_bytes(b).into())),
            0xd2 => self
                .fixed("an int")
                .map(|b| Token::Int(i32::from_be_bytes(b).into())),
            0xd3 => self
                .fixed("an int")
                .map(|b| Token::Int(i64::from_be_bytes(b))),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4)),
            0xd9 => self.length::<1>().and_then(|len| self.string(len)),
            0xda => self.length::<2>().and_then(|len| self.string(len)),
            0xdb => self.length::<4>().and_then(|len| self.string(len)),
            0xdc => self.length::<2>().and_then(|len| self.array(len)),
            0xdd => self.length::<4>().and_then(|len| self.array(len)),
            0xde => self.length::<2>().and_then(|len| self.map(len)),
            0xdf => self.length::<4>().and_then(|len| self.map(len)),
            0xe0..=0xff => Ok(Token::Int(i64::from(marker as i8))),
            0xc1 => Err(damaged(
                self.pos - 1,
                format_args!("expected a value, found byte 0xc1, which msgpack never uses"),
            )),
        }
    }

    /// Read a string.
    pub fn text(&mut self, what: &str) -> PyResult<&'a str> {
        let start = self.pos;
        match self.token()? {
            Token::Str(bytes) => utf8(bytes, start),
            other => Err(damaged(
                start,
                format_args!("expected {what}, found {}", other.describe()),
            )),
        }
    }
}

/// Return the text of a string that begins at `start`.
pub fn utf8(bytes: &[u8], start: usize) -> PyResult<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| damaged(start, format_args!("expected UTF-8 text, found {error}")))
}
