//! Sending, as the pipeline does it: intents, permits, requests, outcomes, a batch at a time.
//!
//! The batches go through the production journal; the rows that they may name are kept here as the pipeline keeps
//! them, so that no batch is one that production would not make.

use std::collections::VecDeque;
use std::time::Duration;

use deskload::error::Error;
use deskload::journal::Journal;
use deskload::journal::fingerprint::{FieldBits, Fingerprint};
use deskload::journal::minutes::Meanwhile;
use deskload::journal::runs::Run;
use deskload::journal::state::{Ending, Intent, Note, Permit, Reason, Sent, State, Unsent};
use deskload::journal::transitions::Batch;
use deskload::ticket::{Changes, TicketId};

use crate::life::{Habit, Life};
use crate::tape;
use crate::truth::{Held, Place};

/// What the desk does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Applied,
    Refused,
    /// Applied or not, and no answer.
    Lost {
        applied: bool,
    },
    Throttled,
    /// It never got there.
    NotSent,
}

/// A row that may go out.
#[derive(Clone, Copy, Debug)]
struct Ready {
    number: u64,
    attempts: u32,
    /// It is in doubt, and a person said to send it again.
    resend: bool,
}

pub(crate) struct Session {
    run: Run,
    index: usize,
    /// Rows that had an entry, and can go out again.
    again: VecDeque<Ready>,
    /// The first row without an entry.
    next: u64,
    permits: Vec<(Permit, Ready, Option<Fate>)>,
    flying: Vec<(Sent, Ready, Fate)>,
}

impl Session {
    /// Finds what is left of the run, as production finds it.
    pub(crate) fn begin(life: &mut Life, reader: &Journal, run: &Run) -> Result<Self, Error> {
        let resends = life.rng.u8(..4) == 0;
        let left = reader.left_page(run.key, 0, run.cursor, resends)?;
        let again = left.into_iter().map(|entry| Ready {
            number: entry.row,
            attempts: entry.attempts,
            resend: entry.state == State::InDoubt,
        });
        Ok(Self {
            index: usize::try_from(run.key.id).unwrap() - 1,
            again: again.collect(),
            next: run.cursor,
            permits: Vec::new(),
            flying: Vec::new(),
            run: run.clone(),
        })
    }

    /// Some requests leave, some answers come, some rows want to go: one commit.
    pub(crate) fn step(&mut self, life: &mut Life, journal: &mut Journal) -> Result<(), Error> {
        let room = 2 * life.concurrency - self.permits.len() - self.flying.len();
        let mut draft = Draft::new(life, self.index);
        self.send(life, &mut draft, false);
        self.land(life, &mut draft, false);
        let wanted = self.want(life, &mut draft, room);
        self.commit(life, journal, draft, wanted)
    }

    /// Nothing new goes out, and what is out comes in.
    pub(crate) fn drain(&mut self, life: &mut Life, journal: &mut Journal) -> Result<(), Error> {
        let mut draft = Draft::new(life, self.index);
        self.send(life, &mut draft, true);
        self.land(life, &mut draft, true);
        self.commit(life, journal, draft, Vec::new())
    }

    fn commit(
        &mut self,
        life: &mut Life,
        journal: &mut Journal,
        draft: Draft,
        wanted: Vec<Ready>,
    ) -> Result<(), Error> {
        let Draft { mut batch, after, .. } = draft;
        if batch.is_empty() {
            return Ok(());
        }
        batch.cursor = self.next;
        let sent: Vec<Option<Fate>> = wanted
            .iter()
            .map(|row| (life.habit == Habit::SendsFirst).then(|| self.request(life, row.number)))
            .collect();
        let committed = life.transaction(after, || journal.commit(self.run.key, &batch))?;
        let rows = wanted.into_iter().zip(sent);
        self.permits.extend(committed.permits.into_iter().zip(rows).map(|(permit, (row, fate))| {
            assert_eq!(permit.row(), row.number);
            (permit, row, fate)
        }));
        Ok(())
    }

    fn place(&self, number: u64) -> Place {
        (self.index, usize::try_from(number).unwrap() - 1)
    }

    /// The request leaves now.
    fn request(&self, life: &mut Life, number: u64) -> Fate {
        let fate = match life.rng.u8(..20) {
            0..12 => Fate::Applied,
            12..14 => Fate::Refused,
            14..17 => Fate::Lost { applied: life.rng.bool() },
            17..19 => Fate::Throttled,
            _ => Fate::NotSent,
        };
        if fate != Fate::NotSent {
            let applied = matches!(fate, Fate::Applied | Fate::Lost { applied: true });
            life.history.saw(self.place(number), tape::position(), applied);
        }
        fate
    }

