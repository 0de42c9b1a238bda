//! A shared journal, open: what commands do with its runs, and how they join in.
//!
//! Nothing here needs the account for itself: what must not happen while others work, the schema's functions refuse. What
//! is read for reports is in `reading`.

use std::cell::RefCell;

use serde::de::DeserializeOwned;
use tokio_postgres::Row as DbRow;
use tokio_postgres::types::Type;

use super::leases::{Handing, Keeper};
use super::session::{Failure, Session, Value};
use super::worker::{changed, odd};
use super::{TERM, Terms, Worker, setup, stage, to_i64};
use crate::error::Error;
use crate::input::{Format, Header};
use crate::journal::invocations::Beginning;
use crate::journal::later::Place;
use crate::journal::runs::{Counts, DeskId, InputId, Run, RunKey};
use crate::todo::Source;

pub(super) const SELECT: &str = "SELECT run.id, url, email, sha256, bytes, path, layout, mapping, custom_fields, rows, applied, failed, \
     unchanged, invalid, in_doubt, skipped, attempts, throttled, started_ms, ended_ms, exit_code, pruned_ms \
     FROM deskload.run JOIN deskload.account ON account.id = run.account";

/// A journal that several machines share.
#[derive(Debug)]
pub struct Shared {
    pub(super) session: RefCell<Session>,
    pub(super) place: super::Place,
    pub(super) uuid: String,
    /// The number of the invocation that this process has begun.
    pub(super) invocation: Option<i32>,
}

impl Shared {
    /// Connects, and checks that there is a journal that this deskload knows, where it was last, and that what is
    /// acknowledged to this user is on disk.
    pub fn open(place: &super::Place) -> Result<Self, Error> {
        let mut session = Session::new(place)?;
        setup::judge(&mut session)?;
        let standing = setup::standing(&mut session)?;
        if !standing.is_known {
            return Err(changed(place));
        }
        Ok(Self {
            session: RefCell::new(session),
            place: place.clone(),
            uuid: standing.uuid,
            invocation: None,
        })
    }

