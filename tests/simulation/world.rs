//! The truth of a simulated life: what reached the desk, what it applied and when, what a person said.
//!
//! The program under test never reads this. Each event passes through here, in the order of simulated time, and
//! is checked against what the promise allows; the first breach is kept and ends the life. An event may also
//! be the one at which the process dies: from then on nothing that it does has an effect.

mod commits;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use deskload::desk::verdict::{Trouble, Verdict};
use deskload::journal::settle::Word;
use deskload::journal::state::State;
use deskload::journal::unchanged::Unchanged;
use deskload::ticket::TicketUpdate;
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::desk::{Script, expired, refused};
use crate::input::Line;
use crate::meter::Meter;
use crate::plan::{Fate, Plan};
use crate::tally::Tally;
use crate::trace::Trace;

/// With a desk that is well, a request leaves when something happened or its cell came, and not later: the
/// program wakes up each second in any case, so that a wake-up that was lost shows as a delay only.
const STALL_MAX: Duration = Duration::from_millis(5);

/// One request that reached the desk, or was turned away on its doorstep.
#[derive(Debug)]
struct Request {
    /// Proven not applied, by an outcome that is on disk.
    proven: bool,
    /// It will never be applied: the desk decided so.
    refused: bool,
}

/// A row, as far as the world outside of the journal knows it.
#[derive(Debug)]
pub(crate) struct RowTruth {
    pub(crate) line: Line,
    requests: Vec<Request>,
    /// So many of the requests were made good by a person's word.
    pardoned: usize,
    pub(crate) applied: usize,
    pub(crate) word: Option<Word>,
    /// It was skipped when its run began, because its ticket was said to have these values.
    pub(crate) unchanged: bool,
    /// As on disk after the last commit; `None`: no entry.
    pub(crate) on_disk: Option<State>,
}

/// Everything outside of the program.
pub(crate) struct World {
    pub(crate) rng: Rng,
    zero: Instant,
    /// The rows of each run, in the order of the file.
    pub(crate) runs: Vec<Vec<RowTruth>>,
    /// The run that is being driven.
    pub(crate) run: usize,
    /// The desk does as it is asked from now on.
    pub(crate) healthy: bool,
    /// Changes of tickets that are still on their way: when, in which order, of which run and row.
    arrivals: BTreeMap<(Instant, u64), (usize, usize)>,
    /// The tickets as they are at the desk: staff and subject.
    pub(crate) tickets: BTreeMap<u64, (String, String)>,
    /// Requests under way, as the process sees them, by the order of their sending.
    flying: BTreeMap<u64, usize>,
    /// Rows that went out and have no outcome on disk.
    pub(crate) wired: BTreeSet<usize>,
    pub(crate) meter: Meter,
    /// Of this process: rows that may have gone through, refusals, and how many there were of both when a row was last
    /// refused.
    passed: u64,
    refused: u64,
    refused_rows: BTreeMap<usize, (u64, u64)>,
    /// Requests that the journal must have counted, by run.
    pub(crate) attempts: Vec<i64>,
    serial: u64,
    commits: u32,
    /// When anything last happened that the process could wake up for.
    last_event: Instant,
    /// The process dies at this event; counted down.
    pub(crate) dies_in: Option<u32>,
    pub(crate) dead: bool,
    pub(crate) breach: Option<String>,
    /// Rung when the process is dead, or the life is over.
    pub(crate) bell: Rc<Notify>,
    trace: Trace,
    /// The control breaks the other invariants on its way to a repeat; those do not end its life.
    repeats_alone: bool,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new(rng: Rng, verbose: bool, repeats_alone: bool) -> Self {
        Self {
            rng,
            zero: Instant::now(),
            runs: Vec::new(),
            run: 0,
            healthy: false,
            arrivals: BTreeMap::new(),
            tickets: BTreeMap::new(),
            flying: BTreeMap::new(),
            wired: BTreeSet::new(),
            meter: Meter::default(),
            passed: 0,
            refused: 0,
            refused_rows: BTreeMap::new(),
            attempts: Vec::new(),
            serial: 0,
            commits: 0,
            last_event: Instant::now(),
            dies_in: None,
            dead: false,
            breach: None,
            bell: Rc::default(),
            trace: Trace::new(verbose),
            repeats_alone,
            tally: Tally::default(),
        }
    }

    pub(crate) fn add_run(&mut self, lines: Vec<Line>, unchanged: Option<&Unchanged>) {
        self.tally.unchanged += unchanged.map_or(0, Unchanged::count);
        let rows = lines.into_iter().zip(1..).map(|(line, number)| RowTruth {
            on_disk: (!line.valid).then_some(State::Invalid),
            unchanged: unchanged.is_some_and(|unchanged| unchanged.holds(number)),
            line,
            requests: Vec::new(),
            pardoned: 0,
            applied: 0,
            word: None,
        });
        self.runs.push(rows.collect());
        self.attempts.push(0);
    }

