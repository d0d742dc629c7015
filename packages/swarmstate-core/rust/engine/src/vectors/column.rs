//! One attribute of all records: each distinct value once, and a code per record.
//!
//! A condition looks at each distinct value once and then only at codes, so it
//! costs little beside a scan of vectors, however it was put.

use std::collections::HashMap;
use std::sync::Arc;

use super::filter::float;

/// The code of records that do not exist.
const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Column {
    codes: Vec<u32>,
    known: HashMap<Arc<[u8]>, u32>,
    values: Vec<Distinct>,
    free: Vec<u32>,
}

/// A distinct value.
pub(super) struct Distinct {
    /// The value, encoded; it means what the column means.
    pub bytes: Arc<[u8]>,
    /// What it is as a number, if it is one in msgpack; otherwise NaN.
    pub number: f64,
    /// How many records have it; 0 if the code is free.
    pub count: usize,
}

impl Column {
    pub fn set(&mut self, record: u32, value: &[u8]) {
        let code = match self.known.get(value) {
            Some(code) => *code,
            None => self.add(value),
        };
        self.values[code as usize].count += 1;
        self.unset(record);
        let record = record as usize;
        if record >= self.codes.len() {
            self.codes.resize(record + 1, NONE);
        }
        self.codes[record] = code;
    }

    pub fn unset(&mut self, record: u32) {
        let Some(place) = self.codes.get_mut(record as usize) else {
            return;
        };
        let code = std::mem::replace(place, NONE);
        if code == NONE {
            return;
        }
        let value = &mut self.values[code as usize];
        value.count -= 1;
        if value.count == 0 {
            self.known.remove(&value.bytes);
            self.free.push(code);
        }
    }

    /// Returns the value of a record.
    pub fn get(&self, record: u32) -> Option<&Distinct> {
        let code = *self.codes.get(record as usize)?;
        self.values.get(code as usize)
    }

    /// Calls `visit` with each distinct value that some record has.
    pub fn distinct(&self) -> impl Iterator<Item = &Distinct> {
        self.values.iter().filter(|value| value.count > 0)
    }

    /// Keeps in `allowed`, one entry per record, those whose value meets the condition.
    pub fn keep(&self, allowed: &mut [bool], meets: impl Fn(&Distinct) -> bool) {
        let verdicts: Vec<bool> = self
            .values
            .iter()
            .map(|value| value.count > 0 && meets(value))
            .collect();
        for (allowed, code) in allowed.iter_mut().zip(&self.codes) {
            *allowed &= verdicts.get(*code as usize).copied().unwrap_or(false);
        }
    }

    fn add(&mut self, bytes: &[u8]) -> u32 {
        let bytes: Arc<[u8]> = bytes.into();
        let number = match rmpv::decode::read_value_ref(&mut &*bytes) {
            Ok(value @ (rmpv::ValueRef::Integer(_) | rmpv::ValueRef::F64(_))) => {
                float(&value).unwrap_or(f64::NAN)
            }
            _ => f64::NAN,
        };
        let value = Distinct {
            bytes: Arc::clone(&bytes),
            number,
            count: 0,
        };
        let code = match self.free.pop() {
            Some(code) => {
                self.values[code as usize] = value;
                code
            }
            None => {
                self.values.push(value);
                (self.values.len() - 1) as u32
            }
        };
        self.known.insert(bytes, code);
        code
    }
}
