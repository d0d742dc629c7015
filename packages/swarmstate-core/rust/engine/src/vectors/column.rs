//! One attribute of all records: each distinct value stored once, and a code per record.
//!
//! A condition tests each distinct value once and then only looks at codes, or it tests only the
//! values of the few records in question.

use std::collections::HashMap;
use std::sync::Arc;

use rmpv::Value;

use super::filter::{Interval, UNKNOWN, float};

/// The code of records that do not exist or have no value in this column.
const NONE: u32 = u32::MAX;

/// The payload of an unknown value; no other payload is written.
const NIL: u8 = 0xc0;

#[derive(Default)]
pub(super) struct Column {
    codes: Vec<u32>,
    known: HashMap<Arc<[u8]>, u32>,
    /// Encoded values by code; the column defines their meaning.
    values: Vec<Arc<[u8]>>,
    /// Values as numbers, by code; NaN for values that are not msgpack numbers.
    numbers: Vec<f64>,
    /// The number of records with each value, by code; 0 if the code is free.
    counts: Vec<u32>,
    free: Vec<u32>,
}

impl Column {
    pub fn set(&mut self, record: u32, value: &[u8]) {
        let code = match self.known.get(value) {
            Some(code) => *code,
            None => self.add(value),
        };
        self.counts[code as usize] += 1;
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
        self.counts[code as usize] -= 1;
        if self.counts[code as usize] == 0 {
            self.known.remove(&self.values[code as usize]);
            self.free.push(code);
        }
    }

    /// Returns the code of a record's value.
    #[inline]
    pub fn code(&self, record: u32) -> Option<u32> {
        self.codes
            .get(record as usize)
            .copied()
            .filter(|code| *code != NONE)
    }

    /// Returns a value and its number.
    #[inline]
    pub fn value(&self, code: u32) -> (&[u8], f64) {
        (&self.values[code as usize], self.numbers[code as usize])
    }

    /// Returns each distinct value in use, with its number of records.
    pub fn distinct(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.values
            .iter()
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(|(value, count)| (&**value, *count as usize))
    }

    /// Returns the number of codes, including free ones.
    pub fn codes(&self) -> usize {
        self.values.len()
    }

    /// Returns whether each value meets the condition, by code.
    pub fn verdicts(&self, interval: Option<Interval>, meets: impl Fn(&[u8]) -> bool) -> Vec<bool> {
        let mut verdicts: Vec<bool> = match interval {
            Some(interval) => self.numbers.iter().map(|n| interval.holds(*n)).collect(),
            None => vec![false; self.values.len()],
        };
        for (code, verdict) in verdicts.iter_mut().enumerate() {
            if self.counts[code] == 0 {
                *verdict = false;
            } else if interval.is_none() || self.numbers[code].is_nan() {
                *verdict = meets(&self.values[code]);
            }
        }
        verdicts
    }

    /// Returns whether each value is, or could be, this text, by code.
    pub fn equal(&self, text: &Value) -> Vec<bool> {
        let mut verdicts = vec![false; self.values.len()];
        // A column encodes its values itself, so equal texts have equal bytes.
        for value in [text, &Value::Ext(UNKNOWN, vec![NIL])] {
            let mut bytes = Vec::new();
            // Writing to memory cannot fail.
            let _ = rmpv::encode::write_value(&mut bytes, value);
            if let Some(code) = self.known.get(&*bytes) {
                verdicts[*code as usize] = true;
            }
        }
        verdicts
    }

    /// Clears the entries in `allowed`, one per record, whose values do not have a true verdict.
    pub fn keep(&self, allowed: &mut [bool], verdicts: &[bool]) {
        let known = self.codes.len().min(allowed.len());
        allowed[known..].fill(false);
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
        let code = match self.free.pop() {
            Some(code) => {
                self.values[code as usize] = Arc::clone(&bytes);
                self.numbers[code as usize] = number;
                code
            }
            None => {
                self.values.push(Arc::clone(&bytes));
                self.numbers.push(number);
                self.counts.push(0);
                (self.values.len() - 1) as u32
            }
        };
        self.known.insert(bytes, code);
        code
    }
}
