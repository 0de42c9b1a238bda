//! A shared journal's runs and rows, for commands and reports: the same answers that a journal in a file gives.

use std::collections::HashMap;
use std::path::Path;

use tokio_postgres::Row as DbRow;
use tokio_postgres::types::Type;

use super::compare::{self, MAY_HAVE_CHANGED};
use super::session::{CALL_MAX, Failure, Value};
use super::setup::get;
use super::shared::{SELECT, Shared, json, others_at_work};
use super::worker::{micros, odd};
use super::{stage, to_i64};
use crate::error::Error;
use crate::input::spool::Taken;
use crate::input::{Header, Record, Survey};
use crate::journal::archive::{Archive, KeptRows, ReadOnce};
use crate::journal::changed::{Changed, ChangedField, SORTED_MAX, SettledOtherwise, names};
use crate::journal::invocations::{End, Invocation};
use crate::journal::minutes::{Latencies, Minute};
use crate::journal::prune::{Prune, Pruned};
use crate::journal::reader::Told;
use crate::journal::runs::{DeskId, NewRun, Run, RunKey};
use crate::journal::settle::{Resolved, Word};
use crate::journal::state::{Reason, State};
use crate::journal::twins::Twins;
use crate::journal::unchanged::{Compared, Unchanged};
use crate::ticket::TicketId;

/// Rows fetched at a time.
const PAGE: i64 = 1_024;

impl Archive for Shared {
    fn name(&self) -> String {
        self.place.to_string()
    }

    fn uuid(&self) -> &str {
        &self.uuid
    }

    fn runs(&self) -> Result<Vec<Run>, Error> {
        self.select(&format!("{SELECT} ORDER BY run.id"), &[])
    }

    fn run(&self, id: u64) -> Result<Option<Run>, Error> {
        Ok(self.select(&format!("{SELECT} WHERE run.id = $1"), &[(&to_i64(id), Type::INT8)])?.pop())
    }

    fn runs_of_input(&self, desk: &DeskId, sha256: &str) -> Result<Vec<Run>, Error> {
        self.select(
            &format!("{SELECT} WHERE url = $1 AND email = $2 AND sha256 = $3 ORDER BY run.id"),
            &[(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT), (&sha256, Type::TEXT)],
        )
    }

