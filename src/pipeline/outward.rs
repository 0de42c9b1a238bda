//! The way out: rows to lanes, to intents, to permits, to the desk.
//!
//! Each step is bounded by the one after it. Nothing here decides what an answer means.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::{Granted, Landed, PARKED_MAX, PERMIT_AGE_MAX, Pipeline, READY_PER_SLOT};
use crate::desk::Desk;
use crate::error::Error;
use crate::journal::state::{Ending, Outcome, Permit};
use crate::journal::transitions::{Committed, Refusal, Refused};
use crate::journal::writer::{Commit, Commits};
use crate::lanes::Admitted;
use crate::pace::LEAD;
use crate::todo::{Row, Turn};

impl<D: Desk, J: Commits> Pipeline<'_, D, J> {
    pub(super) fn take_rows(&mut self, rows: Result<Vec<Row>, Error>) {
        match rows {
            Ok(rows) if rows.is_empty() => self.read_all = true,
            Ok(rows) => self.read.extend(rows),
            Err(error) => self.stop(error),
        }
    }

    pub(super) fn wants_rows(&self) -> bool {
        let has_use = self.has_room() || self.parts.until.is_full();
        self.ended.stopped.is_none() && !self.read_all && self.read.is_empty() && has_use
    }

    pub(super) fn has_room(&self) -> bool {
        !self.parts.until.is_full()
            && self.parked.len() < PARKED_MAX
            && self.parts.lanes.has_room(self.parts.concurrency * READY_PER_SLOT)
    }

    /// Rows that were read go into their tickets' lanes; those that must wait for a person are set aside.
    pub(super) fn admit(&mut self) {
        while self.ended.stopped.is_none() && self.has_room() {
            let Some(row) = self.read.pop_front() else { return };
            let ticket = row.update.ticket();
            if let Turn::Settle(ending) = &row.turn {
                self.parts.lanes.pass(row.number);
                self.batch.unsent.push((row.intent(), ending.clone()));
                continue;
            }
            let before = match row.turn {
                Turn::Hold(place) => Some(place),
                // Nearly always there is none, and nothing to be put together for the look-up.
                _ if self.parts.doubts.is_empty() => None,
                _ => self.parts.doubts.get(&row.fingerprint.same_update(ticket)).copied(),
            };
            if before.is_some() {
                // The same update may have arrived already, or is going to; later rows must not overtake it.
                self.parts.lanes.close(ticket);
                self.ended.waits_for = self.ended.waits_for.or(before);
            }
            match self.parts.lanes.admit(row) {
                Admitted::Held(row) => {
                    self.ended.holding = true;
                    self.set_aside([*row]);
                }
                Admitted::Queued => self.parts.until.admitted(),
            }
        }
    }

    /// Rows that do not go in this invocation get an entry if they have none, because the cursor passes them.
    pub(super) fn set_aside(&mut self, rows: impl IntoIterator<Item = Row>) {
        let source = &self.parts.source;
        let new = rows.into_iter().inspect(|row| source.done_with(row.number)).filter(|row| !row.has_entry);
        self.batch.set_aside.extend(new.map(|row| row.intent()));
    }

    /// Rows whose ticket has rested long enough are the next to go.
    pub(super) fn unpark(&mut self) {
        let now = Instant::now();
        while self.ended.stopped.is_none()
            && let Some(first) = self.parked.first_entry().filter(|first| first.key().0 <= now)
        {
            self.parts.lanes.again(first.remove());
        }
    }

    /// The row's ticket rests until then; the others go on.
    pub(super) fn park(&mut self, row: Row, until: Instant) {
        self.parked.insert((until, row.number), row);
    }

    /// Ready rows ask for permits, as many as the bounds and the pace allow.
    pub(super) fn want(&mut self) {
        let idle = self.ended.stopped.is_some() || self.renewing.is_some();
        if idle || self.parts.pace.asks_from() > Instant::now() + LEAD {
            return;
        }
        let unsent = self.unsent();
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        let free = slots.saturating_sub(self.in_flight.len()).min(self.lines_ready());
        let room = if self.parts.breaker.is_probing() {
            // A probe goes alone.
            free.saturating_sub(unsent)
        } else {
            let ahead = (free + self.kept_lately).min(self.parts.pace.ahead_max());
            self.parts.marked_max.saturating_sub(self.open).min(ahead.saturating_sub(unsent))
        };
        let most = self.wanting.len() + room;
        while self.wanting.len() < most {
            let Some(row) = self.parts.lanes.next_ready() else { return };
            if let Some(until) = self.parts.pace.ticket_due(row.update.ticket()) {
                self.park(row, until);
                continue;
            }
            self.parts.lanes.entered(row.number);
            self.batch.wanted.push(row.intent());
            self.wanting.push(row);
            self.open += 1;
        }
    }

    /// Rows between asking for a permit and the wire.
    pub(super) fn unsent(&self) -> usize {
        self.wanting.len() + self.granting.len() + self.permits.len()
    }

    pub(super) fn begin_commit(&mut self) -> Commit {
        self.note_meanwhile();
        let mut batch = std::mem::take(&mut self.batch);
        batch.cursor = self.parts.lanes.cursor();
        let entry = self.parts.pace.entry();
        (batch.entry, self.good_until) = (entry.map(|(entry, _)| entry), entry.map(|(_, until)| until));
        batch.pause = self.parts.pace.pause_to_write();
        batch.slowed = self.parts.pace.slowed_to_write();
        self.granting_since = Instant::now();
        self.granting = std::mem::take(&mut self.wanting);
        let is_applied = |outcome: &&Outcome| *outcome.ending() == Ending::Applied;
        self.settling_applied = batch.outcomes.iter().filter(is_applied).count() as u64;
        self.kept_lately = std::mem::take(&mut self.kept).min(self.parts.concurrency);
        self.open -= batch.outcomes.len() + batch.given_back.len();
        self.parts.writer.commit(batch)
    }

    /// Adds to the batch what has gone on since this was done last.
    pub(super) fn note_meanwhile(&mut self) {
        let (pace, breaker) = (&self.parts.pace, &self.parts.breaker);
        let (paused, away) = (pace.paused_total(), breaker.away_total());
        let (paused_told, away_told) = std::mem::replace(&mut self.waits_told, (paused, away));
        let ms =
            |total: Duration, told| u64::try_from(total.saturating_sub(told).as_millis()).unwrap_or(u64::MAX);
        let noted = &mut self.batch.meanwhile;
        noted.now_ms = jiff::Timestamp::now().as_millisecond();
        noted.paused_ms += ms(paused, paused_told);
        noted.away_ms += ms(away, away_told);
        noted.per_second = pace.in_force();
    }

    /// The batch is durable: its outcomes count, and its intents are permits.
    pub(super) fn committed(&mut self, done: Result<Committed, Error>) {
        match done {
            Ok(Committed { permits, refused, counts, pace, trouble }) => {
                self.parts.pace.committed(self.granting_since.elapsed());
                self.parts.pace.told(pace);
                if pace.paused.is_some() {
                    self.go_on_with_a_pause();
                }
                let rows = self.without(&refused);
                let (good_until, late_max) = (self.good_until, self.parts.pace.late_max());
                self.permits.extend(permits.into_iter().zip(rows).map(|(permit, row)| {
                    let good_until = permit.turn().map_or(good_until, |turn| Some(turn + late_max));
                    let row = Row { attempts: permit.attempt(), has_entry: true, ..row };
                    Granted { permit, row, good_until }
                }));
                self.parts.breaker.committed(self.settling_applied);
                self.parts.counts = counts;
                if let Some(error) = trouble {
                    self.stop(error);
                }
                self.tell();
            }
            Err(error) => {
                // A failed fsync is never retried: what is on disk now is anybody's guess.
                self.broken = true;
                self.granting.clear();
                self.stop(error);
            }
        }
    }

    /// The rows of the commit that was made, without those that it refused: they go back, or are let go.
    fn without(&mut self, refused: &[Refused]) -> Vec<Row> {
        let rows = std::mem::take(&mut self.granting);
        if refused.is_empty() {
            return rows;
        }
        self.open -= refused.len();
        let why = |row: &Row| refused.iter().find(|refused| refused.row == row.number).map(|found| found.why);
        let (mut granted, mut again) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            match why(&row) {
                None => granted.push(row),
                Some(Refusal::Spent) => again.push(row),
                Some(Refusal::Rests(until)) => self.park(row, until),
                Some(Refusal::NotOurs) => {
                    let waiting = self.parts.lanes.let_go(row.update.ticket());
                    for gone in waiting.iter().chain([&row]) {
                        self.parts.source.done_with(gone.number);
                    }
                }
            }
        }
        // The first of them goes first again.
        again.into_iter().rev().for_each(|row| self.parts.lanes.again(row));
        granted
    }

    /// Permits become requests, at the pace and on a connection that lies ready; permits that came too late go back.
    pub(super) fn send(&mut self) {
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        let paused = self.parts.pace.due() > Instant::now() + LEAD;
        let useless = self.ended.stopped.is_some() || self.renewing.is_some() || paused || slots == 0;
        while let Some(Granted { permit, row, good_until }) = self.permits.pop_front() {
            let is_stale =
                permit.age() > PERMIT_AGE_MAX || good_until.is_some_and(|until| until < Instant::now());
            if useless || is_stale {
                self.give_back(permit, row);
                continue;
            }
            let now = Instant::now();
            let is_early = permit.turn().is_some_and(|turn| turn > now);
            let waits = is_early || self.in_flight.len() >= slots;
            let Some(idle) = (if waits { None } else { self.pool.take(now) }) else {
                self.permits.push_front(Granted { permit, row, good_until });
                return;
            };
            if self.parts.pace.take(row.update.ticket()).is_err() {
                self.pool.untake(idle);
                self.permits.push_front(Granted { permit, row, good_until });
                return;
            }
            let (desk, probe) = (self.parts.desk, self.parts.breaker.is_probing());
            let request = request(desk, permit, idle.into_line(), Box::new(row), probe, self.renewals);
            self.in_flight.push(request.boxed_local());
        }
    }

    pub(super) fn give_back(&mut self, permit: Permit, row: Row) {
        let row = Row { attempts: permit.attempt() - 1, ..row };
        self.batch.given_back.push(permit);
        self.parts.lanes.again(row);
    }
}

async fn request<D: Desk>(
    desk: &D,
    permit: Permit,
    line: D::Line,
    row: Box<Row>,
    probe: bool,
    renewals: u32,
) -> Landed<D::Line> {
    // A panic costs its permit: the row stays `sending`, and recovery finds it in doubt.
    let answer = AssertUnwindSafe(desk.send(permit, line, &row.update)).catch_unwind().await.ok();
    Landed { row, probe, renewals, answer }
}
