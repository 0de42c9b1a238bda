//! Gives up the rows of old runs, but for those that later runs are compared with.
//!
//! A run goes if it is finished, has nothing in doubt and was last worked on long enough ago. Its line stays, with its
//! counts and a mark: its number is never used again, and its input is known again. Of its rows these stay:
//!
//! - an applied row that was the last to set one of its fields on its ticket. It answers whether an old row may still be
//!   sent ([`super::later`]) and whether an update would change anything ([`super::unchanged`]). It goes by a later
//!   prune, once each of its fields was set again
//! - a row skipped as unchanged that was the last to ask for one of its fields: no old row may be sent after it either
//! - a row that a person said to leave: it may come back in a file of rows in doubt, and nobody knows what it did
//! - a failed row that may have been in doubt before, for the same reason
//!
//! **Which later rows count.** Those of runs that can send nothing any more. A run that can leaves its own rows out
//! when it looks for later ones, so they must not be all that is left.
//! **A kill** leaves a run whole, or marked with some rows too many, which the next prune removes. Rows go in windows,
//! a transaction each, so that a process of another account never waits long for its commit. Whoever calls this holds
//! the desk's account.
//! **Memory** stays flat: what later rows have set is in a temporary table.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::Journal;
use super::fingerprint::{FieldNumbers, has_bit};
use super::runs::{DeskId, Run, RunKey};
use super::state::{Reason, State};
use crate::error::Error;

/// Rows looked at in one transaction: some 20 ms of work.
const WINDOW_ROWS: u64 = 16_384;

/// Free pages are given back from this share of the file on; below, later runs fill them soon enough, and giving them
/// back writes the whole file anew.
const FREE_SHARE_MIN: f64 = 0.25;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Prune<'a> {
    /// Whose runs.
    pub desk: &'a DeskId,
    /// Runs that were last worked on before this go, in UNIX milliseconds.
    pub before_ms: i64,
    /// UNIX time in milliseconds.
    pub now_ms: i64,
    /// Nothing is changed, only counted.
    pub dry_run: bool,
}

/// What went, and what stayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    /// The runs that went, by their numbers.
    pub runs: Vec<u64>,
    /// Rows that went, those of runs that had gone before among them.
    pub rows: u64,
    /// Runs that stayed.
    pub kept: Kept,
}

/// Runs that stayed, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Rows are left to send.
    pub unfinished: u64,
    /// Rows wait for a person's word.
    pub in_doubt: u64,
    /// Not old enough.
    pub recent: u64,
}

impl Pruned {
    /// The same and another desk's.
    pub fn add(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.rows += other.rows;
        self.kept.unfinished += other.kept.unfinished;
        self.kept.in_doubt += other.kept.in_doubt;
        self.kept.recent += other.kept.recent;
    }
}

/// A run whose applied rows count as later ones, because it can send nothing any more.
struct Closed {
    run: Run,
    /// Whether rows of it go.
    goes: bool,
}

impl Journal {
    /// Gives up the rows of a desk's old runs. `look` is asked now and then whether to go on; what is done by then
    /// stays done, and the same call goes on.
    pub fn prune(&mut self, what: &Prune<'_>, look: &dyn Fn() -> Result<(), Error>) -> Result<Pruned, Error> {
        let (closed, mut pruned) = self.sort_out(what)?;
        if !closed.iter().any(|closed| closed.goes) {
            return Ok(pruned);
        }
        if !what.dry_run {
            for id in &pruned.runs {
                self.mark_pruned(*id, what.now_ms)?;
            }
        }
        Covered::begin(&self.conn).map_err(self.explain("read"))?;
        let mut numbers = FieldNumbers::default();
        // The newest row first: what is covered when a row's turn comes was set later than by that row.
        for Closed { run, goes } in closed.iter().rev() {
            let names = numbers.of(&run.custom_fields);
            let mut high = run.counts.rows;
            while high > 0 {
                look()?;
                let low = high.saturating_sub(WINDOW_ROWS);
                let window = Window { run: run.key, low, high, goes: *goes, dry_run: what.dry_run };
                let gone = window.walk(&mut self.conn, &names);
                pruned.rows += gone.map_err(self.explain("write"))?;
                high = low;
            }
        }
        Covered::end(&self.conn).map_err(self.explain("read"))?;
        Ok(pruned)
    }

