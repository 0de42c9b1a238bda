//! What is true of a life apart from the journal's file: what each transaction was to make of the rows, when it was
//! acknowledged, and what the desk has seen.
//!
//! Moments are positions on the tape. The journal under test never reads this.

use std::collections::{BTreeMap, BTreeSet};

use deskload::journal::state::State;

/// How the rows of a journal stand; two are equal if nobody could tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) runs: Vec<HeldRun>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldRun {
    /// By number less one; `None`: no entry.
    pub(crate) rows: Vec<Option<State>>,
    /// Requests that the journal must have counted.
    pub(crate) attempts: i64,
}

impl Held {
    pub(crate) fn state(&self, place: Place) -> Option<State> {
        self.runs.get(place.0).and_then(|run| run.rows[place.1])
    }

    pub(crate) fn set(&mut self, place: Place, state: State) {
        self.runs[place.0].rows[place.1] = Some(state);
    }

    /// As recovery leaves it: what was on its way is in doubt. Gives how many were.
    pub(crate) fn recovered(&self) -> (Self, u64) {
        let mut after = self.clone();
        let mut found = 0;
        for state in after.runs.iter_mut().flat_map(|run| &mut run.rows) {
            if *state == Some(State::Sending) {
                *state = Some(State::InDoubt);
                found += 1;
            }
        }
        (after, found)
    }
}

/// A row: the index of its run, and its own.
pub(crate) type Place = (usize, usize);

/// When a transaction was begun, and when it was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Span {
    began: usize,
    acknowledged: usize,
}

/// A request that has reached the desk.
#[derive(Clone, Copy, Debug)]
struct Request {
    at: usize,
    applied: bool,
    /// The row may go out again once this moment has come: the transaction began that holds the proof that it was not
    /// applied, or a person's word.
    cleared: Option<usize>,
    /// It was in a life before this one, whose moments are none of this one's.
    cleared_before: bool,
}

/// A life from its first moment on.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// After so many transactions.
    held: Vec<Held>,
    spans: Vec<Span>,
    requests: BTreeMap<Place, Vec<Request>>,
    /// Rows of which a person said that they were applied, and when.
    said: BTreeMap<Place, usize>,
    /// The same, in a life before this one.
    said_before: BTreeSet<Place>,
    /// When the account file was told of a start, and of which.
    starts: Vec<(usize, u64)>,
}

impl History {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        Self { held: vec![Held::default()], ..Self::default() }
    }

    /// How the rows must stand once all transactions are in.
    pub(crate) fn now(&self) -> &Held {
        self.held.last().unwrap()
    }

    pub(crate) fn transaction(&mut self, began: usize, acknowledged: usize, after: Held) {
        self.spans.push(Span { began, acknowledged });
        self.held.push(after);
    }

    /// A request reaches the desk.
    pub(crate) fn saw(&mut self, place: Place, at: usize, applied: bool) {
        self.requests.entry(place).or_default().push(Request {
            at,
            applied,
            cleared: None,
            cleared_before: false,
        });
    }

    /// Its requests are proven not applied, or a person says to send it again, in a transaction that begins now.
    pub(crate) fn clear(&mut self, place: Place, began: usize) {
        for request in self.requests.entry(place).or_default() {
            request.cleared.get_or_insert(began);
        }
    }

    /// A person says that the desk has it, in a transaction that begins now.
    pub(crate) fn say_applied(&mut self, place: Place, began: usize) {
        self.said.entry(place).or_insert(began);
    }

    /// The account file knows of this start now.
    pub(crate) fn started(&mut self, at: usize, epoch: u64) {
        self.starts.push((at, epoch));
    }

    /// The last start that the account file must know of.
    pub(crate) fn epoch(&self, cut: usize) -> u64 {
        self.starts.iter().rev().find(|(at, _)| *at <= cut).map_or(0, |(_, epoch)| *epoch)
    }

    /// How many transactions were acknowledged, and whether one more was under way.
    pub(crate) fn done_by(&self, cut: usize) -> (usize, bool) {
        let done = self.spans.partition_point(|span| span.acknowledged <= cut);
        (done, self.spans.get(done).is_some_and(|span| span.began <= cut))
    }

    /// How the rows stood after so many transactions.
    pub(crate) fn after(&self, transactions: usize) -> &Held {
        &self.held[transactions]
    }

    /// Rows with a request before the cut that may have been applied, and must not go out again.
    pub(crate) fn bound(&self, cut: usize) -> impl Iterator<Item = Place> {
        let rows = self.requests.iter();
        let open = move |request: &Request| {
            let is_cleared = request.cleared_before || request.cleared.is_some_and(|cleared| cleared <= cut);
            request.at <= cut && !is_cleared
        };
        rows.filter(move |(_, requests)| requests.iter().any(open)).map(|(place, _)| *place)
    }

    /// Whether the desk had applied it before the cut, or a person had said so.
    pub(crate) fn is_applied(&self, place: Place, cut: usize) -> bool {
        let applied = |request: &Request| request.applied && request.at <= cut;
        self.requests.get(&place).is_some_and(|requests| requests.iter().any(applied))
            || self.said_before.contains(&place)
            || self.said.get(&place).is_some_and(|said| *said <= cut)
    }

    /// The history as it goes on from a cut, which the first `done` transactions have survived.
    pub(crate) fn going_on(mut self, cut: usize, done: usize) -> Self {
        // What only the transaction that was cut off would have said is not said.
        let end = self.spans.get(done).map_or(usize::MAX, |span| span.began);
        let is_in = |moment: &usize| *moment <= cut && *moment < end;
        for requests in self.requests.values_mut() {
            requests.retain(|request| request.at <= cut);
            for request in requests {
                request.at = 0;
                request.cleared_before |= request.cleared.take().is_some_and(|cleared| is_in(&cleared));
            }
        }
        let said = std::mem::take(&mut self.said).into_iter().filter(|(_, said)| is_in(said));
        self.said_before.extend(said.map(|(place, _)| place));
        self.starts = vec![(0, self.epoch(cut))];
        let held = self.held.swap_remove(done);
        Self { held: vec![held], spans: Vec::new(), ..self }
    }

    /// How many transactions there were.
    pub(crate) fn transactions(&self) -> usize {
        self.spans.len()
    }
}
