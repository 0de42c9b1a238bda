//! The tables of the page. Each has an end; what is left out is counted.

use super::moment::{Clock, Moment};
use super::words::{BAR_WIDTH, Count, share};
use crate::error::Error;
use crate::journal::archive::Archive;
use crate::journal::changed::{Changed, ChangedField};
use crate::journal::invocations::Invocation;
use crate::journal::minutes::{LATENCY_BOUNDS_MS, Latencies};
use crate::journal::reader::Told;
use crate::journal::runs::Run;
use crate::journal::state::State;
use crate::report::summary::Tallied;
use crate::text::{clean, duration, thousands};

/// As many rows in doubt, fields and invocations are listed.
const DOUBTS_MAX: usize = 25;
const FIELDS_MAX: usize = 40;
const INVOCATIONS_MAX: usize = 20;

/// How long answers took.
pub(super) struct LatencyTable {
    pub(super) answers: Count,
    /// In a sentence.
    pub(super) told: String,
    pub(super) buckets: Vec<Bucket>,
}

pub(super) struct Bucket {
    pub(super) label: String,
    pub(super) count: Count,
    pub(super) share: String,
    /// Of [`BAR_WIDTH`], the fullest bucket having all of it.
    pub(super) width: u64,
}

/// The buckets from the first to the last that has any; `None`: nothing was answered.
pub(super) fn latencies(latencies: &Latencies) -> Option<LatencyTable> {
    let counts = &latencies.0;
    let answers: u64 = counts.iter().sum();
    let first = counts.iter().position(|count| *count > 0)?;
    let last = counts.iter().rposition(|count| *count > 0)?;
    let fullest = counts.iter().copied().max().unwrap_or_default().max(1);
    let bucket = |(index, count): (usize, &u64)| Bucket {
        label: label(index),
        count: Count(*count),
        share: share(*count, answers),
        width: if *count == 0 { 0 } else { (count * BAR_WIDTH / fullest).max(4) },
    };
    let within = |percent: u64| {
        let mut before = 0;
        let index = counts.iter().position(|count| {
            before += count;
            before * 100 >= answers * percent
        });
        match LATENCY_BOUNDS_MS.get(index.unwrap_or(counts.len())) {
            Some(bound) => format!("within {}", spelled(*bound)),
            None => "in more than 30 s".to_owned(),
        }
    };
    let told = match (answers, within(50), within(95)) {
        (1, _, all) => format!("The answer came {all}."),
        (_, half, most) if half == most => format!("95 of 100 answers came {most}."),
        (_, half, most) => format!("Half of the answers came {half}, 95 of 100 {most}."),
    };
    let buckets = counts.iter().enumerate().skip(first).take(last - first + 1).map(bucket).collect();
    Some(LatencyTable { answers: Count(answers), told, buckets })
}

fn label(index: usize) -> String {
    let bound = |index: usize| LATENCY_BOUNDS_MS.get(index).copied();
    match (index.checked_sub(1).and_then(bound), bound(index)) {
        (None, Some(upper)) => format!("under {}", spelled(upper)),
        (Some(lower), Some(upper)) => format!("{} to {}", spelled(lower), spelled(upper)),
        (lower, None) => format!("over {}", spelled(lower.unwrap_or_default())),
    }
}

fn spelled(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{} s", ms / 1_000) }
}

/// Why rows are failed, invalid or in doubt.
pub(super) struct ReasonRow {
    pub(super) outcome: String,
    pub(super) key: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) count: Count,
    /// `5, 9, 12 and 40 more`
    pub(super) rows: String,
}

