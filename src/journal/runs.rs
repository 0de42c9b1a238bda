//! Runs: opening a new one, and finding those that are there.
//!
//! A run is one input, one mapping, one desk. Its rows' keys follow each other without a gap in the table of
//! rows, which keeps them short.

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::Journal;
use super::spools::insert_marks;
use super::state::{Reason, State};
use crate::error::Error;
use crate::input::{Invalid, Layout, Survey};
use crate::mapping::MappingSpec;

/// A desk: one URL and one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskId {
    /// Where updates go.
    pub url: String,
    /// The account's e-mail, in lower case: the desk does not mind its case, so neither may the lock.
    pub account_email: String,
}

impl DeskId {
    /// Names a desk.
    #[must_use]
    pub fn new(url: &str, account_email: &str) -> Self {
        Self { url: url.to_owned(), account_email: account_email.trim().to_lowercase() }
    }
}

/// A run's number, and where its rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// Its number, from 1.
    pub id: u64,
    /// What is added to a row's number to make its key.
    pub key_before: i64,
}

impl RunKey {
    /// The key of a row.
    pub(super) const fn key(self, row: u64) -> i64 {
        self.key_before + row.cast_signed()
    }

    /// The number of the row with this key.
    pub(super) const fn row(self, key: i64) -> u64 {
        (key - self.key_before).cast_unsigned()
    }
}

/// What the journal keeps of an input besides its rows.
#[derive(Clone, Debug)]
pub struct InputId {
    /// SHA-256 of its bytes, in hex: this is its name.
    pub sha256: String,
    /// How many bytes.
    pub bytes: u64,
    /// Where it was read from; `None` for standard input.
    pub path: Option<String>,
}

/// A run that is about to begin.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// Whose.
    pub desk: &'a DeskId,
    /// Its input.
    pub input: &'a InputId,
    /// How its spool is laid out.
    pub layout: &'a Layout,
    /// How columns become fields.
    pub mapping: &'a MappingSpec,
    /// What the first pass found.
    pub survey: &'a Survey,
    /// UNIX time in milliseconds.
    pub now_ms: i64,
}

/// How many rows stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[expect(missing_docs, reason = "the words of the design")]
pub struct Counts {
    pub rows: u64,
    pub applied: u64,
    pub failed: u64,
    pub invalid: u64,
    pub in_doubt: u64,
    pub skipped: u64,
    pub pending: u64,
}

impl Counts {
    /// Reads the columns `rows, applied, failed, invalid, in_doubt, skipped`; the rest is pending.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let counts = Self {
            rows: row.get("rows")?,
            applied: row.get("applied")?,
            failed: row.get("failed")?,
            invalid: row.get("invalid")?,
            in_doubt: row.get("in_doubt")?,
            skipped: row.get("skipped")?,
            pending: 0,
        };
        let settled = counts.applied + counts.failed + counts.invalid + counts.in_doubt + counts.skipped;
        Ok(Self { pending: counts.rows.saturating_sub(settled), ..counts })
    }

    /// Whether a person has to look.
    #[must_use]
    pub const fn need_attention(&self) -> bool {
        self.failed + self.invalid + self.in_doubt > 0
    }
}

/// A run as the journal holds it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Number and place.
    pub key: RunKey,
    /// Whose.
    pub desk: DeskId,
    /// Its input.
    pub input: InputId,
    /// How its spool is laid out.
    pub layout: Layout,
    /// How columns become fields.
    pub mapping: MappingSpec,
    /// The custom fields that its rows name.
    pub custom_fields: Vec<String>,
    /// The spool's file name; `None` once nothing needs it.
    pub spool: Option<String>,
    /// Every row below it has an entry.
    pub cursor: u64,
    /// How its rows stand; those being sent count as pending.
    pub counts: Counts,
    /// HTTP requests made.
    pub attempts: u64,
    /// Answers that asked to come back later.
    pub throttled: u64,
    /// UNIX time in milliseconds.
    pub started_ms: i64,
    /// When the last invocation ended; `None` while one works, or if it was killed.
    pub ended_ms: Option<i64>,
    /// What the last invocation exited with.
    pub exit_code: Option<u8>,
    /// When its rows were given up ([`Journal::prune`]), in UNIX milliseconds; its counts are as they were then.
    pub pruned_ms: Option<i64>,
}

