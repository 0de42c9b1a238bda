//! What must be true of the journal's file after every commit, every recovery and every word of a person.
//!
//! Read through a connection of its own, in plain SQL: the program's own queries are among what is tested.

use std::collections::{BTreeMap, HashSet};

use std::path::Path;

use deskload::journal::runs::RunKey;
use deskload::journal::settle::Word;
use deskload::journal::state::State;
use rusqlite::Connection;

use crate::input::Line;
use crate::plan::Plan;
use crate::world::{RowTruth, World};

/// The file, seen from outside.
pub(crate) struct Disk {
    conn: Connection,
    pub(crate) runs: Vec<RunKey>,
}

struct RunRow {
    cursor: usize,
    rows: usize,
    counters: [i64; 5],
    attempts: i64,
}

impl Disk {
    pub(crate) fn open(path: &Path) -> Self {
        Self { conn: Connection::open(path).unwrap(), runs: Vec::new() }
    }

    /// What a journal without intents would hold after a crash: the control.
    pub(crate) fn forget_intents(&self) {
        self.conn.execute("UPDATE row SET state = 2 WHERE state = 0", []).unwrap();
    }

    fn states(&self, run: RunKey, rows: usize) -> Vec<Option<State>> {
        let mut states = vec![None; rows];
        let mut select =
            self.conn.prepare_cached("SELECT key - ?1, state FROM row WHERE key > ?1 AND key <= ?2").unwrap();
        let last = run.key_before + i64::try_from(rows).unwrap();
        let mut found = select.query([run.key_before, last]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let number: usize = row.get(0).unwrap();
            states[number - 1] = State::from_code(row.get(1).unwrap());
        }
        states
    }

    fn run(&self, run: RunKey) -> RunRow {
        let sql = "SELECT cursor, rows, applied, failed, invalid, in_doubt, skipped, attempts FROM run WHERE id = ?1";
        let mut select = self.conn.prepare_cached(sql).unwrap();
        select
            .query_row([run.id], |row| {
                Ok(RunRow {
                    cursor: row.get(0)?,
                    rows: row.get(1)?,
                    counters: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?],
                    attempts: row.get(7)?,
                })
            })
            .unwrap()
    }

    /// Reads a run again and checks everything that must be true of it at any time.
    pub(crate) fn check(&self, world: &mut World, run: usize, plan: &Plan) {
        let key = self.runs[run];
        let row = self.run(key);
        let states = self.states(key, world.runs[run].len());
        for wrong in inconsistent(&row, &states, world.attempts[run]) {
            world.breach(wrong);
        }
        let sending = states.iter().filter(|state| **state == Some(State::Sending)).count();
        if sending > 2 * plan.concurrency {
            world.breach(format!("5: {sending} rows are marked as sending, at {} at once", plan.concurrency));
        }
        let mut wrong = Vec::new();
        let overtaken: HashSet<u64> = newer(world, run, State::Applied).collect();
        let has_it = twins_of_applied(world, run);
        for (index, (truth, state)) in world.runs[run].iter_mut().zip(states).enumerate() {
            truth.on_disk = state;
            let number = index + 1;
            if (state == Some(State::Invalid)) == truth.line.valid {
                wrong.push(format!("3: row {number} is {state:?}, and its line says otherwise"));
            }
            if truth.word.is_some() {
                continue; // What a person said is not for the desk to confirm.
            }
            if state == Some(State::Applied) && truth.applied == 0 {
                wrong.push(format!("3: row {number} is called applied, and the desk never saw it"));
            }
            let owns = matches!(state, Some(State::Applied | State::Sending | State::InDoubt));
            if truth.applied > 0 && !owns {
                wrong.push(format!("3: row {number} was applied, and is called {state:?}"));
            }
            // Every row sets the same two fields, so that a later one always says all of it.
            let may_be_skipped =
                truth.unchanged || overtaken.contains(&truth.line.ticket) || has_it.contains(&index);
            if state == Some(State::Skipped) && !may_be_skipped {
                wrong.push(format!("3: row {number} is skipped, and nobody said so"));
            }
        }
        for what in wrong {
            world.breach(what);
        }
    }

    /// After a commit: the above, and what has a permit without being on the wire.
    pub(crate) fn check_commit(&self, world: &mut World, plan: &Plan) {
        let run = world.run;
        self.check(world, run, plan);
        let sending = world.runs[run].iter().filter(|row| row.on_disk == Some(State::Sending)).count();
        let unsent = sending.saturating_sub(world.wired.len());
        // Twice: those that were let out at this very moment have not reached the wire yet.
        if unsent > world.meter.ahead_max().saturating_mul(2) {
            world.breach(format!("5: {unsent} rows have a permit, far more than the pace lets out"));
        }
    }
}

