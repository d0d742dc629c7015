#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::opening::open_writer;
use super::operation::Operation;
use super::process::OpenFile;
use super::{DiskOptions, DiskStore, Durability};
use crate::{Batch, Error, Expiry, Query, Range, Value};

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("state.db")
    }

    fn store(&self) -> DiskStore {
        DiskStore::open(&self.file(), &DiskOptions::default()).unwrap()
    }

    /// Opens a connection of another user, who inspects or locks the file.
    fn connection(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        self.connection()
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }
}

fn put(namespace: &str, key: &str, value: &[u8]) -> Batch {
    Batch {
        namespace: namespace.into(),
        put: vec![(key.into(), value.into())],
        ..Batch::default()
    }
}

fn get(store: &DiskStore, namespace: &str, key: &str, now: i64) -> Option<Value> {
    let query = Query {
        namespace: namespace.into(),
        keys: vec![key.into()],
        ..Query::default()
    };
    store
        .read(&[query], now)
        .unwrap()
        .remove(0)
        .values
        .remove(0)
}

#[test]
fn records_outlive_the_store() {
    let place = Place::new();
    let store = place.store();
    store.write(vec![put("n", "k", b"v")], 0).unwrap();
    store.close().unwrap();
    assert_eq!(
        std::fs::read_dir(place.directory.path()).unwrap().count(),
        1
    );
    assert_eq!(get(&place.store(), "n", "k", 0).as_deref(), Some(&b"v"[..]));
}

#[test]
fn writes_that_wait_together_share_a_commit() {
    let place = Place::new();
    let store = place.store();
    let other = place.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (sender, results) = mpsc::channel();
    for index in 0..50 {
        let sender = sender.clone();
        store.submit_write(
            vec![put("n", &format!("{index:02}"), b"v")],
            0,
            move |result| {
                sender.send(result).unwrap();
            },
        );
    }
    other.execute_batch("COMMIT").unwrap();
    for _ in 0..50 {
        results.recv().unwrap().unwrap();
    }
    let statistics = store.statistics();
    assert_eq!(statistics.writes, 50);
    // The first job may have been committed alone, and the rest in two parts.
    assert!(statistics.commits <= 3, "{statistics:?}");
}

#[test]
fn a_conflict_fails_its_own_job_only() {
    let place = Place::new();
    let store = place.store();
    let other = place.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (sender, results) = mpsc::channel();
    for index in 0..4 {
        let sender = sender.clone();
        let expect = crate::Expect {
            prefix: String::new(),
            last_key: Some("absent".into()),
        };
        let batch = Batch {
            expect: (index % 2 == 1).then_some(expect),
            ..put(&format!("n{index}"), "k", b"v")
        };
        let first = put("before", &index.to_string(), b"v");
        let after = put("after", &index.to_string(), b"v");
        store.submit_write(vec![first, batch, after], 0, move |result| {
            sender.send((index, result)).unwrap();
        });
    }
    other.execute_batch("COMMIT").unwrap();
    for _ in 0..4 {
        let (index, result) = results.recv().unwrap();
        assert_eq!(
            matches!(result, Err(Error::Conflict(_))),
            index % 2 == 1,
            "{result:?}"
        );
        let key = index.to_string();
        assert!(get(&store, "before", &key, 0).is_some());
        assert_eq!(get(&store, "after", &key, 0).is_some(), index % 2 == 0);
    }
}

#[test]
fn a_lasting_lock_is_an_error_and_the_store_stays_usable() {
    let place = Place::new();
    let options = DiskOptions {
        timeout: Duration::from_millis(20),
        ..DiskOptions::default()
    };
    let store = DiskStore::open(&place.file(), &options).unwrap();
    let other = place.connection();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.write(vec![put("n", "k", b"v")], 0).unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(message) if message.contains("locked")),
        "{error}"
    );
    assert_eq!(get(&store, "n", "k", 0), None);
    other.execute_batch("COMMIT").unwrap();
    store.write(vec![put("n", "k", b"v")], 0).unwrap();
}