    /// A new process begins.
    pub(crate) fn begin_session(
        &mut self,
        run: usize,
        plan: &Plan,
        dies_in: Option<u32>,
        slowed_to: Option<f64>,
    ) {
        self.run = run;
        self.dead = false;
        self.dies_in = dies_in;
        self.commits = 0;
        self.last_event = Instant::now();
        self.wired.clear();
        (self.passed, self.refused) = (0, 0);
        self.refused_rows.clear();
        self.meter.begin(Instant::now(), &plan.rates, plan.burst, slowed_to);
        self.tally.sessions += 1;
        let healthy = self.healthy;
        self.note(format_args!("session run={run} dies_in={dies_in:?} healthy={healthy}"));
    }

    /// The process dies. What was on its way may arrive all the same, or be lost with its connection.
    pub(crate) fn crash(&mut self) {
        self.arrive();
        self.dead = true;
        self.tally.crashes += 1;
        self.meter.crash();
        self.flying.clear();
        if self.rng.bool() {
            let rng = &mut self.rng;
            self.arrivals.retain(|_, _| rng.bool());
        }
        self.note(format_args!("crash"));
    }

    /// Notes what happened, for the trace and its hash.
    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(Instant::now() - self.zero, what);
    }

    /// What happened so far, as a number: equal for equal lives.
    pub(crate) fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Keeps the first breach.
    pub(crate) fn breach(&mut self, what: String) {
        self.note(format_args!("BREACH {what}"));
        if self.repeats_alone && !what.starts_with("1: ") {
            return;
        }
        self.breach.get_or_insert(what);
        self.dead = true;
        self.bell.notify_one();
    }

    /// An event; false if the process does not live to see it.
    pub(crate) fn lives(&mut self) -> bool {
        self.arrive();
        if self.dead {
            return false;
        }
        self.last_event = Instant::now();
        if let Some(left) = &mut self.dies_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.dead = true;
                self.bell.notify_one();
            }
        }
        !self.dead
    }

    /// A connection is begun: how long it takes, and what comes of it. `None`: the process does not live to see it.
    pub(crate) fn connect(&mut self, plan: &Plan) -> Option<(Duration, Option<Trouble>)> {
        if !self.lives() {
            return None;
        }
        if self.healthy {
            return Some((Duration::ZERO, None));
        }
        let fate = plan.fate(Instant::now() - self.zero, &mut self.rng);
        let takes = Duration::from_millis(self.rng.u64(..=plan.connect_ms));
        let trouble = match fate {
            Fate::ConnectionRefused => Some(refused()),
            Fate::Certificate => Some(expired()),
            _ => None,
        };
        self.note(format_args!("connect takes={takes:?} {trouble:?}"));
        Some((takes, trouble))
    }

    /// A request reaches the desk.
    pub(crate) fn request(
        &mut self,
        plan: &Plan,
        number: u64,
        attempt: u32,
        update: &TicketUpdate,
    ) -> Option<(u64, Script)> {
        self.is_prompt(number);
        if !self.lives() {
            return None;
        }
        let index = usize::try_from(number).unwrap() - 1;
        let since = Instant::now() - self.zero;
        let fate = if self.healthy { Fate::Applied } else { plan.fate(since, &mut self.rng) };
        let latency_ms = if self.healthy { 20 } else { plan.latency_ms };
        let script = Script::draw(fate, update.ticket(), latency_ms, plan.timeout, &mut self.rng);
        let run = self.run;
        self.note(format_args!(
            "request run={run} row={number} ticket={} attempt={attempt} {fate:?} applies={:?} answers={:?}",
            update.ticket(),
            script.applies_after,
            script.answers_after
        ));
        *self.tally.fates.entry(fate).or_default() += 1;
        self.tally.requests += 1;
        self.may_be_sent(index, update);
        if let Err(why) = self.meter.sent(Instant::now()) {
            self.breach(format!("6: row {number}: {why}"));
        }
        let refused = script.applies_after.is_none();
        self.runs[self.run][index].requests.push(Request { proven: false, refused });
        self.serial += 1;
        if let Some(after) = script.applies_after {
            self.arrivals.insert((Instant::now() + after, self.serial), (self.run, index));
        }
        self.flying.insert(self.serial, index);
        self.wired.insert(index);
        Some((self.serial, script))
    }

    /// A row asks for a permit, or leaves: with a desk that is well, at the first possible moment.
    pub(crate) fn is_prompt(&mut self, number: u64) {
        let idle = self.meter.overdue(Instant::now()).min(self.last_event.elapsed());
        if self.healthy && idle > STALL_MAX {
            self.breach(format!("8: row {number} could have gone {idle:?} before, and nobody woke up"));
        }
    }

    /// Whether this row may go out now: invariants 1 and 2.
    fn may_be_sent(&mut self, index: usize, update: &TicketUpdate) {
        let rows = &self.runs[self.run];
        let row = &rows[index];
        let line = &row.line;
        let changes = update.changes();
        let number = index + 1;
        let mut wrong = Vec::new();
        if update.ticket().get() != line.ticket
            || changes.staff.as_deref() != Some(&line.staff)
            || changes.subject.as_deref() != Some(&line.subject)
            || !line.valid
        {
            wrong.push(format!("1: row {number} goes out with another row's update: {update:?}"));
        }
        if row.on_disk != Some(State::Sending) {
            wrong.push(format!("1: row {number} goes out without an intent on disk ({:?})", row.on_disk));
        }
        if row.requests[row.pardoned..].iter().any(|request| !request.proven) {
            wrong.push(format!("1: row {number} goes out again, and nothing proves that it was not applied"));
        }
        if let Some(other) = self.flying.values().find(|other| rows[**other].line.ticket == line.ticket) {
            wrong.push(format!("2: row {number} goes out beside row {} of its ticket", other + 1));
        }
        let unsettled = rows[..index].iter().position(|before| {
            before.line.ticket == line.ticket
                && matches!(before.on_disk, None | Some(State::Sending | State::Pending | State::InDoubt))
        });
        if let Some(before) = unsettled {
            wrong.push(format!(
                "2: row {number} goes out before row {} of its ticket ({:?})",
                before + 1,
                rows[before].on_disk
            ));
        }
        let twin = self.runs.iter().flatten().find(|twin| {
            twin.on_disk == Some(State::InDoubt)
                && (twin.line.ticket, &twin.line.staff, &twin.line.subject)
                    == (line.ticket, &line.staff, &line.subject)
        });
        if let Some(twin) = twin {
            wrong.push(format!("1: row {number} goes out while the same update is in doubt: {twin:?}"));
        }
        for what in wrong {
            self.breach(what);
        }
    }

    /// The answer reaches the process; false if that is dead.
    pub(crate) fn answered(&mut self, request: u64, verdict: Option<&Verdict>) -> bool {
        if !self.lives() {
            return false;
        }
        let index = self.flying.remove(&request);
        self.note(format_args!("answer row={:?} {}", index.map(|index| index + 1), word(verdict)));
        match verdict {
            Some(Verdict::Throttled(wait, _)) => self.refused(index.unwrap_or_default(), *wait),
            Some(Verdict::Applied | Verdict::Failed(_) | Verdict::Forbidden(_) | Verdict::Redirected(_)) => {
                self.passed += 1;
            }
            _ => {}
        }
        true
    }

    /// A refusal pauses the account, unless it may be one ticket's own: others have gone through since its last one, at
    /// least four, and four for each other refusal.
    fn refused(&mut self, index: usize, wait: Option<Duration>) {
        let before = self.refused_rows.get(&index);
        let own = before
            .is_some_and(|(passed, refused)| self.passed - passed >= 4 * (self.refused - refused).max(1));
        self.refused += 1;
        self.refused_rows.insert(index, (self.passed, self.refused));
        if let Some(wait) = wait.filter(|_| !own) {
            self.meter.pause(Instant::now(), wait);
        }
    }

    /// The desk applies what has arrived by now.
    pub(crate) fn arrive(&mut self) {
        let now = Instant::now();
        while let Some(((at, serial), (run, index))) = self.arrivals.pop_first() {
            if at > now {
                self.arrivals.insert((at, serial), (run, index));
                return;
            }
            self.note(format_args!("applied run={run} row={} at={:?}", index + 1, at - self.zero));
            self.runs[run][index].applied += 1;
            let line = &self.runs[run][index].line;
            self.tickets.insert(line.ticket, (line.staff.clone(), line.subject.clone()));
            let rows = &self.runs[run];
            let row = &rows[index];
            if row.word.is_some() {
                continue; // A person took it upon themselves.
            }
            let overtaken = rows[index + 1..]
                .iter()
                .position(|later| later.line.ticket == row.line.ticket && !later.requests.is_empty());
            let (state, twice) = (row.on_disk, row.applied > 1);
            if twice {
                self.breach(format!("1: row {} was applied twice", index + 1));
            }
            if !matches!(state, Some(State::Sending | State::InDoubt)) {
                self.breach(format!("3: row {} is applied while the journal calls it {state:?}", index + 1));
            }
            if let Some(later) = overtaken {
                self.breach(format!("2: row {} arrives after row {} went out", index + 1, index + 2 + later));
            }
        }
    }

    /// A person settles a row in doubt.
    pub(crate) fn said(&mut self, run: usize, index: usize, word: Word) {
        let row = &mut self.runs[run][index];
        row.word = Some(word);
        if word == Word::Resend {
            row.pardoned = row.requests.len();
            self.tally.resent += 1;
        }
        self.note(format_args!("said run={run} row={} {word:?}", index + 1));
    }
}

fn word(verdict: Option<&Verdict>) -> String {
    verdict.map_or_else(|| "bug".to_owned(), |verdict| format!("{verdict:?}").chars().take(40).collect())
}
