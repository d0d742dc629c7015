//! What is remembered of values, as long as there is room.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

use super::held::Held;
use super::parts::Cut;
use super::past::Past;
use super::reliance::Reliance;
use super::writes;

/// Values by name, as they were cut or joined.
#[derive(Default)]
pub(super) struct Values {
    pub(super) cuts: HashMap<String, Cut>,
    pub(super) reliance: Reliance,
    /// What is known of the base that they follow, if that is more than nothing.
    pub(super) past: Option<Past>,
    /// Set when nobody knows whether they are stored. What is stored under their base may be of
    /// another try, which was cut in another way: that it is there says nothing of these.
    pub(super) is_doubtful: Arc<AtomicBool>,
}

impl Values {
    fn is_doubtful(&self) -> bool {
        self.is_doubtful.load(Ordering::Acquire)
    }
}

/// Values as they were stored last under one base.
struct Known {
    base: String,
    /// The codec that they were split or joined with; copies are made for it alone.
    codec: u64,
    values: Values,
    bytes: usize,
    /// When it was used last, in uses.
    used: u64,
}

/// Where known values stand beside a base that was asked for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Here,
    /// They follow it.
    Next,
    /// They are those of this older base: those of the one that was asked for are still to come.
    Before(String),
}

impl Known {
    fn place(&self, base: &str) -> Option<Place> {
        if self.values.is_doubtful() {
            return None;
        }
        if self.base == base {
            return Some(Place::Here);
        }
        let past = self.values.past.as_ref();
        if past.is_some_and(|past| past.is_of(base)) {
            return Some(Place::Next);
        }
        // Ids grow with time.
        (*self.base < *base).then(|| Place::Before(self.base.clone()))
    }
}

/// What remembering one key takes beside its values, about.
const KNOWN_BYTES: usize = 512;

/// So many keys may have values on their way at once without being forgotten.
const UNKNOWN_KEYS: usize = 256;

#[derive(Default)]
struct State {
    known: HashMap<Arc<str>, Known>,
    /// The keys in the order in which they were used last.
    order: BTreeMap<u64, Arc<str>>,
    /// By key the names of the values that lay in blobs when they were last known, if any did. Of
    /// keys that are known no longer, because their values are on their way or could not be stored,
    /// there are at most about as many as of others.
    large: HashMap<String, Vec<String>>,
    bytes: usize,
    uses: u64,
}

impl State {
    /// Adds what is known of a key, and returns what was.
    fn insert(&mut self, key: &str, known: Known) -> Option<Known> {
        let before = self.remove(key);
        let key: Arc<str> = key.into();
        self.bytes += known.bytes;
        self.order.insert(known.used, key.clone());
        self.known.insert(key, known);
        before
    }

    fn remove(&mut self, key: &str) -> Option<Known> {
        let known = self.known.remove(key)?;
        self.order.remove(&known.used);
        self.bytes -= known.bytes;
        Some(known)
    }

    /// Forgets what is known of a key, which the caller drops once the lock is released: that may
    /// run any Python code.
    fn forget(&mut self, key: &str) -> Option<Known> {
        self.large.remove(key);
        self.remove(key)
    }

    /// Forgets the names of what is known no longer if there is much of that.
    fn forget_unknown(&mut self) {
        if self.large.len() > UNKNOWN_KEYS + 2 * self.known.len() {
            self.large.retain(|key, _| self.known.contains_key(&**key));
        }
    }

    /// Forgets what was not used for the longest time.
    fn forget_oldest(&mut self) -> Option<Known> {
        let (_, oldest) = self.order.first_key_value()?;
        let oldest = oldest.clone();
        self.forget(&oldest)
    }
}

/// Values that were stored or read, by what they belong to.
pub(super) struct Memory {
    budget: usize,
    state: Mutex<State>,
}

impl Memory {
    /// Remember nothing yet, and never more than about `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// Take what is known of a key, if it is known under this base.
    ///
    /// Taken, not lent: of two threads that store a successor of one state only
    /// one has the benefit, and none waits.
    pub(super) fn take(&self, key: &str, base: &str) -> Option<Values> {
        let mut state = self.lock();
        let known = state.known.get(key)?;
        if known.base != base || known.values.is_doubtful() {
            return None;
        }
        Some(state.remove(key)?.values)
    }

    /// Use what is known of a key, if it is known under this base, the one that follows or an
    /// older one, and leave it there.
    ///
    /// It is away meanwhile, so that nobody waits: who wants it at this moment has to do without,
    /// and if somebody stores or reads the key meanwhile, what they know is kept instead.
    pub(super) fn lend<T>(
        &self,
        key: &str,
        base: &str,
        use_it: impl FnOnce(&mut Values, Place) -> T,
    ) -> T {
        let lent = {
            let mut state = self.lock();
            let place = state.known.get(key).and_then(|known| known.place(base));
            place.and_then(|place| Some((state.remove(key)?, place)))
        };
        let Some((mut known, place)) = lent else {
            return use_it(&mut Values::default(), Place::Here);
        };
        let result = use_it(&mut known.values, place);
        let superseded = {
            let mut state = self.lock();
            if state.known.contains_key(key) {
                Some(known)
            } else {
                state.insert(key, known)
            }
        };
        drop(superseded);
        result
    }

    /// What values of a key can be had from, whatever its base is.
    ///
    /// Values that were handed out are taken: only one caller may have them again.
    pub(super) fn held(&self, key: &str, codec: u64) -> HashMap<String, Held> {
        match self.lock().known.get_mut(key) {
            Some(known) if known.codec == codec => known
                .values
                .cuts
                .iter_mut()
                .map(|(name, cut)| (name.clone(), cut.held()))
                .collect(),
            _ => HashMap::new(),
        }
    }

    /// The names of the values that lay in blobs when they were last known.
    pub(super) fn large(&self, key: &str) -> Vec<String> {
        self.lock().large.get(key).cloned().unwrap_or_default()
    }

    /// Forget what is known of a key.
    pub(super) fn forget(&self, key: &str) {
        let forgotten = self.lock().forget(key);
        drop(forgotten);
    }

    /// Remember values under a key, and forget others if that takes too much.
    pub(super) fn remember(
        &self,
        py: Python<'_>,
        key: &str,
        base: &str,
        codec: u64,
        mut values: Values,
    ) {
        // Mostly values are small, and are written again without a look at what they were.
        values.cuts.retain(|_, cut| cut.is_recognizable());
        values.cuts.shrink_to_fit();
        let mut bytes =
            KNOWN_BYTES + key.len() + values.cuts.values().map(Cut::bytes).sum::<usize>();
        // The values themselves are of more use than what only late writes share.
        let past = values.past.as_ref().map_or(0, Past::bytes);
        if bytes + past > self.budget {
            values.past = None;
        } else {
            bytes += past;
        }
        if bytes > self.budget {
            // There is no room for it even if all others are forgotten.
            self.forget(key);
            return;
        }
        let large = writes::large(py, values.cuts.iter().map(|(name, cut)| (name, &cut.entry)));
        let large: Vec<_> = large.into_iter().cloned().collect();
        let mut forgotten = Vec::new();
        {
            let mut state = self.lock();
            if large.is_empty() {
                state.large.remove(key);
            } else {
                state.large.insert(key.to_owned(), large);
            }
            state.uses += 1;
            let known = Known {
                base: base.to_owned(),
                codec,
                values,
                bytes,
                used: state.uses,
            };
            forgotten.extend(state.insert(key, known));
            state.forget_unknown();
            while state.bytes > self.budget
                && let Some(oldest) = state.forget_oldest()
            {
                forgotten.push(oldest);
            }
        }
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
