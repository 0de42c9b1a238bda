//! The journal's file as SQLite alone reads it, apart from the program's own reading.
//!
//! A copy is read, so that what a killed program left stays as it was.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use tempfile::TempDir;

/// As the journal writes a row that is on its way.
pub(crate) const SENDING: i64 = 0;

/// A copy of the journal and its write-ahead log, and a connection to it.
struct Copy(Connection, #[expect(dead_code, reason = "held until it is read")] TempDir);

impl Copy {
    fn of(journal: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for ending in ["", "-wal", "-journal"] {
            let name = |path: &Path| PathBuf::from(format!("{}{ending}", path.display()));
            match fs::copy(name(journal), name(&folder.path().join("journal"))) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
        Self(Connection::open(folder.path().join("journal")).unwrap(), folder)
    }
}

/// Takes the journal's lock for writing, and keeps whoever wants to commit waiting until it is dropped.
pub(crate) fn lock(journal: &Path) -> Connection {
    let conn = Connection::open(journal).unwrap();
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    conn
}

/// Holds the only account of this folder, as a process at work does, until it is dropped.
pub(crate) fn lock_account(accounts: &Path) -> fs::File {
    let mut files = fs::read_dir(accounts).unwrap();
    let file = fs::File::open(files.next().unwrap().unwrap().path()).unwrap();
    assert!(files.next().is_none(), "one account");
    file.lock().unwrap();
    file
}

/// How the rows of the first run stand, by their numbers; those that were never admitted are not there. None are
/// while the file is not made yet.
pub(crate) fn states(journal: &Path) -> BTreeMap<u64, i64> {
    let Copy(conn, _) = &Copy::of(journal);
    if !conn.table_exists(None, "row").unwrap() {
        return BTreeMap::new();
    }
    let mut rows = conn.prepare("SELECT key, state FROM row").unwrap();
    let states = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    states.map(Result::unwrap).collect()
}

/// The rows of the first run in this state.
pub(crate) fn rows_in(journal: &Path, state: i64) -> Vec<u64> {
    states(journal).into_iter().filter(|(_, other)| *other == state).map(|(row, _)| row).collect()
}

/// One number of the first run.
pub(crate) fn number(journal: &Path, column: &str) -> i64 {
    let select = format!("SELECT {column} FROM run WHERE id = 1");
    Copy::of(journal).0.query_row(&select, [], |row| row.get(0)).unwrap()
}

/// Everything that is in these tables.
pub(crate) fn dump(journal: &Path, tables: &[&str]) -> Vec<(String, Vec<Value>)> {
    let Copy(conn, _) = &Copy::of(journal);
    let mut all = Vec::new();
    for table in tables {
        let mut select = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = select.column_count();
        let rows = select.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
        all.extend(rows.map(|row| ((*table).to_owned(), row.unwrap())));
    }
    all
}
