//! `summary.json`, a contract with other programs, and the table that a person sees at the end.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::error::Error;
use crate::journal::Journal;
use crate::journal::runs::{Counts, Run};
use crate::journal::state::State;
use crate::text::thousands;

/// Of this version of the file's form.
const SCHEMA: u32 = 1;

/// As many reasons are listed; the failures file has every row's own.
const REASONS_MAX: usize = 50;

#[derive(Serialize)]
struct Summary<'a> {
    schema: u32,
    run: u64,
    input: Input<'a>,
    desk: Desk<'a>,
    started_at: String,
    finished_at: Option<String>,
    exit_code: Option<u8>,
    counts: Counts,
    attempts: u64,
    throttled: u64,
    reasons: &'a [Tallied],
    /// A run of the same path on other bytes that still has rows to send.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished_before: Option<u64>,
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
    /// `failed`, `invalid` or `in_doubt`.
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
}

/// Writes `summary.json`.
pub fn write(path: &Path, journal: &Journal, run: &Run, reasons: &[Tallied]) -> Result<(), Error> {
    let summary = Summary {
        schema: SCHEMA,
        run: run.key.id,
        input: Input { path: run.input.path.as_deref(), sha256: &run.input.sha256, rows: run.counts.rows },
        desk: Desk { url: &run.desk.url, account_email: &run.desk.account_email },
        started_at: rfc_3339(run.started_ms),
        finished_at: run.ended_ms.map(rfc_3339),
        exit_code: run.exit_code,
        counts: run.counts,
        attempts: run.attempts,
        throttled: run.throttled,
        reasons,
        unfinished_before: journal.older_unfinished(run)?,
    };
    super::replace(path, |out| {
        serde_json::to_writer_pretty(&mut *out, &summary)?;
        writeln!(out)
    })
}

fn rfc_3339(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map(|time| time.to_string()).unwrap_or_default()
}

/// Why rows are failed, invalid or in doubt: the most frequent reasons first.
pub fn reasons(journal: &Journal, run: &Run) -> Result<Vec<Tallied>, Error> {
    let mut counts: HashMap<(&'static str, String, String), (u64, String)> = HashMap::new();
    let mut after = 0;
    if run.counts.need_attention() {
        loop {
            let states = [State::Failed, State::Invalid, State::InDoubt];
            let page = journal.told_page(run.key, &states, after, run.counts.rows)?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for told in page {
                let mut key = (told.state.key(), told.reason, folded(&told.message));
                if counts.len() >= REASONS_KEPT_MAX && !counts.contains_key(&key) {
                    "other messages".clone_into(&mut key.2);
                }
                counts.entry(key).or_insert((0, told.message)).0 += 1;
            }
        }
    }
    let mut reasons: Vec<Tallied> = counts
        .into_iter()
        .map(|((outcome, reason, message), (count, example))| Tallied {
            outcome,
            reason,
            message,
            count,
            example,
        })
        .collect();
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

/// The table: how the rows stand, and the first reasons.
#[must_use]
pub fn table(run: &Run, reasons: &[Tallied]) -> String {
    let counts = &run.counts;
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (word, count) in [
        ("rows", counts.rows),
        ("applied", counts.applied),
        ("failed", counts.failed),
        ("invalid", counts.invalid),
        ("in doubt", counts.in_doubt),
        ("skipped", counts.skipped),
        ("pending", counts.pending),
    ] {
        if count > 0 || matches!(word, "rows" | "applied") {
            table.add_row([word.to_owned(), thousands(count)]);
        }
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = format!("{table}\n");
    for reason in reasons.iter().take(5) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  {} {}: {}",
            thousands(reason.count),
            reason.outcome.replace('_', " "),
            crate::text::clean(if reason.count == 1 { &reason.example } else { &reason.message })
        );
    }
    if reasons.len() > 5 {
        let _ = writeln!(out, "  and more reasons, see summary.json");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_folded_so_that_like_messages_count_together() {
        assert_eq!(folded("ticket 1001 not found (404)"), "ticket # not found (#)");
    }
}
