//! `summary.json`, a contract with other programs, and the table that a person sees at the end.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::journal::archive::Archive;
use crate::journal::runs::{Counts, Run};
use crate::journal::state::{Reason, State};
use crate::table;
use crate::text::thousands;

/// Of this version of the file's form.
const SCHEMA: u32 = 1;

/// As many reasons are listed; the failures file has every row's own.
const REASONS_MAX: usize = 50;

/// What `summary.json` says.
#[derive(Serialize)]
pub struct Summary<'a> {
    schema: u32,
    #[serde(flatten)]
    head: Head<'a>,
    reasons: &'a [Tallied],
    /// A run of the same path on other bytes that still has rows to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished_before: Option<u64>,
}

/// What is known of a run without a look at its rows.
#[derive(Serialize)]
pub struct Head<'a> {
    run: u64,
    input: Input<'a>,
    desk: Desk<'a>,
    started_at: String,
    finished_at: Option<String>,
    exit_code: Option<u8>,
    counts: Counts,
    attempts: u64,
    throttled: u64,
}

impl<'a> Head<'a> {
    /// Of this run.
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        Self {
            run: run.key.id,
            input: Input {
                path: run.input.path.as_deref(),
                sha256: &run.input.sha256,
                rows: run.counts.rows,
            },
            desk: Desk { url: &run.desk.url, account_email: &run.desk.account_email },
            started_at: rfc_3339(run.started_ms),
            finished_at: run.ended_ms.map(rfc_3339),
            exit_code: run.exit_code,
            counts: run.counts,
            attempts: run.attempts,
            throttled: run.throttled,
        }
    }
}

#[derive(Serialize)]
struct Input<'a> {
    path: Option<&'a str>,
    sha256: &'a str,
    rows: u64,
}

#[derive(Serialize)]
struct Desk<'a> {
    url: &'a str,
    account_email: &'a str,
}

/// A reason, and how many rows have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tallied {
    /// `failed`, `invalid`, `in_doubt`, or `skipped` for rows that were unchanged.
    pub outcome: &'static str,
    /// The word.
    pub reason: String,
    /// The sentence, its digits folded, so that "ticket 7 not found" and "ticket 8 not found" count as one.
    pub message: String,
    /// Rows.
    pub count: u64,
    /// The sentence of the first of them as it was: where there is one row only, its digits help.
    #[serde(skip)]
    pub example: String,
    /// The numbers of the first rows, at most [`ROWS_NAMED_MAX`].
    #[serde(skip)]
    pub rows: Vec<u64>,
}

/// What a program is told at the end: the summary, and what a person reads in words.
#[derive(Serialize)]
pub struct Told<'a> {
    /// `summary.json`
    #[serde(flatten)]
    pub summary: Summary<'a>,
    /// Where the reports are, if they could be written.
    pub folder: Option<&'a Path>,
    /// What ended the invocation before, or instead of, exit 0.
    pub error: Option<String>,
    /// What to do next.
    pub next: &'a [String],
}

/// Makes the summary of a run.
pub fn of<'a>(journal: &dyn Archive, run: &'a Run, reasons: &'a [Tallied]) -> Result<Summary<'a>, Error> {
    Ok(Summary {
        schema: SCHEMA,
        head: Head::of(run),
        reasons,
        unfinished_before: journal.older_unfinished(run)?,
    })
}

/// Writes `summary.json`.
pub fn write(path: &Path, journal: &dyn Archive, run: &Run, reasons: &[Tallied]) -> Result<(), Error> {
    let summary = of(journal, run, reasons)?;
    super::replace(path, |out| {
        serde_json::to_writer_pretty(&mut *out, &summary)?;
        writeln!(out)
    })
}

/// A moment for a program. `unix_ms` is UNIX time in milliseconds.
pub(crate) fn rfc_3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map(|time| time.to_string()).unwrap_or_default()
}