    fn send(&mut self, life: &mut Life, draft: &mut Draft, all: bool) {
        for (permit, row, fate) in std::mem::take(&mut self.permits) {
            match life.rng.u8(..20) {
                0 if fate.is_none() => {
                    draft.move_to(self.place(row.number), unsettled(&row), -1);
                    draft.batch.given_back.push(permit);
                    draft.returning.push(row);
                }
                1..4 if !all => self.permits.push((permit, row, fate)),
                _ => {
                    let fate = fate.unwrap_or_else(|| self.request(life, row.number));
                    self.flying.push((permit.send(), row, fate));
                }
            }
        }
        self.again.extend(draft.returning.drain(..));
    }

    fn land(&mut self, life: &mut Life, draft: &mut Draft, all: bool) {
        for (sent, row, fate) in std::mem::take(&mut self.flying) {
            if !all && life.rng.u8(..5) < 2 {
                self.flying.push((sent, row, fate));
                continue;
            }
            let place = self.place(row.number);
            let (ending, state) = ending(life, fate, &row);
            let never_left = fate == Fate::NotSent;
            draft.move_to(place, state, if never_left { -1 } else { 0 });
            if matches!(fate, Fate::Throttled) && !row.resend {
                life.history.clear(place, draft.began);
            }
            if matches!(fate, Fate::Throttled | Fate::NotSent) {
                let attempts = row.attempts + u32::from(!never_left);
                self.again.push_back(Ready { attempts, ..row });
            }
            draft.batch.outcomes.push(sent.settle(ending, Duration::from_millis(life.rng.u64(..50))));
        }
    }

    /// Takes rows that may go, up to `room` of them. One that was in this batch already waits for the next.
    fn want(&mut self, life: &mut Life, draft: &mut Draft, room: usize) -> Vec<Ready> {
        let mut wanted = Vec::new();
        for _ in 0..life.rng.usize(..=room) {
            let Some(row) = self.ready(draft) else { break };
            let place = self.place(row.number);
            let intent = Intent { resend: row.resend, ..intent_for(row.number, row.attempts) };
            match life.rng.u8(..40) {
                0 if !row.resend => {
                    draft.move_to(place, State::Pending, 0);
                    draft.batch.set_aside.push(intent);
                }
                1 if !row.resend => {
                    draft.move_to(place, State::Skipped, 0);
                    let note = note(life, Reason::Superseded);
                    draft.batch.unsent.push((intent, Unsent::Skipped(note)));
                }
                _ => {
                    draft.move_to(place, State::Sending, 1);
                    draft.batch.wanted.push(intent);
                    wanted.push(row);
                }
            }
        }
        wanted
    }

    fn ready(&mut self, draft: &Draft) -> Option<Ready> {
        let fresh = self.again.iter().position(|row| !draft.moved.contains(&self.place(row.number)));
        if let Some(at) = fresh {
            return self.again.remove(at);
        }
        while self.next <= self.run.counts.rows {
            let number = self.next;
            self.next += 1;
            if draft.after.state(self.place(number)).is_none() {
                return Some(Ready { number, attempts: 0, resend: false });
            }
        }
        None
    }
}

/// A batch, and what it is to make of the rows.
struct Draft {
    batch: Batch,
    after: Held,
    moved: Vec<Place>,
    returning: Vec<Ready>,
    run: usize,
    began: usize,
}

impl Draft {
    fn new(life: &Life, run: usize) -> Self {
        Self {
            batch: Batch { meanwhile: Meanwhile { now_ms: 1, ..Meanwhile::default() }, ..Batch::default() },
            after: life.history.now().clone(),
            moved: Vec::new(),
            returning: Vec::new(),
            run,
            began: tape::position(),
        }
    }

    fn move_to(&mut self, place: Place, state: State, attempts: i64) {
        self.after.set(place, state);
        self.after.runs[self.run].attempts += attempts;
        self.moved.push(place);
    }
}

/// Where a row goes if nothing came of its permit.
const fn unsettled(row: &Ready) -> State {
    if row.resend { State::InDoubt } else { State::Pending }
}

fn ending(life: &mut Life, fate: Fate, row: &Ready) -> (Ending, State) {
    match fate {
        Fate::Applied => (Ending::Applied, State::Applied),
        Fate::Refused => (Ending::Failed(note(life, Reason::Rejected)), State::Failed),
        Fate::Lost { .. } => (Ending::InDoubt(note(life, Reason::Timeout)), State::InDoubt),
        Fate::Throttled => (Ending::NotApplied(note(life, Reason::Throttled)), unsettled(row)),
        Fate::NotSent => (Ending::NotApplied(note(life, Reason::NotSent)), unsettled(row)),
    }
}

fn note(life: &mut Life, reason: Reason) -> Note {
    Note { reason, message: "x".repeat(life.rng.usize(..life.words_max)), http_status: None }
}

/// What the row of this number asks for, after so many attempts.
pub(crate) fn intent_for(number: u64, attempts: u32) -> Intent {
    let changes = Changes { staff: Some(format!("ST{number}")), ..Changes::default() };
    Intent {
        row: number,
        ticket: TicketId::parse(&number.to_string()).unwrap(),
        fingerprint: Fingerprint::of(&changes, &FieldBits::default()).unwrap(),
        attempts,
        resend: false,
    }
}