impl Run {
    /// Whether rows are left to send.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.counts.pending == 0
    }

    /// Whether its rows were given up: they can be neither reported nor sent again.
    #[must_use]
    pub const fn is_pruned(&self) -> bool {
        self.pruned_ms.is_some()
    }

    /// `SPOOL` of its spool folder, whether or not it is still there.
    #[must_use]
    pub fn spool_name(id: u64) -> String {
        format!("run-{id}.spool")
    }
}

const SELECT: &str = "SELECT run.id, key_before, url, email, sha256, bytes, path, layout, mapping, \
     custom_fields, spool, cursor, rows, applied, failed, invalid, in_doubt, skipped, attempts, throttled, \
     started_ms, ended_ms, exit_code, pruned_ms FROM run JOIN account ON account.id = run.account";

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        key: RunKey { id: row.get("id")?, key_before: row.get("key_before")? },
        desk: DeskId { url: row.get("url")?, account_email: row.get("email")? },
        input: InputId { sha256: row.get("sha256")?, bytes: row.get("bytes")?, path: row.get("path")? },
        layout: json(row, "layout")?,
        mapping: json(row, "mapping")?,
        custom_fields: json(row, "custom_fields")?,
        spool: row.get("spool")?,
        cursor: row.get("cursor")?,
        counts: Counts::read(row)?,
        attempts: row.get("attempts")?,
        throttled: row.get("throttled")?,
        started_ms: row.get("started_ms")?,
        ended_ms: row.get("ended_ms")?,
        exit_code: row.get("exit_code")?,
        pruned_ms: row.get("pruned_ms")?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

impl Journal {
    /// Every run, oldest first.
    pub fn runs(&self) -> Result<Vec<Run>, Error> {
        self.query_runs(&format!("{SELECT} ORDER BY run.id"), [])
    }

    /// One run by its number.
    pub fn run(&self, id: u64) -> Result<Option<Run>, Error> {
        Ok(self.query_runs(&format!("{SELECT} WHERE run.id = ?1"), [id])?.pop())
    }

    /// The runs of one desk on the same bytes, oldest first.
    pub fn runs_of_input(&self, desk: &DeskId, sha256: &str) -> Result<Vec<Run>, Error> {
        self.query_runs(
            &format!("{SELECT} WHERE url = ?1 AND email = ?2 AND sha256 = ?3 ORDER BY run.id"),
            [&desk.url, &desk.account_email, sha256],
        )
    }

    /// Whether any run read an input of this size: only then is it worth hashing a file before copying it.
    pub fn knows_input_of(&self, bytes: u64) -> Result<bool, Error> {
        self.conn
            .query_row("SELECT EXISTS (SELECT 1 FROM run WHERE bytes = ?1)", [bytes], |row| row.get(0))
            .map_err(self.explain("read"))
    }

