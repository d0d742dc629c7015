//! The order of records by a field of their values.

use std::cmp::Ordering;

use super::filter::float;

/// A sort key for records.
pub(super) enum SortKey<'a> {
    Number(f64),
    Text(&'a [u8]),
    Other,
}

impl<'a> SortKey<'a> {
    pub fn of(field: Option<(&'a [u8], f64)>) -> Self {
        let Some((mut bytes, number)) = field else {
            return Self::Other;
        };
        if !number.is_nan() {
            return Self::Number(number);
        }
        match rmpv::decode::read_value_ref(&mut bytes) {
            Ok(rmpv::ValueRef::String(text)) => {
                Self::Text(text.into_str().unwrap_or_default().as_bytes())
            }
            Ok(value @ rmpv::ValueRef::Boolean(_)) => {
                Self::Number(float(&value).unwrap_or_default())
            }
            _ => Self::Other,
        }
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Other => 2,
        }
    }
}
