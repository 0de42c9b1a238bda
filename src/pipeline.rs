//! THE way of a row: todo → lane → permit → desk → verdict → outcome.
//!
//! [`Pipeline::run`] is the whole of it; its steps are in `outward` (rows to lanes, intents, permits, requests), `lines`
//! (connections for them) and `back` (answers to outcomes, stops). One loop owns all state, so that nothing here needs a lock. At most one commit is
//! under way, and what gathers meanwhile (outcomes, unused permits, rows that want to go) shares the next one; outcomes
//! never wait for permits, so the two cannot block each other.
//!
//! Bounds: on their way at most `concurrency`; marked as sending at most `marked_max`, until the outcome's commit;
//! marked and not yet on the wire at most what the pace lets out in 20 ms.
//!
//! When the journal cannot write, nothing more is sent: what is in flight is waited for, and found in doubt by
//! the next start. A row counts once its outcome is committed.

mod back;
mod lines;
mod outward;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::breaker::Breaker;
use crate::desk::pool::Pool;
use crate::desk::{Answer, Desk};
use crate::error::Error;
use crate::journal::Journal;
use crate::journal::fingerprint::SameUpdate;
use crate::journal::later::Place;
use crate::journal::runs::Counts;
use crate::journal::state::Permit;
use crate::journal::transitions::{Batch, Committed};
use crate::journal::writer::{Commits, Writer};
use crate::lanes::Lanes;
use crate::pace::{LEAD, Pace};
use crate::progress::Progress;
use crate::shutdown::Shutdown;
use crate::todo::{Row, Source};
use crate::until::Until;
use lines::Opened;

/// A permit that waited so long for its turn is given back: the bound on what a crash puts in doubt should be
/// spent on requests that are under way.
const PERMIT_AGE_MAX: Duration = Duration::from_secs(1);

/// Rows whose tickets rest for a while, at most; then no more are read.
const PARKED_MAX: usize = 10_000;

/// Chunks of rows are taken from the reader until so many rows are ready to go.
const READY_PER_SLOT: usize = 4;

/// What a pipeline is made of.
pub struct Parts<'a, D, J = Journal> {
    /// Who applies updates.
    pub desk: &'a D,
    /// Where rows come from.
    pub source: Source,
    /// Who commits.
    pub writer: Writer<J>,
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
    /// How long it may go on.
    pub until: Until,
    /// Who may ask to stop.
    pub shutdown: Shutdown,
}

/// How an invocation's sending ended.
#[derive(Debug)]
pub struct Driven<J = Journal> {
    /// The writer, to get the journal back from.
    pub writer: Writer<J>,
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

/// A permit that waits for its turn.
struct Granted {
    permit: Permit,
    row: Row,
    /// What the ledger counts on: it is used by then, or given back.
    good_until: Option<Instant>,
}

/// A request that has come back.
struct Landed<L> {
    /// In a box, so that a request under way is small enough for the allocator's quick path.
    row: Box<Row>,
    /// It left while the desk was away.
    probe: bool,
    /// How often the token had been renewed when it left.
    renewals: u32,
    /// `None`: the task panicked, and its permit is gone with it.
    answer: Option<Answer<L>>,
}

/// What is under way, and what gathers for the next commit.
pub struct Pipeline<'a, D: Desk, J = Journal> {
    parts: Parts<'a, D, J>,
    /// Rows read and not yet admitted; the end of the rows has been seen.
    read: VecDeque<Row>,
    read_all: bool,
    batch: Batch,
    /// The rows whose intents are in `batch`, then those in the commit under way, in the order of the intents.
    wanting: Vec<Row>,
    granting: Vec<Row>,
    /// When the commit under way began, and until when its permits may be used.
    granting_since: Instant,
    /// Rows of its outcomes that were applied.
    settling_applied: u64,
    good_until: Option<Instant>,
    permits: VecDeque<Granted>,
    /// Rows whose ticket rests until then; their number keeps apart those of one moment.
    parked: BTreeMap<(Instant, u64), Row>,
    in_flight: FuturesUnordered<LocalBoxFuture<'a, Landed<D::Line>>>,
    /// Connections that lie ready, and those that are being made.
    pool: Pool<D::Line>,
    opening: FuturesUnordered<LocalBoxFuture<'a, Opened<D::Line>>>,
    /// How long the last one took, and when the next one may be begun.
    opening_took: Duration,
    opens_from: Instant,
    /// Rows marked as sending, or about to be, whose outcome is not committed.
    open: usize,
    /// Connections that have come back ready since the last commit was begun, and before that: as many are likely to do
    /// so during the next one.
    kept: usize,
    kept_lately: usize,
    /// How often the token was renewed, and how many rows were applied by then.
    renewals: u32,
    applied_at_renewal: u64,
    renewing: Option<Renewing<'a>>,
    /// Of the pauses and of the desk's absence, as much as is in the samples.
    waits_told: (Duration, Duration),
    slowed_told: Option<f64>,
    /// A signal has been heard.
    asked: bool,
    ended: Ended,
    broken: bool,
}

