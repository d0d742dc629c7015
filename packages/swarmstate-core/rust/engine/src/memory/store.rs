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

/// A write removes at most this many expired namespaces of its shard, which bounds its latency
/// and still removes them faster than writes can create them.
const SWEEP_LIMIT: usize = 8;

/// After this many writes to a shard the next shard is swept too, so that shards that nobody
/// writes to give their memory back.
const SWEEP_OTHER_EVERY: u32 = 32;

/// A store of records in memory.
///
/// Time comes from the caller: `now` is in milliseconds since the Unix epoch
/// and decides which namespaces have expired.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// Lock order: by index, ascending. Nothing that can block or call out
    /// of this module runs under a lock.
    shards: [RwLock<Shard>; SHARDS],
    /// Checked under a shard's lock. `close` sets it before it empties the
    /// shards, so nothing can enter a shard that was emptied.
    closed: AtomicBool,
    /// The id of the newest snapshot; changed only under all locks.
    last_snapshot: AtomicU64,
    /// Whether any namespace was ever given a deadline.
    has_deadlines: AtomicBool,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells whether `now` matters: until a namespace has been given a deadline it does not,
    /// and callers may save themselves looking at a clock.
    #[must_use]
    pub fn needs_time(&self) -> bool {
        self.has_deadlines.load(Ordering::Relaxed)
    }

    /// Answers queries in their order.
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
        // The lock is gone: the answer is built from a view of its own.
        Ok(answer(query, found))
    }

    /// Applies batches in their order, each atomically.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an expectation did not hold: that batch and those
    /// after it were not applied. [`Error::Closed`].
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

    /// Writes one record; `expiry` becomes that of the namespace if given.
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

    /// Deletes one record and tells whether it was there.
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

    /// Returns how many records there are.
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

    /// Makes `target` hold exactly the records of `source`, and expire when it does; O(1).
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
        // Both locks are held until the end: nobody sees a source and a target of different times.
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
        // A snapshot knows no deadlines, so what has expired must be gone. Each
        // namespace is removed once: the cost belongs to the writes that made it.
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

    /// Makes the store hold exactly the records of `snapshot`, none of which expires; O(1).
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
        // Freeing the old records takes time in proportion to them, so it comes after the locks.
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

    /// Gives all memory back; every later call fails. Closing twice is fine.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for shard in &self.shards {
            *write_lock(shard) = Shard::default();
        }
    }

    /// Remembers that there are deadlines, before there is one.
    fn note(&self, expiry: Expiry) {
        if let Expiry::At(_) = expiry {
            self.has_deadlines.store(true, Ordering::Relaxed);
        }
    }

    /// Runs a change on the shard of a namespace, and the sweeping that pays for expiry.
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

/// Locks a shard, also after a panic under the lock.
///
/// Such a panic is a bug that its caller gets to see. Every record is whole at
/// any moment, so the others may go on: refusing all of them from then on would
/// turn one failed call into the loss of everything the store holds.
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
