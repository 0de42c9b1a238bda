//! What happens to rows while nothing is being sent: recovery at a start, and a person's word.
//!
//! Each is one transaction. Whoever calls these holds the account, so that no row here can be on its way.

use std::ops::RangeInclusive;

use rusqlite::{Transaction, TransactionBehavior, params};

use super::Journal;
use super::runs::{DeskId, Run, RunKey};
use super::schema::OPEN;
use super::state::{Note, Reason, State};
use super::transitions::{Tally, detail};
use super::twins::{self, Twins};
use crate::error::Error;

/// What a person says about rows in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The desk has it.
    Applied,
    /// Send it again.
    Resend,
    /// Leave it.
    Skip,
}

impl Word {
    pub(super) const fn state(self) -> State {
        match self {
            Self::Applied => State::Applied,
            Self::Resend => State::Pending,
            Self::Skip => State::Skipped,
        }
    }

    /// What stands in the row's entry from then on.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Applied => "a person said that the desk has it",
            Self::Resend => "a person asked to send it again",
            Self::Skip => "a person said to leave it",
        }
    }
}

/// What a word has settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Rows that were in doubt.
    pub rows: u64,
    /// Rows of newer runs that waited for these, and were skipped with them.
    pub twins: Vec<Twins>,
}

impl Journal {
    /// Finds the rows of a desk that were on their way when the process before this one died, and puts them
    /// in doubt. Gives their number. Doing it twice changes nothing more.
    pub fn recover(&mut self, desk: &DeskId) -> Result<u64, Error> {
        let runs: Vec<RunKey> =
            self.runs()?.into_iter().filter(|run| run.desk == *desk).map(|run| run.key).collect();
        let failed = self.explain("write");
        let recover = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut found = 0;
            for run in runs {
                found += recover_run(&tx, run)?;
            }
            tx.commit()?;
            Ok(found)
        };
        recover(&mut self.conn).map_err(failed)
    }

    /// Settles rows in doubt by a person's word, and with [`Word::Applied`] what waits for them elsewhere ([`twins`]).
    /// `rows` are inclusive ranges; `None` means all of them. A range that names a row which is not in doubt settles
    /// nothing.
    pub fn resolve(&mut self, run: &Run, word: Word, rows: Option<&[(u64, u64)]>) -> Result<Resolved, Error> {
        let all = [(1, run.counts.rows)];
        let ranges = rows.unwrap_or(&all);
        let failed = self.explain("write");
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let mut settled = Vec::new();
        for (first, last) in ranges {
            // The keys beyond the run's own are the next run's, and a number can be too large for a key.
            let end = run.counts.rows;
            let (low, high) = ((*first).clamp(1, end + 1), (*last).min(end));
            let found = in_state(&tx, run.key, State::InDoubt, low, high).map_err(&failed)?;
            let odd = missing(*first..=*last, found.iter().map(|key| run.key.row(*key)));
            if let Some(odd) = odd.filter(|_| rows.is_some()) {
                return Err(Error::Usage(format!(
                    "row {odd} of run {} is not in doubt, so nothing was settled; in-doubt.csv lists those that are",
                    run.key.id
                )));
            }
            for key in found {
                say(&tx, key, word).map_err(&failed)?;
                settled.push(key);
            }
        }
        let mut tally = Tally::default();
        tally.moved(State::InDoubt, word.state(), i64::try_from(settled.len()).unwrap_or(i64::MAX));
        tally.write(&tx, run.key.id).map_err(&failed)?;
        let twins = match word {
            Word::Applied => twins::skip(&tx, run.key, &settled).map_err(&failed)?,
            Word::Resend | Word::Skip => Vec::new(),
        };
        tx.commit().map_err(&failed)?;
        Ok(Resolved { rows: settled.len() as u64, twins })
    }
}

impl Journal {
    /// Makes the failed rows of a run pending again. Gives their number.
    pub fn retry(&mut self, run: &Run) -> Result<u64, Error> {
        let retry = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let keys = in_state(&tx, run.key, State::Failed, 1, run.counts.rows)?;
            for key in &keys {
                tx.execute("UPDATE row SET state = ?2 WHERE key = ?1", params![key, State::Pending.code()])?;
                tx.execute("UPDATE detail SET retried = 1 WHERE key = ?1", [key])?;
            }
            let mut tally = Tally::default();
            tally.moved(State::Failed, State::Pending, i64::try_from(keys.len()).unwrap_or(i64::MAX));
            tally.write(&tx, run.key.id)?;
            tx.commit()?;
            Ok(keys.len() as u64)
        };
        retry(&mut self.conn).map_err(self.explain("write"))
    }
}

fn recover_run(tx: &Transaction<'_>, run: RunKey) -> rusqlite::Result<u64> {
    let rows: i64 = tx.query_row("SELECT rows FROM run WHERE id = ?1", [run.id], |row| row.get(0))?;
    let keys = in_state(tx, run, State::Sending, 1, rows.unsigned_abs())?;
    let note = Note {
        reason: Reason::Interrupted,
        message: "the process ended before the desk's answer was recorded".to_owned(),
        http_status: None,
    };
    for key in &keys {
        tx.execute("UPDATE row SET state = ?2 WHERE key = ?1", params![key, State::InDoubt.code()])?;
        let before: u32 =
            tx.query_row("SELECT coalesce(max(attempts), 0) FROM detail WHERE key = ?1", [key], |row| {
                row.get(0)
            })?;
        detail(tx, *key, before + 1, &note)?;
    }
    let mut tally = Tally::default();
    tally.moved(State::Sending, State::InDoubt, i64::try_from(keys.len()).unwrap_or(i64::MAX));
    tally.write(tx, run.id)?;
    Ok(keys.len() as u64)
}

fn say(tx: &Transaction<'_>, key: i64, word: Word) -> rusqlite::Result<()> {
    tx.execute("UPDATE row SET state = ?2 WHERE key = ?1", params![key, word.state().code()])?;
    tx.execute(
        "UPDATE detail SET reason = ?2, message = ?3 WHERE key = ?1",
        params![key, Reason::Resolved.as_str(), word.message()],
    )?;
    Ok(())
}

/// The first of these rows that is not among those found, which are in order and none of them another.
fn missing(mut asked: RangeInclusive<u64>, mut found: impl Iterator<Item = u64>) -> Option<u64> {
    asked.find(|row| found.next() != Some(*row))
}

/// The keys of a run's rows in one of the open states, from `first` to `last`.
fn in_state(
    tx: &Transaction<'_>,
    run: RunKey,
    state: State,
    first: u64,
    last: u64,
) -> rusqlite::Result<Vec<i64>> {
    tx.prepare(&format!(
        "SELECT key FROM row WHERE state = ?1 AND {OPEN} AND key BETWEEN ?2 AND ?3 ORDER BY key"
    ))?
    .query_map(params![state.code(), run.key(first), run.key(last)], |row| row.get(0))?
    .collect()
}
