//! What went on in a run, event by event, and where its time went by that.
//!
//! Every moment of the run counts for one thing: for the innermost activity that goes on, and if
//! there are several, in threads or tasks, then for nodes before encoding and decoding, for these
//! before the framework, for that before the store, and for waiting if there is none. Equal ones
//! share it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What time counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The run itself, between all else.
    Framework,
    /// A node.
    Node,
    /// Encoding for a store.
    Encode,
    /// Decoding what a store holds.
    Decode,
    /// A round trip to a store.
    StoreIo,
    /// Nothing.
    Waiting,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Framework,
        Self::Node,
        Self::Encode,
        Self::Decode,
        Self::StoreIo,
        Self::Waiting,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Framework => "framework",
            Self::Node => "node",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::StoreIo => "store I/O",
            Self::Waiting => "waiting",
        }
    }

    /// The kind that is called so.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What an activity is called, and before it what it was part of.
pub type Path = Vec<String>;

/// Something that went on; another one is another activity, whatever it is called.
#[derive(Debug)]
pub struct Activity {
    parent: Option<Arc<Activity>>,
    kind: Kind,
    name: String,
}

impl Activity {
    /// A run, which everything in it is part of.
    pub fn run() -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            kind: Kind::Framework,
            name: String::new(),
        })
    }

    /// An activity that is part of this one.
    pub fn part(self: &Arc<Self>, kind: Kind, name: String) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            kind,
            name,
        })
    }

    fn path(&self) -> Path {
        let Some(parent) = &self.parent else {
            return Path::new();
        };
        let mut path = parent.path();
        path.push(self.name.clone());
        path
    }

    /// Where the time counts that is of none of its parts.
    fn own_path(&self) -> Path {
        let mut path = self.path();
        if self.kind != Kind::Node {
            path.push(self.kind.name().to_owned());
        }
        path
    }
}

/// Where time went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spent {
    /// What it counts as.
    pub kind: Kind,
    /// Seconds of the run's time.
    pub seconds: f64,
    /// Seconds for which it went on, also while the run's time counted for something else.
    pub busy: f64,
    /// How often it began.
    pub calls: u64,
}

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
            sums.of(vec![kind.name().to_owned()], kind);
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

#[derive(Default)]
struct Sums(BTreeMap<Path, Spent>);

impl Sums {
    fn of(&mut self, path: Path, kind: Kind) -> &mut Spent {
        self.0.entry(path).or_insert(Spent {
            kind,
            seconds: 0.0,
            busy: 0.0,
            calls: 0,
        })
    }

    /// Adds a stretch of time of which the driving thread worked for `used` seconds.
    fn add(&mut self, innermost: &[&Activity], seconds: f64, used: f64) {
        let of_kinds = |kinds: &[Kind]| -> Vec<&Activity> {
            let is_of = |each: &&&Activity| kinds.contains(&each.kind);
            innermost.iter().filter(is_of).copied().collect()
        };
        let mut first = of_kinds(&[Kind::Node]);
        if first.is_empty() {
            first = of_kinds(&[Kind::Encode, Kind::Decode]);
        }
        if first.is_empty() {
            // Where the clock could not be read, nobody is said to have waited.
            let working = if used.is_nan() {
                seconds
            } else {
                used.clamp(0.0, seconds.max(0.0))
            };
            self.take(
                vec![Kind::Framework.name().to_owned()],
                Kind::Framework,
                working,
            );
            let rest = seconds - working;
            if innermost.is_empty() {
                self.take(vec![Kind::Waiting.name().to_owned()], Kind::Waiting, rest);
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
            self.take(
                activity.own_path(),
                activity.kind,
                seconds / activities.len() as f64,
            );
        }
    }

    fn take(&mut self, path: Path, kind: Kind, seconds: f64) {
        self.of(path, kind).seconds += seconds;
    }

    /// What is not said to have been busy was so while the time counted for it.
    fn finished(mut self) -> BTreeMap<Path, Spent> {
        for spent in self.0.values_mut().filter(|spent| spent.busy == 0.0) {
            spent.busy = spent.seconds;
        }
        self.0
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
                (
                    path(&["checkpoint.put", "store I/O", "store I/O"]),
                    2.0,
                    4.0,
                    1
                ),
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
                (
                    path(&["checkpoint.put", "store I/O", "store I/O"]),
                    0.0,
                    2.0,
                    1
                ),
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
