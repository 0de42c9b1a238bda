//! What a person sees while rows go out: a bar on a terminal, a plain line now and then elsewhere.
//!
//! The only user of indicatif. It shows what has been committed, never what is hoped; it must not fail: a closed
//! or broken standard error is no reason to stop a run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use crate::journal::runs::Counts;
use crate::text::{duration, thousands};
use crate::voice;

/// Between two plain lines; doubled each time up to the second.
const LINE_EVERY_MIN: Duration = Duration::from_secs(10);
const LINE_EVERY_MAX: Duration = Duration::from_secs(600);

/// What keeps rows from going out, or from going faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Waiting {
    /// Nothing.
    Nothing,
    /// The desk asked for a pause of so much longer.
    Paused(Duration),
    /// The desk does not answer; the next probe leaves then.
    Away(Duration),
    /// The budget of a window is spent for so much longer.
    Spent(Duration),
    /// Only so many requests a second for now, because the desk said "later".
    Slowed(f64),
}

/// Between two pictures of the bar: people read no faster, and drawing costs time.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug)]
pub enum Progress {
    /// Not at all.
    None,
    /// A line now and then, or an event for a program.
    Plain(Plain),
    /// A bar.
    Bar(Bar),
}

/// A line now and then.
#[derive(Debug)]
pub struct Plain {
    pace: Speed,
    next: Instant,
    every: Duration,
}

/// A bar on a terminal.
#[derive(Debug)]
pub struct Bar {
    pace: Speed,
    next: Instant,
    drawn: ProgressBar,
}

impl Progress {
    /// Lines for a log, events for a program. `per_second` is the rate that binds, if one does.
    #[must_use]
    pub fn plain(counts: &Counts, per_second: Option<f64>) -> Self {
        let pace = Speed::new(counts, per_second);
        Self::Plain(Plain { pace, next: Instant::now() + LINE_EVERY_MIN, every: LINE_EVERY_MIN })
    }

    /// A bar on standard error.
    #[must_use]
    pub fn bar(counts: &Counts, per_second: Option<f64>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(counts.rows), ProgressDrawTarget::stderr());
        // A template that does not parse would be a slip in the line below; the default bar is good enough then.
        if let Ok(style) = ProgressStyle::with_template("{bar:16} {percent:>3}%  {wide_msg}\n{prefix}") {
            bar.set_style(style);
        }
        bar.set_position(counts.rows - counts.pending);
        *drawn() = Some(bar.clone());
        Self::Bar(Bar { pace: Speed::new(counts, per_second), next: Instant::now(), drawn: bar })
    }

    /// Tells how the rows stand now.
    pub fn update(&mut self, counts: &Counts, waiting: Waiting) {
        match self {
            Self::None => {}
            Self::Plain(plain) => plain.update(counts, waiting),
            Self::Bar(bar) if Instant::now() < bar.next => {}
            Self::Bar(bar) => {
                bar.next = Instant::now() + BAR_EVERY;
                bar.drawn.set_position(counts.rows - counts.pending);
                bar.drawn.set_message(speed(counts, waiting, &bar.pace));
                // A line that is too long would wrap, and the next picture would not cover it.
                let width = console::Term::stderr().size().1;
                let outcomes = outcomes(counts);
                bar.drawn.set_prefix(console::truncate_str(&outcomes, width.into(), "…").into_owned());
            }
        }
    }

    /// Takes the bar down.
    pub fn finish(self) {
        if let Self::Bar(bar) = self {
            *drawn() = None;
            bar.drawn.finish_and_clear();
        }
    }
}

impl Plain {
    fn update(&mut self, counts: &Counts, waiting: Waiting) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.every = (self.every * 2).min(LINE_EVERY_MAX);
        self.next = now + self.every;
        match voice::form() {
            voice::Form::Program => voice::tell("progress", State::of(counts, waiting, &self.pace)),
            voice::Form::Person | voice::Form::Log => voice::say(&sentence(counts, waiting, &self.pace)),
        }
    }
}