    /// Whether another run has changed the desk, or may have, since this one was worked on: a newer run, or an older
    /// one that was gone on with afterwards.
    pub fn desk_changed_since(&self, run: &Run) -> Result<bool, Error> {
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM run JOIN account ON account.id = run.account
                     WHERE url = ?1 AND email = ?2 AND run.id <> ?3 AND (run.id > ?3 OR ended_ms > ?4)
                         AND applied + in_doubt > 0)",
                params![run.desk.url, run.desk.account_email, run.key.id, run.ended_ms],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
    }

    /// Whether a newer run of the same desk has applied anything, or has a row in doubt.
    pub fn has_newer(&self, run: &Run) -> Result<bool, Error> {
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM run JOIN account ON account.id = run.account
                     WHERE url = ?1 AND email = ?2 AND run.id > ?3 AND applied + in_doubt > 0)",
                params![run.desk.url, run.desk.account_email, run.key.id],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
    }

    /// The newest unfinished run of the same desk and path on other bytes.
    pub fn older_unfinished(&self, run: &Run) -> Result<Option<u64>, Error> {
        self.conn
            .query_row(
                "SELECT run.id FROM run JOIN account ON account.id = run.account
                     WHERE url = ?1 AND email = ?2 AND run.id < ?3 AND path = ?4 AND sha256 <> ?5
                         AND rows > applied + failed + invalid + in_doubt + skipped
                     ORDER BY run.id DESC LIMIT 1",
                params![run.desk.url, run.desk.account_email, run.key.id, run.input.path, run.input.sha256],
                |row| row.get(0),
            )
            .optional()
            .map_err(self.explain("read"))
    }

    fn query_runs(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Run>, Error> {
        let query = || {
            let mut statement = self.conn.prepare(sql)?;
            statement.query_map(params, read)?.collect::<rusqlite::Result<_>>()
        };
        query().map_err(self.explain("read"))
    }

    /// Keeps an invalid row until [`Journal::open_run`] takes it over.
    ///
    /// A temporary table, because there may be millions, and because nothing may lock the journal while an
    /// input is still being read from a slow pipe.
    pub fn note_invalid(&mut self, invalid: &Invalid) -> Result<(), Error> {
        let insert = |conn: &Connection| {
            conn.prepare_cached("INSERT INTO temp.invalid (row, message) VALUES (?1, ?2)")?
                .execute(params![invalid.row, invalid.message])
        };
        insert(&self.conn).map(|_| ()).map_err(self.explain("write"))
    }

    /// Makes room for [`Journal::note_invalid`], forgetting what an earlier pass noted.
    pub fn begin_first_pass(&mut self) -> Result<(), Error> {
        self.conn
            .execute_batch(
                "DROP TABLE IF EXISTS temp.invalid;
                 CREATE TEMP TABLE invalid (row INTEGER PRIMARY KEY, message TEXT NOT NULL);",
            )
            .map_err(self.explain("write"))
    }

    /// Opens a run with the invalid rows of its first pass, in one transaction. `keep` puts the spool in place
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
        self.conn.execute_batch("DROP TABLE temp.invalid").map_err(&failed)?;
        self.run(id)?
            .ok_or_else(|| Error::Machine("the run that was just opened is not in the journal".to_owned()))
    }
}

impl Journal {
    /// When a run of the desk last ended with exit 0, in UNIX milliseconds.
    pub fn last_success(&self, desk: &DeskId) -> Result<Option<i64>, Error> {
        self.conn
            .query_row(
                "SELECT max(ended_ms) FROM run JOIN account ON account.id = run.account
                 WHERE exit_code = 0 AND url = ?1 AND email = ?2",
                [&desk.url, &desk.account_email],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
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
                 custom_fields, invalid, started_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
            new.now_ms
        ],
    )?;
    let id = tx.last_insert_rowid();
    // The name follows from the number, which is known only now.
    tx.execute("UPDATE run SET spool = ?2 WHERE id = ?1", params![id, Run::spool_name(id.cast_unsigned())])?;
    tx.execute(
        "INSERT INTO row (key, state) SELECT ?1 + row, ?2 FROM temp.invalid ORDER BY row",
        params![key_before, State::Invalid.code()],
    )?;
    tx.execute(
        "INSERT INTO detail (key, attempts, reason, message)
             SELECT ?1 + row, 0, ?2, message FROM temp.invalid ORDER BY row",
        params![key_before, Reason::Invalid.as_str()],
    )?;
    insert_marks(tx, id, &new.survey.marks)?;
    Ok(id.cast_unsigned())
}
