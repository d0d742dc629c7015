//! What went on in a run, event by event, and where its time went by that.
//!
//! Every moment of the run counts for one thing: for the innermost activity that goes on, and if
//! there are several, in threads or tasks, then for nodes before encoding and decoding, for these
//! before the framework, for that before the store, and for waiting if there is none. Equal ones
//! share it.

mod activity;
mod sums;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use activity::{Activity, Kind, Path};
pub use sums::Spent;
use sums::Sums;

/// The events of a run.
#[derive(Debug, Default)]
pub struct Timeline {
    events: Vec<Event>,
}

#[derive(Clone, Debug)]
struct Event {
    at: f64,
    used: f64,
    activity: Arc<Activity>,
    goes_on: bool,
}

impl Timeline {
    /// Notes that an activity begins or stops.
    ///
    /// `at` is the time in seconds, and `used` what the thread that drives the run has used of the
    /// processor until then; NaN if that is not known.
    pub fn mark(&mut self, at: f64, used: f64, activity: Arc<Activity>, goes_on: bool) {
        self.events.push(Event {
            at,
            used,
            activity,
            goes_on,
        });
    }

    /// Where the time went; what is left of a path goes without its last part.
    pub fn spent(&self) -> BTreeMap<Path, Spent> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        // Threads may have noted theirs a moment later.
        events.sort_by(|one, other| one.at.total_cmp(&other.at));
        let mut sums = Sums::default();
        for kind in [Kind::Framework, Kind::Waiting] {
            sums.of_run(kind);
        }
        let mut running = GoingOn::default();
        let mut before: Option<&Event> = None;
        for event in events {
            if let (Some(before), Some(innermost)) = (before, running.innermost()) {
                sums.add(&innermost, event.at - before.at, event.used - before.used);
            }
            before = Some(event);
            let change = if event.goes_on { 1 } else { -1 };
            running.change(&event.activity, |counts| counts.times += change);
            if let Some(parent) = &event.activity.parent {
                running.change(parent, |counts| counts.parts += change);
                let own = sums.of(event.activity.own_path(), event.activity.kind);
                own.calls += u64::from(event.goes_on);
            }
        }
        sums.finished()
    }
}

/// The activities that go on at a moment, or of which parts do; a run may have had many more.
#[derive(Default)]
struct GoingOn<'a>(HashMap<*const Activity, (&'a Activity, Counts)>);

/// How many times an activity goes on, and how many parts of it do.
#[derive(Default, PartialEq)]
struct Counts {
    times: i64,
    parts: i64,
}

impl<'a> GoingOn<'a> {
    fn change(&mut self, activity: &'a Arc<Activity>, change: impl FnOnce(&mut Counts)) {
        let address = Arc::as_ptr(activity);
        let (_, counts) = (self.0.entry(address)).or_insert((activity, Counts::default()));
        change(counts);
        if *counts == Counts::default() {
            self.0.remove(&address);
        }
    }

    /// Those of which no part goes on, but for the run; nothing if the run does not go on.
    fn innermost(&self) -> Option<Vec<&'a Activity>> {
        let going_on = || self.0.values().filter(|(_, counts)| counts.times > 0);
        if !going_on().any(|(activity, _)| activity.parent.is_none()) {
            return None;
        }
        let innermost = going_on()
            .filter(|(activity, counts)| counts.parts == 0 && activity.parent.is_some())
            .map(|&(activity, _)| activity);
        Some(innermost.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parts: &[&str]) -> Path {
        parts.iter().map(|&part| part.to_owned()).collect()
    }

    /// `(seconds, busy, calls)` by path, of what took time or was called.
    fn figures(timeline: &Timeline) -> Vec<(Path, f64, f64, u64)> {
        let spent = timeline.spent().into_iter();
        spent
            .filter(|(_, spent)| spent.busy > 0.0 || spent.calls > 0)
            .map(|(path, spent)| (path, spent.seconds, spent.busy, spent.calls))
            .collect()
    }