/// The bar that is on the terminal, so that lines can be written above it.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to the terminal without tearing the bar, if there is one.
pub fn above(write: impl FnOnce()) {
    // A copy of the handle: whatever is written may take its time.
    let bar = drawn().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Takes the bar away, if there is one: the program leaves, and nothing moves it any more.
pub fn put_away() {
    if let Some(bar) = drawn().take() {
        bar.finish_and_clear();
    }
}

/// What a program is told.
#[derive(Serialize)]
struct State {
    counts: Counts,
    per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    away_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spent_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowed_to: Option<f64>,
}

impl State {
    fn of(counts: &Counts, waiting: Waiting, pace: &Speed) -> Self {
        let mut state = Self {
            counts: *counts,
            per_second: (pace.per_second(counts) * 10.0).round() / 10.0,
            seconds_left: pace.left(counts).map(|left| left.as_secs()),
            paused_seconds: None,
            away_seconds: None,
            spent_seconds: None,
            slowed_to: None,
        };
        match waiting {
            Waiting::Nothing => {}
            Waiting::Paused(left) => state.paused_seconds = Some(left.as_secs()),
            Waiting::Away(left) => state.away_seconds = Some(left.as_secs()),
            Waiting::Spent(left) => state.spent_seconds = Some(left.as_secs()),
            Waiting::Slowed(per_second) => state.slowed_to = Some(per_second),
        }
        state
    }
}

/// Rows a second in this invocation, and when it would end.
#[derive(Debug)]
struct Speed {
    began: Instant,
    settled_before: u64,
    per_second_max: Option<f64>,
}

impl Speed {
    fn new(counts: &Counts, per_second_max: Option<f64>) -> Self {
        Self { began: Instant::now(), settled_before: counts.rows - counts.pending, per_second_max }
    }

    fn per_second(&self, counts: &Counts) -> f64 {
        let settled = (counts.rows - counts.pending).saturating_sub(self.settled_before);
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let per_second = settled as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        per_second
    }

    /// How much longer, at the speed so far and never faster than the rate allows.
    fn left(&self, counts: &Counts) -> Option<Duration> {
        let speed = self
            .per_second_max
            .map_or_else(|| self.per_second(counts), |max| self.per_second(counts).min(max));
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let pending = counts.pending as f64;
        (speed > 0.0 && pending > 0.0).then(|| Duration::try_from_secs_f64(pending / speed).ok())?
    }
}

fn sentence(counts: &Counts, waiting: Waiting, pace: &Speed) -> String {
    format!("{}, {}", outcomes(counts), speed(counts, waiting, pace))
}

/// How the rows stand.
fn outcomes(counts: &Counts) -> String {
    let mut parts = vec![format!("{} of {} applied", thousands(counts.applied), thousands(counts.rows))];
    for (count, word) in [
        (counts.failed, "failed"),
        (counts.invalid, "invalid"),
        (counts.in_doubt, "in doubt"),
        (counts.skipped, "skipped"),
    ] {
        if count > 0 {
            parts.push(format!("{} {word}", thousands(count)));
        }
    }
    parts.join(", ")
}

/// `now`, or in how long.
fn soon(left: Duration) -> String {
    if left < Duration::from_secs(1) { "now".to_owned() } else { format!("in {}", duration(left)) }
}

/// How fast they go, and how much longer it takes or what they wait for.
fn speed(counts: &Counts, waiting: Waiting, pace: &Speed) -> String {
    let mut parts = vec![format!("{:.1}/s", pace.per_second(counts))];
    match waiting {
        Waiting::Paused(left) => parts.push(format!("paused {} by the desk", duration(left))),
        Waiting::Away(left) => {
            parts.push(format!("the desk does not answer, next try {}", soon(left)));
        }
        Waiting::Spent(left) => parts.push(format!("the budget is spent for {}", duration(left))),
        Waiting::Slowed(per_second) => parts.push(format!("slowed down to {}/s", rounded(per_second))),
        Waiting::Nothing => {}
    }
    if matches!(waiting, Waiting::Nothing | Waiting::Slowed(_)) {
        parts.extend(pace.left(counts).map(|left| format!("{} left", duration(left))));
    }
    parts.join(", ")
}

/// A rate with as many digits as one can use: 2.5, 0.125, 250.
fn rounded(per_second: f64) -> f64 {
    let digits = if per_second < 1.0 { 1_000.0 } else { 10.0 };
    (per_second * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_finish_time_is_the_pace_s_at_the_least_and_later_with_a_slow_desk() {
        let after = |applied| Counts { rows: 102, applied, pending: 102 - applied, ..Counts::default() };
        let pace = Speed::new(&after(0), Some(10.0));
        assert_eq!(pace.left(&after(0)), None, "nothing is known yet");
        // A burst at the start is not the speed.
        tokio::time::advance(Duration::from_millis(10)).await;
        assert_eq!(pace.left(&after(2)), Some(Duration::from_secs(10)));
        // Half of what the pace allows has gone out.
        tokio::time::advance(Duration::from_millis(3990)).await;
        assert_eq!(pace.left(&after(20)).map(|left| left.as_secs()), Some(16));
        assert_eq!(pace.left(&after(102)), None, "nothing is left");
    }
}
