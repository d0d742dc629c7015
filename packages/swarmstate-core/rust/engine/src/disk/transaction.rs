//! Transactions with cached statements, unlike those of `rusqlite::Transaction`.

use std::ops::Deref;

use rusqlite::Connection;

/// A transaction that is rolled back when dropped.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
}

impl<'a> Transaction<'a> {
    /// Begins a read transaction; its first statement determines the view.
    ///
    /// Borrows the connection mutably, since transactions do not nest.
    pub(super) fn read(connection: &'a mut Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN")
    }

    /// Begins a write transaction, once nobody else is writing.
    pub(super) fn write(connection: &'a mut Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN IMMEDIATE")
    }

    fn begin(connection: &'a Connection, sql: &str) -> rusqlite::Result<Self> {
        // Created first: BEGIN can be interrupted after it took effect, and must then be rolled
        // back.
        let transaction = Self { connection };
        connection.prepare_cached(sql)?.execute([])?;
        Ok(transaction)
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // The transaction is over after a commit, or after an error that made SQLite roll it back.
        if !self.connection.is_autocommit() {
            // Fails only if SQLite was faster; the connection is sound either way.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_begin_that_is_interrupted_leaves_no_transaction_behind() {
        let mut interrupted = 0;
        // A handler called every 200 steps hits BEGIN at a step that depends on how often the
        // statement has run; at some of those steps the transaction has begun.
        for runs_before in 0..250 {
            let mut connection = Connection::open_in_memory().unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            connection
                .progress_handler(200, Some(move || stopped.load(Ordering::Relaxed)))
                .unwrap();
            for _ in 0..runs_before {
                Transaction::read(&mut connection)
                    .unwrap()
                    .commit()
                    .unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            interrupted += usize::from(Transaction::read(&mut connection).is_err());
            assert!(connection.is_autocommit(), "after {runs_before} runs");
        }
        assert!(interrupted > 0);
    }
}
