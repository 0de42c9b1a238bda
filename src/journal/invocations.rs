//! The processes that worked on a run: when, at what pace, and how each ended.
//!
//! A process notes its begin before it sends, so that a kill shows: it has no end. Only the connection that has noted a
//! begin notes its end; a later process that finishes what a killed one could not leaves that one as it is.

use rusqlite::{Row, TransactionBehavior, params};

use super::Journal;
use super::runs::RunKey;
use crate::error::{EXIT_DONE, Error};

/// What is noted when an invocation begins.
#[derive(Clone, Debug, Default)]
pub struct Beginning<'a> {
    /// UNIX time in milliseconds.
    pub now_ms: i64,
    /// What was typed, or, where that would begin anew, the command that goes on with the run.
    pub again: &'a str,
    /// The pace, in words.
    pub pace: &'a str,
}

/// What is noted when an invocation ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct End<'a> {
    /// UNIX time in milliseconds.
    pub now_ms: i64,
    /// When the run was last worked on, this invocation included if it has sent anything.
    pub ended_ms: i64,
    /// What it exits with.
    pub exit_code: u8,
    /// Why; `None`: nothing was wrong.
    pub said: Option<&'a str>,
}

/// A process that worked on a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// From 1.
    pub number: u64,
    /// What was typed, or, where that would begin anew, the command that goes on with the run.
    pub again: String,
    /// The pace, in words.
    pub pace: String,
    /// UNIX time in milliseconds.
    pub began_ms: i64,
    /// UNIX time in milliseconds; `None`: it is at work, or was killed.
    pub ended_ms: Option<i64>,
    /// What it exited with.
    pub exit_code: Option<u8>,
    /// Why it ended; `None`: nothing was wrong.
    pub said: Option<String>,
}

fn read(row: &Row<'_>) -> rusqlite::Result<Invocation> {
    Ok(Invocation {
        number: row.get("number")?,
        again: row.get("again")?,
        pace: row.get("pace")?,
        began_ms: row.get("began_ms")?,
        ended_ms: row.get("ended_ms")?,
        exit_code: row.get("exit_code")?,
        said: row.get("said")?,
    })
}

impl Journal {
    /// Notes that an invocation has begun on a run, so that a kill shows.
    pub fn begin_invocation(&mut self, run: RunKey, beginning: &Beginning<'_>) -> Result<(), Error> {
        let begin = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute("UPDATE run SET ended_ms = NULL, exit_code = NULL WHERE id = ?1", [run.id])?;
            let number = tx.query_row(
                "INSERT INTO invocation (run, number, again, pace, began_ms)
                     SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM invocation WHERE run = ?1
                 RETURNING number",
                params![run.id, beginning.again, beginning.pace, beginning.now_ms],
                |row| row.get(0),
            )?;
            tx.commit()?;
            Ok(number)
        };
        self.invocation = Some(begin(&mut self.conn).map_err(self.explain("write"))?);
        Ok(())
    }

    /// Notes how an invocation ended.
    pub fn end_invocation(&mut self, run: RunKey, end: &End<'_>) -> Result<(), Error> {
        let number = self.invocation;
        let write = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute(
                "UPDATE run SET ended_ms = ?2, exit_code = ?3 WHERE id = ?1",
                params![run.id, end.ended_ms, end.exit_code],
            )?;
            tx.execute(
                "UPDATE invocation SET ended_ms = ?3, exit_code = ?4, said = ?5 WHERE run = ?1 AND number = ?2",
                params![run.id, number, end.ended_ms, end.exit_code, end.said],
            )?;
            if end.exit_code == EXIT_DONE {
                tx.execute(
                    "UPDATE account SET succeeded_ms = ?2 WHERE id = (SELECT account FROM run WHERE id = ?1)",
                    params![run.id, end.now_ms],
                )?;
            }
            tx.commit()
        };
        write(&mut self.conn).map_err(self.explain("write"))
    }

    /// Hands over every invocation of a run, the first one first.
    pub fn each_invocation(&self, run: RunKey, mut take: impl FnMut(Invocation)) -> Result<(), Error> {
        let mut each = || {
            let mut statement =
                self.conn.prepare_cached("SELECT * FROM invocation WHERE run = ?1 ORDER BY number")?;
            let mut rows = statement.query([run.id])?;
            while let Some(row) = rows.next()? {
                take(read(row)?);
            }
            Ok(())
        };
        each().map_err(self.explain("read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::{csv, opened};

    #[test]
    fn a_process_that_was_killed_has_no_end_whoever_finishes_the_run() {
        let (_folder, mut journal, run) = opened(&csv(1));
        let begin = |now_ms| Beginning { now_ms, again: "deskload resume", pace: "1/s" };
        let end = |ended_ms, said| End { now_ms: ended_ms, ended_ms, exit_code: 5, said };
        journal.begin_invocation(run.key, &begin(1)).unwrap();
        journal.end_invocation(run.key, &end(2, Some("the window is closed"))).unwrap();
        let mut other = journal.open_again().unwrap();
        other.begin_invocation(run.key, &begin(3)).unwrap();
        drop(other);
        journal.open_again().unwrap().end_invocation(run.key, &end(4, None)).unwrap();
        assert_eq!(journal.run(run.key.id).unwrap().unwrap().ended_ms, Some(4));
        let mut found = Vec::new();
        journal.each_invocation(run.key, |one| found.push((one.number, one.ended_ms, one.said))).unwrap();
        assert_eq!(found, [(1, Some(2), Some("the window is closed".to_owned())), (2, None, None)]);
    }

    #[test]
    fn the_last_success_is_that_of_the_last_process_that_ended_well_whatever_it_found_to_do() {
        let (_folder, mut journal, run) = opened(&csv(1));
        assert_eq!(journal.last_success(&run.desk).unwrap(), None);
        let end = |now_ms, ended_ms, exit_code| End { now_ms, ended_ms, exit_code, said: None };
        for (end, success) in [
            (end(7, 7, 3), None),
            (end(9, 9, 0), Some(9)),
            (end(20, 9, 0), Some(20)),
            (end(30, 9, 3), Some(20)),
        ] {
            journal.end_invocation(run.key, &end).unwrap();
            assert_eq!(journal.last_success(&run.desk).unwrap(), success);
        }
        journal.begin_invocation(run.key, &Beginning::default()).unwrap();
        assert_eq!(journal.last_success(&run.desk).unwrap(), Some(20), "another begin takes nothing back");
        // A clock that was set back.
        journal.end_invocation(run.key, &end(5, 5, 0)).unwrap();
        assert_eq!(journal.last_success(&run.desk).unwrap(), Some(5));
    }
}
