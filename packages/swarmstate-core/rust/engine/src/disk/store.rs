//! The store: opening, closing and its operations.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use super::failure::{read_only, undeletable};
use super::opening::{DiskOptions, locate, open_writer};
use super::operation::Operation;
use super::process::OpenFile;
use super::readers::Readers;
use super::workers::Workers;
use super::writer::{Statistics, Writer};
use super::{reading, reclaiming, schema};
use crate::plane::{Answer, Batch, Query};
use crate::{Error, Result};

/// Number of threads that answer queries for callers who must not block.
const READING_THREADS: usize = 4;

/// Free pages given back in one transaction, about half a megabyte.
const VACUUMED_PAGES: u32 = 64;

/// A store of records in one SQLite file.
///
/// Any number of threads and processes may use the file at once, and all see each other's
/// records as soon as they are committed. Time comes from the caller: `now` is in milliseconds
/// since the Unix epoch.
///
/// ```
/// use swarmstate_engine::{Batch, DiskOptions, DiskStore, Query};
///
/// let directory = tempfile::tempdir()?;
/// let store = DiskStore::open(&directory.path().join("state.db"), &DiskOptions::default())?;
/// let value = b"value"[..].into();
/// let batch = Batch { namespace: "n".into(), put: vec![("k".into(), value)], ..Batch::default() };
/// store.write(vec![batch], 0)?;
/// let query = Query { namespace: "n".into(), keys: vec!["k".into()], ..Query::default() };
/// assert_eq!(store.read(&[query], 0)?[0].values[0].as_deref(), Some(&b"value"[..]));
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DiskStore {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    /// None if the file can only be read.
    writer: Option<Arc<Writer>>,
    readers: Readers,
    /// Answer queries for callers who must not block.
    workers: Workers,
    closed: AtomicBool,
    /// The last field, so that it is dropped after the connections.
    file: Arc<OpenFile>,
}

impl DiskStore {
    /// Opens the store in the file at `path`, creating it if it does not exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file cannot be opened or created. [`Error::Format`] if it is
    /// not a swarmstate database, is damaged or has a newer format; it is then left unchanged.
    pub fn open(path: &Path, options: &DiskOptions) -> Result<Self> {
        let path = locate(path)?;
        let file = Arc::new(OpenFile::register(&path, || schema::inspect(&path))?);
        let timeout = options.timeout;
        let writer = open_writer(&path, options, Arc::clone(&file))?;
        let readers = Readers::new(&path, Arc::clone(&file), timeout, writer.is_some());
        if writer.is_none() {
            readers.read(|connection| schema::check_readable(&path, connection))??;
        }
        let writer = writer.map(Arc::new);
        let workers = Workers::new("swarmstate-reader", READING_THREADS);
        let inner = Inner {
            path,
            writer,
            readers,
            workers,
            closed: AtomicBool::new(false),
            file,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the absolute path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Answers queries, all from one consistent view.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] if a query sets an expiry and the file can only be read.
    pub fn read(&self, queries: &[Query], now: i64) -> Result<Vec<Answer>> {
        self.inner.check()?;
        self.inner.read(queries, now)
    }

    /// Like [`read`](Self::read), but on another thread, where `done` is called.
    pub fn submit_read(
        &self,
        queries: Vec<Query>,
        now: i64,
        done: impl FnOnce(Result<Vec<Answer>>) + Send + 'static,
    ) {
        self.submit(move |inner| inner.read(&queries, now), done);
    }

    /// Applies batches in order, each atomically, and waits until they are durable.
    ///
    /// # Errors
    /// [`Error::Conflict`] if an expectation did not hold: that batch and those after it were not
    /// applied, those before it were. After any other error nothing was applied.
    pub fn write(&self, batches: Vec<Batch>, now: i64) -> Result<()> {
        self.inner.check()?;
        self.inner.writer()?.run(Operation::Write(batches), now)
    }

    /// Like [`write`](Self::write), but on another thread, where `done` is called.
    pub fn submit_write(
        &self,
        batches: Vec<Batch>,
        now: i64,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        self.submit_operation(Operation::Write(batches), now, done);
    }

    /// Returns the namespaces that start with `prefix` and are greater than `after`, in order.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn namespaces(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
        now: i64,
    ) -> Result<Vec<String>> {
        self.inner.check()?;
        self.inner.namespaces(prefix, after, limit, now)
    }

    /// Like [`namespaces`](Self::namespaces), but on another thread, where `done` is called.
    pub fn submit_namespaces(
        &self,
        prefix: String,
        after: Option<String>,
        limit: Option<usize>,
        now: i64,
        done: impl FnOnce(Result<Vec<String>>) + Send + 'static,
    ) {
        self.submit(
            move |inner| inner.namespaces(&prefix, after.as_deref(), limit, now),
            done,
        );
    }

    /// Makes `target` hold exactly the records of `source`, with the same expiry, atomically.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), except conflicts.
    pub fn copy(&self, source: String, target: String, now: i64) -> Result<()> {
        self.inner.check()?;
        self.inner
            .writer()?
            .run(Operation::Copy { source, target }, now)
    }

    /// Like [`copy`](Self::copy), but on another thread, where `done` is called.
    pub fn submit_copy(
        &self,
        source: String,
        target: String,
        now: i64,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        self.submit_operation(Operation::Copy { source, target }, now, done);
    }