    fn knows_input_of(&self, bytes: u64) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT FROM deskload.run WHERE bytes = $1)";
        self.one(sql, &[(&to_i64(bytes), Type::INT8)])?.ok_or_else(odd)
    }

    /// Nobody holds an account here, so that others may be at work for it. Where they are, what they are going to send is
    /// not known yet.
    fn require_alone(&self, desk: &DeskId) -> Result<(), Error> {
        let at_work = self.one(
            "SELECT EXISTS (SELECT FROM deskload.account
                 WHERE url = $1 AND email = $2 AND deskload.is_worked_on(id, run))",
            &[(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT)],
        )?;
        if at_work.ok_or_else(odd)? { Err(others_at_work(desk)) } else { Ok(()) }
    }

    fn first_pass(
        &mut self,
        compared: Option<&Compared<'_>>,
        read: &mut ReadOnce<'_>,
    ) -> Result<(Survey, Option<Unchanged>), Error> {
        // What is invalid is found again when the rows are staged.
        let Some(compared) = compared else { return Ok((read(&mut |_| Ok(()))?, None)) };
        let (survey, unchanged) = compare::first_pass(self.session.get_mut(), compared, read)?;
        Ok((survey, Some(unchanged)))
    }

    fn begin_run(&mut self, new: &NewRun<'_>, taken: Taken, newest: Option<u64>) -> Result<Run, Error> {
        let id = stage::open_run(self.session.get_mut(), new, taken.file.path(), newest)?;
        self.run(id)?.ok_or_else(odd)
    }

    /// Rows are in the database.
    fn wants_its_input(&self, _run: &Run) -> bool {
        false
    }

    fn take_back(&mut self, _run: &Run, _taken: Taken) -> Result<(), Error> {
        Ok(())
    }

    fn desk_changed_since(&self, run: &Run) -> Result<bool, Error> {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM deskload.run JOIN deskload.account ON account.id = run.account
                 WHERE url = $1 AND email = $2 AND run.id <> $3
                     AND (run.id > $3 OR $4 < coalesce(ended_ms,
                         (SELECT max(began_ms) FROM deskload.invocation WHERE invocation.run = run.id)))
                     AND (applied + in_doubt > 0 OR EXISTS (
                         SELECT FROM deskload.rows WHERE rows.run = run.id AND {MAY_HAVE_CHANGED})))"
        );
        let changed = self.one(
            &sql,
            &[
                (&run.desk.url, Type::TEXT),
                (&run.desk.account_email, Type::TEXT),
                (&to_i64(run.key.id), Type::INT8),
                (&run.ended_ms, Type::INT8),
            ],
        )?;
        Ok(changed.unwrap_or(true))
    }

    fn older_unfinished(&self, run: &Run) -> Result<Option<u64>, Error> {
        let found: Option<i64> = self.one(
            "SELECT run.id FROM deskload.run JOIN deskload.account ON account.id = run.account
                 WHERE url = $1 AND email = $2 AND run.id < $3 AND path = $4 AND sha256 <> $5
                     AND rows > applied + failed + invalid + in_doubt + skipped
                 ORDER BY run.id DESC LIMIT 1",
            &[
                (&run.desk.url, Type::TEXT),
                (&run.desk.account_email, Type::TEXT),
                (&to_i64(run.key.id), Type::INT8),
                (&run.input.path, Type::TEXT),
                (&run.input.sha256, Type::TEXT),
            ],
        )?;
        Ok(found.map(i64::unsigned_abs))
    }

    fn last_success(&self, desk: &DeskId) -> Result<Option<i64>, Error> {
        self.one(
            "SELECT max(succeeded_ms) FROM deskload.account WHERE url = $1 AND email = $2",
            &[(&desk.url, Type::TEXT), (&desk.account_email, Type::TEXT)],
        )
    }

    fn told_page(&self, run: RunKey, states: &[State], after: u64, rows: u64) -> Result<Vec<Told>, Error> {
        let codes: Vec<String> = states.iter().map(|state| state.code().to_string()).collect();
        let sql = format!(
            "SELECT number, state, attempts, coalesce(reason, ''), coalesce(message, ''), http_status, ticket FROM deskload.rows
             WHERE run = $1 AND state IN ({}) AND state NOT IN (1, 6) AND number > $2 AND number <= $3
             ORDER BY number LIMIT {PAGE}",
            codes.join(",")
        );
        let values: [Value<'_>; 3] =
            [(&to_i64(run.id), Type::INT8), (&to_i64(after), Type::INT8), (&to_i64(rows), Type::INT8)];
        self.query(&sql, &values)?.iter().map(|row| told(row).ok_or_else(odd)).collect()
    }

    fn kept(&self, run: &Run) -> Result<Option<Box<dyn KeptRows + '_>>, Error> {
        let header = self.header(run)?;
        let rows =
            InDatabase { journal: self, run: run.clone(), header, page: Vec::new(), record: Record::new() };
        Ok(Some(Box::new(rows)))
    }

    /// Rows that are on their way belong to a worker, and are in doubt once its lease has ended and another takes over.
    fn recover(&mut self, _desk: &DeskId) -> Result<u64, Error> {
        Ok(0)
    }

    fn resolve(&mut self, run: &Run, word: Word, rows: Option<&[(u64, u64)]>) -> Result<Resolved, Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Answer {
            Settled { rows: u64, twins: Vec<(u64, u64)> },
            Odd(u64),
        }
        let pairs = |rows: &[(u64, u64)]| {
            rows.iter().map(|(low, high)| vec![*low, *high]).collect::<serde_json::Value>().to_string()
        };
        let ranges = rows.map(pairs);
        let state = i32::try_from(word.state().code()).unwrap_or_default();
        let now: Option<i64> = self.one("SELECT deskload.now_us()", &[])?;
        let until = now.ok_or_else(odd)?.saturating_add(micros(CALL_MAX));
        let sql = "SELECT deskload.resolve($1, $2, $3, $4::jsonb, $5)::text";
        let values: [Value<'_>; 5] = [
            (&to_i64(run.key.id), Type::INT8),
            (&state, Type::INT4),
            (&word.message(), Type::TEXT),
            (&ranges, Type::TEXT),
            (&until, Type::INT8),
        ];
        // Once: if the answer is lost it may have been settled, and a second word on the same rows would be refused.
        let found = self.session.get_mut().query(sql, &values).map_err(Failure::into_error)?;
        let answer: Option<String> = found.first().and_then(|row| row.try_get(0).ok());
        match answer.and_then(|text| json(&text)).ok_or_else(odd)? {
            Answer::Settled { rows, twins } => {
                let twins = twins.into_iter().map(|(run, rows)| Twins { run, rows }).collect();
                Ok(Resolved { rows, twins })
            }
            Answer::Odd(row) => Err(Error::Usage(format!(
                "row {row} of run {} is not in doubt, so nothing was settled; in-doubt.csv lists those that are",
                run.key.id
            ))),
        }
    }

    fn retry(&mut self, run: &Run) -> Result<u64, Error> {
        let rows: Option<i64> =
            self.one("SELECT deskload.retry($1)", &[(&to_i64(run.key.id), Type::INT8)])?;
        rows.map(i64::unsigned_abs).ok_or_else(|| {
            Error::Usage(format!("the rows of run {} have just been pruned; nothing was sent", run.key.id))
        })
    }

    fn prune(&mut self, what: &Prune<'_>, look: &dyn Fn() -> Result<(), Error>) -> Result<Pruned, Error> {
        self.prune_beside_workers(what, look)
    }

    fn end_invocation(&mut self, run: RunKey, end: &End<'_>) -> Result<(), Error> {
        let exit_code = i32::from(end.exit_code);
        self.query(
            "WITH noted AS (UPDATE deskload.invocation SET ended_ms = $2, exit_code = $3, said = $4
                 WHERE run = $1 AND number = $5),
             succeeded AS (UPDATE deskload.account SET succeeded_ms = $6
                 FROM deskload.run WHERE run.id = $1 AND account.id = run.account AND $3 = 0)
             UPDATE deskload.run SET ended_ms = $2, exit_code = $3 WHERE id = $1",
            &[
                (&to_i64(run.id), Type::INT8),
                (&end.ended_ms, Type::INT8),
                (&exit_code, Type::INT4),
                (&end.said, Type::TEXT),
                (&self.invocation, Type::INT4),
                (&end.now_ms, Type::INT8),
            ],
        )
        .map(|_| ())
    }

    fn each_invocation(&self, run: RunKey, take: &mut dyn FnMut(Invocation)) -> Result<(), Error> {
        let sql = "SELECT number, again, pace, began_ms, ended_ms, exit_code, said FROM deskload.invocation
                   WHERE run = $1 ORDER BY number";
        for row in self.query(sql, &[(&to_i64(run.id), Type::INT8)])? {
            take(invocation(&row).ok_or_else(odd)?);
        }
        Ok(())
    }

    fn each_minute(&self, run: RunKey, take: &mut dyn FnMut(Minute)) -> Result<(), Error> {
        let sql =
            "SELECT minute, applied, failed, in_doubt, throttled, paused_ms, away_ms, per_second, latencies
                   FROM deskload.minute WHERE run = $1 ORDER BY minute";
        for row in self.query(sql, &[(&to_i64(run.id), Type::INT8)])? {
            take(minute(&row).ok_or_else(odd)?);
        }
        Ok(())
    }

    fn changed(&self, run: &Run) -> Result<Changed, Error> {
        let is_counted = run.counts.applied <= SORTED_MAX;
        let tickets = if is_counted { "count(DISTINCT ticket)" } else { "NULL::bigint" };
        let applied = "deskload.rows WHERE run = $1 AND state = 1";
        let values: [Value<'_>; 1] = [(&to_i64(run.key.id), Type::INT8)];
        let sql = format!(
            "SELECT field, count(*), {tickets} FROM (SELECT ticket, asks FROM {applied}) AS applied,
                 jsonb_object_keys(asks) AS field GROUP BY field"
        );
        let mut counts = HashMap::new();
        for row in self.query(&sql, &values)? {
            let (rows, tickets): (i64, Option<i64>) = (get(&row, 1)?, get(&row, 2)?);
            counts.insert(get::<String>(&row, 0)?, (rows.unsigned_abs(), tickets.map(i64::unsigned_abs)));
        }
        let mut field = |name: String| {
            let (rows, tickets) = counts.remove(&name.to_ascii_lowercase())?;
            Some(ChangedField { name, rows, tickets })
        };
        let all: Option<i64> =
            if is_counted { self.one(&format!("SELECT {tickets} FROM {applied}"), &values)? } else { None };
        Ok(Changed {
            tickets: all.map(i64::unsigned_abs),
            fields: names(run).filter_map(&mut field).collect(),
        })
    }

    fn settled_otherwise(&self, run: &Run) -> Result<SettledOtherwise, Error> {
        let count = |state: State, reason: Reason| {
            let sql = format!(
                "SELECT count(*) FROM deskload.rows WHERE run = $1 AND state = {} AND reason = $2",
                state.code()
            );
            let values: [Value<'_>; 2] = [(&to_i64(run.key.id), Type::INT8), (&reason.as_str(), Type::TEXT)];
            let found: Option<i64> = self.one(&sql, &values)?;
            Ok(found.unwrap_or_default().unsigned_abs())
        };
        Ok(SettledOtherwise {
            applied_by_word: count(State::Applied, Reason::Resolved)?,
            skipped_by_word: count(State::Skipped, Reason::Resolved)?,
            superseded: count(State::Skipped, Reason::Superseded)?,
            already_applied: count(State::Skipped, Reason::AlreadyApplied)?,
        })
    }

    fn is_worked_on(&self, _state_folder: &Path, run: &Run) -> Result<bool, Error> {
        Ok(self.workers(run)? > 0)
    }

    fn close(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }

    /// Each row gives up its text as it is applied or skipped, and keeps it while a report may tell of it.
    fn cut_down(&mut self, _run: &Run) -> Result<(), Error> {
        Ok(())
    }
}

fn invocation(row: &DbRow) -> Option<Invocation> {
    Some(Invocation {
        number: row.try_get::<_, i32>(0).ok()?.unsigned_abs().into(),
        again: row.try_get(1).ok()?,
        pace: row.try_get(2).ok()?,
        began_ms: row.try_get(3).ok()?,
        ended_ms: row.try_get(4).ok()?,
        exit_code: row.try_get::<_, Option<i32>>(5).ok()?.and_then(|code| u8::try_from(code).ok()),
        said: row.try_get(6).ok()?,
    })
}

fn minute(row: &DbRow) -> Option<Minute> {
    let count = |column: &str| row.try_get::<_, i64>(column).ok().map(|count| count.max(0).unsigned_abs());
    let mut latencies = Latencies::default();
    for (bucket, count) in latencies.0.iter_mut().zip(row.try_get::<_, Vec<i64>>("latencies").ok()?) {
        *bucket = count.unsigned_abs();
    }
    Some(Minute {
        minute: row.try_get("minute").ok()?,
        applied: count("applied")?,
        failed: count("failed")?,
        in_doubt: count("in_doubt")?,
        throttled: count("throttled")?,
        paused_ms: count("paused_ms")?,
        away_ms: count("away_ms")?,
        per_second: row.try_get("per_second").ok()?,
        latencies,
    })
}

fn told(row: &DbRow) -> Option<Told> {
    Some(Told {
        row: row.try_get::<_, i64>(0).ok()?.unsigned_abs(),
        ticket: row.try_get::<_, Option<i64>>(6).ok()?.map(TicketId::from_journal),
        state: State::from_code(row.try_get::<_, i16>(1).ok()?.into())?,
        attempts: row.try_get::<_, i32>(2).ok()?.unsigned_abs(),
        reason: row.try_get(3).ok()?,
        message: row.try_get(4).ok()?,
        http_status: row.try_get::<_, Option<i16>>(5).ok()?.and_then(|status| u16::try_from(status).ok()),
    })
}

/// Rows as the database keeps them, a page at a time.
struct InDatabase<'a> {
    journal: &'a Shared,
    run: Run,
    header: Option<Header>,
    /// In falling order, so that the next one is taken from the end.
    page: Vec<(u64, String)>,
    record: Record,
}

