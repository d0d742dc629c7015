//! The store: shards behind locks.

use std::array;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::shard::{Shard, answer};
use super::snapshot::Snapshot;
use super::{Names, Records, SHARDS, shard_index};
use crate::error::{Error, Result};
use crate::plane::{Answer, Batch, Expiry, Query, Value};

/// The most expired namespaces of its shard that a write removes. Bounds the write's latency, and
/// still removes them faster than writes can create them.
const SWEEP_LIMIT: usize = 8;

/// After this many writes to a shard the next shard is swept too, so that shards without writes
/// release their memory.
const SWEEP_OTHER_EVERY: u32 = 32;

/// An in-memory store of records.
///
/// Time comes from the caller: `now` is in milliseconds since the Unix epoch and decides which
/// namespaces have expired.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Lock order: by ascending index. While a lock is held, nothing may block or call out of this
    /// module.
    shards: [RwLock<Shard>; SHARDS],
    /// Checked under a shard's lock. `close` sets it before it empties the shards, so nothing can
    /// be written to a shard that was emptied.
    closed: AtomicBool,
    /// The id of the newest snapshot; changed only under all locks.
    last_snapshot: AtomicU64,
    /// Whether any namespace ever had a deadline.
    has_deadlines: AtomicBool,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether `now` matters. It does not until a namespace gets a deadline, so callers can
    /// skip reading the clock.
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.has_deadlines.load(Ordering::Relaxed)
    }

    /// Answers queries in order.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn read(&self, queries: &[Query], now: i64) -> Result<Vec<Answer>> {
        queries
            .iter()
            .map(|query| self.read_one(query, now))
            .collect()
    }

    fn read_one(&self, query: &Query, now: i64) -> Result<Answer> {
        let namespace = query.namespace.as_str();
        let index = shard_index(namespace);
        let found = match query.expiry {
            Some(expiry) => {
                self.note(expiry);
                let mut shard = self.lock(index)?;
                shard.set_expiry(namespace, expiry, now);
                shard.view(query, now)
            }
            None => self.lock_shared(index)?.view(query, now),
        };
        // The lock is released: the answer is built from its own view.
        Ok(answer(query, found))
    }

    /// Applies batches in order, each atomically.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an expectation did not hold: that batch and those after it were not
    /// applied. [`Error::Closed`].
    pub fn write(&self, batches: &[Batch], now: i64) -> Result<()> {
        for batch in batches {
            batch.expiry.inspect(|&expiry| self.note(expiry));
            self.change(&batch.namespace, now, |shard| shard.apply(batch, now))??;
        }
        Ok(())
    }

    /// Returns the value of one record.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn get(&self, namespace: &str, key: &str, now: i64) -> Result<Option<Value>> {
        let shard = self.lock_shared(shard_index(namespace))?;
        Ok(shard
            .records(namespace, now)
            .and_then(|records| records.get(key))
            .cloned())
    }

    /// Writes one record; sets the namespace's expiry if `expiry` is given.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn put(
        &self,
        namespace: &str,
        key: &str,
        value: Value,
        expiry: Option<Expiry>,
        now: i64,
    ) -> Result<()> {
        expiry.inspect(|&expiry| self.note(expiry));
        self.change(namespace, now, |shard| {
            shard.put(namespace, key, value, now);
            if let Some(expiry) = expiry {
                shard.set_expiry(namespace, expiry, now);
            }
        })
    }

    /// Deletes one record and returns whether it existed.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn delete(&self, namespace: &str, key: &str, now: i64) -> Result<bool> {
        self.change(namespace, now, |shard| shard.delete(namespace, key, now))
    }

    /// Returns the namespaces that start with `prefix` and are greater than `after`, in order.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn namespaces(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
        now: i64,
    ) -> Result<Vec<Arc<str>>> {
        let limit = limit.unwrap_or(usize::MAX);
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = Vec::new();
        for index in 0..SHARDS {
            let shard = self.lock_shared(index)?;
            found.extend(
                shard
                    .names
                    .range::<_, str>((start, Bound::Unbounded))
                    .map(|(name, _)| name)
                    .take_while(|name| name.starts_with(prefix))
                    .filter(|name| !shard.deadlines.is_past(name, now))
                    .take(limit)
                    .cloned(),
            );
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    /// Returns the number of records.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn len(&self, now: i64) -> Result<usize> {
        let mut count = 0;
        for index in 0..SHARDS {
            let shard = self.lock_shared(index)?;
            count += shard
                .names
                .iter()
                .filter(|(name, _)| !shard.deadlines.is_past(name, now))
                .map(|(_, records)| records.len())
                .sum::<usize>();
        }
        Ok(count)
    }

    /// Makes `target` hold exactly the records of `source`, with the same expiry; O(1).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn copy(&self, source: &str, target: &str, now: i64) -> Result<()> {
        let (from, to) = (shard_index(source), shard_index(target));
        if from == to {
            let mut shard = self.lock(to)?;
            if source != target {
                let copied = look_up(&shard, source, now);
                replace(&mut shard, target, copied);
            }
            return Ok(());
        }
        // Both locks are held to the end, so nobody sees source and target at different times.
        let (shard_from, mut shard_to);
        if from < to {
            shard_from = self.lock_shared(from)?;
            shard_to = self.lock(to)?;
        } else {
            shard_to = self.lock(to)?;
            shard_from = self.lock_shared(from)?;
        }
        replace(&mut shard_to, target, look_up(&shard_from, source, now));
        Ok(())
    }

    /// Returns the state of the whole store at one moment; O(1).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self, now: i64) -> Result<Snapshot> {
        let mut shards = self.lock_all()?;
        // A snapshot has no deadlines, so expired namespaces must be removed first. Each is removed
        // once: the cost is charged to the writes that created it.
        for shard in &mut shards {
            shard.sweep(now, usize::MAX);
        }
        let id = self.last_snapshot.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Snapshot::new(
            id,
            now,
            array::from_fn(|index| shards[index].names.clone()),
        ))
    }

    /// Makes the store hold exactly the records of `snapshot`, without expiry; O(1).
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        let mut shards = self.lock_all()?;
        let mut replaced = Vec::with_capacity(SHARDS);
        for (shard, names) in shards.iter_mut().zip(snapshot.shards()) {
            replaced.push(std::mem::replace(&mut shard.names, names.clone()));
            shard.deadlines.clear();
        }
        drop(shards);
        // Freeing the old records takes time proportional to their number, so do it after
        // unlocking.
        drop(replaced);
        Ok(())
    }

    /// Removes all records.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn clear(&self) -> Result<()> {
        self.restore(&Snapshot::new(0, 0, array::from_fn(|_| Names::new())))
    }

    /// Releases all memory; every later call fails. Closing twice is fine.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for shard in &self.shards {
            *write_lock(shard) = Shard::default();
        }
    }

    /// Records that there are deadlines before the first one is set.
    fn note(&self, expiry: Expiry) {
        if let Expiry::At(_) = expiry {
            self.has_deadlines.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a change on a namespace's shard, and the sweeps that pay for expiry.
    fn change<T>(
        &self,
        namespace: &str,
        now: i64,
        change: impl FnOnce(&mut Shard) -> T,
    ) -> Result<T> {
        let index = shard_index(namespace);
        let mut shard = self.lock(index)?;
        shard.sweep(now, SWEEP_LIMIT);
        let outcome = change(&mut shard);
        shard.writes = shard.writes.wrapping_add(1);
        let round = shard.writes / SWEEP_OTHER_EVERY;
        let sweep_other = shard.writes % SWEEP_OTHER_EVERY == 0;
        drop(shard);
        if sweep_other {
            let other = (index + round as usize) % SHARDS;
            self.lock(other)?
                .sweep(now, SWEEP_OTHER_EVERY as usize * SWEEP_LIMIT);
        }
        Ok(outcome)
    }

    fn lock_shared(&self, index: usize) -> Result<RwLockReadGuard<'_, Shard>> {
        let shard = self.shards[index]
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        Ok(shard)
    }

    fn lock(&self, index: usize) -> Result<RwLockWriteGuard<'_, Shard>> {
        let shard = write_lock(&self.shards[index]);
        self.check_open()?;
        Ok(shard)
    }

    fn lock_all(&self) -> Result<Vec<RwLockWriteGuard<'_, Shard>>> {
        (0..SHARDS).map(|index| self.lock(index)).collect()
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }
}

/// Locks a shard, even after a panic under the lock.
///
/// Such a panic is a bug that its caller sees. Every record is whole at any moment, so others may
/// go on: rejecting all later calls would turn one failure into the loss of everything in the
/// store.
fn write_lock(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

fn look_up(shard: &Shard, source: &str, now: i64) -> Option<(Records, Expiry)> {
    let records = shard.records(source, now)?;
    Some((records.clone(), shard.deadlines.get(source)))
}

fn replace(shard: &mut Shard, target: &str, copied: Option<(Records, Expiry)>) {
    match copied {
        Some((records, expiry)) => {
            shard.names.insert(Arc::from(target), records);
            shard.deadlines.set(target, expiry);
        }
        None => shard.remove(target),
    }
}
