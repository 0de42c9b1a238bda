//! What the page says in words: how it went, and what each outcome means.

use std::fmt;

use crate::error::EXIT_ATTENTION;
use crate::journal::changed::SettledOtherwise;
use crate::journal::invocations::Invocation;
use crate::journal::runs::{Counts, Run};
use crate::text::{duration, rows, thousands};

use super::Times;
use super::timeline::WORTH_TELLING_MS;

/// A number that the page shows with its thousands apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&thousands(self.0))
    }
}

/// A command about this run, as [`crate::report::next`] tells such.
pub(super) fn command(name: &str, run: &Run, word: &str, flags: &str) -> String {
    format!("deskload {name} {}{word}{flags}", run.key.id)
}

/// A command in parts between which a line may end: before each flag, which stays with its value.
pub(super) fn units(command: &str) -> Vec<&str> {
    let (mut units, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in command.char_indices() {
        match char {
            _ if std::mem::take(&mut escaped) => {}
            '\'' => quoted = !quoted,
            '\\' if !quoted => escaped = true,
            ' ' if !quoted && command[at..].starts_with(" -") => {
                units.push(&command[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    units.push(&command[start..]);
    units
}

/// How it went, in a sentence, and why it stands as it does.
pub(super) struct Headline {
    /// In a word or three.
    pub(super) mark: &'static str,
    /// `good`, `look` or `open`: how the mark is drawn.
    pub(super) tone: &'static str,
    pub(super) sentence: String,
    /// Why the last invocation ended, if not because all was done.
    pub(super) why: Option<String>,
}

pub(super) fn headline(run: &Run, last: Option<&Invocation>) -> Headline {
    let counts = &run.counts;
    let (mark, tone) = match (run.is_finished(), counts.need_attention()) {
        (true, false) => ("Finished", "good"),
        (true, true) => ("Finished, with rows to look at", "look"),
        (false, false) => ("Not finished", "open"),
        (false, true) => ("Not finished, with rows to look at", "look"),
    };
    // Of rows that need a look the sentence has told already.
    let is_told = run.is_finished() || run.exit_code == Some(EXIT_ATTENTION);
    let why = if is_told { None } else { why(run, last) };
    Headline { mark, tone, sentence: sentence(run), why }
}

fn sentence(run: &Run) -> String {
    let counts = &run.counts;
    let bad = counts.failed + counts.invalid + counts.in_doubt;
    let of = |count: u64| match (count, counts.rows) {
        (1, 1) => "The one row was".to_owned(),
        (count, all) if count == all => format!("All {} were", rows(all)),
        (count, all) => {
            format!("{} of {} {}", thousands(count), rows(all), if count == 1 { "was" } else { "were" })
        }
    };
    let look = match bad {
        0 => String::new(),
        1 => "; 1 needs a look".to_owned(),
        bad => format!("; {} need a look", thousands(bad)),
    };
    let skipped = match counts.skipped {
        0 => String::new(),
        skipped => format!(", {} skipped", thousands(skipped)),
    };
    if counts.rows == 0 {
        return "The file has no rows, so there was nothing to do.".to_owned();
    }
    if run.is_finished() {
        return format!("{} applied{skipped}{look}.", of(counts.applied));
    }
    let pending = match (run.exit_code, counts.in_doubt) {
        (Some(EXIT_ATTENTION), 1..) => "wait behind rows in doubt",
        (Some(EXIT_ATTENTION), 0) => "wait behind a row in doubt of another run",
        _ => "are still to be sent",
    };
    let pending = if counts.pending == 1 {
        pending.replace("wait ", "waits ").replace("are ", "is ")
    } else {
        pending.to_owned()
    };
    format!("{} applied so far{skipped}, {} {pending}{look}.", of(counts.applied), thousands(counts.pending))
}

/// Why nobody works on it any more.
fn why(run: &Run, last: Option<&Invocation>) -> Option<String> {
    let last = last?;
    if let Some(said) = &last.said {
        return Some(format!("It stopped there: {said}."));
    }
    let is_open = run.ended_ms.is_none() && last.ended_ms.is_none();
    is_open.then(|| {
        "When this page was written no end was noted: a process was still sending, or it was cut off. What a cut leaves \
         on its way is in doubt once a command works on the run again."
            .to_owned()
    })
}

/// How the rows of one outcome stand.
pub(super) struct OutcomeRow {
    pub(super) word: &'static str,
    /// As a class of the style sheet.
    pub(super) key: &'static str,
    pub(super) count: Count,
    pub(super) share: String,
    pub(super) meaning: &'static str,
    /// Where its part of the bar lies, of [`BAR_WIDTH`].
    pub(super) x: u64,
    pub(super) width: u64,
}

impl OutcomeRow {
    pub(super) fn texture(&self) -> Option<&'static str> {
        texture(self.key)
    }
}

/// What tells an outcome from its neighbours without colour: a pattern of the template's.
pub(super) fn texture(key: &str) -> Option<&'static str> {
    match key {
        "failed" => Some("bars"),
        "invalid" => Some("dots"),
        "in_doubt" => Some("lines"),
        _ => None,
    }
}

/// Units of the outcome bar, and how many of them a single row gets at least.
pub(super) const BAR_WIDTH: u64 = 1_000;
const SEEN_MIN: u64 = 6;

/// What the outcomes mean, in their order.
const MEANINGS: [&str; 6] = [
    "the desk confirmed the change",
    "the desk refused the change",
    "the row could not be made into an update; it was not sent",
    "sent, and the answer is not known; never sent again by itself",
    "left alone: unchanged, set anew since, or by a person's word",
    "not sent yet",
];

/// The outcomes in their order, all of them, so that a missing one is seen to be missing.
pub(super) fn outcomes(counts: &Counts) -> Vec<OutcomeRow> {
    let all = counts.by_outcome();
    let raised = |count: u64| match count {
        0 => 0,
        count => {
            (u128::from(count) * u128::from(BAR_WIDTH) / u128::from(counts.rows.max(1))).max(SEEN_MIN.into())
        }
    };
    let total: u128 = all.iter().map(|(_, count)| raised(*count)).sum();
    let mut before = 0_u128;
    all.into_iter()
        .zip(MEANINGS)
        .map(|((state, count), meaning)| {
            let scaled = |units: u128| {
                u64::try_from(units * u128::from(BAR_WIDTH) / total.max(1)).unwrap_or(BAR_WIDTH)
            };
            let x = scaled(before);
            before += raised(count);
            let (word, key) = (state.as_str(), state.key());
            OutcomeRow {
                word,
                key,
                count: Count(count),
                share: share(count, counts.rows),
                meaning,
                x,
                width: scaled(before) - x,
            }
        })
        .collect()
}

/// A part of a whole in percent; never 0 or 100 for what is neither.
pub(super) fn share(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    match part {
        0 => "0%".to_owned(),
        part if part == whole => "100%".to_owned(),
        _ if percent < 0.1 => "<0.1%".to_owned(),
        _ if percent > 99.9 => ">99.9%".to_owned(),
        _ => format!("{percent:.1}%"),
    }
}

/// So many a second, a minute or an hour, whichever gives a number that can be read.
pub(super) fn speed(per_second: f64) -> String {
    match per_second {
        fast if fast >= 9.95 => format!("{fast:.0} a second"),
        second if second >= 0.95 => format!("{second:.1} a second"),
        minute if minute * 60.0 >= 0.95 => format!("{:.1} a minute", minute * 60.0),
        hour => format!("{:.1} an hour", hour * 3_600.0),
    }
}

/// What stands for the chart over time where there are too few minutes for one.
pub(super) fn brief(times: &Times, pace: &str, waits_ms: [u64; 2]) -> String {
    let begin = match &times.worked {
        Some(worked) => format!("It was at work for {worked}, too short for a chart over time"),
        None => "It was too short for a chart over time".to_owned(),
    };
    let speed = times.speed.as_ref().map_or_else(String::new, |speed| format!(": {speed} were applied"));
    let pace = if pace.is_empty() { String::new() } else { format!(", at a pace of {pace}") };
    let waits = waits_ms.into_iter().zip(["The desk asked to wait for", "The desk was away for"]);
    let waits = waits.filter(|(ms, _)| *ms >= WORTH_TELLING_MS);
    let waits: Vec<String> = waits
        .map(|(ms, why)| format!(" {why} {} of it.", duration(std::time::Duration::from_millis(ms))))
        .collect();
    format!("{begin}{speed}{pace}.{}", waits.concat())
}

/// What was settled otherwise than by the desk's answer, a sentence each.
pub(super) fn otherwise(settled: &SettledOtherwise, unchanged: Option<u64>) -> Vec<String> {
    let told = [
        (settled.applied_by_word, "count as applied because a person said that the desk has them"),
        (settled.skipped_by_word, "were skipped because a person said to leave them"),
        (settled.superseded, "were skipped because later rows had set the same fields"),
        (
            settled.already_applied,
            "were skipped because a person said that the desk has the same update of another run",
        ),
        (unchanged.unwrap_or_default(), "were skipped because the ticket was given these values last"),
    ];
    let told = told.into_iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| {
        let what = if count == 1 {
            what.replace("count as", "counts as").replace("were ", "was ").replace("them", "it")
        } else {
            what.to_owned()
        };
        format!("{} {what}.", rows(count))
    })
    .collect()
}