    /// Events at times, with what the driving thread had used of the processor until then.
    fn marked(events: &[(f64, f64, &Arc<Activity>, bool)]) -> Timeline {
        let mut timeline = Timeline::default();
        for &(at, used, activity, goes_on) in events {
            timeline.mark(at, used, Arc::clone(activity), goes_on);
        }
        timeline
    }

    #[test]
    fn a_run_works_or_waits() {
        let run = Activity::run();
        let timeline = marked(&[(10.0, 1.0, &run, true), (14.0, 2.0, &run, false)]);
        assert_eq!(
            figures(&timeline),
            [
                (path(&["framework"]), 1.0, 1.0, 0),
                (path(&["waiting"]), 3.0, 3.0, 0)
            ]
        );
    }

    #[test]
    fn a_moment_counts_for_the_innermost_and_for_nodes_first() {
        let run = Activity::run();
        let node = run.part(Kind::Node, "node a".to_owned());
        let put = run.part(Kind::Encode, "checkpoint.put".to_owned());
        let trip = put.part(Kind::StoreIo, "store I/O".to_owned());
        let timeline = marked(&[
            (0.0, 0.0, &run, true),
            (1.0, 0.0, &put, true),
            (2.0, 0.0, &trip, true),
            (4.0, 0.0, &node, true),
            (6.0, 0.0, &trip, false),
            (7.0, 0.0, &put, false),
            (8.0, 0.0, &node, false),
            (9.0, 0.0, &run, false),
        ]);
        assert_eq!(
            figures(&timeline),
            [
                (path(&["checkpoint.put", "encode"]), 1.0, 2.0, 1),
                (path(&["checkpoint.put", "store I/O"]), 2.0, 4.0, 1),
                (path(&["node a"]), 4.0, 4.0, 1),
                (path(&["waiting"]), 2.0, 2.0, 0),
            ]
        );
    }

    #[test]
    fn encoding_comes_before_the_framework_and_that_before_the_store() {
        let run = Activity::run();
        let put = run.part(Kind::Encode, "checkpoint.put".to_owned());
        let trip = put.part(Kind::StoreIo, "store I/O".to_owned());
        // The thread works all the time; a clock that runs ahead makes no more of it.
        let timeline = marked(&[
            (0.0, 0.0, &run, true),
            (1.0, 1.0, &put, true),
            (2.0, 2.0, &trip, true),
            (4.0, 4.0, &trip, false),
            (5.0, 5.0, &put, false),
            (6.0, 100.0, &run, false),
        ]);
        assert_eq!(
            figures(&timeline),
            [
                (path(&["checkpoint.put", "encode"]), 2.0, 2.0, 1),
                (path(&["checkpoint.put", "store I/O"]), 0.0, 2.0, 1),
                (path(&["framework"]), 4.0, 4.0, 0),
            ]
        );
    }

    #[test]
    fn equal_ones_share_and_events_may_come_late() {
        let run = Activity::run();
        let one = run.part(Kind::Node, "node a".to_owned());
        let other = run.part(Kind::Node, "node a".to_owned());
        let timeline = marked(&[
            (0.0, 0.0, &run, true),
            (3.0, 0.0, &run, false),
            (0.0, 0.0, &one, true),
            (3.0, 0.0, &one, false),
            (1.0, 0.0, &other, true),
            (2.0, 0.0, &other, false),
        ]);
        assert_eq!(figures(&timeline), [(path(&["node a"]), 3.0, 4.0, 2)]);
    }

    #[test]
    fn nothing_counts_outside_of_the_run_and_an_unread_clock_is_no_waiting() {
        let run = Activity::run();
        let node = run.part(Kind::Node, "node a".to_owned());
        let timeline = marked(&[
            (0.0, 0.0, &run, true),
            (1.0, f64::NAN, &run, false),
            (2.0, 0.0, &node, true),
            (5.0, 0.0, &node, false),
        ]);
        assert_eq!(
            figures(&timeline),
            [
                (path(&["framework"]), 1.0, 1.0, 0),
                (path(&["node a"]), 0.0, 0.0, 1)
            ]
        );
    }

    #[test]
    fn kinds_have_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::of_name("sleeping"), None);
    }
}