impl<'a, D: Desk, J: Commits> Pipeline<'a, D, J> {
    /// Puts the parts together; nothing moves yet.
    #[must_use]
    pub fn new(parts: Parts<'a, D, J>) -> Self {
        Self {
            pool: Pool::new(parts.concurrency),
            parts,
            read: VecDeque::new(),
            read_all: false,
            batch: Batch::default(),
            wanting: Vec::new(),
            granting: Vec::new(),
            granting_since: Instant::now(),
            settling_applied: 0,
            good_until: None,
            permits: VecDeque::new(),
            parked: BTreeMap::new(),
            in_flight: FuturesUnordered::new(),
            opening: FuturesUnordered::new(),
            opening_took: Duration::ZERO,
            opens_from: Instant::now(),
            open: 0,
            kept: 0,
            kept_lately: 0,
            renewals: 0,
            applied_at_renewal: 0,
            renewing: None,
            waits_told: (Duration::ZERO, Duration::ZERO),
            slowed_told: None,
            asked: false,
            ended: Ended::default(),
            broken: false,
        }
    }

    /// Sends what is left, until the end, a stop or a signal; then finishes what is in flight.
    pub async fn run(mut self) -> Driven<J> {
        let mut commit: Option<LocalBoxFuture<'static, Result<Committed, Error>>> = None;
        self.go_on_with_a_pause();
        loop {
            self.look_at_the_clock();
            self.unpark();
            self.sweep();
            self.admit(); //                                         rows  → lanes
            self.want(); //                                          lanes → intents
            if commit.is_none() && !self.broken && !self.batch.is_empty() {
                commit = Some(self.begin_commit().wait().boxed_local());
            }
            self.send(); //                                          permits → desk
            self.connect();
            self.parts.shutdown.under_way(self.in_flight.len());
            if self.is_over() && commit.is_none() {
                break;
            }
            let (reading, wake) = (self.wants_rows(), self.wake_at(commit.is_some()));
            tokio::select! {
                biased;
                signal = self.parts.shutdown.wait(), if !self.asked => {
                    self.asked = true;
                    self.stop(Error::Interrupted(signal));
                }
                Some(landed) = self.in_flight.next() => self.take_in(landed),
                Some(opened) = self.opening.next() => self.opened(opened),
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
        if !self.read.is_empty() && self.ended.stopped.is_none() {
            self.ended.stopped = self.parts.until.full();
        }
        Driven {
            writer: self.parts.writer,
            progress: self.parts.progress,
            ended: self.ended,
            broken: self.broken,
        }
    }

    fn is_over(&self) -> bool {
        // Where a limit is reached, one look ahead tells whether anything is left for the next time.
        let read_enough = if self.read.is_empty() { self.read_all } else { self.parts.until.is_full() };
        let nothing_left = read_enough && self.parts.lanes.is_empty();
        (self.ended.stopped.is_some() || nothing_left)
            && self.in_flight.is_empty()
            && self.permits.is_empty()
            && (self.broken || self.batch.is_empty())
    }

    /// When something may happen by itself: a cell, the end of a pause, a probe, a connection that is to be begun. At the
    /// latest in a second, so that what is shown stays true.
    fn wake_at(&self, committing: bool) -> Instant {
        let tick = Instant::now() + Duration::from_secs(1);
        if self.ended.stopped.is_some() || self.renewing.is_some() {
            return tick;
        }
        let tick = self.parked.first_key_value().map_or(tick, |((until, _), _)| tick.min(*until));
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        if slots == 0 {
            return self.parts.breaker.probe_at().map_or(tick, |probe_at| probe_at.min(tick));
        }
        if self.in_flight.len() >= slots {
            return tick;
        }
        if let Some(from) = self.connects_from() {
            return from.min(tick);
        }
        if self.lines_ready() == 0 {
            return tick;
        }
        if let Some(first) = self.permits.front() {
            let due = self.parts.pace.due();
            return first.permit.turn().map_or(due, |turn| turn.max(due)).min(tick);
        }
        if self.parts.lanes.ready() > 0 && !committing {
            let due = self.parts.pace.asks_from();
            return due.checked_sub(LEAD).unwrap_or(due).min(tick);
        }
        tick
    }
}

/// Waits for the commit under way, if there is one. Cancel-safe: the commit stays where it is.
async fn wait_for<F: Future + Unpin>(commit: &mut Option<F>) -> F::Output {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}
