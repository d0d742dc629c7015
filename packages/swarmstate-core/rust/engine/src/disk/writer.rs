//! Group commit: concurrent writes share a transaction and its sync.
//!
//! Callers put their jobs into a queue. If there is no leader, the caller becomes the leader: it
//! takes the whole queue, commits it in one transaction, gives every job its result, and hands
//! leadership to the caller of the next job in the queue. So a lone writer commits on its own
//! thread, and no caller commits for others for longer than one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::Connection;

use super::checkpoint::Checkpointer;
use super::failure::{failure, is_damage, is_full, may_spare_others, panicked};
use super::lock;
use super::operation::Operation;
use super::process::OpenFile;
use super::readers::in_transaction;
use super::reclaiming::Leftovers;
use super::transaction::Transaction;
use super::workers::Workers;
use crate::{Error, Result};

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Write operations that were committed.
    pub writes: u64,
    /// Transactions in which they were committed.
    pub commits: u64,
}

/// Number of SQLite virtual machine steps, a few microseconds' worth, between two checks for a
/// waiting write.
const READING_STEPS: i32 = 200;

pub(super) type Done = Box<dyn FnOnce(Result<()>) + Send>;

pub(super) struct Writer {
    path: PathBuf,
    /// None once closed. Used by the leader and, while there is no leader, by one reader, because
    /// its cache holds what was just written. Locked only after `queue` is released.
    connection: Mutex<Option<Connection>>,
    /// Set while a leader waits for `connection`; interrupts a reader that is using it.
    wanted: Arc<AtomicBool>,
    checkpointer: Arc<Checkpointer>,
    queue: Mutex<Queue>,
    /// Notified when there is no leader anymore.
    idle: Condvar,
    /// Leads for callers who must not block.
    background: Workers,
    writes: AtomicU64,
    commits: AtomicU64,
    /// The last field, so that it is dropped after the connection.
    file: Arc<OpenFile>,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// There is a leader, or one was chosen. Jobs stay in the queue only while this is set.
    leading: bool,
    closed: bool,
}

struct Job {
    operation: Operation,
    now: i64,
    caller: Caller,
}

/// Who gets the result of a job.
enum Caller {
    Waiting(Arc<Seat>),
    Notified(Done),
}