/// Why rows are failed, invalid, in doubt, or skipped as unchanged: the most frequent reasons first.
pub fn reasons(journal: &dyn Archive, run: &Run) -> Result<Vec<Tallied>, Error> {
    let mut reasons: HashMap<(&'static str, String, String), Tallied> = HashMap::new();
    let mut after = 0;
    if run.counts.need_attention() {
        loop {
            let states = [State::Failed, State::Invalid, State::InDoubt];
            let page = journal.told_page(run.key, &states, after, run.counts.rows)?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for told in page {
                let mut key = (told.state.key(), told.reason, folded(&told.message));
                if reasons.len() >= REASONS_KEPT_MAX && !reasons.contains_key(&key) {
                    "other messages".clone_into(&mut key.2);
                }
                let reason = reasons.entry(key).or_insert_with_key(|key| Tallied {
                    outcome: key.0,
                    reason: key.1.clone(),
                    message: key.2.clone(),
                    count: 0,
                    example: told.message,
                    rows: Vec::new(),
                });
                reason.count += 1;
                if reason.rows.len() < ROWS_NAMED_MAX {
                    reason.rows.push(told.row);
                }
            }
        }
    }
    let mut reasons: Vec<Tallied> = reasons.into_values().collect();
    if let Some(count) = run.unchanged.filter(|count| *count > 0) {
        let message = "the ticket was given these values last";
        reasons.push(Tallied {
            outcome: State::Skipped.key(),
            reason: Reason::Unchanged.as_str().to_owned(),
            message: message.to_owned(),
            count,
            example: message.to_owned(),
            rows: Vec::new(),
        });
    }
    reasons.sort_by(|one, other| {
        other
            .count
            .cmp(&one.count)
            .then_with(|| one.outcome.cmp(other.outcome))
            .then_with(|| (&one.reason, &one.message).cmp(&(&other.reason, &other.message)))
    });
    reasons.truncate(REASONS_MAX);
    Ok(reasons)
}

/// As many rows of a reason are named; the result files name them all.
pub const ROWS_NAMED_MAX: usize = 20;

/// Different messages kept while counting, so that a desk that never says the same twice does not fill memory.
const REASONS_KEPT_MAX: usize = 10_000;

/// Runs of digits become one `#`.
fn folded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for char in message.chars() {
        match char {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out
}

/// The outcomes that there are, with their words.
fn outcomes(counts: &Counts) -> impl Iterator<Item = (&'static str, u64)> {
    let all = counts.by_outcome().into_iter().map(|(state, count)| (state.as_str(), count));
    all.filter(|(word, count)| *count > 0 || *word == State::Applied.as_str())
}

/// How the rows stand, in a line.
#[must_use]
pub fn line(run: &Run) -> String {
    let told: Vec<String> =
        outcomes(&run.counts).map(|(word, count)| format!("{} {word}", thousands(count))).collect();
    format!("{} of {}", told.join(", "), crate::text::rows(run.counts.rows))
}

/// How the rows stand, as a table; `style` says where it is shown, which decides on colours.
#[must_use]
pub fn table(run: &Run, style: &console::Style) -> String {
    let mut table = table::plain(None);
    table.add_row(["rows".to_owned(), thousands(run.counts.rows)]);
    for (word, count) in outcomes(&run.counts) {
        table.add_row([word.to_owned(), thousands(count)]);
    }
    table::align_right(&mut table, 1);
    let colour = |line: &str| {
        let style = style.clone();
        let style = match () {
            () if line.starts_with("applied") => style.green(),
            () if line.starts_with("failed") || line.starts_with("invalid") => style.red(),
            () if line.starts_with("in doubt") => style.yellow(),
            () => style,
        };
        style.apply_to(line).to_string()
    };
    let lines: Vec<String> = table::lines(table).lines().map(colour).collect();
    lines.join("\n")
}

/// The most frequent reasons, a line each; `None` if there is none.
#[must_use]
pub fn reason_lines(reasons: &[Tallied]) -> Option<String> {
    let told = |reason: &Tallied| {
        let message = if reason.count == 1 { &reason.example } else { &reason.message };
        let outcome = reason.outcome.replace('_', " ");
        format!("  {} {outcome}: {}", thousands(reason.count), crate::text::clean(message))
    };
    let mut lines: Vec<String> = reasons.iter().take(REASONS_TOLD).map(told).collect();
    if reasons.len() > REASONS_TOLD {
        lines.push("  and more reasons, see summary.json".to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// As many reasons are told on a terminal.
const REASONS_TOLD: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_folded_so_that_like_messages_count_together() {
        assert_eq!(folded("ticket 1001 not found (404)"), "ticket # not found (#)");
    }
}
