//! THE way of a row: todo → lane → permit → desk → verdict → outcome.
//!
//! [`Pipeline::run`] is the whole of it; everything below it is one step. One loop owns all state, so that
//! nothing here needs a lock. At most one commit is under way, and what gathers meanwhile (outcomes, unused
//! permits, rows that want to go) shares the next one; outcomes never wait for permits, so the two cannot block
//! each other.
//!
//! Bounds: on their way at most `concurrency`; marked as sending at most `marked_max`, until the outcome's commit;
//! marked and not yet on the wire at most what the pace lets out in 20 ms.
//!
//! When the journal cannot write, nothing more is sent: what is in flight is waited for, and found in doubt by
//! the next start. A row counts once its outcome is committed.

use std::collections::{HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::breaker::{Breaker, Decision};
use crate::desk::{Answer, Desk};
use crate::error::Error;
use crate::journal::fingerprint::SameUpdate;
use crate::journal::later::Place;
use crate::journal::runs::Counts;
use crate::journal::state::{Ending, Note, Permit, Sent};
use crate::journal::transitions::{Batch, Committed};
use crate::journal::writer::{Commit, Writer};
use crate::lanes::{Admitted, Lanes};
use crate::pace::{LEAD, Pace};
use crate::progress::{Progress, Waiting};
use crate::shutdown::Shutdown;
use crate::todo::{Row, Source, Turn};

/// A permit that waited so long for its turn is given back: the bound on what a crash puts in doubt should be
/// spent on requests that are under way.
const PERMIT_AGE_MAX: Duration = Duration::from_secs(1);

/// Chunks of rows are taken from the reader until so many rows are ready to go.
const READY_PER_SLOT: usize = 4;

/// What a pipeline is made of.
pub struct Parts<'a, D> {
    /// Who applies updates.
    pub desk: &'a D,
    /// Where rows come from.
    pub source: Source,
    /// Who commits.
    pub writer: Writer,
    /// One ticket at a time; knows the tickets that are held from the start.
    pub lanes: Lanes,
    /// When a request may leave.
    pub pace: Pace,
    /// What trouble means.
    pub breaker: Breaker,
    /// Updates that are in doubt in some run of this desk: the same update waits with them.
    pub doubts: HashMap<SameUpdate, Place>,
    /// Requests under way at once, at most.
    pub concurrency: usize,
    /// Rows marked as sending at once, at most; above `concurrency`, or the desk waits for each commit.
    pub marked_max: usize,
    /// How the run's rows stood at the start.
    pub counts: Counts,
    /// Who is told.
    pub progress: Progress,
    /// Who may ask to stop.
    pub shutdown: Shutdown,
}

/// How an invocation's sending ended.
#[derive(Debug)]
pub struct Driven {
    /// The writer, to get the journal back from.
    pub writer: Writer,
    /// The bar or the lines, to be taken down.
    pub progress: Progress,
    /// How it ended.
    pub ended: Ended,
    /// The journal could not be written: nothing on disk may be touched any more.
    pub broken: bool,
}

/// Why nothing more is sent, and what keeps rows pending.
#[derive(Debug, Default)]
pub struct Ended {
    /// What stopped it; `None` if it came to the end of its rows.
    pub stopped: Option<Error>,
    /// Rows whose ticket rests, because the desk kept asking to come back later.
    pub resting: u64,
    /// Whether rows wait for one in doubt, in this run or another.
    pub holding: bool,
    /// A row of another run that some wait for.
    pub waits_for: Option<Place>,
}

/// Waiting for a new token.
type Renewing<'a> = LocalBoxFuture<'a, Result<(), Error>>;

/// A request that has come back.
struct Landed {
    row: Row,
    /// It left while the desk was away.
    probe: bool,
    /// How often the token had been renewed when it left.
    renewals: u32,
    /// `None`: the task panicked, and its permit is gone with it.
    answer: Option<Answer>,
}

/// What is under way, and what gathers for the next commit.
pub struct Pipeline<'a, D> {
    parts: Parts<'a, D>,
    /// Rows read and not yet admitted; the end of the rows has been seen.
    read: VecDeque<Row>,
    read_all: bool,
    batch: Batch,
    /// The rows whose intents are in `batch`, then those in the commit under way, in the order of the intents.
    wanting: Vec<Row>,
    granting: Vec<Row>,
    permits: VecDeque<(Permit, Row)>,
    in_flight: FuturesUnordered<LocalBoxFuture<'a, Landed>>,
    /// Rows marked as sending, or about to be, whose outcome is not committed.
    open: usize,
    /// Outcomes in the batch before: as many are likely to land during the next commit.
    landed_lately: usize,
    /// How often the token was renewed, and how many rows were applied by then.
    renewals: u32,
    applied_at_renewal: u64,
    renewing: Option<Renewing<'a>>,
    paused_told: Duration,
    ended: Ended,
    broken: bool,
}