/// The tickets of the rows of newer runs that stand so; one that was unchanged is as good as applied.
fn newer(world: &World, run: usize, state: State) -> impl Iterator<Item = u64> + '_ {
    let rows = world.runs.iter().skip(run + 1).flatten();
    let stands =
        move |row: &&RowTruth| row.on_disk == Some(state) || (state == State::Applied && row.unchanged);
    rows.filter(stands).map(|row| row.line.ticket)
}

/// The rows of a run for which, by a person's word on an older run, the desk has the same update, and nothing of their
/// ticket was asked for in between.
fn twins_of_applied(world: &World, run: usize) -> HashSet<usize> {
    let asks = |row: &RowTruth| (row.line.ticket, row.line.staff.clone(), row.line.subject.clone());
    let mut last = BTreeMap::new();
    let mut twins = HashSet::new();
    for (number, rows) in world.runs.iter().enumerate().take(run + 1) {
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.line.valid) {
            let (wanted, is_before) = (asks(row), |(_, before): &(_, usize)| *before < number);
            let is_twin =
                last.get(&row.line.ticket).is_some_and(|doubt| is_before(doubt) && doubt.0 == wanted);
            if is_twin && number == run {
                twins.insert(index);
            }
            if row.word == Some(Word::Applied) {
                last.insert(row.line.ticket, (wanted, number));
            } else if !is_twin {
                last.remove(&row.line.ticket);
            }
        }
    }
    twins
}

/// At the end of a life: invariant 9.
pub(crate) fn check_tickets(world: &mut World) {
    let rows = || world.runs.iter().flatten();
    let free: HashSet<u64> = rows().filter(|row| row.word.is_some()).map(|row| row.line.ticket).collect();
    let stands = |row: &&RowTruth| row.on_disk == Some(State::Applied) || row.unchanged;
    // A later row of a ticket takes the place of an earlier one.
    let wanted: BTreeMap<u64, &Line> =
        rows().filter(stands).map(|row| (row.line.ticket, &row.line)).collect();
    let wrong = wanted.iter().find(|(ticket, line)| {
        let has = world.tickets.get(ticket).map(|(staff, subject)| (staff, subject));
        !free.contains(ticket) && has != Some((&line.staff, &line.subject))
    });
    let wrong = wrong.map(|(ticket, line)| {
        format!("9: ticket {ticket} is {:?}, and {line:?} was the last one", world.tickets.get(ticket))
    });
    if let Some(what) = wrong {
        world.breach(what);
    }
}

/// At the end of a session that nothing stopped: whatever is left waits for a person, or rests.
pub(crate) fn check_end(world: &mut World, resting: u64) {
    let rows = &world.runs[world.run];
    let is_twin = |index: usize| {
        let line = &rows[index].line;
        world.runs.iter().flatten().any(|other| {
            other.on_disk == Some(State::InDoubt)
                && (other.line.ticket, &other.line.staff, &other.line.subject)
                    == (line.ticket, &line.staff, &line.subject)
        })
    };
    let blocked: HashSet<u64> = newer(world, world.run, State::InDoubt).collect();
    let idle = (0..rows.len()).find(|index| {
        let waits = (0..=*index).any(|before| {
            rows[before].line.ticket == rows[*index].line.ticket
                && match rows[before].on_disk {
                    Some(State::InDoubt) => true,
                    None | Some(State::Pending) => {
                        is_twin(before) || blocked.contains(&rows[before].line.ticket)
                    }
                    _ => false,
                }
        });
        matches!(rows[*index].on_disk, None | Some(State::Pending)) && !waits
    });
    if let Some(index) = idle.filter(|_| resting == 0) {
        world.breach(format!("8: row {} was left over, and nothing keeps it back", index + 1));
    }
}

/// Invariants 4 and 7.
fn inconsistent(row: &RunRow, states: &[Option<State>], attempts: i64) -> Vec<String> {
    let mut wrong = Vec::new();
    let order = [State::Applied, State::Failed, State::Invalid, State::InDoubt, State::Skipped];
    for (state, counter) in order.into_iter().zip(row.counters) {
        let count = states.iter().filter(|other| **other == Some(state)).count();
        if i64::try_from(count).unwrap() != counter {
            wrong.push(format!("4: {count} rows are {state:?}, the run's counter says {counter}"));
        }
    }
    let settled: i64 = row.counters.iter().sum();
    if row.rows != states.len() || settled > i64::try_from(row.rows).unwrap() {
        wrong.push(format!("4: {settled} of {} rows are settled, of {}", row.rows, states.len()));
    }
    if row.attempts != attempts {
        wrong.push(format!("4: {} attempts were counted, there were {attempts}", row.attempts));
    }
    if let Some(hole) = states.iter().take(row.cursor - 1).position(Option::is_none) {
        wrong.push(format!("7: row {} has no entry below the cursor {}", hole + 1, row.cursor));
    }
    wrong
}

/// What a word makes of a row.
pub(crate) const fn state_after(word: Word) -> State {
    match word {
        Word::Applied => State::Applied,
        Word::Resend => State::Pending,
        Word::Skip => State::Skipped,
    }
}