/// Where a blocking caller waits for leadership or for its result.
#[derive(Default)]
struct Seat {
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
enum Turn {
    #[default]
    Waiting,
    Lead,
    Done(Result<()>),
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        mut connection: Connection,
        timeout: Duration,
        file: Arc<OpenFile>,
    ) -> rusqlite::Result<Self> {
        let checkpointer =
            Checkpointer::watch(path.clone(), timeout, &mut connection, Arc::clone(&file))?;
        let wanted = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&wanted);
        connection.progress_handler(READING_STEPS, Some(move || stop.load(Ordering::Relaxed)))?;
        Ok(Self {
            path,
            connection: Mutex::new(Some(connection)),
            wanted,
            checkpointer: Arc::new(checkpointer),
            queue: Mutex::default(),
            idle: Condvar::new(),
            background: Workers::new("swarmstate-writer", 1),
            writes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            file,
        })
    }

    /// Runs `read` in a read transaction on the writer's connection.
    ///
    /// Returns None if the connection is in use, if a write needed it before `read` was done, or if
    /// `read` failed: another connection may succeed.
    pub(super) fn read<T>(
        &self,
        read: &mut impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> Option<T> {
        let mut connection = match self.connection.try_lock() {
            Ok(connection) => connection,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        in_transaction(connection.as_mut()?, read).ok()
    }

    /// Runs an operation and waits until it is committed.
    pub(super) fn run(self: &Arc<Self>, operation: Operation, now: i64) -> Result<()> {
        let seat = Arc::new(Seat::default());
        let caller = Caller::Waiting(Arc::clone(&seat));
        let must_lead = self
            .enqueue(Job {
                operation,
                now,
                caller,
            })
            .map_err(|(error, _)| error)?;
        if must_lead {
            self.lead();
        }
        match seat.wait() {
            Some(result) => result,
            None => {
                self.lead();
                // The leader's own job was in the queue that it took.
                seat.wait().unwrap_or(Err(Error::Closed))
            }
        }
    }

    /// Runs an operation and, once it is committed, calls `done` on another thread.
    pub(super) fn submit(self: &Arc<Self>, operation: Operation, now: i64, done: Done) {
        let caller = Caller::Notified(done);
        match self.enqueue(Job {
            operation,
            now,
            caller,
        }) {
            Ok(true) => self.lead_in_background(),
            Ok(false) => {}
            Err((error, job)) => job.caller.finish(Err(error)),
        }
    }

    /// Returns how many operations were committed, and in how many transactions.
    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    /// Copies the log into the file, as far as readers allow.
    pub(super) fn checkpoint(&self) -> Result<()> {
        self.checkpointer.run().map(drop)
    }

    /// Commits queued jobs, then closes the connection. The last connection of a file copies its
    /// log into it.
    pub(super) fn close(&self) -> Result<()> {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        while queue.leading {
            queue = self
                .idle
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        self.background.join();
        self.checkpointer.close();
        match lock(&self.connection).take().map(Connection::close) {
            Some(Err((_, error))) => Err(failure(&self.path, error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Leaks everything without closing it; see [`super::process`].
    pub(super) fn abandon(self: Arc<Self>) {
        std::mem::forget(self);
    }

    /// Makes the disk appear full once the file has this many pages.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        if let Some(connection) = &*lock(&self.connection) {
            let limit = format!("PRAGMA max_page_count = {pages}");
            assert!(connection.query_row(&limit, [], |_| Ok(())).is_ok());
        }
    }

    /// Queues a job and returns whether its caller must lead; gives the job back if closed.
    fn enqueue(&self, job: Job) -> std::result::Result<bool, (Error, Job)> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Err((Error::Closed, job));
        }
        queue.jobs.push(job);
        Ok(!std::mem::replace(&mut queue.leading, true))
    }

    fn lead_in_background(self: &Arc<Self>) {
        let writer = Arc::clone(self);
        self.background.run(Box::new(move || writer.lead()));
    }

    fn lead(self: &Arc<Self>) {
        let jobs = std::mem::take(&mut lock(&self.queue).jobs);
        // A panic rolls the transaction back; it must not leave any caller waiting.
        let results = catch_unwind(AssertUnwindSafe(|| self.commit(&jobs)))
            .unwrap_or_else(|_| vec![Err(panicked(&self.path)); jobs.len()]);
        let mut notified = Vec::new();
        for (job, result) in jobs.into_iter().zip(results) {
            match job.caller {
                Caller::Waiting(seat) => seat.set(Turn::Done(result)),
                Caller::Notified(done) => notified.push((done, result)),
            }
        }
        // Callbacks may be slow; the next transaction does not wait for them.
        self.hand_over();
        for (done, result) in notified {
            // The panic of a callback was printed and must not affect the others.
            let _ = catch_unwind(AssertUnwindSafe(|| done(result)));
        }
    }

    fn hand_over(self: &Arc<Self>) {
        let mut queue = lock(&self.queue);
        match queue.jobs.first().map(|job| &job.caller) {
            Some(Caller::Waiting(seat)) => seat.set(Turn::Lead),
            Some(Caller::Notified(_)) => {
                drop(queue);
                self.lead_in_background();
            }
            None => {
                queue.leading = false;
                drop(queue);
                self.idle.notify_all();
            }
        }
    }

    /// Takes the connection, interrupting a reader that is using it.
    fn take_connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.wanted.store(true, Ordering::Relaxed);
        let connection = lock(&self.connection);
        self.wanted.store(false, Ordering::Relaxed);
        connection
    }

    fn commit(&self, jobs: &[Job]) -> Vec<Result<()>> {
        let mut connection = self.take_connection();
        let Some(connection) = connection.as_mut() else {
            return vec![Err(Error::Closed); jobs.len()];
        };
        if let Err(error) = self.file.check_place_soon() {
            return vec![Err(error); jobs.len()];
        }
        match self.commit_together(connection, jobs) {
            Ok(results) => results,
            // Everything was rolled back, perhaps because of one job; only that job should fail.
            Err(error) if jobs.len() > 1 && may_spare_others(&error) => {
                let alone = |job| self.commit_together(connection, slice::from_ref(job));
                let results = jobs.iter().map(alone);
                results
                    .map(|result| match result {
                        Ok(mut results) => results.pop().unwrap_or(Ok(())),
                        Err(error) => Err(failure(&self.path, error)),
                    })
                    .collect()
            }
            Err(error) => vec![Err(failure(&self.path, error)); jobs.len()],
        }
    }

    /// Commits jobs in one transaction; on an error none of their writes took effect.
    ///
    /// Leftovers of deleted and expired namespaces never prevent a write: they stay if they are
    /// damaged, or while there is no room for deleting them.
    fn commit_together(
        &self,
        connection: &mut Connection,
        jobs: &[Job],
    ) -> rusqlite::Result<Vec<Result<()>>> {
        let mut leftovers = Leftovers::default();
        let answer = self.attempt(connection, jobs, &mut leftovers);
        match (&answer, leftovers) {
            (Err(error), Leftovers::Met(namespace)) if is_damage(error) => {
                self.attempt(connection, jobs, &mut Leftovers::Abandon(namespace))
            }
            (Err(error), _) if is_full(error) && jobs.iter().any(Job::is_wanted) => {
                let answer = self.attempt(connection, jobs, &mut Leftovers::Leave);
                if !answer.as_ref().is_err_and(is_full) {
                    return answer;
                }
                // Once copied, the log starts over in the space it already has.
                let _ = self.checkpoint();
                self.attempt(connection, jobs, &mut Leftovers::Leave)
            }
            _ => answer,
        }
    }

    fn attempt(
        &self,
        connection: &mut Connection,
        jobs: &[Job],
        leftovers: &mut Leftovers,
    ) -> rusqlite::Result<Vec<Result<()>>> {
        let transaction = Transaction::write(connection)?;
        let results = jobs
            .iter()
            .map(|job| job.operation.perform(&transaction, job.now));
        let results = results.collect::<rusqlite::Result<_>>()?;
        if let Some(now) = jobs.iter().map(|job| job.now).max() {
            leftovers.see_to(&transaction, now)?;
        }
        transaction.commit()?;
        self.writes.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.checkpointer.after_commit(connection);
        Ok(results)
    }
}

impl Job {
    /// Returns whether the job does more than reclaim what every transaction reclaims anyway.
    fn is_wanted(&self) -> bool {
        !matches!(self.operation, Operation::Reclaim)
    }
}

impl Caller {
    fn finish(self, result: Result<()>) {
        match self {
            Self::Waiting(seat) => seat.set(Turn::Done(result)),
            Self::Notified(done) => done(result),
        }
    }
}

impl Seat {
    fn set(&self, turn: Turn) {
        *lock(&self.turn) = turn;
        self.changed.notify_one();
    }

    /// Waits for the result, or for leadership, which is None.
    fn wait(&self) -> Option<Result<()>> {
        let mut turn = lock(&self.turn);
        loop {
            match std::mem::take(&mut *turn) {
                Turn::Done(result) => return Some(result),
                Turn::Lead => return None,
                Turn::Waiting => {
                    turn = self
                        .changed
                        .wait(turn)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}
