//! What the finishing invocation has written for people: it must say what the account says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use deskload::journal::state::State;
use serde_json::Value;

use crate::account::Account;
use crate::breach::Breach;

/// Compares the reports in `folder` with the account and with the exit code of the invocation that wrote them.
pub(crate) fn agrees(folder: &Path, account: &Account, exit_code: u8) -> Result<(), Breach> {
    let text = fs::read_to_string(folder.join("summary.json"))
        .map_err(|error| Breach::other(format!("there is no summary: {error}")))?;
    let summary: Value = serde_json::from_str(&text)
        .map_err(|error| Breach::other(format!("summary.json is no JSON: {error}")))?;
    let told = |name: &str| summary["counts"][name].as_u64();
    let counted = |state| Some(account.count(state) as u64);
    let is_same = told("rows") == Some(account.states.len() as u64)
        && told("pending") == Some(account.pending() as u64)
        && told("applied") == counted(State::Applied)
        && told("failed") == counted(State::Failed)
        && told("invalid") == counted(State::Invalid)
        && told("in_doubt") == counted(State::InDoubt)
        && told("skipped") == counted(State::Skipped)
        && summary["attempts"].as_u64() == Some(account.attempts)
        && summary["exit_code"].as_u64() == Some(exit_code.into());
    if !is_same {
        return Err(Breach::other(format!(
            "summary.json is not the account's (exit code {exit_code}): {text}"
        )));
    }
    for (name, states) in
        [("failures.csv", &[State::Failed, State::Invalid][..]), ("in-doubt.csv", &[State::InDoubt])]
    {
        let expected: BTreeSet<usize> =
            account.in_states(states).into_iter().map(|index| index + 1).collect();
        let listed = rows(&folder.join(name))?;
        if listed != expected {
            return Err(Breach::other(format!("{name} lists {listed:?}, not {expected:?}")));
        }
    }
    Ok(())
}

/// The numbers of the rows that a file of results lists; without the file, none.
fn rows(path: &Path) -> Result<BTreeSet<usize>, Breach> {
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let wrong = |what: &str| Breach::other(format!("{}: {what}", path.display()));
    let mut file = csv::Reader::from_path(path).map_err(|error| wrong(&error.to_string()))?;
    let headers = file.headers().map_err(|error| wrong(&error.to_string()))?;
    let column =
        headers.iter().position(|name| name == "_deskload_row").ok_or_else(|| wrong("no row numbers"))?;
    file.records()
        .map(|record| {
            let record = record.map_err(|error| wrong(&error.to_string()))?;
            record.get(column).and_then(|cell| cell.parse().ok()).ok_or_else(|| wrong("no row number"))
        })
        .collect()
}
