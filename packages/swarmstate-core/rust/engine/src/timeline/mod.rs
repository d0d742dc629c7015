//! Records the events of a run and works out where its time went.
//!
//! Every moment of the run counts for one thing: the innermost activity. If several run at once, in
//! threads or tasks, nodes take precedence over encoding and decoding, these over the framework,
//! the framework over the store, and waiting comes last. Activities of equal precedence share the
//! time.

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
    /// Records that an activity begins or stops.
    ///
    /// `at` is the time in seconds. `used` is the processor time used so far by the thread that
    /// drives the run, or NaN if unknown.
    pub fn mark(&mut self, at: f64, used: f64, activity: Arc<Activity>, goes_on: bool) {
        self.events.push(Event {
            at,
            used,
            activity,
            goes_on,
        });
    }

    /// Returns where the time went, by path. Time that none of an activity's parts accounts for is
    /// under the activity's own path.
    pub fn spent(&self) -> BTreeMap<Path, Spent> {
        let mut events: Vec<&Event> = self.events.iter().collect();
        // Threads may record their events slightly late.
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

/// The activities that are running or have running parts; a run may have had many more.
#[derive(Default)]
struct GoingOn<'a>(HashMap<*const Activity, (&'a Activity, Counts)>);

/// How many times an activity is running, and how many of its parts are.
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

    /// Returns the activities without running parts, except the run; None if the run is not
    /// running.
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

    /// Returns `(seconds, busy, calls)` by path, for everything that took time or was called.
    fn figures(timeline: &Timeline) -> Vec<(Path, f64, f64, u64)> {
        let spent = timeline.spent().into_iter();
        spent
            .filter(|(_, spent)| spent.busy > 0.0 || spent.calls > 0)
            .map(|(path, spent)| (path, spent.seconds, spent.busy, spent.calls))
            .collect()
    }

    /// Builds a timeline from events and the processor time of the driving thread at each.
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
        // The thread works all the time; a processor clock that runs ahead adds nothing.
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
