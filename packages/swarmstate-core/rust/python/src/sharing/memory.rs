//! Remembers values within a memory budget.

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
    /// What is still known about their base, if anything.
    pub(super) past: Option<Past>,
    /// Set when it is unknown whether they are stored. What is stored under their base may come
    /// from another attempt, which was cut differently, so its presence says nothing about these
    /// values.
    pub(super) is_doubtful: Arc<AtomicBool>,
}

impl Values {
    fn is_doubtful(&self) -> bool {
        self.is_doubtful.load(Ordering::Acquire)
    }
}

/// Values as they were last stored under one base.
struct Known {
    base: String,
    /// The codec that they were split or joined with; only this codec may get copies.
    codec: u64,
    values: Values,
    bytes: usize,
    /// The use count when it was last used.
    used: u64,
}

/// How known values relate to a requested base.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    Here,
    /// They follow the base.
    Next,
    /// They belong to this older base; those of the requested one are yet to come.
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
        // Ids increase with time.
        (*self.base < *base).then(|| Place::Before(self.base.clone()))
    }
}

/// Approximate memory for one key besides its values.
const KNOWN_BYTES: usize = 512;

/// How many keys may have values in transit at once without being forgotten.
const UNKNOWN_KEYS: usize = 256;

#[derive(Default)]
struct State {
    known: HashMap<Arc<str>, Known>,
    /// The keys in order of last use.
    order: BTreeMap<u64, Arc<str>>,
    /// For each key the names of the values that were in blobs when last known, if any. Keys whose
    /// values are no longer known, because they are in transit or could not be stored, are kept
    /// too, but not many more than known ones.
    large: HashMap<String, Vec<String>>,
    bytes: usize,
    uses: u64,
}

impl State {
    /// Adds what is known about a key, and returns what was known before.
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

    /// Forgets what is known about a key. The caller must drop the result after releasing the lock,
    /// because that may run any Python code.
    fn forget(&mut self, key: &str) -> Option<Known> {
        self.large.remove(key);
        self.remove(key)
    }

    /// Drops the names for keys that are no longer known, if there are many.
    fn forget_unknown(&mut self) {
        if self.large.len() > UNKNOWN_KEYS + 2 * self.known.len() {
            self.large.retain(|key, _| self.known.contains_key(&**key));
        }
    }

    /// Forgets the least recently used keys until the rest fits a budget.
    fn forget_beyond(&mut self, budget: usize) -> Vec<Known> {
        let mut forgotten = Vec::new();
        while self.bytes > budget
            && let Some(oldest) = self.forget_oldest()
        {
            forgotten.push(oldest);
        }
        forgotten
    }

    /// Forgets the least recently used key.
    fn forget_oldest(&mut self) -> Option<Known> {
        let (_, oldest) = self.order.first_key_value()?;
        let oldest = oldest.clone();
        self.forget(&oldest)
    }
}

/// Values that were stored or read, by the key they belong to.
pub(super) struct Memory {
    budget: usize,
    state: Mutex<State>,
}

impl Memory {
    /// Create an empty memory that never holds more than about `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// Take what is known about a key, if it is known under this base.
    ///
    /// Taken, not lent: of two threads that store a successor of one state, only one benefits, and
    /// neither waits.
    pub(super) fn take(&self, key: &str, base: &str) -> Option<Values> {
        let mut state = self.lock();
        let known = state.known.get(key)?;
        if known.base != base || known.values.is_doubtful() {
            return None;
        }
        Some(state.remove(key)?.values)
    }

    /// Use what is known about a key, if it is known under this base, the following one or an older
    /// one, and put it back.
    ///
    /// It is taken out meanwhile, so that nobody waits: other callers get nothing at that time, and
    /// if one of them stores or reads the key, the result of that is kept instead.
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
        // What was recognized has witnesses now.
        let room = self.room_for(key, &mut known.values);
        let mut forgotten = Vec::new();
        {
            let mut state = self.lock();
            match room {
                Some(bytes) if !state.known.contains_key(key) => {
                    known.bytes = bytes;
                    forgotten.extend(state.insert(key, known));
                    forgotten.extend(state.forget_beyond(self.budget));
                }
                _ => forgotten.push(known),
            }
        }
        drop(forgotten);
        result
    }

    /// Returns the available values of a key, whatever its base is.
    ///
    /// Values that were handed out are taken: only one caller may get them again.
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

    /// Returns the names of the values that were in blobs when last known.
    pub(super) fn large(&self, key: &str) -> Vec<String> {
        self.lock().large.get(key).cloned().unwrap_or_default()
    }

    /// Forget what is known about a key.
    pub(super) fn forget(&self, key: &str) {
        let forgotten = self.lock().forget(key);
        drop(forgotten);
    }

    /// How many bytes remembering values under a key takes, about; None if they do not fit at all.
    /// Drops their past if only that does not fit.
    fn room_for(&self, key: &str, values: &mut Values) -> Option<usize> {
        let bytes = KNOWN_BYTES + key.len() + values.cuts.values().map(Cut::bytes).sum::<usize>();
        let past = values.past.as_ref().map_or(0, Past::bytes);
        if bytes + past <= self.budget {
            return Some(bytes + past);
        }
        // The values themselves are more useful than what only late writes share.
        values.past = None;
        (bytes <= self.budget).then_some(bytes)
    }

    /// Remember values under a key, and forget others if there is not enough room.
    pub(super) fn remember(
        &self,
        py: Python<'_>,
        key: &str,
        base: &str,
        codec: u64,
        mut values: Values,
    ) {
        // Usually values are small, and are rewritten without comparing them with the previous
        // ones.
        values.cuts.retain(|_, cut| cut.is_recognizable());
        values.cuts.shrink_to_fit();
        let Some(bytes) = self.room_for(key, &mut values) else {
            // There is no room for it even if everything else is forgotten.
            self.forget(key);
            return;
        };
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
            forgotten.extend(state.forget_beyond(self.budget));
        }
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
