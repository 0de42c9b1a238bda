//! Throughput, pace and waits over the time of a run: the samples of its minutes, gathered into at most
//! [`COLUMNS_MAX`] columns.
//!
//! The axis is the clock's, so that a night without a process is as wide as it was long.

use std::fmt::Write as _;

use super::moment::Clock;
use super::words::Count;
use crate::error::Error;
use crate::journal::archive::Archive;
use crate::journal::invocations::Invocation;
use crate::journal::minutes::{MINUTE_MS, Minute};
use crate::journal::runs::RunKey;
use crate::text::duration;

/// Columns of the chart: what still can be told apart on a page.
const COLUMNS_MAX: u64 = 200;

/// Fewer columns are no chart.
const COLUMNS_MIN: usize = 3;

/// Minutes of a column, that people count in.
const STEPS: [u64; 13] = [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1_440, 10_080];

/// Height of the chart in its own units; a column is [`COLUMN_WIDTH`] wide.
const HEIGHT: f64 = 1_000.0;
const COLUMN_WIDTH: usize = 10;

/// So high is the smallest part of a column.
const SEEN_MIN: f64 = 6.0;

/// Waits that are shorter, all together, are nothing to tell a person of.
pub(super) const WORTH_TELLING_MS: u64 = 1_000;

/// When a process was at work, in UNIX milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

impl Span {
    pub(super) const fn ms(&self) -> i64 {
        self.to_ms - self.from_ms
    }

    /// How much of it lies in another span.
    fn within(&self, other: Self) -> i64 {
        (self.to_ms.min(other.to_ms) - self.from_ms.max(other.from_ms)).max(0)
    }
}

/// When processes were at work. One that was cut off was so until the last sample before the next one began.
pub(super) fn spans(invocations: &[Invocation], last_minute: Option<i64>) -> Vec<Span> {
    let last_ms = last_minute.map_or(0, |minute| (minute + 1) * MINUTE_MS);
    let begins = invocations.iter().skip(1).map(|next| next.began_ms).chain([i64::MAX]);
    let span = |(invocation, next_began_ms): (&Invocation, i64)| {
        let to_ms = invocation.ended_ms.unwrap_or_else(|| last_ms.min(next_began_ms));
        Span { from_ms: invocation.began_ms, to_ms: to_ms.max(invocation.began_ms) }
    };
    invocations.iter().zip(begins).map(span).collect()
}

/// What the chart shows.
pub(super) struct Timeline {
    /// Width in its own units; the height is 1,000.
    pub(super) width: usize,
    /// The numbers beside it: rows a minute.
    pub(super) top: String,
    pub(super) middle: String,
    /// The times below it.
    pub(super) from: String,
    pub(super) half: String,
    pub(super) to: String,
    /// `1 minute`
    pub(super) step: String,
    pub(super) columns: Vec<Column>,
    /// The pace as a path; empty: there was no limit, or it is far above what was reached.
    pub(super) pace_path: String,
    pub(super) lanes: Vec<Lane>,
    /// The whole in a sentence, for who cannot see it.
    pub(super) told: String,
}

/// So many minutes.
pub(super) struct Column {
    pub(super) from: String,
    pub(super) x: usize,
    pub(super) applied: Bar,
    pub(super) failed: Bar,
    pub(super) in_doubt: Bar,
    pub(super) throttled: Count,
    pub(super) pace: String,
    pub(super) waits: [String; 3],
    pub(super) per_minute: String,
}

impl Column {
    /// From below, each with its class.
    pub(super) fn bars(&self) -> [(&'static str, Bar); 3] {
        [("applied", self.applied), ("failed", self.failed), ("in_doubt", self.in_doubt)]
    }
}

/// Part of a column.
#[derive(Clone, Copy, Default)]
pub(super) struct Bar {
    pub(super) count: Count,
    pub(super) y: u64,
    pub(super) height: u64,
}

/// A strip below the chart, for one reason to wait.
pub(super) struct Lane {
    pub(super) label: &'static str,
    pub(super) key: &'static str,
    /// Where it waited: the columns' places.
    pub(super) bars: Vec<Wait>,
    pub(super) total: String,
}

/// How much of a column was spent waiting.
pub(super) struct Wait {
    pub(super) x: usize,
    pub(super) y: u64,
    /// Of 100.
    pub(super) height: u64,
}

/// What was gathered of a column.
#[derive(Clone, Copy, Debug, Default)]
struct Gathered {
    applied: u64,
    failed: u64,
    in_doubt: u64,
    throttled: u64,
    paused_ms: u64,
    away_ms: u64,
    stopped_ms: u64,
    per_second: Option<f64>,
}

impl Gathered {
    fn add(&mut self, minute: &Minute) {
        self.applied += minute.applied;
        self.failed += minute.failed;
        self.in_doubt += minute.in_doubt;
        self.throttled += minute.throttled;
        self.paused_ms += minute.paused_ms;
        self.away_ms += minute.away_ms;
        self.per_second = minute.per_second.or(self.per_second);
    }