    /// Which of a desk's runs go, which stay and why; those that can send nothing any more, oldest first.
    fn sort_out(&self, what: &Prune<'_>) -> Result<(Vec<Closed>, Pruned), Error> {
        let (mut closed, mut pruned) = (Vec::new(), Pruned::default());
        for run in self.runs()?.into_iter().filter(|run| run.desk == *what.desk) {
            if run.is_pruned() {
                closed.push(Closed { run, goes: true });
            } else if !run.is_finished() {
                pruned.kept.unfinished += 1;
            } else if run.counts.in_doubt > 0 {
                pruned.kept.in_doubt += 1;
            } else if self.last_worked_on(&run)? < what.before_ms {
                pruned.runs.push(run.key.id);
                closed.push(Closed { run, goes: true });
            } else {
                pruned.kept.recent += 1;
                // With failed rows it can still be retried.
                if run.counts.failed == 0 {
                    closed.push(Closed { run, goes: false });
                }
            }
        }
        Ok((closed, pruned))
    }

    /// When a run was last worked on, in UNIX milliseconds; a killed process has noted no end, but its minutes.
    fn last_worked_on(&self, run: &Run) -> Result<i64, Error> {
        if let Some(ended_ms) = run.ended_ms {
            return Ok(ended_ms);
        }
        self.conn
            .query_row("SELECT max(minute) FROM minute WHERE run = ?1", [run.key.id], |row| row.get(0))
            .map(|minute: Option<i64>| minute.map_or(run.started_ms, |minute| (minute + 1) * 60_000))
            .map_err(self.explain("read"))
    }

    /// From now on the run has no rows that could be reported or sent again.
    fn mark_pruned(&mut self, id: u64, now_ms: i64) -> Result<(), Error> {
        let mark = |conn: &mut Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute("UPDATE run SET pruned_ms = ?2, spool = NULL WHERE id = ?1", params![id, now_ms])?;
            tx.execute("DELETE FROM mark WHERE run = ?1", [id])?;
            tx.execute("DELETE FROM minute WHERE run = ?1", [id])?;
            tx.execute("DELETE FROM invocation WHERE run = ?1", [id])?;
            tx.commit()
        };
        mark(&mut self.conn).map_err(self.explain("write"))
    }

    /// Gives free pages back to the file system, if there are enough of them to pay for writing the file anew. Nobody
    /// else may be at work with the journal: a commit would wait for as long as it takes.
    pub fn give_back(&self) -> Result<(), Error> {
        let give = || {
            let count = |pragma| self.conn.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
            let (free, pages) = (count("freelist_count")?, count("page_count")?);
            if f64::from(free) < f64::from(pages) * FREE_SHARE_MIN {
                return Ok(());
            }
            self.conn.execute_batch("VACUUM")
        };
        give().map_err(self.explain("shrink"))
    }
}

/// A stretch of a run's rows: those above `low`, up to `high`.
struct Window {
    run: RunKey,
    low: u64,
    high: u64,
    goes: bool,
    dry_run: bool,
}

impl Window {
    /// Notes what its applied rows set, and removes those that may go. Gives their number.
    fn walk(&self, conn: &mut Connection, names: &[usize]) -> rusqlite::Result<u64> {
        let behavior = if self.goes && !self.dry_run {
            TransactionBehavior::Immediate
        } else {
            TransactionBehavior::Deferred
        };
        let tx = conn.transaction_with_behavior(behavior)?;
        tx.prepare_cached("DELETE FROM temp.kept")?.execute([])?;
        self.cover(&tx, names)?;
        let gone = match (self.goes, self.dry_run) {
            (false, _) => 0,
            (true, true) => self.count(&tx)?,
            (true, false) => self.remove(&tx)?,
        };
        tx.commit()?;
        Ok(gone)
    }

    fn keys(&self) -> (i64, i64) {
        (self.run.key(self.low), self.run.key(self.high))
    }

