//! Group commit: writes that are called at the same time share a transaction and its sync.
//!
//! Callers put their jobs into a queue. While nobody leads, the caller becomes the leader: it
//! takes the whole queue, commits it in one transaction, gives every job its result, and hands
//! the lead to the caller of the next job in the queue. A lone writer so commits on its own
//! thread, and nobody commits for others longer than for one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::{Connection, TransactionBehavior};

use super::failure::{failure, panicked};
use super::workers::Workers;
use super::{lock, records};
use crate::plane::{Batch, Expiry};
use crate::{Error, Result};

/// Counts since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Write operations that were committed.
    pub writes: u64,
    /// Transactions they were committed in.
    pub commits: u64,
}

/// What one caller wants written, in one transaction.
pub(super) enum Operation {
    Write(Vec<Batch>),
    Copy {
        source: String,
        target: String,
    },
    Touch(Vec<(String, Expiry)>),
    /// Nothing but what every transaction reclaims of deleted and expired namespaces.
    Reclaim,
    /// Gives back at most this many free pages.
    Vacuum(u32),
}

pub(super) type Done = Box<dyn FnOnce(Result<()>) + Send>;

pub(super) struct Writer {
    path: PathBuf,
    /// Used by the leader only; nothing once closed. Locked after `queue` was released.
    connection: Mutex<Option<Connection>>,
    queue: Mutex<Queue>,
    /// Notified when nobody leads any more.
    idle: Condvar,
    /// Leads for callers who must not block.
    background: Workers,
    writes: AtomicU64,
    commits: AtomicU64,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// Somebody leads, or was told to. Jobs are left in the queue only while this is set.
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

/// Where the thread of a blocking caller waits for its turn or its result.
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
    pub(super) fn new(path: PathBuf, connection: Connection) -> Self {
        Self {
            path,
            connection: Mutex::new(Some(connection)),
            queue: Mutex::default(),
            idle: Condvar::new(),
            background: Workers::new("swarmstate-writer", 1),
            writes: AtomicU64::new(0),
            commits: AtomicU64::new(0),
        }
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

    /// Runs an operation and calls `done` once it is committed, on another thread.
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

    /// How many operations were committed, and in how many transactions.
    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            writes: self.writes.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
        }
    }

    /// Copies what is in the log into the file, as far as readers allow.
    pub(super) fn checkpoint(&self) -> Result<()> {
        match &*lock(&self.connection) {
            Some(connection) => connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
                .map_err(|error| failure(&self.path, error)),
            None => Err(Error::Closed),
        }
    }

    /// Commits what was queued, then closes the connection; the last one to close a file
    /// copies its log into it.
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
        match lock(&self.connection).take().map(Connection::close) {
            Some(Err((_, error))) => Err(failure(&self.path, error)),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Gives up everything without closing it; see [`super::process`].
    pub(super) fn abandon(self: Arc<Self>) {
        std::mem::forget(self);
    }

    /// Makes the disk full at this size of the file.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        if let Some(connection) = &*lock(&self.connection) {
            let limit = format!("PRAGMA max_page_count = {pages}");
            assert!(connection.query_row(&limit, [], |_| Ok(())).is_ok());
        }
    }

    /// Queues a job and tells whether its caller must lead; gives it back if closed.
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
        // A panic rolls the transaction back; nobody may be left waiting because of it.
        let results = catch_unwind(AssertUnwindSafe(|| self.commit(&jobs)))
            .unwrap_or_else(|_| vec![Err(panicked(&self.path)); jobs.len()]);
        let mut notified = Vec::new();
        for (job, result) in jobs.into_iter().zip(results) {
            match job.caller {
                Caller::Waiting(seat) => seat.set(Turn::Done(result)),
                Caller::Notified(done) => notified.push((done, result)),
            }
        }
        // Callbacks may take their time; the next transaction does not wait for them.
        self.hand_over();
        for (done, result) in notified {
            // The panic of one callback was printed, and is no business of the others.
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

    fn commit(&self, jobs: &[Job]) -> Vec<Result<()>> {
        let mut connection = lock(&self.connection);
        let Some(connection) = connection.as_mut() else {
            return vec![Err(Error::Closed); jobs.len()];
        };
        match transact(connection, jobs) {
            Ok(results) => {
                self.writes.fetch_add(jobs.len() as u64, Ordering::Relaxed);
                self.commits.fetch_add(1, Ordering::Relaxed);
                results
            }
            Err(error) => vec![Err(failure(&self.path, error)); jobs.len()],
        }
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

    /// Waits for the result, or for the lead, which is nothing.
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

/// Commits jobs in one transaction; an error means that nothing of any of them was written.
fn transact(connection: &mut Connection, jobs: &[Job]) -> rusqlite::Result<Vec<Result<()>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let results = jobs.iter().map(|job| perform(&transaction, job));
    let results = results.collect::<rusqlite::Result<_>>()?;
    if let Some(now) = jobs.iter().map(|job| job.now).max() {
        records::reclaim(&transaction, now)?;
    }
    transaction.commit()?;
    Ok(results)
}

fn perform(connection: &Connection, job: &Job) -> records::Outcome {
    match &job.operation {
        Operation::Write(batches) => {
            for batch in batches {
                if let Err(conflict) = records::apply(connection, batch, job.now)? {
                    return Ok(Err(conflict));
                }
            }
        }
        Operation::Copy { source, target } => {
            records::copy(connection, source, target, job.now)?;
        }
        Operation::Touch(namespaces) => {
            for (namespace, expiry) in namespaces {
                records::touch(connection, namespace, *expiry, job.now)?;
            }
        }
        Operation::Reclaim => {}
        Operation::Vacuum(pages) => {
            let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = vacuum.query([])?;
            // Each step gives back one page.
            while rows.next()?.is_some() {}
        }
    }
    Ok(Ok(()))
}