impl<'a, D: Desk> Pipeline<'a, D> {
    /// Puts the parts together; nothing moves yet.
    #[must_use]
    pub fn new(parts: Parts<'a, D>) -> Self {
        Self {
            parts,
            read: VecDeque::new(),
            read_all: false,
            batch: Batch::default(),
            wanting: Vec::new(),
            granting: Vec::new(),
            permits: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            open: 0,
            landed_lately: 0,
            renewals: 0,
            applied_at_renewal: 0,
            renewing: None,
            paused_told: Duration::ZERO,
            ended: Ended::default(),
            broken: false,
        }
    }

    /// Sends what is left, until the end, a stop or a signal; then finishes what is in flight.
    pub async fn run(mut self) -> Driven {
        let mut commit: Option<LocalBoxFuture<'static, Result<Committed, Error>>> = None;
        loop {
            self.admit(); //                                         rows  → lanes
            self.want(); //                                          lanes → intents
            if commit.is_none() && !self.broken && !self.batch.is_empty() {
                commit = Some(self.begin_commit().wait().boxed_local());
            }
            self.send(); //                                          permits → desk
            if self.is_over() && commit.is_none() {
                break;
            }
            let (reading, draining) = (self.wants_rows(), self.ended.stopped.is_some());
            let wake = self.wake_at(commit.is_some());
            tokio::select! {
                biased;
                signal = self.parts.shutdown.wait(), if !draining => self.stop(Error::Interrupted(signal)),
                Some(landed) = self.in_flight.next() => self.take_in(landed),
                done = wait_for(&mut commit), if commit.is_some() => {
                    commit = None;
                    self.committed(done);
                }
                renewed = wait_for(&mut self.renewing), if self.renewing.is_some() => {
                    self.renewing = None;
                    self.renewed(renewed);
                }
                rows = self.parts.source.more(), if reading => self.take_rows(rows),
                () = tokio::time::sleep_until(wake) => self.tell(),
            }
        }
        Driven {
            writer: self.parts.writer,
            progress: self.parts.progress,
            ended: self.ended,
            broken: self.broken,
        }
    }

    fn take_rows(&mut self, rows: Result<Vec<Row>, Error>) {
        match rows {
            Ok(rows) if rows.is_empty() => self.read_all = true,
            Ok(rows) => self.read.extend(rows),
            Err(error) => self.stop(error),
        }
    }

    fn wants_rows(&self) -> bool {
        self.ended.stopped.is_none() && !self.read_all && self.read.is_empty() && self.has_room()
    }

    fn has_room(&self) -> bool {
        self.parts.lanes.has_room(self.parts.concurrency * READY_PER_SLOT)
    }