    const fn rows(&self) -> u64 {
        self.applied + self.failed + self.in_doubt
    }

    const fn waits_ms(&self) -> [u64; 3] {
        [self.paused_ms, self.away_ms, self.stopped_ms]
    }
}

/// The reasons to wait, in the order of [`Gathered::waits_ms`].
const LANES: [(&str, &str); 3] =
    [("desk said wait", "paused"), ("desk away", "away"), ("nobody at work", "stopped")];

/// The chart of the samples from the first of these minutes to the last; `None`: too short to be one.
pub(super) fn draw(
    journal: &dyn Archive,
    run: RunKey,
    minutes: Option<(i64, i64)>,
    spans: &[Span],
    clock: &Clock,
) -> Result<Option<Timeline>, Error> {
    let Some((first, last)) = minutes else { return Ok(None) };
    let minutes = (last - first + 1).unsigned_abs();
    let step = STEPS.into_iter().find(|step| minutes.div_ceil(*step) <= COLUMNS_MAX);
    let step = step.unwrap_or_else(|| minutes.div_ceil(COLUMNS_MAX));
    let count = usize::try_from(minutes.div_ceil(step)).unwrap_or_default();
    if count < COLUMNS_MIN {
        return Ok(None);
    }
    let mut gathered = vec![Gathered::default(); count];
    journal.each_minute(run, &mut |minute| {
        let index = usize::try_from((minute.minute - first).unsigned_abs() / step).unwrap_or_default();
        if let Some(column) = gathered.get_mut(index) {
            column.add(&minute);
        }
    })?;
    let axis = Axis { first_ms: first * MINUTE_MS, step_ms: step.cast_signed() * MINUTE_MS, spans };
    for (index, column) in gathered.iter_mut().enumerate() {
        column.stopped_ms = axis.stopped_ms(index);
    }
    Ok(Some(axis.timeline(&gathered, clock)))
}

struct Axis<'a> {
    first_ms: i64,
    step_ms: i64,
    spans: &'a [Span],
}

impl Axis<'_> {
    fn begin_ms(&self, index: usize) -> i64 {
        self.first_ms + self.step_ms * i64::try_from(index).unwrap_or_default()
    }

    /// How long nobody was at work in this column; before the first began and after the last ended is not told.
    fn stopped_ms(&self, index: usize) -> u64 {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else { return 0 };
        let column = Span { from_ms: self.begin_ms(index), to_ms: self.begin_ms(index + 1) };
        let told = column.within(Span { from_ms: first.from_ms, to_ms: last.to_ms });
        let worked: i64 = self.spans.iter().map(|span| span.within(column)).sum();
        (told - worked).max(0).unsigned_abs()
    }

    fn timeline(&self, gathered: &[Gathered], clock: &Clock) -> Timeline {
        let scale = Scale::of(gathered, self.step_ms / MINUTE_MS);
        let is_long = self.begin_ms(gathered.len()) - self.first_ms > 20 * 60 * MINUTE_MS;
        let form = if is_long { "%a %-d %b, %H:%M" } else { "%H:%M" };
        let at = |index: usize| clock.form(self.begin_ms(index), form);
        let lanes = self.lanes(gathered);
        let step = duration(std::time::Duration::from_millis(self.step_ms.unsigned_abs()));
        let told = format!(
            "Rows a minute from {} to {}, in columns of {step}; at most {} a minute.",
            at(0),
            at(gathered.len()),
            number(scale.fastest)
        );
        let waits = lanes.iter().map(|lane| format!(" {}: {}.", lane.label, lane.total));
        Timeline {
            width: gathered.len() * COLUMN_WIDTH,
            top: number(scale.top),
            middle: number(scale.top / 2.0),
            from: at(0),
            half: at(gathered.len() / 2),
            to: at(gathered.len()),
            step,
            columns: gathered
                .iter()
                .enumerate()
                .map(|(index, gathered)| scale.column(index, at(index), gathered))
                .collect(),
            pace_path: scale.path(gathered),
            told: std::iter::once(told).chain(waits).collect(),
            lanes,
        }
    }

    fn lanes(&self, gathered: &[Gathered]) -> Vec<Lane> {
        let lane = |(which, (label, key)): (usize, (&'static str, &'static str))| {
            let waits = || gathered.iter().map(move |column| column.waits_ms()[which]);
            let total_ms: u64 = waits().sum();
            let bar = |(index, ms): (usize, u64)| {
                let height = (ms * 100 / self.step_ms.unsigned_abs().max(1)).clamp(12, 100);
                (ms > 0).then_some(Wait { x: index * COLUMN_WIDTH, y: 100 - height, height })
            };
            let bars = waits().enumerate().filter_map(bar).collect();
            (total_ms >= WORTH_TELLING_MS).then(|| Lane { label, key, bars, total: waited(total_ms) })
        };
        LANES.into_iter().enumerate().filter_map(lane).collect()
    }
}

