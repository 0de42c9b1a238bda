//! deskload's own account of the rows, read from a copy of its journal.
//!
//! From a copy, because opening the journal itself would recover its write-ahead log before deskload can. Read
//! without deskload's code, which is what is on trial.

use std::fs;
use std::path::Path;

use deskload::journal::state::State;
use rusqlite::Connection;

use crate::breach::Breach;

/// How the one run of a round stands.
pub(crate) struct Account {
    /// Each row's state; `None` if it has no entry, which is pending.
    pub(crate) states: Vec<Option<State>>,
    pub(crate) attempts: u64,
    cursor: usize,
    /// The run's counters: applied, failed, invalid, in doubt, skipped.
    counters: [usize; 5],
    runs: usize,
}

const COUNTED: [State; 5] = [State::Applied, State::Failed, State::Invalid, State::InDoubt, State::Skipped];

impl Account {
    /// Reads it; `None` if there is no run yet. `copy` is a folder that may be overwritten.
    pub(crate) fn read(state: &Path, copy: &Path) -> Result<Option<Self>, Breach> {
        let _ = fs::remove_dir_all(copy);
        fs::create_dir(copy).unwrap();
        for entry in fs::read_dir(state).into_iter().flatten().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            // The index of the log is made anew from the log.
            if name.starts_with("journal.sqlite3") && !name.ends_with("-shm") && entry.path().is_file() {
                fs::copy(entry.path(), copy.join(name)).unwrap();
            }
        }
        let path = copy.join("journal.sqlite3");
        if !path.exists() {
            return Ok(None);
        }
        read(&Connection::open(path).unwrap())
            .map_err(|error| Breach::other(format!("the journal cannot be read: {error}")))
    }

    /// Rows in a state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.states.iter().filter(|is| **is == Some(state)).count()
    }

    /// Rows that are still to be sent.
    pub(crate) fn pending(&self) -> usize {
        self.states
            .iter()
            .filter(|state| matches!(state, None | Some(State::Pending | State::Sending)))
            .count()
    }

    /// The indexes of rows in one of these states.
    pub(crate) fn in_states(&self, wanted: &[State]) -> Vec<usize> {
        let is_wanted = |state: &Option<State>| state.is_some_and(|state| wanted.contains(&state));
        (0..self.states.len()).filter(|index| is_wanted(&self.states[*index])).collect()
    }

    /// Whether it agrees with itself.
    pub(crate) fn is_sound(&self) -> Result<(), Breach> {
        if self.runs != 1 {
            return Err(Breach::other(format!("one input has become {} runs", self.runs)));
        }
        let found = COUNTED.map(|state| self.count(state));
        if found != self.counters {
            return Err(Breach::other(format!(
                "the run counts {:?} ({COUNTED:?}) and has {found:?}",
                self.counters
            )));
        }
        match self.states.iter().take(self.cursor - 1).position(Option::is_none) {
            None => Ok(()),
            Some(index) => {
                Err(Breach::lost(format!("row {} is below the cursor and has no entry", index + 1)))
            }
        }
    }
}

fn read(journal: &Connection) -> rusqlite::Result<Option<Account>> {
    let tables: u64 =
        journal.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'run'", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(None);
    }
    let whole: String = journal.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    if whole != "ok" {
        return Err(rusqlite::Error::InvalidColumnName(whole));
    }
    let runs = journal.query_row("SELECT count(*) FROM run", [], |row| row.get(0))?;
    if runs == 0 {
        return Ok(None);
    }
    let (mut account, rows) = journal.query_row(
        "SELECT applied, failed, invalid, in_doubt, skipped, attempts, cursor, rows FROM run WHERE key_before = 0",
        [],
        |row| {
            let counters = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            let account =
                Account { states: Vec::new(), attempts: row.get(5)?, cursor: row.get(6)?, counters, runs };
            Ok((account, row.get(7)?))
        },
    )?;
    account.states.resize(rows, None);
    let mut statement = journal.prepare("SELECT key, state FROM row")?;
    let mut entries = statement.query([])?;
    while let Some(entry) = entries.next()? {
        let key: usize = entry.get(0)?;
        account.states[key - 1] = State::from_code(entry.get(1)?);
    }
    Ok(Some(account))
}
