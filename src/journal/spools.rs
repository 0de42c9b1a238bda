//! Which spool a run names, and where its rows begin in it.
//!
//! The files themselves are [`crate::spooled`]'s business. A spool is put in place inside the transaction that names
//! it, so that whoever looks under the same lock sees each file with the run that needs it.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::Journal;
use super::runs::RunKey;
use crate::error::Error;
use crate::input::Mark;

impl Journal {
    /// Names another spool for a run, with the marks that belong to it; `None`: nothing needs one any more. `keep`
    /// puts it in place before the commit, under the lock that [`Journal::look_at_spools`] takes.
    pub fn replace_spool(
        &mut self,
        run: RunKey,
        name: Option<&str>,
        marks: &[Mark],
        keep: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = self.explain("write");
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        keep()?;
        let replace = || {
            tx.execute("UPDATE run SET spool = ?2 WHERE id = ?1", params![run.id, name])?;
            tx.execute("DELETE FROM mark WHERE run = ?1", [run.id])?;
            insert_marks(&tx, run.id.cast_signed(), marks)
        };
        replace().map_err(&failed)?;
        tx.commit().map_err(&failed)
    }

    /// Hands over the names of all spools that a run needs, while no process can put another one in place: each
    /// does so in a transaction that writes, and this holds one.
    pub fn look_at_spools(
        &mut self,
        look: impl FnOnce(&HashSet<String>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failed = self.explain("read");
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let named = tx
            .prepare("SELECT spool FROM run WHERE spool IS NOT NULL")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(&failed)?;
        look(&named)
    }

    /// The place to start reading the spool for `row`: the last mark at or before it.
    pub fn mark_before(&self, run: RunKey, row: u64) -> Result<Option<Mark>, Error> {
        self.conn
            .prepare_cached(
                "SELECT row, byte, line FROM mark WHERE run = ?1 AND row <= ?2 ORDER BY row DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![run.id, row], |row| {
                        Ok(Mark { row: row.get(0)?, byte: row.get(1)?, line: row.get(2)? })
                    })
                    .optional()
            })
            .map_err(self.explain("read"))
    }
}

pub(super) fn insert_marks(conn: &Connection, run: i64, marks: &[Mark]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare("INSERT INTO mark (run, row, byte, line) VALUES (?1, ?2, ?3, ?4)")?;
    for mark in marks {
        insert.execute(params![run, mark.row, mark.byte, mark.line])?;
    }
    Ok(())
}