/// How high so many rows a minute are.
struct Scale {
    minutes: i64,
    /// Rows a minute in the fullest column.
    fastest: f64,
    /// Rows a minute at the upper edge.
    top: f64,
    shows_pace: bool,
}

impl Scale {
    fn of(gathered: &[Gathered], minutes: i64) -> Self {
        let all = Self { minutes, fastest: 0.0, top: 1.0, shows_pace: false };
        let fastest = gathered.iter().map(|column| all.per_minute(column.rows())).fold(0.0, f64::max);
        let paces = gathered.iter().filter_map(|column| column.per_second).map(|pace| pace * 60.0);
        let highest = paces.fold(0.0, f64::max);
        // A pace far above what was reached would make all of it flat.
        let shows_pace = highest > 0.0 && highest <= fastest * 3.0;
        let top = nice(if shows_pace { fastest.max(highest) } else { fastest });
        Self { fastest, top, shows_pace, ..all }
    }

    #[expect(clippy::cast_precision_loss, reason = "drawn, not counted")]
    fn per_minute(&self, rows: u64) -> f64 {
        rows as f64 / self.minutes as f64
    }

    fn height(&self, per_minute: f64) -> f64 {
        (per_minute / self.top * HEIGHT).clamp(0.0, HEIGHT)
    }

    /// A part of a column with so many rows below it.
    fn bar(&self, below: u64, count: u64) -> Bar {
        let [from, to] = [below, below + count].map(|rows| self.height(self.per_minute(rows)));
        let seen = if count == 0 { 0.0 } else { (to - from).max(SEEN_MIN) };
        Bar { count: Count(count), y: whole(HEIGHT - from - seen), height: whole(seen) }
    }

    fn column(&self, index: usize, from: String, gathered: &Gathered) -> Column {
        let Gathered { applied, failed, in_doubt, throttled, per_second, .. } = *gathered;
        Column {
            from,
            x: index * COLUMN_WIDTH,
            applied: self.bar(0, applied),
            failed: self.bar(applied, failed),
            in_doubt: self.bar(applied + failed, in_doubt),
            throttled: Count(throttled),
            pace: per_second.map_or_else(|| "–".to_owned(), |pace| number(pace * 60.0)),
            waits: gathered.waits_ms().map(waited),
            per_minute: number(self.per_minute(gathered.rows())),
        }
    }

    /// The pace as steps; it is broken where none was in force.
    fn path(&self, gathered: &[Gathered]) -> String {
        let mut path = String::new();
        let mut is_broken = true;
        for (index, column) in gathered.iter().enumerate().filter(|_| self.shows_pace) {
            let Some(pace) = column.per_second else {
                is_broken = true;
                continue;
            };
            let (x, y) = (index * COLUMN_WIDTH, whole(HEIGHT - self.height(pace * 60.0)));
            let to = x + COLUMN_WIDTH;
            // Writing to a String cannot fail.
            let _ = if std::mem::take(&mut is_broken) {
                write!(path, "M{x} {y}H{to}")
            } else {
                write!(path, "V{y}H{to}")
            };
        }
        path
    }
}

fn waited(ms: u64) -> String {
    if ms == 0 { "–".to_owned() } else { duration(std::time::Duration::from_millis(ms)) }
}

/// The next round number above: what an axis ends at.
fn nice(value: f64) -> f64 {
    let power = 10.0_f64.powf(value.max(0.1).log10().floor());
    [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= value)
        .unwrap_or(10.0 * power)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to integer cast saturates"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn number(value: f64) -> String {
    match value {
        many if many >= 10.0 || many.fract() == 0.0 => crate::text::thousands(whole(many)),
        some if some >= 1.0 => format!("{some:.1}"),
        few => format!("{few:.2}"),
    }
}