impl KeptRows for InDatabase<'_> {
    fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    fn at(&mut self, number: u64) -> Result<&Record, Error> {
        while self.page.last().is_some_and(|(row, _)| *row < number) {
            self.page.pop();
        }
        if self.page.last().is_none_or(|(row, _)| *row != number) {
            let sql = format!(
                "SELECT number, body FROM deskload.rows WHERE run = $1 AND number >= $2 AND state IN (3, 4, 5)
                     AND state NOT IN (1, 6) AND body IS NOT NULL ORDER BY number LIMIT {PAGE}"
            );
            let values: [Value<'_>; 2] =
                [(&to_i64(self.run.key.id), Type::INT8), (&to_i64(number), Type::INT8)];
            let rows = self.journal.query(&sql, &values)?;
            let row =
                |row: &DbRow| Some((row.try_get::<_, i64>(0).ok()?.unsigned_abs(), row.try_get(1).ok()?));
            self.page =
                rows.iter().rev().map(|found| row(found).ok_or_else(odd)).collect::<Result<_, _>>()?;
        }
        let body = self.page.pop().filter(|(row, _)| *row == number).map(|(_, body)| body);
        let record = body.and_then(|body| stage::record(number, &body, self.run.layout.format));
        self.record = record.ok_or_else(|| {
            // It was settled by another worker, or by a person, between two looks.
            Error::Machine(format!(
                "row {number} is not kept any more; deskload report writes the reports again"
            ))
        })?;
        Ok(&self.record)
    }
}