    /// Returns free pages to the file system after reclaiming all deleted and expired namespaces.
    /// Gives back at most `max_pages`, or all free pages if there is no limit.
    ///
    /// Works in steps of a few milliseconds, between which others can write.
    ///
    /// Returns the bytes by which the file shrank; 0 while a reader still uses the old pages.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), except conflicts. [`Error::Format`] if a deleted namespace
    /// is damaged and therefore still there; all other space was given back.
    pub fn vacuum(&self, max_pages: Option<u32>, now: i64) -> Result<u64> {
        self.inner.check()?;
        let writer = self.inner.writer()?;
        let length = || std::fs::metadata(&self.inner.path).map_or(0, |metadata| metadata.len());
        writer.checkpoint()?;
        let before = length();
        while self
            .inner
            .readers
            .read(|connection| reclaiming::has_reclaimable(connection, now))?
        {
            writer.run(Operation::Reclaim, now)?;
        }
        let free: u32 = self.inner.readers.read(|connection| {
            connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
        })?;
        let mut left = max_pages.unwrap_or(free).min(free);
        while left > 0 {
            let pages = left.min(VACUUMED_PAGES);
            writer.run(Operation::Vacuum(pages), now)?;
            left -= pages;
        }
        writer.checkpoint()?;
        if self.inner.readers.read(reclaiming::has_abandoned)? {
            return Err(undeletable(&self.inner.path));
        }
        Ok(before.saturating_sub(length()))
    }

    /// Returns how much was written since the store was opened.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.inner
            .writer
            .as_ref()
            .map_or_else(Statistics::default, |writer| writer.statistics())
    }

    /// Finishes pending operations, ends all threads and closes the file. Closing twice is fine.
    ///
    /// Must not be called from a `done` callback.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file could not be closed; acknowledged writes are safe.
    pub fn close(&self) -> Result<()> {
        let inner = &self.inner;
        if inner.file.is_foreign() || inner.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        inner.workers.join();
        inner.readers.close();
        // The last connection to close copies the log into the file, which readers cannot do.
        let closed = inner
            .writer
            .as_ref()
            .map_or(Ok(()), |writer| writer.close());
        inner.file.release();
        closed
    }

    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: u32) {
        if let Some(writer) = &self.inner.writer {
            writer.limit_pages(pages);
        }
    }

    fn submit<T: 'static>(
        &self,
        task: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
        done: impl FnOnce(Result<T>) + Send + 'static,
    ) {
        if let Err(error) = self.inner.check() {
            return done(Err(error));
        }
        let inner = Arc::clone(&self.inner);
        self.inner.workers.run(Box::new(move || done(task(&inner))));
    }

    fn submit_operation(
        &self,
        operation: Operation,
        now: i64,
        done: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        match self.inner.check().and_then(|()| self.inner.writer()) {
            Ok(writer) => writer.submit(operation, now, Box::new(done)),
            Err(error) => done(Err(error)),
        }
    }
}

impl Inner {
    fn check(&self) -> Result<()> {
        self.file.check()?;
        if self.closed.load(Ordering::SeqCst) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    fn writer(&self) -> Result<&Arc<Writer>> {
        self.writer.as_ref().ok_or_else(|| read_only(&self.path))
    }

    fn read(&self, queries: &[Query], now: i64) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(queries.len());
        let mut rest = queries;
        loop {
            let (together, later) = rest.split_at(touchable_together(rest));
            answers.extend(self.read_together(together, now)?);
            if later.is_empty() {
                return Ok(answers);
            }
            rest = later;
        }
    }

    /// Sets the expiries that the queries ask for, then answers them.
    fn read_together(&self, queries: &[Query], now: i64) -> Result<Vec<Answer>> {
        let touched = queries
            .iter()
            .filter_map(|query| Some((&query.namespace, query.expiry?)));
        let touched: Vec<_> = touched
            .map(|(name, expiry)| (name.clone(), expiry))
            .collect();
        if !touched.is_empty() {
            self.writer()?.run(Operation::Touch(touched), now)?;
        }
        self.view(|connection| {
            queries
                .iter()
                .map(|query| reading::answer(connection, query, now))
                .collect()
        })
    }

    fn namespaces(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
        now: i64,
    ) -> Result<Vec<String>> {
        self.view(|connection| reading::namespaces(connection, prefix, after, limit, now))
    }

    /// Reads from one consistent view; `read` may be run again.
    fn view<T>(&self, mut read: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let warm = self
            .writer
            .as_ref()
            .and_then(|writer| writer.read(&mut read));
        match warm {
            Some(answer) => Ok(answer),
            None => self.readers.read(read),
        }
    }
}

/// Returns how many leading queries can be answered after setting all their expiries: a query must
/// be answered before a later one sets the expiry of the same namespace.
fn touchable_together(queries: &[Query]) -> usize {
    if queries.iter().all(|query| query.expiry.is_none()) {
        return queries.len();
    }
    let mut named = HashSet::new();
    let again = queries.iter().position(|query| {
        let is_new = named.insert(query.namespace.as_str());
        !is_new && query.expiry.is_some()
    });
    again.unwrap_or(queries.len())
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.file.is_foreign() {
            self.readers.abandon();
            if let Some(writer) = self.writer.take() {
                writer.abandon();
            }
        }
    }
}
