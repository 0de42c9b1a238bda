//! How a new run comes into the journal: what its first pass has settled is noted beside, and one transaction makes a run
//! of it, with its rows that will never be sent.
//!
//! Nothing of a run is in the journal before that transaction, and nothing of it is missing afterwards.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::Journal;
use super::runs::{NewRun, Run};
use super::spools::insert_marks;
use super::state::{Reason, State};
use super::unchanged::Unchanged;
use crate::error::Error;
use crate::input::Seen;

impl Journal {
    /// Keeps a row that is invalid until [`Journal::open_run`] takes it over.
    ///
    /// A temporary table, because there may be millions, and because nothing may lock the journal while an
    /// input is still being read from a slow pipe.
    pub fn note(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let Err(invalid) = seen.result else { return Ok(()) };
        let insert = |conn: &Connection| {
            conn.prepare_cached("INSERT INTO temp.invalid (row, message) VALUES (?1, ?2)")?
                .execute(params![invalid.row, invalid.message])
        };
        insert(&self.conn).map(|_| ()).map_err(self.explain("write"))
    }

    /// Makes room for [`Journal::note`], forgetting what an earlier pass noted.
    pub fn begin_first_pass(&mut self) -> Result<(), Error> {
        self.conn
            .execute_batch(
                "DROP TABLE IF EXISTS temp.invalid;
                 CREATE TEMP TABLE invalid (row INTEGER PRIMARY KEY, message TEXT NOT NULL);",
            )
            .map_err(self.explain("write"))
    }

    /// Opens a run with the rows that its first pass has settled, in one transaction. `keep` puts the spool in place
    /// under the name that it is given, before the commit: a run never lacks its rows, and a spool without a run
    /// is swept up by the next start.
    pub fn open_run(
        &mut self,
        new: &NewRun<'_>,
        keep: impl FnOnce(&str) -> Result<(), Error>,
    ) -> Result<Run, Error> {
        let failed = self.explain("write");
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let id = insert_run(&tx, new).map_err(&failed)?;
        keep(&Run::spool_name(id))?;
        tx.commit().map_err(&failed)?;
        self.conn
            .execute_batch("DROP TABLE temp.invalid; DROP TABLE IF EXISTS temp.asked")
            .map_err(&failed)?;
        self.run(id)?
            .ok_or_else(|| Error::Machine("the run that was just opened is not in the journal".to_owned()))
    }
}

fn insert_run(tx: &Transaction<'_>, new: &NewRun<'_>) -> rusqlite::Result<u64> {
    let text = |result: serde_json::Result<String>| {
        result.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
    };
    let account: i64 = tx.query_row(
        "INSERT INTO account (url, email) VALUES (?1, ?2)
             ON CONFLICT (url, email) DO UPDATE SET url = excluded.url RETURNING id",
        [&new.desk.url, &new.desk.account_email],
        |row| row.get(0),
    )?;
    let key_before: i64 =
        tx.query_row("SELECT coalesce(max(key_before + rows), 0) FROM run", [], |row| row.get(0))?;
    tx.execute(
        "INSERT INTO run (account, key_before, rows, sha256, bytes, path, layout, mapping,
                 custom_fields, invalid, skipped, unchanged, started_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, coalesce(?11, 0), ?11, ?12)",
        params![
            account,
            key_before,
            new.survey.rows,
            new.input.sha256,
            new.input.bytes,
            new.input.path,
            text(serde_json::to_string(new.layout))?,
            text(serde_json::to_string(new.mapping))?,
            text(serde_json::to_string(&new.survey.custom_fields))?,
            new.survey.invalid,
            new.unchanged.map(Unchanged::count),
            new.now_ms
        ],
    )?;
    let id = tx.last_insert_rowid();
    // The name follows from the number, which is known only now.
    tx.execute("UPDATE run SET spool = ?2 WHERE id = ?1", params![id, Run::spool_name(id.cast_unsigned())])?;
    match new.unchanged {
        None => tx.execute(
            "INSERT INTO row (key, state) SELECT ?1 + row, ?2 FROM temp.invalid ORDER BY row",
            params![key_before, State::Invalid.code()],
        )?,
        Some(unchanged) => settle_with(tx, key_before, unchanged)?,
    };
    tx.execute(
        "INSERT INTO detail (key, attempts, reason, message)
             SELECT ?1 + row, 0, ?2, message FROM temp.invalid ORDER BY row",
        params![key_before, Reason::Invalid.as_str()],
    )?;
    insert_marks(tx, id, &new.survey.marks)?;
    Ok(id.cast_unsigned())
}

/// Writes the invalid rows, and skips those that ask for what their tickets have, whose digests are those of rows that
/// are there already. In one go by their numbers: a table that grows at its end alone is half as large. Gives how many.
fn settle_with(tx: &Transaction<'_>, key_before: i64, unchanged: &Unchanged) -> rusqlite::Result<usize> {
    let mut insert =
        tx.prepare("INSERT INTO row (key, state, ticket, fields) VALUES (?1 + ?2, ?3, ?4, ?5)")?;
    let mut rows = tx.prepare(
        "SELECT row, ticket, fields FROM temp.asked UNION ALL SELECT row, NULL, NULL FROM temp.invalid ORDER BY row",
    )?;
    let mut rows = rows.query([])?;
    let mut settled = 0;
    while let Some(row) = rows.next()? {
        let (number, ticket): (u64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let fields = row.get_ref(2)?.as_blob_or_null()?;
        let state = match ticket {
            None => State::Invalid,
            _ if unchanged.holds(number) => State::Skipped,
            _ => continue,
        };
        settled += insert.execute(params![key_before, number, state.code(), ticket, fields])?;
    }
    Ok(settled)
}