pub(super) fn reasons(reasons: &[Tallied]) -> Vec<ReasonRow> {
    let row = |tallied: &Tallied| {
        let numbers: Vec<String> = tallied.rows.iter().map(ToString::to_string).collect();
        let more = tallied.count - numbers.len() as u64;
        let more = if more > 0 { format!(" and {} more", thousands(more)) } else { String::new() };
        let message = if tallied.count == 1 { &tallied.example } else { &tallied.message };
        ReasonRow {
            outcome: tallied.outcome.replace('_', " "),
            key: tallied.outcome,
            reason: tallied.reason.clone(),
            message: clean(message),
            count: Count(tallied.count),
            rows: format!("{}{more}", numbers.join(", ")),
        }
    };
    // What was skipped needs no look; it is told beside the headline.
    reasons.iter().filter(|tallied| tallied.outcome != State::Skipped.key()).map(row).collect()
}

/// A row in doubt, to be looked up at the desk.
pub(super) struct Doubt {
    pub(super) row: u64,
    pub(super) ticket: String,
    pub(super) message: String,
}

/// The first rows in doubt.
pub(super) struct Doubts {
    pub(super) shown: Vec<Doubt>,
    pub(super) is_all: bool,
}

pub(super) fn doubts(journal: &dyn Archive, run: &Run) -> Result<Doubts, Error> {
    if run.counts.in_doubt == 0 {
        return Ok(Doubts { shown: Vec::new(), is_all: true });
    }
    let page = journal.told_page(run.key, &[State::InDoubt], 0, run.counts.rows)?;
    let is_all = page.len() <= DOUBTS_MAX;
    let doubt = |told: Told| Doubt {
        row: told.row,
        ticket: told.ticket.map_or_else(String::new, |ticket| ticket.to_string()),
        message: clean(&told.message),
    };
    Ok(Doubts { shown: page.into_iter().take(DOUBTS_MAX).map(doubt).collect(), is_all })
}

/// A field that was set.
pub(super) struct FieldRow {
    pub(super) name: String,
    pub(super) rows: Count,
    pub(super) tickets: Option<Count>,
}

/// The fields that were set, and how many are left out.
pub(super) fn fields(changed: &Changed) -> (Vec<FieldRow>, Count) {
    let row = |field: &ChangedField| FieldRow {
        name: clean(&field.name),
        rows: Count(field.rows),
        tickets: field.tickets.map(Count),
    };
    let rows = changed.fields.iter().take(FIELDS_MAX).map(row).collect();
    (rows, Count(changed.fields.len().saturating_sub(FIELDS_MAX) as u64))
}

/// The invocations, the newest ones.
pub(super) struct Attempted {
    /// How many there are; `None`: all are shown.
    pub(super) of: Option<usize>,
    pub(super) shown: Vec<InvocationRow>,
}

pub(super) struct InvocationRow {
    pub(super) number: u64,
    pub(super) began: Moment,
    pub(super) lasted: String,
    pub(super) pace: String,
    pub(super) end: String,
    pub(super) exit_code: String,
}

pub(super) fn attempted(invocations: &[Invocation], clock: &Clock) -> Attempted {
    let row = |invocation: &Invocation| {
        let lasted_ms = invocation.ended_ms.map(|ended_ms| (ended_ms - invocation.began_ms).max(0));
        let lasted = lasted_ms.map(|ms| duration(std::time::Duration::from_millis(ms.unsigned_abs())));
        let end = match (&invocation.said, invocation.ended_ms) {
            (Some(said), _) => said.clone(),
            (None, Some(_)) => "all was done".to_owned(),
            (None, None) => "no end was noted: at work, or cut off".to_owned(),
        };
        InvocationRow {
            number: invocation.number,
            began: clock.at(invocation.began_ms),
            lasted: lasted.unwrap_or_else(|| "–".to_owned()),
            pace: invocation.pace.clone(),
            end,
            exit_code: invocation.exit_code.map_or_else(|| "–".to_owned(), |code| code.to_string()),
        }
    };
    let shown = invocations.iter().skip(invocations.len().saturating_sub(INVOCATIONS_MAX)).map(row).collect();
    Attempted { of: (invocations.len() > INVOCATIONS_MAX).then_some(invocations.len()), shown }
}
