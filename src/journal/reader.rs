//! What is read from the journal beside a run: which rows are left, which rows to report, which are in doubt.
//!
//! Rows come in pages, so that memory stays flat however many there are. Nothing here writes.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};

use super::Journal;
use super::fingerprint::{SameUpdate, same_update};
use super::later::Place;
use super::runs::{DeskId, RunKey};
use super::schema::OPEN;
use super::state::State;
use crate::error::Error;
use crate::ticket::TicketId;

/// Rows fetched at a time.
const PAGE: usize = 4096;

/// A row that has an entry: its number, and how many attempts it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub row: u64,
    /// How it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether a person asked to send it again after it had failed.
    pub retried: bool,
}

/// A row as a report tells it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number.
    pub row: u64,
    /// Its ticket; `None`: the row is invalid.
    pub ticket: Option<TicketId>,
    /// How it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// The word.
    pub reason: String,
    /// The sentence.
    pub message: String,
    /// The status of the HTTP reply, if there was one.
    pub http_status: Option<u16>,
}

impl Journal {
    /// A page of a run's pending rows that have an entry, after row `after` and below row `below`, in order; with
    /// `resends`, those in doubt are among them.
    pub fn left_page(&self, run: RunKey, after: u64, below: u64, resends: bool) -> Result<Vec<Entry>, Error> {
        let states = if resends { "2, 5" } else { "2" };
        let sql = format!(
            "SELECT row.key, state, coalesce(attempts, 0), coalesce(retried, 0) FROM row LEFT JOIN detail USING (key)
             WHERE state IN ({states}) AND {OPEN} AND row.key > ?1 AND row.key < ?2 ORDER BY row.key LIMIT {PAGE}"
        );
        self.entries(&sql, run, after, below)
    }

    /// A page of a run's rows that have an entry, whatever it is, after row `after`, in order.
    pub fn entry_page(&self, run: RunKey, after: u64, rows: u64) -> Result<Vec<Entry>, Error> {
        let sql = format!(
            "SELECT row.key, state, coalesce(attempts, 0), coalesce(retried, 0) FROM row LEFT JOIN detail USING (key)
             WHERE row.key > ?1 AND row.key < ?2 ORDER BY row.key LIMIT {PAGE}"
        );
        self.entries(&sql, run, after, rows + 1)
    }

    fn entries(&self, sql: &str, run: RunKey, after: u64, below: u64) -> Result<Vec<Entry>, Error> {
        let query = || {
            self.conn
                .prepare_cached(sql)?
                .query_map(params![run.key(after), run.key(below)], |row| {
                    Ok(Entry {
                        row: run.row(row.get(0)?),
                        state: state(row, 1)?,
                        attempts: row.get(2)?,
                        retried: row.get(3)?,
                    })
                })?
                .collect::<rusqlite::Result<_>>()
        };
        query().map_err(self.explain("read"))
    }

    /// A page of a run's rows in any of these open states, after row `after` and up to row `rows`, in order.
    pub fn told_page(
        &self,
        run: RunKey,
        states: &[State],
        after: u64,
        rows: u64,
    ) -> Result<Vec<Told>, Error> {
        let codes: Vec<String> = states.iter().map(|state| state.code().to_string()).collect();
        let sql = format!(
            "SELECT row.key, state, coalesce(attempts, 0), coalesce(reason, ''), coalesce(message, ''), http_status,
                 ticket
             FROM row LEFT JOIN detail USING (key)
             WHERE state IN ({}) AND {OPEN} AND row.key > ?1 AND row.key <= ?2
             ORDER BY row.key LIMIT {PAGE}",
            codes.join(",")
        );
        let query = || {
            self.conn
                .prepare_cached(&sql)?
                .query_map(params![run.key(after), run.key(rows)], |row| {
                    Ok(Told {
                        row: run.row(row.get(0)?),
                        state: state(row, 1)?,
                        attempts: row.get(2)?,
                        reason: row.get(3)?,
                        message: row.get(4)?,
                        http_status: row.get(5)?,
                        ticket: row.get::<_, Option<i64>>(6)?.map(TicketId::from_journal),
                    })
                })?
                .collect::<rusqlite::Result<_>>()
        };
        query().map_err(self.explain("read"))
    }

    /// Every update of this desk that is in doubt in another run than `except`, and where.
    pub fn updates_in_doubt(
        &self,
        desk: &DeskId,
        except: RunKey,
    ) -> Result<HashMap<SameUpdate, Place>, Error> {
        let sql = format!(
            "SELECT ticket, digest, run.id, row.key - run.key_before FROM run JOIN account ON account.id = run.account
                 JOIN row ON row.key > run.key_before AND row.key <= run.key_before + run.rows
             WHERE url = ?1 AND email = ?2 AND run.id <> ?3 AND run.in_doubt > 0 AND state = 5 AND {OPEN}"
        );
        let query = || {
            self.conn
                .prepare(&sql)?
                .query_map(params![desk.url, desk.account_email, except.id], |row| {
                    let digest: Vec<u8> = row.get(1)?;
                    let update = same_update(TicketId::from_journal(row.get(0)?), &digest);
                    Ok((update, Place { run: row.get(2)?, row: row.get(3)? }))
                })?
                .collect::<rusqlite::Result<_>>()
        };
        query().map_err(self.explain("read"))
    }

    /// How a row stands, and whether it asked for all that `update` asks for; `None` if it has no entry.
    pub fn what_became(
        &self,
        run: RunKey,
        row: u64,
        update: &SameUpdate,
    ) -> Result<Option<(State, bool)>, Error> {
        let query = || {
            self.conn
                .prepare_cached("SELECT state, ticket, digest FROM row WHERE key = ?1")?
                .query_row([run.key(row)], |row| {
                    let (ticket, digest): (Option<i64>, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
                    let within = ticket.zip(digest).is_some_and(|(ticket, digest)| {
                        update.is_within(&same_update(TicketId::from_journal(ticket), &digest))
                    });
                    Ok((state(row, 0)?, within))
                })
                .optional()
        };
        query().map_err(self.explain("read"))
    }

    /// The tickets that have a row of this run in doubt.
    pub fn tickets_in_doubt(&self, run: RunKey, rows: u64) -> Result<Vec<(TicketId, u64)>, Error> {
        let sql = format!(
            "SELECT ticket, key FROM row WHERE state = 5 AND {OPEN} AND key > ?1 AND key <= ?2 ORDER BY key"
        );
        let query = || {
            self.conn
                .prepare(&sql)?
                .query_map(params![run.key(0), run.key(rows)], |row| {
                    Ok((TicketId::from_journal(row.get(0)?), run.row(row.get(1)?)))
                })?
                .collect::<rusqlite::Result<_>>()
        };
        query().map_err(self.explain("read"))
    }
}

fn state(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<State> {
    let code: i64 = row.get(column)?;
    State::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}
