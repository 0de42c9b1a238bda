//! What a seed stands for: the rows, the desk's temper, and the kills. Times of its own a machine has all the same,
//! so that a seed repeats the plan and not the very life.

use std::fmt::Write as _;
use std::time::Duration;

use deskload::sandbox::options::Latency;
use deskload::sandbox::{Fate, Options, Reply, When};
use fastrand::Rng;
use rustix::process::Signal;
use serde_json::{Map, Value};

/// One row of the input.
pub(crate) struct Line {
    pub(crate) ticket: u64,
    /// What the desk must see, as JSON.
    pub(crate) change: Map<String, Value>,
    pub(crate) valid: bool,
}

/// What is typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    Run,
    Resume,
    /// `resume --in-doubt resend`: a person's word beforehand.
    ResumeResending,
    Retry,
    /// A person settles rows in doubt, having looked at the desk.
    Resolve,
}

/// What of the program's files is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sign {
    Account,
    Journal,
    Spool,
    Reports,
}

/// When the kill comes. A program that ends before it is left in peace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Never,
    /// So long after the start.
    After(Duration),
    /// So many requests later, and a little.
    Requests(u64, Duration),
    /// As soon as one of its files changes, and a little.
    Touched(Sign, Duration),
    /// A signal after so many requests; then after a while, or once it writes its reports.
    Drain(u64, Signal, Option<Sign>, Duration),
}

/// An invocation of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) command: Command,
    pub(crate) moment: Moment,
}

/// A round.
pub(crate) struct Plan {
    pub(crate) lines: Vec<Line>,
    pub(crate) concurrency: usize,
    /// `--rate`, where one is set.
    pub(crate) rate: Option<u64>,
    pub(crate) desk: Options,
    pub(crate) steps: Vec<Step>,
    /// Kills at the reports, once the rest has been survived.
    pub(crate) last: Vec<Moment>,
    /// For what is decided on the way.
    pub(crate) rng: Rng,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let lines = lines(seed, &mut rng);
        let kills = rng.usize(5..=14);
        let share = lines.len() as u64 / (kills as u64 / 2 + 1);
        Self {
            concurrency: *rng.choice(&[4, 8, 16, 32]).unwrap_or(&8),
            rate: (rng.u8(..4) == 0).then(|| rng.u64(600..4_000)),
            desk: desk(lines.len() as u64, &mut rng),
            steps: steps(kills, share, &mut rng),
            last: (0..rng.u8(..3)).map(|_| Moment::Touched(Sign::Reports, little(&mut rng))).collect(),
            lines,
            rng: rng.fork(),
        }
    }

    /// The input's file.
    pub(crate) fn csv(&self) -> String {
        let mut csv = String::from("ticket_id,subject,staff,description,priority\n");
        for line in &self.lines {
            let cell = |name: &str| line.change.get(name).and_then(Value::as_str).unwrap_or_default();
            let priority = if line.valid { cell("priority") } else { "urgent" };
            // Writing to a String cannot fail.
            let _ = writeln!(
                csv,
                "{},{},{},{},{priority}",
                line.ticket,
                cell("subject"),
                cell("staff"),
                cell("description")
            );
        }
        csv
    }
}

/// A round's tickets and subjects are its own: nothing of one can be taken for another's.
fn lines(seed: u64, rng: &mut Rng) -> Vec<Line> {
    let count = rng.u64(300..=1_000);
    let tickets = count * rng.u64(3..=10) / 10;
    let first = 1_000_000 + seed % 1_000_000 * 1_000;
    let padding = if rng.u8(..8) == 0 { "long story ".repeat(100) } else { String::new() };
    let line = |row| {
        let mut change =
            Map::from_iter([("subject".to_owned(), Value::from(format!("seed {seed} row {row}")))]);
        let mut may_set = |name: &str, value: String, chance: u8| {
            if rng.u8(..10) < chance && !value.is_empty() {
                change.insert(name.to_owned(), Value::from(value));
            }
        };
        may_set("staff", format!("ST007-{:03}", row % 40), 5);
        may_set("description", padding.trim_end().to_owned(), 9);
        may_set("priority", "high".to_owned(), 2);
        Line { ticket: first + rng.u64(..tickets), change, valid: rng.u8(..60) > 0 }
    };
    (1..=count).map(line).collect()
}

