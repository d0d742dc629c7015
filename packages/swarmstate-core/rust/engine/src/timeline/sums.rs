//! Adds up where the time of a run went.

use std::collections::BTreeMap;

use super::activity::{Activity, Kind, Path};

/// Time spent on one thing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// The kind that it counts as.
    pub kind: Kind,
    /// Seconds of the run's time that count for it.
    pub seconds: f64,
    /// Seconds that it was running, even while the run's time counted for something else.
    pub busy: f64,
    /// How often it began.
    pub calls: u64,
}

/// Where the time of a run went, by path.
#[derive(Default)]
pub(super) struct Sums(BTreeMap<Path, Spent>);

impl Sums {
    pub(super) fn of(&mut self, path: Path, kind: Kind) -> &mut Spent {
        self.0.entry(path).or_insert(Spent {
            kind,
            seconds: 0.0,
            busy: 0.0,
            calls: 0,
        })
    }

    /// Returns the entry for the run itself, apart from its activities.
    pub(super) fn of_run(&mut self, kind: Kind) -> &mut Spent {
        self.of(vec![kind.name().to_owned()], kind)
    }

    /// Adds a stretch of time in which the driving thread worked for `used` seconds.
    pub(super) fn add(&mut self, innermost: &[&Activity], seconds: f64, used: f64) {
        let of_kinds = |kinds: &[Kind]| -> Vec<&Activity> {
            let is_of = |each: &&&Activity| kinds.contains(&each.kind);
            innermost.iter().filter(is_of).copied().collect()
        };
        let mut first = of_kinds(&[Kind::Node]);
        if first.is_empty() {
            first = of_kinds(&[Kind::Encode, Kind::Decode]);
        }
        if first.is_empty() {
            // Without a processor clock, count all of it as work rather than waiting.
            let working = if used.is_nan() {
                seconds
            } else {
                used.clamp(0.0, seconds.max(0.0))
            };
            self.of_run(Kind::Framework).seconds += working;
            let rest = seconds - working;
            if innermost.is_empty() {
                self.of_run(Kind::Waiting).seconds += rest;
            } else {
                self.share(innermost, rest);
            }
        } else {
            self.share(&first, seconds);
        }
        for activity in innermost {
            self.of(activity.own_path(), activity.kind).busy += seconds;
        }
    }

    fn share(&mut self, activities: &[&Activity], seconds: f64) {
        for activity in activities {
            let spent = self.of(activity.own_path(), activity.kind);
            spent.seconds += seconds / activities.len() as f64;
        }
    }

    /// Returns the sums. Entries without busy time were busy for the time that counts for them.
    pub(super) fn finished(mut self) -> BTreeMap<Path, Spent> {
        for spent in self.0.values_mut().filter(|spent| spent.busy == 0.0) {
            spent.busy = spent.seconds;
        }
        self.0
    }
}