    /// Which of its rows stay, newest first.
    fn cover(&self, tx: &Transaction<'_>, names: &[usize]) -> rusqlite::Result<()> {
        let mut rows = tx.prepare_cached(
            "SELECT key, ticket, fields, state = 1 FROM row WHERE key > ?1 AND key <= ?2
                 AND (state = 1 OR state = 6 AND ticket IS NOT NULL AND digest IS NULL) ORDER BY key DESC",
        )?;
        let mut rows = rows.query(self.keys())?;
        let mut keep = tx.prepare_cached("INSERT INTO temp.kept (key) VALUES (?1)")?;
        while let Some(row) = rows.next()? {
            let (ticket, fields, is_applied): (_, Vec<u8>, bool) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let fields = renamed(&fields, names);
            // What an unchanged row asks for is known by the applied row before it, which therefore stays as well.
            let asks = Covered::adds(tx, "claimed", ticket, &fields)?;
            let stays = if is_applied { Covered::adds(tx, "covered", ticket, &fields)? } else { asks };
            if stays && self.goes {
                keep.execute([row.get::<_, i64>(0)?])?;
            }
        }
        if self.goes {
            let (low, high) = self.keys();
            tx.prepare_cached(
                "INSERT INTO temp.kept SELECT key FROM row JOIN detail USING (key)
                     WHERE key > ?1 AND key <= ?2 AND (state = ?3 AND reason = ?4
                         OR state = ?5 AND (attempts > 1 OR reason = ?6))",
            )?
            .execute(params![
                low,
                high,
                State::Skipped.code(),
                Reason::Resolved.as_str(),
                State::Failed.code(),
                Reason::Overlapped.as_str()
            ])?;
        }
        Ok(())
    }

    fn count(&self, tx: &Transaction<'_>) -> rusqlite::Result<u64> {
        tx.prepare_cached(
            "SELECT count(*) FROM row WHERE key > ?1 AND key <= ?2 AND key NOT IN (SELECT key FROM temp.kept)",
        )?
        .query_row(self.keys(), |row| row.get(0))
    }

    fn remove(&self, tx: &Transaction<'_>) -> rusqlite::Result<u64> {
        let gone = tx
            .prepare_cached(
                "DELETE FROM row WHERE key > ?1 AND key <= ?2 AND key NOT IN (SELECT key FROM temp.kept)",
            )?
            .execute(self.keys())?;
        // What the desk said to an applied row is of no use any more; why another one was kept says that it must stay.
        let (low, high) = self.keys();
        tx.prepare_cached(
            "DELETE FROM detail WHERE key > ?1 AND key <= ?2
                 AND NOT EXISTS (SELECT 1 FROM row WHERE row.key = detail.key AND state <> ?3)",
        )?
        .execute(params![low, high, State::Applied.code()])?;
        Ok(gone as u64)
    }
}

/// What the rows seen so far have set on each ticket, in temporary tables: bits that mean the same field in every run.
struct Covered;

impl Covered {
    fn begin(conn: &Connection) -> rusqlite::Result<()> {
        Self::end(conn)?;
        conn.execute_batch(
            "CREATE TEMP TABLE covered (ticket INTEGER PRIMARY KEY, fields BLOB NOT NULL);
             CREATE TEMP TABLE claimed (ticket INTEGER PRIMARY KEY, fields BLOB NOT NULL);
             CREATE TEMP TABLE kept (key INTEGER PRIMARY KEY);",
        )
    }

    fn end(conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch(
            "DROP TABLE IF EXISTS temp.covered; DROP TABLE IF EXISTS temp.claimed; DROP TABLE IF EXISTS temp.kept;",
        )
    }

    /// Adds what a row sets to one of the tables, those applied or those that ask for anything; whether any of it was
    /// not there yet.
    fn adds(tx: &Transaction<'_>, table: &str, ticket: i64, fields: &[u8]) -> rusqlite::Result<bool> {
        let before: Option<Vec<u8>> = tx
            .prepare_cached(&format!("SELECT fields FROM temp.{table} WHERE ticket = ?1"))?
            .query_row([ticket], |row| row.get(0))
            .optional()?;
        let mut all = before.clone().unwrap_or_default();
        all.resize(all.len().max(fields.len()), 0);
        all.iter_mut().zip(fields).for_each(|(all, more)| *all |= more);
        if before.is_some_and(|before| before == all) {
            return Ok(false);
        }
        tx.prepare_cached(&format!("INSERT OR REPLACE INTO temp.{table} (ticket, fields) VALUES (?1, ?2)"))?
            .execute(params![ticket, all])?;
        Ok(true)
    }
}

/// Bits by other names, without zeros at the end.
fn renamed(bits: &[u8], names: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bits.len());
    for (_, name) in names.iter().enumerate().filter(|(bit, _)| has_bit(bits, *bit)) {
        if out.len() <= name / 8 {
            out.resize(name / 8 + 1, 0);
        }
        if let Some(byte) = out.get_mut(name / 8) {
            *byte |= 1 << (name % 8);
        }
    }
    out
}

#[cfg(test)]
mod tests;
