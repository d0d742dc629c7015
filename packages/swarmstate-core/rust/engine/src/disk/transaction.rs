//! Transactions whose statements are prepared once, unlike those of `rusqlite::Transaction`.

use std::ops::Deref;

use rusqlite::Connection;

/// A transaction that is rolled back when dropped.
pub(super) struct Transaction<'a> {
    connection: &'a Connection,
}

impl<'a> Transaction<'a> {
    /// Begins one that reads, from the view of its first statement.
    ///
    /// Takes the connection whole, since transactions do not nest.
    pub(super) fn read(connection: &'a mut Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN")
    }

    /// Begins one that writes, when nobody else does.
    pub(super) fn write(connection: &'a mut Connection) -> rusqlite::Result<Self> {
        Self::begin(connection, "BEGIN IMMEDIATE")
    }

    fn begin(connection: &'a Connection, sql: &str) -> rusqlite::Result<Self> {
        // Made first: BEGIN can be interrupted when it has begun, and is then to be rolled back.
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
        // It is over after a commit, and after errors that made SQLite roll it back itself.
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
        // A handler that is called every 200 steps meets BEGIN at a step that depends on how
        // often the statement has run; at some it has begun.
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