    /// Rows that were read go into their tickets' lanes; those that must wait for a person are set aside.
    fn admit(&mut self) {
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
                _ => self.parts.doubts.get(&row.fingerprint.same_update(ticket)).copied(),
            };
            if before.is_some() {
                // The same update may have arrived already, or is going to; later rows must not overtake it.
                self.parts.lanes.close(ticket);
                self.ended.waits_for = self.ended.waits_for.or(before);
            }
            if let Admitted::Held(row) = self.parts.lanes.admit(row) {
                self.ended.holding = true;
                self.set_aside([*row]);
            }
        }
    }

    /// Rows that do not go in this invocation get an entry if they have none, because the cursor passes them.
    fn set_aside(&mut self, rows: impl IntoIterator<Item = Row>) {
        let new = rows.into_iter().filter(|row| !row.has_entry);
        self.batch.set_aside.extend(new.map(|row| row.intent()));
    }

    /// Ready rows ask for permits, as many as the bounds and the pace allow.
    fn want(&mut self) {
        let idle = self.ended.stopped.is_some() || self.renewing.is_some();
        if idle || self.parts.pace.due() > Instant::now() + LEAD {
            return;
        }
        let unsent = self.unsent();
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        let room = if self.parts.breaker.is_probing() {
            // A probe goes alone.
            slots.saturating_sub(self.in_flight.len() + unsent)
        } else {
            let free = slots.saturating_sub(self.in_flight.len());
            let ahead = (free + self.landed_lately).min(self.parts.pace.ahead_max());
            self.parts.marked_max.saturating_sub(self.open).min(ahead.saturating_sub(unsent))
        };
        for _ in 0..room {
            let Some(row) = self.parts.lanes.next_ready() else { return };
            self.parts.lanes.entered(row.number);
            self.batch.wanted.push(row.intent());
            self.wanting.push(row);
            self.open += 1;
        }
    }

    /// Rows between asking for a permit and the wire.
    fn unsent(&self) -> usize {
        self.wanting.len() + self.granting.len() + self.permits.len()
    }

    fn begin_commit(&mut self) -> Commit {
        let mut batch = std::mem::take(&mut self.batch);
        batch.cursor = self.parts.lanes.cursor();
        batch.now_ms = jiff::Timestamp::now().as_millisecond();
        let paused = self.parts.pace.paused_total();
        batch.paused_ms =
            u64::try_from(paused.saturating_sub(self.paused_told).as_millis()).unwrap_or(u64::MAX);
        self.paused_told = paused;
        self.granting = std::mem::take(&mut self.wanting);
        self.landed_lately = batch.outcomes.len().min(self.parts.concurrency);
        self.open -= batch.outcomes.len() + batch.given_back.len();
        self.parts.writer.commit(batch)
    }

    /// The batch is durable: its outcomes count, and its intents are permits.
    fn committed(&mut self, done: Result<Committed, Error>) {
        match done {
            Ok(Committed { permits, counts }) => {
                let rows = std::mem::take(&mut self.granting);
                self.permits.extend(permits.into_iter().zip(rows).map(|(permit, row)| {
                    let row = Row { attempts: permit.attempt(), has_entry: true, ..row };
                    (permit, row)
                }));
                self.parts.breaker.committed(counts.applied.saturating_sub(self.parts.counts.applied));
                self.parts.counts = counts;
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

    /// Permits become requests, at the pace; permits that came too late go back.
    fn send(&mut self) {
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        let paused = self.parts.pace.due() > Instant::now() + LEAD;
        let useless = self.ended.stopped.is_some() || self.renewing.is_some() || paused || slots == 0;
        while let Some((permit, row)) = self.permits.pop_front() {
            if useless || permit.age() > PERMIT_AGE_MAX {
                self.give_back(permit, row);
                continue;
            }
            if self.in_flight.len() >= slots || self.parts.pace.take().is_err() {
                self.permits.push_front((permit, row));
                return;
            }
            let (desk, probe) = (self.parts.desk, self.parts.breaker.is_probing());
            self.in_flight.push(request(desk, permit, row, probe, self.renewals).boxed_local());
        }
    }

    fn give_back(&mut self, permit: Permit, row: Row) {
        let row = Row { attempts: permit.attempt() - 1, ..row };
        self.batch.given_back.push(permit);
        self.parts.lanes.again(row);
    }

    /// A request has come back: what it means for its row, its ticket and the run.
    fn take_in(&mut self, landed: Landed) {
        let Landed { mut row, probe, renewals, answer } = landed;
        let Some(Answer { sent, verdict, latency }) = answer else {
            return self.stop(Error::Machine(format!(
                "sending row {} ended in a bug; it is in doubt, and nothing more was sent",
                row.number
            )));
        };
        let breaker = &mut self.parts.breaker;
        match breaker.decide(verdict, &mut row, probe, &mut self.parts.pace) {
            Decision::Settle(ending) => {
                let ticket = row.update.ticket();
                if matches!(ending, Ending::InDoubt(_)) {
                    // A late arrival must not overwrite what later rows of this ticket ask for.
                    let waiting = self.parts.lanes.hold(ticket);
                    self.ended.holding |= !waiting.is_empty();
                    self.set_aside(waiting);
                } else {
                    self.parts.lanes.done(ticket);
                }
                self.batch.outcomes.push(sent.settle(ending, latency));
            }
            Decision::Again(note) => self.again(row, sent, note, latency),
            Decision::Resend(note) => {
                self.batch.outcomes.push(sent.settle(Ending::InDoubt(note), latency));
                self.parts.lanes.again(Row { resend: true, ..row });
            }
            Decision::Rest(note) => {
                self.ended.resting += 1;
                let waiting = self.parts.lanes.hold(row.update.ticket());
                self.set_aside(waiting);
                self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
            }
            Decision::Renew(note, refused) => {
                self.again(row, sent, note, latency);
                // Others that left with the old token come back refused, too; they say nothing of the new one.
                if renewals == self.renewals {
                    self.renew(refused);
                }
            }
            Decision::Stop(note, error) => {
                self.again(row, sent, note, latency);
                self.stop(error);
            }
        }
        if let Some(error) = self.parts.breaker.gives_up().or_else(|| self.parts.breaker.too_many_failures())
        {
            self.stop(error);
        }
    }

    /// The row was not applied and goes first when its turn comes again.
    fn again(&mut self, mut row: Row, sent: Sent, note: Note, latency: Duration) {
        if note.reason.never_left() {
            row.attempts -= 1;
        }
        self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
        self.parts.lanes.again(row);
    }

    /// Asks once for a new token, while what is in flight goes on; a desk that refuses the new one before it has
    /// applied anything ends the run.
    fn renew(&mut self, refused: Error) {
        if self.renewing.is_some() {
            return;
        }
        let applied = self.parts.counts.applied;
        if self.renewals > 0 && applied == self.applied_at_renewal {
            return self.stop(refused);
        }
        self.renewals += 1;
        self.applied_at_renewal = applied;
        let asked = self.parts.desk.renew_credentials();
        self.renewing = Some(
            asked.map(|asked| asked.and_then(|new| if new { Ok(()) } else { Err(refused) })).boxed_local(),
        );
    }

    fn renewed(&mut self, renewed: Result<(), Error>) {
        if let Err(error) = renewed {
            self.stop(error);
        }
    }

    /// Nothing new is sent from now on. The gravest reason is the one that is told.
    fn stop(&mut self, error: Error) {
        tracing::debug!(%error, "stopping");
        self.ended.stopped = Some(match self.ended.stopped.take() {
            Some(before) => before.graver(error),
            None => error,
        });
        // Intents that are not under way yet are withdrawn; the rows get entries, because the cursor counts them.
        self.open -= self.wanting.len();
        self.batch.wanted.clear();
        let withdrawn = std::mem::take(&mut self.wanting);
        self.set_aside(withdrawn);
    }

    fn is_over(&self) -> bool {
        let nothing_left = self.read_all && self.read.is_empty() && self.parts.lanes.is_empty();
        (self.ended.stopped.is_some() || nothing_left)
            && self.in_flight.is_empty()
            && self.permits.is_empty()
            && (self.broken || self.batch.is_empty())
    }

    /// When something may happen by itself: a cell, the end of a pause, a probe. At the latest in a second, so
    /// that what is shown stays true.
    fn wake_at(&self, committing: bool) -> Instant {
        let tick = Instant::now() + Duration::from_secs(1);
        if self.ended.stopped.is_some() || self.renewing.is_some() {
            return tick;
        }
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        if slots == 0 {
            return self.parts.breaker.probe_at().map_or(tick, |probe_at| probe_at.min(tick));
        }
        if self.in_flight.len() >= slots {
            return tick;
        }
        let due = self.parts.pace.due();
        if !self.permits.is_empty() {
            return due.min(tick);
        }
        if self.parts.lanes.ready() > 0 && !committing {
            return due.checked_sub(LEAD).unwrap_or(due).min(tick);
        }
        tick
    }

    fn tell(&mut self) {
        let waiting = self.waiting();
        self.parts.progress.update(&self.parts.counts, waiting);
    }

    fn waiting(&self) -> Waiting {
        if let Some(until) = self.parts.pace.paused_until() {
            return Waiting::Paused(until.saturating_duration_since(Instant::now()));
        }
        match self.parts.breaker.probe_at() {
            Some(at) => Waiting::Away(at.saturating_duration_since(Instant::now())),
            None => Waiting::Nothing,
        }
    }
}

async fn request<D: Desk>(desk: &D, permit: Permit, row: Row, probe: bool, renewals: u32) -> Landed {
    // A panic costs its permit: the row stays `sending`, and recovery finds it in doubt.
    let answer = AssertUnwindSafe(desk.send(permit, &row.update)).catch_unwind().await.ok();
    Landed { row, probe, renewals, answer }
}

/// Waits for the commit under way, if there is one. Cancel-safe: the commit stays where it is.
async fn wait_for<F: Future + Unpin>(commit: &mut Option<F>) -> F::Output {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}
