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
        connection.prepare_cached(sql)?.execute([])?;
        Ok(Self { connection })
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