#[test]
fn expired_records_are_invisible_at_once_and_reclaimed_in_steps() {
    let place = Place::new();
    let store = place.store();
    let records = (0..1000).map(|index| (format!("{index:04}"), Value::from(&b"v"[..])));
    let large = Batch {
        namespace: "large".into(),
        put: records.collect(),
        expiry: Some(Expiry::At(100)),
        ..Batch::default()
    };
    store.write(vec![large], 0).unwrap();
    assert!(get(&store, "large", "0000", 99).is_some());
    assert!(get(&store, "large", "0000", 100).is_none());
    assert!(store.namespaces("", None, None, 100).unwrap().is_empty());

    store.write(vec![put("large", "new", b"v")], 100).unwrap();
    let left = place.number("SELECT count(*) FROM record");
    assert!(
        left > 500,
        "one write reclaimed nearly everything: {left} records left"
    );
    for _ in 0..3 {
        store.write(vec![put("large", "new", b"v")], 100).unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM record"), 1);
    assert_eq!(place.number("SELECT count(*) FROM namespace"), 1);
    let query = Query {
        namespace: "large".into(),
        ranges: vec![Range::default()],
        ..Query::default()
    };
    assert_eq!(store.read(&[query], 100).unwrap()[0].ranges[0].len(), 1);
}

#[test]
fn many_deleted_records_are_invisible_at_once_and_reclaimed_in_steps() {
    let place = Place::new();
    let store = place.store();
    let keys: Vec<String> = (0..1000).map(|index| format!("{index:04}")).collect();
    let records = keys.iter().map(|key| (key.clone(), vec![7; 1000].into()));
    let all = Batch {
        namespace: "n".into(),
        put: records.collect(),
        ..Batch::default()
    };
    store.write(vec![all], 0).unwrap();
    let deletion = Batch {
        delete: keys[1..].to_vec(),
        ..put("n", "0500", b"new")
    };
    store.write(vec![deletion], 0).unwrap();
    assert_eq!(get(&store, "n", "0001", 0), None);
    assert_eq!(get(&store, "n", "0500", 0), Some(b"new"[..].into()));
    assert_eq!(store.namespaces("", None, None, 0).unwrap(), ["n"]);
    let left = place.number("SELECT count(*) FROM large_value");
    assert!(
        left > 500,
        "one write deleted nearly everything: {left} values left"
    );
    for _ in 0..3 {
        store.write(vec![put("n", "0500", b"new")], 0).unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM large_value"), 1);
    assert_eq!(place.number("SELECT count(*) FROM record"), 2);
    assert_eq!(place.number("SELECT count(*) FROM namespace"), 1);
}

#[test]
fn a_namespace_without_records_is_gone_with_its_expiry() {
    let place = Place::new();
    let store = place.store();
    let expiring = Batch {
        expiry: Some(Expiry::At(100)),
        ..put("n", "k", b"v")
    };
    let emptied = Batch {
        namespace: "n".into(),
        delete: vec!["k".into()],
        ..Batch::default()
    };
    store.write(vec![expiring, emptied], 0).unwrap();
    assert_eq!(place.number("SELECT count(*) FROM namespace"), 0);
    store.write(vec![put("n", "k", b"v")], 0).unwrap();
    assert!(get(&store, "n", "k", 100).is_some());
}

#[test]
fn vacuum_gives_space_back() {
    let place = Place::new();
    let store = place.store();
    let value = vec![7; 100_000];
    for index in 0..40 {
        store
            .write(vec![put("n", &index.to_string(), &value)], 0)
            .unwrap();
    }
    store
        .write(
            vec![Batch {
                namespace: "n".into(),
                clear: true,
                ..Batch::default()
            }],
            0,
        )
        .unwrap();
    let given_back = store.vacuum(Some(10), 0).unwrap();
    assert_eq!(given_back, 10 * 8192);
    assert!(store.vacuum(None, 0).unwrap() > 3_500_000);
    assert!(std::fs::metadata(place.file()).unwrap().len() < 100_000);
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let place = Place::new();
    let store = place.store();
    store.write(vec![put("n", "kept", b"v")], 0).unwrap();
    store.limit_pages(20);
    let large = put("n", "large", &vec![7; 1_000_000]);
    let error = store
        .write(vec![put("n", "lost", b"v"), large.clone()], 0)
        .unwrap_err();
    let file = place.file().canonicalize().unwrap();
    assert!(
        matches!(&error, Error::Unavailable(message)
        if message.contains("full") && message.contains(file.to_str().unwrap())),
        "{error}"
    );
    assert!(get(&store, "n", "lost", 0).is_none());
    store.limit_pages(100_000);
    store.write(vec![large], 0).unwrap();
    assert!(get(&store, "n", "kept", 0).is_some());
    let check: String = place
        .connection()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn what_cannot_be_stored_or_is_damaged_fails_alone() {
    let place = Place::new();
    let store = place.store();
    store.limit_pages(100);
    store.write(vec![put("n", "text", b"v")], 0).unwrap();
    let other = place.connection();
    other
        .execute_batch("UPDATE record SET value = 'text'; BEGIN IMMEDIATE")
        .unwrap();
    let (sender, results) = mpsc::channel();
    for index in 0..9 {
        let sender = sender.clone();
        let length = if index % 3 == 2 { 1_000_000 } else { 1 };
        let mut batch = put("n", &index.to_string(), &vec![7; length]);
        if index % 3 == 1 {
            batch.expect_values = vec![("text".into(), None)];
        }
        store.submit_write(vec![batch], 0, move |result| {
            sender.send((index, result)).unwrap();
        });
    }
    other.execute_batch("COMMIT").unwrap();
    for _ in 0..9 {
        let (index, result) = results.recv().unwrap();
        assert_eq!(result.is_err(), index % 3 > 0, "{index}: {result:?}");
        let stored = get(&store, "n", &index.to_string(), 0).is_some();
        assert_eq!(stored, result.is_ok());
    }
    assert_eq!(store.statistics().writes, 1 + 3);
}

#[test]
fn a_closed_store_answers_with_an_error() {
    let place = Place::new();
    let store = place.store();
    store.close().unwrap();
    store.close().unwrap();
    assert_eq!(store.write(vec![], 0), Err(Error::Closed));
    assert_eq!(store.read(&[], 0).unwrap_err(), Error::Closed);
    let (sender, results) = mpsc::channel();
    store.submit_write(vec![], 0, move |result| sender.send(result).unwrap());
    assert_eq!(results.recv().unwrap(), Err(Error::Closed));
}

#[test]
fn closing_finishes_what_was_submitted() {
    let place = Place::new();
    let store = place.store();
    let (sender, results) = mpsc::channel();
    for index in 0..100 {
        let sender = sender.clone();
        let batch = put("n", &index.to_string(), b"v");
        store.submit_write(vec![batch], 0, move |result| sender.send(result).unwrap());
    }
    store.close().unwrap();
    drop(sender);
    assert_eq!(results.iter().filter(Result::is_ok).count(), 100);
}

#[test]
fn a_callback_that_panics_stops_nobody() {
    let place = Place::new();
    let store = place.store();
    let (sender, results) = mpsc::channel();
    for index in 0..10 {
        let sender = sender.clone();
        let done = move |result| {
            assert!(index % 2 == 1, "thrown by the test");
            sender.send(result).unwrap();
        };
        store.submit_write(vec![put("n", &index.to_string(), b"v")], 0, done);
    }
    drop(sender);
    assert_eq!(results.iter().filter(Result::is_ok).count(), 5);
    store.write(vec![put("n", "last", b"v")], 0).unwrap();
    store.close().unwrap();
    assert_eq!(place.number("SELECT count(*) FROM record"), 11);
}

#[test]
fn the_log_stays_short_beside_a_busy_writer() {
    let place = Place::new();
    let options = DiskOptions {
        durability: Durability::Normal,
        ..DiskOptions::default()
    };
    let store = DiskStore::open(&place.file(), &options).unwrap();
    let value = vec![7; 40_000];
    for index in 0..2000 {
        store
            .write(vec![put("n", &format!("{index:04}"), &value)], 0)
            .unwrap();
    }
    let log = std::fs::metadata(place.file().with_extension("db-wal")).unwrap();
    assert!(log.len() < 40_000_000, "{} bytes of log", log.len());
    assert_eq!(place.number("SELECT count(*) FROM record"), 2000);
}

#[test]
fn a_write_stops_a_read_on_its_connection() {
    const ENDLESS: &str = "WITH RECURSIVE number (n) AS
        (SELECT 1 UNION ALL SELECT n + 1 FROM number) SELECT count(*) FROM number";
    let place = Place::new();
    let path = place.file();
    let file = Arc::new(OpenFile::register(&path, || Ok(())).unwrap());
    let writer = open_writer(&path, &DiskOptions::default(), file).unwrap();
    let writer = Arc::new(writer.unwrap());
    let (sender, started) = mpsc::channel();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            writer.read(&mut |connection| {
                sender.send(()).unwrap();
                connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))
            })
        });
        started.recv().unwrap();
        let batches = vec![put("n", "k", b"v")];
        writer.run(Operation::Write(batches), 0).unwrap();
        assert_eq!(reader.join().unwrap(), None);
    });
    let count = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM record", [], |row| {
            row.get::<_, i64>(0)
        })
    };
    assert_eq!(writer.read(&mut { count }), Some(1));
    writer.close().unwrap();
}
