//! Evaluates a selection, for all records at once or for one at a time.

use super::column::Column;
use super::filter::{Condition, Interval};
use super::scope;
use super::table::{Selection, Table, parse};

/// Columns with at most this many distinct values are tested in advance; later tests are lookups.
const FEW: usize = 256;

/// Number of records sampled to estimate how many are selected.
const SAMPLE: usize = 256;

/// Decides which records are selected.
pub(super) struct Predicate<'a> {
    table: &'a Table,
    tests: Vec<Test<'a>>,
}

/// A test on the values of a column.
struct Test<'a> {
    column: &'a Column,
    means: Means<'a>,
    interval: Option<Interval>,
    /// Whether each value passes, by code; empty if values are tested on demand.
    verdicts: Vec<bool>,
}

enum Means<'a> {
    /// The scope begins with these bytes.
    Below(Vec<u8>),
    /// The record has at least one of these categories.
    AnyOf(&'a [String]),
    Condition(&'a Condition),
}

impl<'a> Predicate<'a> {
    pub(super) fn new(table: &'a Table, selection: &'a Selection) -> Self {
        let mut tests = Vec::new();
        if !selection.scope.is_empty() {
            let means = Means::Below(scope::encode(&selection.scope));
            tests.push(Test::new(&table.scopes, means));
        }
        if !selection.categories.is_empty() {
            let means = Means::AnyOf(&selection.categories);
            tests.push(Test::new(&table.categories, means));
        }
        for term in selection.filter.iter().flat_map(|filter| &filter.terms) {
            if let Some(column) = table.fields.get(&term.path) {
                tests.push(Test::new(column, Means::Condition(&term.condition)));
            }
        }
        Self { table, tests }
    }

    /// Returns whether an existing record is selected.
    #[inline]
    pub fn allows(&self, record: u32) -> bool {
        self.tests.iter().all(|test| test.allows(record))
    }

    /// Returns an estimate of the share of records that are selected.
    pub fn share(&self) -> f64 {
        let numbers = self.table.numbers();
        let step = (numbers / SAMPLE).max(1);
        let (mut seen, mut selected) = (0, 0);
        for record in (0..numbers).step_by(step) {
            if self.table.entry(record as u32).is_some() {
                seen += 1;
                selected += usize::from(self.allows(record as u32));
            }
        }
        selected as f64 / f64::from(seen.max(1))
    }

    /// Returns whether each record is selected, by record number.
    pub fn mask(&self) -> Vec<bool> {
        let mut allowed = match self.tests.first() {
            // A column excludes records without a value, such as those that do not exist.
            Some(_) => vec![true; self.table.numbers()],
            None => self.table.exists().collect(),
        };
        for test in &self.tests {
            let computed;
            let verdicts = if test.verdicts.is_empty() {
                computed = test.judge();
                &computed
            } else {
                &test.verdicts
            };
            test.column.keep(&mut allowed, verdicts);
        }
        allowed
    }
}

impl<'a> Test<'a> {
    fn new(column: &'a Column, means: Means<'a>) -> Self {
        let interval = match &means {
            Means::Condition(condition) => condition.interval(),
            _ => None,
        };
        let mut test = Self {
            column,
            means,
            interval,
            verdicts: Vec::new(),
        };
        if let Means::Condition(condition) = &test.means
            && let Some(text) = condition.text()
        {
            test.verdicts = column.equal(text);
        } else if column.codes() <= FEW {
            test.verdicts = test.judge();
        }
        test
    }

    fn judge(&self) -> Vec<bool> {
        self.column
            .verdicts(self.interval, |value| self.means.meets(value))
    }

    #[inline]
    fn allows(&self, record: u32) -> bool {
        let Some(code) = self.column.code(record) else {
            return false;
        };
        if let Some(verdict) = self.verdicts.get(code as usize) {
            return *verdict;
        }
        let (value, number) = self.column.value(code);
        match self.interval {
            Some(interval) if !number.is_nan() => interval.holds(number),
            _ => self.means.meets(value),
        }
    }
}

impl Means<'_> {
    fn meets(&self, value: &[u8]) -> bool {
        match self {
            Self::Below(prefix) => value.starts_with(prefix),
            Self::AnyOf(wanted) => scope::decode(value)
                .iter()
                .any(|category| wanted.contains(category)),
            Self::Condition(condition) => condition.holds(&parse(value)),
        }
    }
}