fn desk(rows: u64, rng: &mut Rng) -> Options {
    let millis = |range: std::ops::RangeInclusive<u64>, rng: &mut Rng| Duration::from_millis(rng.u64(range));
    let min = millis(0..=3, rng);
    let is_lossy = rng.u8(..3) == 0;
    Options {
        latency: Latency { min, max: min + millis(0..=8, rng) },
        fail: if rng.bool() { 0.02 } else { 0.0 },
        drop: if rng.u8(..8) == 0 { 0.002 } else { 0.0 },
        // A pause is a second: few rounds can afford them.
        rate: (rng.u8(..16) == 0).then(|| f64::from(rng.u16(300..600))),
        seed: rng.u64(..),
        fates: (0..rng.usize(..12)).map(|_| fate(rows, is_lossy, rng)).collect(),
        ..Options::default()
    }
}

/// Something that goes wrong at one request.
fn fate(rows: u64, is_lossy: bool, rng: &mut Rng) -> Fate {
    let later = |status| Reply::status(status).header("retry-after", "0");
    let fate = |reply| Fate::new(When::Request(1), reply);
    let fate = match rng.u8(..if is_lossy { 13 } else { 8 }) {
        0..3 => fate(later(429)),
        3 => fate(later(503)),
        4 => fate(Reply::status(422)),
        5 => fate(Reply::error(500, "half done")).applied(),
        6 => fate(Reply::status(500)),
        7 => fate(Reply::OtherTicket).applied(),
        // What is lost makes the program step back for half a second or so.
        8 => fate(Reply::close()).applied(),
        9 => fate(Reply::close()),
        10 => fate(Reply::reset()).applied(),
        11 => fate(Reply::half_body()).applied(),
        _ => fate(Reply::half_head()),
    };
    Fate { when: When::Request(rng.u64(1..=rows)), ..fate }
}

fn steps(kills: usize, share: u64, rng: &mut Rng) -> Vec<Step> {
    let mut steps = vec![Step { command: Command::Run, moment: sending(share, rng) }];
    while steps.len() < kills {
        let command = match rng.u8(..100) {
            0..46 => Command::Run,
            46..72 => Command::Resume,
            72..78 => Command::ResumeResending,
            78..85 => Command::Retry,
            _ => Command::Resolve,
        };
        let moment = match command {
            Command::Resolve if rng.bool() => Moment::Never,
            Command::Resolve => early(rng),
            _ if rng.u8(..4) == 0 => early(rng),
            _ => sending(share, rng),
        };
        steps.push(Step { command, moment });
    }
    steps
}

/// While it starts: before and during the recovery from the kill before, while it reads its input.
fn early(rng: &mut Rng) -> Moment {
    let sign = *rng.choice(&[Sign::Account, Sign::Journal, Sign::Spool]).unwrap_or(&Sign::Journal);
    match rng.u8(..2) {
        0 => Moment::After(spread(300, 16_000, rng)),
        _ => Moment::Touched(sign, little(rng)),
    }
}

fn sending(share: u64, rng: &mut Rng) -> Moment {
    let requests = rng.u64(1..=share.max(2));
    let signal = *rng.choice(&[Signal::TERM, Signal::INT, Signal::HUP]).unwrap_or(&Signal::TERM);
    match rng.u8(..100) {
        0..58 => Moment::Requests(requests, little(rng)),
        58..74 => Moment::After(spread(2_000, 150_000, rng)),
        74..84 => Moment::Drain(requests, signal, None, spread(50, 20_000, rng)),
        84..94 => Moment::Drain(requests, signal, Some(Sign::Reports), little(rng)),
        _ => Moment::Touched(Sign::Reports, little(rng)),
    }
}

/// Up to 3 ms, and often none at all.
fn little(rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(..3_000).saturating_sub(1_000))
}

/// Between two numbers of microseconds, as many below their geometric middle as above it.
fn spread(min: u32, max: u32, rng: &mut Rng) -> Duration {
    let (min, max) = (f64::from(min), f64::from(max));
    Duration::from_secs_f64(min * (max / min).powf(rng.f64()) / 1e6)
}