    /// Makes a run the one that the account's workers work on; [`Error::Overlap`] while they work on another.
    pub fn activate(&mut self, run: &Run) -> Result<(), Error> {
        let rows = self.query("SELECT deskload.activate($1)", &[(&to_i64(run.key.id), Type::INT8)])?;
        if rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)? {
            return Ok(());
        }
        Err(others_at_work(&run.desk))
    }

    /// The run that the account's workers work on, if something of it is left to send.
    pub fn active(&self, desk: &DeskId) -> Result<Option<Run>, Error> {
        let sql = format!(
            "{SELECT} WHERE account.run = run.id AND url = $1 AND email = $2 AND deskload.is_left(run.id, '{{}}')"
        );
        let found = self.select(&sql, &[(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT)])?;
        Ok(found.into_iter().next())
    }

    /// The row of another run that the first of those that wait is waiting for: it asks for the same, and is in doubt.
    pub fn waits_for(&self, run: &Run) -> Result<Option<Place>, Error> {
        let rows = self.query(
            "SELECT d.run, d.number FROM deskload.rows p
                 JOIN deskload.rows d ON d.ticket = p.ticket AND d.same = p.same AND d.state + 0 = 5 AND d.run <> p.run
                 JOIN deskload.run ON run.id = d.run
                 JOIN deskload.run this ON this.id = p.run AND this.account = run.account
             WHERE p.run = $1 AND p.state = 2 ORDER BY p.number, d.run, d.number LIMIT 1",
            &[(&to_i64(run.key.id), Type::INT8)],
        )?;
        let number =
            |row: &DbRow, column| row.try_get::<_, i64>(column).map(i64::unsigned_abs).map_err(|_| odd());
        rows.first().map(|row| Ok(Place { run: number(row, 0)?, row: number(row, 1)? })).transpose()
    }

    /// How many workers have been heard of lately for the run's account.
    pub fn workers(&self, run: &Run) -> Result<u64, Error> {
        let term = i64::try_from(TERM.as_micros()).unwrap_or(i64::MAX);
        let rows = self.query(
            "SELECT count(*) FROM deskload.run JOIN deskload.worker USING (account)
             WHERE run.id = $1 AND seen > deskload.now_us() - $2",
            &[(&to_i64(run.key.id), Type::INT8), (&term, Type::INT8)],
        )?;
        rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).map(i64::unsigned_abs).ok_or_else(odd)
    }

    /// Notes that an invocation has begun on a run.
    pub fn begin_invocation(&mut self, run: RunKey, beginning: &Beginning<'_>) -> Result<(), Error> {
        self.invocation = self.one(
            "SELECT deskload.begin_invocation($1, $2, $3, $4)",
            &[
                (&to_i64(run.id), Type::INT8),
                (&beginning.again, Type::TEXT),
                (&beginning.pace, Type::TEXT),
                (&beginning.now_ms, Type::INT8),
            ],
        )?;
        Ok(())
    }

    /// Joins those who work on a run: who commits for the pipeline, where its rows come from, and who renews leases.
    pub fn join(&self, run: &Run, terms: Terms) -> Result<(Worker, Source, Keeper), Error> {
        let account = stage::account(&mut self.session.borrow_mut(), &run.desk)?;
        let (patience, resends) = (terms.patience, terms.resends);
        let worker = Worker::join(&self.place, account, run, terms)?;
        let handing = Handing {
            place: self.place.clone(),
            worker: worker.id(),
            leases: worker.leases(),
            run: run.clone(),
            header: self.header(run)?,
            patience,
            resends,
        };
        let (source, keeper) = handing.spawn()?;
        Ok((worker, source, keeper))
    }

    pub(super) fn header(&self, run: &Run) -> Result<Option<Header>, Error> {
        if run.layout.format == Format::Jsonl {
            return Ok(None);
        }
        let rows = self
            .query("SELECT header FROM deskload.run WHERE id = $1", &[(&to_i64(run.key.id), Type::INT8)])?;
        let text: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
        text.and_then(|text| stage::header(text, run.layout.format)).map(Some).ok_or_else(odd)
    }

    /// Asks the database. Everything that is asked so may be asked twice: a connection that has lain idle for the time
    /// of a run may be gone, and the next one is tried at once. No lease depends on it, so that it may take as long as a
    /// report of millions of rows does.
    pub(super) fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<DbRow>, Error> {
        let mut session = self.session.borrow_mut();
        let mut was_lost = false;
        loop {
            match session.query_long(sql, values) {
                Err(Failure::Conflict(_)) => {}
                Err(Failure::Lost(_)) if !std::mem::replace(&mut was_lost, true) => {}
                answer => return answer.map_err(Failure::into_error),
            }
        }
    }

    pub(super) fn select(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Run>, Error> {
        self.query(sql, values)?.iter().map(|row| read(row).ok_or_else(odd)).collect()
    }

    pub(super) fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<T>, Error> {
        Ok(self.query(sql, values)?.first().and_then(|row| row.try_get::<_, Option<T>>(0).ok().flatten()))
    }
}

pub(super) fn others_at_work(desk: &DeskId) -> Error {
    Error::Overlap(format!(
        "workers are at work on another run for the account {} at {}; nothing was sent; wait for it to end",
        desk.account_email, desk.url
    ))
}

fn read(row: &DbRow) -> Option<Run> {
    let number = |name: &str| row.try_get::<_, i64>(name).ok().map(i64::unsigned_abs);
    let text = |name: &str| row.try_get::<_, String>(name).ok();
    let counts = Counts {
        rows: number("rows")?,
        applied: number("applied")?,
        failed: number("failed")?,
        invalid: number("invalid")?,
        in_doubt: number("in_doubt")?,
        skipped: number("skipped")?,
        pending: 0,
    };
    let settled = counts.applied + counts.failed + counts.invalid + counts.in_doubt + counts.skipped;
    Some(Run {
        key: RunKey { id: number("id")?, key_before: 0 },
        desk: DeskId { url: text("url")?, account_email: text("email")? },
        input: InputId { sha256: text("sha256")?, bytes: number("bytes")?, path: row.try_get("path").ok()? },
        layout: json(&text("layout")?)?,
        mapping: json(&text("mapping")?)?,
        custom_fields: json(&text("custom_fields")?)?,
        unchanged: row.try_get::<_, Option<i64>>("unchanged").ok()?.map(i64::unsigned_abs),
        spool: None,
        cursor: 1,
        counts: Counts { pending: counts.rows.saturating_sub(settled), ..counts },
        attempts: number("attempts")?,
        throttled: number("throttled")?,
        started_ms: row.try_get("started_ms").ok()?,
        ended_ms: row.try_get("ended_ms").ok()?,
        exit_code: row.try_get::<_, Option<i32>>("exit_code").ok()?.and_then(|code| u8::try_from(code).ok()),
        pruned_ms: row.try_get("pruned_ms").ok()?,
    })
}

pub(super) fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
