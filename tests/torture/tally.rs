//! Counts of what happened, and the lines that tell them.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use deskload::journal::state::State;

use crate::account::Account;
use crate::breach::Kind;
use crate::evidence::Evidence;

/// Between two lines where nobody watches them replace each other.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where in its life the program was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// There was no run yet.
    Starting,
    /// After another kill, before it sent anything.
    Recovering,
    /// With nothing to recover, before it sent anything.
    Reading,
    Sending,
    /// After a signal.
    Draining,
    /// With nothing left to send.
    Reporting,
    /// While it wrote down a person's word.
    Settling,
}

impl When {
    pub(crate) const EVERY: [Self; 7] = [
        Self::Starting,
        Self::Recovering,
        Self::Reading,
        Self::Sending,
        Self::Draining,
        Self::Reporting,
        Self::Settling,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering => "recovering",
            Self::Reading => "reading",
            Self::Sending => "sending",
            Self::Draining => "draining",
            Self::Reporting => "reporting",
            Self::Settling => "settling",
        }
    }
}

pub(crate) struct Tally {
    began: Instant,
    told: Instant,
    pub(crate) rounds: u64,
    pub(crate) kills: BTreeMap<When, u64>,
    rows: u64,
    applied: u64,
    requests: u64,
    /// Kills that left rows on their way, and the most of them beside what is allowed.
    left_rows: u64,
    most_left: (usize, usize),
    repeats: u64,
    lost: u64,
    others: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            told: now,
            rounds: 0,
            kills: BTreeMap::new(),
            rows: 0,
            applied: 0,
            requests: 0,
            left_rows: 0,
            most_left: (0, 1),
            repeats: 0,
            lost: 0,
            others: 0,
        }
    }
}

impl Tally {
    /// A kill, with so many rows on their way of those that may be.
    pub(crate) fn killed(&mut self, when: When, left: usize, allowed: usize) {
        *self.kills.entry(when).or_default() += 1;
        self.left_rows += u64::from(left > 0);
        let (most, of) = self.most_left;
        if left * of > most * allowed {
            self.most_left = (left, allowed);
        }
    }

    /// A round that came to its end.
    pub(crate) fn add_round(&mut self, account: &Account, evidence: &Evidence) {
        self.rounds += 1;
        self.rows += account.states.len() as u64;
        self.applied += account.count(State::Applied) as u64;
        self.requests += evidence.requests;
    }

    /// A round that did not.
    pub(crate) fn breached(&mut self, kind: Kind) {
        match kind {
            Kind::Repeat => self.repeats += 1,
            Kind::Lost => self.lost += 1,
            Kind::Other => self.others += 1,
        }
    }

    pub(crate) const fn repeats(&self) -> u64 {
        self.repeats
    }

    pub(crate) fn all_kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// A line while it runs: one that replaces the one before on a terminal, one now and then elsewhere.
    pub(crate) fn tell_now_and_then(&mut self) {
        let mut out = std::io::stdout();
        let is_watched = out.is_terminal();
        if is_watched || self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let (before, after) = if is_watched { ("\r", "") } else { ("", "\n") };
            print!("{before}{}{after}", self.line());
            // Nobody may be looking any more; the exit code is the result.
            let _ = out.flush();
        }
    }

    pub(crate) fn line(&self) -> String {
        let (kills, seconds) = (self.all_kills(), self.began.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "kills are far fewer than 2^52")]
        let pace = kills as f64 / seconds;
        format!(
            "{} rounds in {seconds:.0} s: {kills} kills ({pace:.1} a second), {} requests; repeats {}, lost {}, other \
             breaches {}",
            self.rounds, self.requests, self.repeats, self.lost, self.others
        )
    }

    pub(crate) fn summary(&self) -> String {
        let places: Vec<String> =
            self.kills.iter().map(|(when, kills)| format!("{} {kills}", when.as_str())).collect();
        format!(
            "{}\n  kills: {}\n  {} of them left rows on their way, at most {} where {} are allowed\n  \
             {} rows in finished rounds, {} applied",
            self.line(),
            places.join(", "),
            self.left_rows,
            self.most_left.0,
            self.most_left.1,
            self.rows,
            self.applied
        )
    }
}
