//! What the desk's log, deskload's account and a person's words must say of each other.

use std::collections::{BTreeSet, HashMap, HashSet};

use deskload::journal::state::State;

use crate::account::Account;
use crate::breach::Breach;
use crate::evidence::Evidence;
use crate::plan::Line;

/// What a person said in a round, by the rows' indexes.
#[derive(Default)]
pub(crate) struct Words {
    /// The requests of a row, counted from 0, that a person asked for.
    asked_for: HashMap<usize, BTreeSet<usize>>,
    pub(crate) skipped: HashSet<usize>,
}

impl Words {
    /// A person wants this row sent again: its request of that number is meant.
    pub(crate) fn allow(&mut self, index: usize, request: usize) {
        self.asked_for.entry(index).or_default().insert(request);
    }

    /// The word did not reach the journal.
    pub(crate) fn withdraw(&mut self, index: usize, request: usize) {
        self.asked_for.entry(index).or_default().remove(&request);
    }

    fn allows(&self, index: usize, request: usize) -> bool {
        self.asked_for.get(&index).is_some_and(|requests| requests.contains(&request))
    }

    /// Whether a person wants a row sent again that the desk had: then it may stand and come as it will.
    fn repeated(&self, evidence: &Evidence, index: usize) -> bool {
        let first = evidence.rows[index].iter().position(|request| request.applied);
        let asked_for = self.asked_for.get(&index).and_then(|requests| requests.last().copied());
        first.zip(asked_for).is_some_and(|(first, asked_for)| asked_for > first)
    }
}

/// No update goes again unless the desk's answer or a person allows it, whether or not the desk applied it.
pub(crate) fn no_repeat(evidence: &Evidence, words: &Words) -> Result<(), Breach> {
    for (index, requests) in evidence.rows.iter().enumerate() {
        for (before, request) in requests.iter().zip(1..requests.len()) {
            if !before.asked_to_come_back() && !words.allows(index, request) {
                let row = index + 1;
                return Err(Breach::repeat(format!(
                    "row {row} was sent again, and nobody asked: {requests:#?}"
                )));
            }
        }
    }
    Ok(())
}

/// Updates of one ticket take effect in the order of the file.
pub(crate) fn in_order(evidence: &Evidence, words: &Words, lines: &[Line]) -> Result<(), Breach> {
    let mut last: HashMap<u64, usize> = HashMap::new();
    for index in evidence.applied.iter().filter(|index| !words.repeated(evidence, **index)) {
        let ticket = lines[*index].ticket;
        let before = last.insert(ticket, *index).unwrap_or(0);
        if before > *index {
            let (row, before) = (index + 1, before + 1);
            return Err(Breach::other(format!(
                "row {row} took effect on ticket {ticket} after row {before}"
            )));
        }
    }
    Ok(())
}

/// What deskload calls applied, the desk has: at any time.
pub(crate) fn nothing_imagined(account: &Account, evidence: &Evidence) -> Result<(), Breach> {
    let imagined = account
        .in_states(&[State::Applied])
        .into_iter()
        .find(|index| !evidence.has(*index))
        .map(|index| index + 1);
    match imagined {
        None => Ok(()),
        Some(row) => Err(Breach::lost(format!("row {row} is called applied, and the desk never saw it"))),
    }
}

/// Once the run is done, each row stands as the desk and the person know it.
pub(crate) fn all_told(
    account: &Account,
    evidence: &Evidence,
    words: &Words,
    lines: &[Line],
) -> Result<(), Breach> {
    let mut newest: HashMap<u64, usize> = HashMap::new();
    for index in &evidence.applied {
        let newest = newest.entry(lines[*index].ticket).or_default();
        *newest = (*newest).max(*index);
    }
    for (index, (state, line)) in account.states.iter().zip(lines).enumerate() {
        let has = evidence.has(index);
        let free = words.repeated(evidence, index);
        let requests = &evidence.rows[index];
        let is_overtaken = newest.get(&line.ticket).is_some_and(|newest| *newest > index);
        let is_right = match state {
            None | Some(State::Pending | State::Sending) => false,
            Some(State::Invalid) => !line.valid,
            Some(State::Applied) => has,
            Some(State::InDoubt) => line.valid,
            Some(State::Failed) => (!has || free) && requests.iter().any(super::evidence::Request::refused),
            Some(State::Skipped) => (!has || free) && (words.skipped.contains(&index) || is_overtaken),
        };
        if !is_right || (state == &Some(State::Invalid)) == line.valid {
            let row = index + 1;
            return Err(Breach::lost(format!("row {row} ends as {state:?}; at the desk: {requests:#?}")));
        }
    }
    if account.attempts < evidence.requests {
        return Err(Breach::other(format!(
            "{} attempts are told of, and the desk saw {} requests",
            account.attempts, evidence.requests
        )));
    }
    Ok(())
}
