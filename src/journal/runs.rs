//! Runs: what the journal holds of each, and finding those that are there.
//!
//! A run is one input, one mapping, one desk. Its rows' keys follow each other without a gap in the table of
//! rows, which keeps them short.

use rusqlite::{OptionalExtension as _, Row, params};

use super::Journal;
use super::state::State;
use super::unchanged::{MAY_HAVE_CHANGED, Unchanged};
use crate::error::Error;
use crate::input::{Layout, Survey};
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

impl InputId {
    /// Where it was read from, in words.
    #[must_use]
    pub fn source(&self) -> &str {
        self.path.as_deref().unwrap_or("standard input")
    }
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
    /// The rows that need not be sent, if that was asked for.
    pub unchanged: Option<&'a Unchanged>,
    /// UNIX time in milliseconds.
    pub now_ms: i64,
}

/// How many rows stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

    /// The rows by how they stand, in the order in which people are told.
    #[must_use]
    pub const fn by_outcome(&self) -> [(State, u64); 6] {
        [
            (State::Applied, self.applied),
            (State::Failed, self.failed),
            (State::Invalid, self.invalid),
            (State::InDoubt, self.in_doubt),
            (State::Skipped, self.skipped),
            (State::Pending, self.pending),
        ]
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
    /// How many rows were skipped as unchanged when it began; `None`: begun without `--only-changed`.
    pub unchanged: Option<u64>,
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

    /// Whether something of it is left to send; with `resends` what is in doubt is, too.
    #[must_use]
    pub const fn has_left(&self, resends: bool) -> bool {
        !self.is_finished() || resends && self.counts.in_doubt > 0
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
     custom_fields, unchanged, spool, cursor, rows, applied, failed, invalid, in_doubt, skipped, attempts, throttled, \
     started_ms, ended_ms, exit_code, pruned_ms FROM run JOIN account ON account.id = run.account";

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        key: RunKey { id: row.get("id")?, key_before: row.get("key_before")? },
        desk: DeskId { url: row.get("url")?, account_email: row.get("email")? },
        input: InputId { sha256: row.get("sha256")?, bytes: row.get("bytes")?, path: row.get("path")? },
        layout: json(row, "layout")?,
        mapping: json(row, "mapping")?,
        custom_fields: json(row, "custom_fields")?,
        unchanged: row.get("unchanged")?,
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
    /// one that was gone on with afterwards. What a person said to leave may have changed it, too.
    ///
    /// A word that is given now on a doubt of an older run is no such change: it says that the desk has what was sent then,
    /// before this run, whose values came on top of it. The order is that of the requests, not of the words.
    pub fn desk_changed_since(&self, run: &Run) -> Result<bool, Error> {
        // A process that was killed has no end, and was at work after its begin.
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM run JOIN account ON account.id = run.account
                 WHERE url = ?1 AND email = ?2 AND run.id <> ?3
                     AND (run.id > ?3 OR ?4 < coalesce(
                         ended_ms, (SELECT max(began_ms) FROM invocation WHERE invocation.run = run.id)))
                     AND (applied + in_doubt > 0 OR EXISTS (
                         SELECT 1 FROM detail JOIN row USING (key)
                         WHERE key > key_before AND key <= key_before + rows AND {MAY_HAVE_CHANGED})))"
        );
        self.conn
            .query_row(&sql, params![run.desk.url, run.desk.account_email, run.key.id, run.ended_ms], |row| {
                row.get(0)
            })
            .map_err(self.explain("read"))
    }

    /// Whether a newer run of the same desk has applied anything, has a row in doubt, or has found values as it wants
    /// them.
    pub fn has_newer(&self, run: &Run) -> Result<bool, Error> {
        self.conn
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM run JOIN account ON account.id = run.account
                     WHERE url = ?1 AND email = ?2 AND run.id > ?3
                         AND applied + in_doubt + coalesce(unchanged, 0) > 0)",
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
}

impl Journal {
    /// When an invocation on a run of the desk last ended with exit 0, in UNIX milliseconds; also one that found nothing
    /// left to do.
    pub fn last_success(&self, desk: &DeskId) -> Result<Option<i64>, Error> {
        self.conn
            .query_row(
                "SELECT max(succeeded_ms) FROM account WHERE url = ?1 AND email = ?2",
                [&desk.url, &desk.account_email],
                |row| row.get(0),
            )
            .map_err(self.explain("read"))
    }
}
