//! The one transaction that takes rows from state to state while a run is sending.
//!
//! Each transition says which state it expects, and fails the commit if it finds another: a row that is not
//! `sending` cannot get an outcome, one that is settled cannot be granted again. This is the second lock behind
//! the types of [`super::state`]; when it holds a row back, the program has a bug, and stops.

use std::time::Duration;

use rusqlite::{Transaction, TransactionBehavior, params};
use tokio::time::Instant;

use super::Journal;
use super::minutes::{self, Meanwhile};
use super::runs::{Counts, RunKey};
use super::spent::{uncount, write_entry, write_pause, write_slowed};
use super::state::{Ending, Intent, Note, Outcome, Permit, Reason, State, Unsent};
use crate::error::Error;
use crate::pace::ledger::{Entry, Pause, Slowed};

/// What has gathered since the last commit. It becomes durable all at once, or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// What became of attempts.
    pub outcomes: Vec<Outcome>,
    /// Permits that were not used.
    pub given_back: Vec<Permit>,
    /// Rows that wait for a person or for another day; they need an entry, because the cursor passes them.
    pub set_aside: Vec<Intent>,
    /// Rows that are settled without a request.
    pub unsent: Vec<(Intent, Unsent)>,
    /// Rows that want to be sent.
    pub wanted: Vec<Intent>,
    /// The first row that may have no entry once this batch is in.
    pub cursor: u64,
    /// What went on since the last batch, for the samples.
    pub meanwhile: Meanwhile,
    /// Where the rows that want to be sent are counted as spent; `None`: there is no limit.
    pub entry: Option<Entry>,
    /// The desk asked for a pause since the last batch.
    pub pause: Option<Pause>,
    /// The pace has been slowed down, or has grown, since the last batch.
    pub slowed: Option<Slowed>,
}

impl Batch {
    /// Whether a commit would change anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
            && self.given_back.is_empty()
            && self.set_aside.is_empty()
            && self.unsent.is_empty()
            && self.wanted.is_empty()
            && !self.meanwhile.has_waited()
    }
}

/// What a commit gives.
#[derive(Debug)]
pub struct Committed {
    /// One for each row that wanted to be sent and was not refused, in their order.
    pub permits: Vec<Permit>,
    /// Rows that got none. A journal of one process refuses nobody.
    pub refused: Vec<Refused>,
    /// How the run's rows stand now.
    pub counts: Counts,
    /// What a journal that keeps the account's pace says of it.
    pub pace: Told,
    /// Why nothing more may be sent, although this batch counts.
    pub trouble: Option<Error>,
}

/// A row that got no permit, and stands as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number.
    pub row: u64,
    /// Why.
    pub why: Refusal,
}

/// Why a row got no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The account's budget is spent for the moment: it wants again.
    Spent,
    /// Its ticket has had as many requests as it may have: it rests until then, and others go on.
    Rests(Instant),
    /// It is not this process's to send, or not its ticket's turn: it is let go, and comes again if that changes.
    NotOurs,
}

/// What a journal says of a pace that several processes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// To ask for permits before then is of no use.
    pub ask_from: Option<Instant>,
    /// A pause that the desk asked one of them for: how much of it is left.
    pub paused: Option<Duration>,
}

/// What the rows of a batch add to their run's counters. Negative where a row leaves a state.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) applied: i64,
    pub(super) failed: i64,
    pub(super) invalid: i64,
    pub(super) in_doubt: i64,
    pub(super) skipped: i64,
    pub(super) attempts: i64,
    pub(super) throttled: i64,
    pub(super) not_sent: i64,
}

impl Tally {
    /// Notes that a row went from one state to another; pending and sending have no counter.
    pub(super) fn moved(&mut self, from: State, to: State, rows: i64) {
        if let Some(counter) = self.counter(from) {
            *counter -= rows;
        }
        if let Some(counter) = self.counter(to) {
            *counter += rows;
        }
    }

    fn counter(&mut self, state: State) -> Option<&mut i64> {
        match state {
            State::Applied => Some(&mut self.applied),
            State::Failed => Some(&mut self.failed),
            State::Invalid => Some(&mut self.invalid),
            State::InDoubt => Some(&mut self.in_doubt),
            State::Skipped => Some(&mut self.skipped),
            State::Sending | State::Pending => None,
        }
    }

    /// Adds itself to the run, and gives how the run's rows stand then.
    pub(super) fn write(&self, tx: &Transaction<'_>, run: u64) -> rusqlite::Result<Counts> {
        tx.prepare_cached(
            "UPDATE run SET applied = applied + ?2, failed = failed + ?3, invalid = invalid + ?4,
                 in_doubt = in_doubt + ?5, skipped = skipped + ?6, attempts = attempts + ?7,
                 throttled = throttled + ?8
             WHERE id = ?1 RETURNING rows, applied, failed, invalid, in_doubt, skipped",
        )?
        .query_row(
            params![
                run,
                self.applied,
                self.failed,
                self.invalid,
                self.in_doubt,
                self.skipped,
                self.attempts,
                self.throttled
            ],
            Counts::read,
        )
    }
}

impl Journal {
    /// Takes a batch in and gives a permit for each row that wanted one, in their order.
    ///
    /// Outcomes, unused permits and intents share one transaction, because each commit costs one `fsync`
    /// however many rows it carries. Fails as [`Error::Machine`]; nothing of the batch counts then, and the
    /// rows that are on their way stay `sending`, to be found in doubt by the next start.
    pub fn commit(&mut self, run: RunKey, batch: &Batch) -> Result<Committed, Error> {
        let failed = self.explain("write");
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let mut tally = Tally::default();
        for outcome in &batch.outcomes {
            settle(&tx, run, outcome, &mut tally).map_err(&failed)??;
        }
        for permit in &batch.given_back {
            give_back(&tx, run, permit, &mut tally).map_err(&failed)??;
            if let Some((ticket, until)) = permit.counted() {
                uncount(&tx, run.id, ticket, until).map_err(&failed)?;
            }
        }
        for intent in &batch.set_aside {
            enter(&tx, run, intent, State::Pending).map_err(&failed)?;
        }
        for (intent, ending) in &batch.unsent {
            settle_unsent(&tx, run, intent, ending, &mut tally).map_err(&failed)??;
        }
        for intent in &batch.wanted {
            grant(&tx, run, intent, &mut tally).map_err(&failed)??;
        }
        if let Some(entry) = batch.entry.as_ref().filter(|_| !batch.wanted.is_empty()) {
            write_entry(&tx, run.id, entry, &batch.wanted).map_err(&failed)?;
        }
        if let Some(pause) = &batch.pause {
            write_pause(&tx, run.id, pause).map_err(&failed)?;
        }
        if let Some(slowed) = &batch.slowed {
            write_slowed(&tx, run.id, slowed).map_err(&failed)?;
        }
        tally.attempts += i64::try_from(batch.wanted.len()).unwrap_or(i64::MAX);
        let counts = tally.write(&tx, run.id).map_err(&failed)?;
        move_cursor(&tx, run, batch.cursor).map_err(&failed)?;
        minutes::write(&tx, run, batch, &tally).map_err(&failed)?;
        tx.commit().map_err(&failed)?;
        let counted = batch.entry.filter(|entry| entry.ticket_counts_ms.is_some()).map(|entry| entry.until);
        let permit = |intent: &Intent| match counted {
            Some(until) => Permit::new(intent).counted_at(intent.ticket, until),
            None => Permit::new(intent),
        };
        let permits = batch.wanted.iter().map(permit).collect();
        Ok(Committed { permits, refused: Vec::new(), counts, pace: Told::default(), trouble: None })
    }
}

type Checked = rusqlite::Result<Result<(), Error>>;

/// A transition found its row in another state than it must be in.
fn expect_one(changed: usize, row: u64, what: &str) -> Result<(), Error> {
    if changed == 1 {
        return Ok(());
    }
    Err(Error::Machine(format!(
        "row {row} is not in a state that can be {what}: this is a bug in deskload; nothing more was sent"
    )))
}

/// How an intent marks its row until the outcome. The control of `tests/torture` is compiled with this cfg, which no
/// feature and no ordinary build can set: an intent leaves no mark there, so that a kill must lead to repeats.
const MARK: State = if cfg!(deskload_control = "no-intents") { State::Pending } else { State::Sending };

/// (no entry), pending → sending; in doubt → sending, if a person said so.
fn grant(tx: &Transaction<'_>, run: RunKey, intent: &Intent, tally: &mut Tally) -> Checked {
    let changed = if intent.resend {
        tally.moved(State::InDoubt, State::Sending, 1);
        tx.prepare_cached("UPDATE row SET state = ?2 WHERE key = ?1 AND state = 5")?
            .execute(params![run.key(intent.row), MARK.code()])?
    } else {
        enter(tx, run, intent, MARK)?
    };
    Ok(expect_one(changed, intent.row, "sent"))
}

/// (no entry), pending → skipped, failed.
fn settle_unsent(
    tx: &Transaction<'_>,
    run: RunKey,
    intent: &Intent,
    ending: &Unsent,
    tally: &mut Tally,
) -> Checked {
    let (state, note) = match ending {
        Unsent::Skipped(note) => (State::Skipped, note),
        Unsent::Failed(note) => (State::Failed, note),
    };
    let changed = enter(tx, run, intent, state)?;
    detail(tx, run.key(intent.row), intent.attempts, note)?;
    tally.moved(State::Pending, state, 1);
    Ok(expect_one(changed, intent.row, "settled"))
}

/// Writes the row's first entry, or moves it on if it is pending.
fn enter(tx: &Transaction<'_>, run: RunKey, intent: &Intent, to: State) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "INSERT INTO row (key, state, ticket, fields, digest) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key) DO UPDATE SET state = excluded.state WHERE state = 2",
    )?
    .execute(params![
        run.key(intent.row),
        to.code(),
        intent.ticket.as_i64(),
        intent.fingerprint.fields(),
        intent.fingerprint.values()
    ])
}

/// sending → pending (or in doubt, where it came from), as if the permit had never been given.
fn give_back(tx: &Transaction<'_>, run: RunKey, permit: &Permit, tally: &mut Tally) -> Checked {
    tally.attempts -= 1;
    let state = permit.unsettled();
    tally.moved(State::Sending, state, 1);
    let changed = leave_sending(tx, run, permit.row(), state)?;
    Ok(expect_one(changed, permit.row(), "given back"))
}

/// sending → what the attempt's ending says.
fn settle(tx: &Transaction<'_>, run: RunKey, outcome: &Outcome, tally: &mut Tally) -> Checked {
    let state = outcome.state();
    let note = match &outcome.ending {
        Ending::Applied => None,
        Ending::Failed(note) | Ending::InDoubt(note) | Ending::NotApplied(note) => Some(note),
    };
    let changed = leave_sending(tx, run, outcome.row, state)?;
    let key = run.key(outcome.row);
    match note {
        // Nothing left for the desk, so it was no attempt, and there is nothing to tell.
        Some(note) if note.reason.never_left() => tally.attempts -= 1,
        Some(note) => detail(tx, key, outcome.attempt, note)?,
        None if outcome.attempt > 1 => {
            tx.prepare_cached("DELETE FROM detail WHERE key = ?1")?.execute([key])?;
        }
        None => {}
    }
    tally.moved(State::Sending, state, 1);
    if let Ending::NotApplied(note) = &outcome.ending {
        match note.reason {
            Reason::Throttled => tally.throttled += 1,
            _ => tally.not_sent += 1,
        }
    }
    Ok(expect_one(changed, outcome.row, "settled"))
}

fn leave_sending(tx: &Transaction<'_>, run: RunKey, row: u64, to: State) -> rusqlite::Result<usize> {
    tx.prepare_cached("UPDATE row SET state = ?2 WHERE key = ?1 AND state = ?3")?.execute(params![
        run.key(row),
        to.code(),
        MARK.code()
    ])
}

/// Writes why a row stands as it does.
pub(super) fn detail(tx: &Transaction<'_>, key: i64, attempts: u32, note: &Note) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO detail (key, attempts, http_status, reason, message) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key) DO UPDATE SET attempts = excluded.attempts, http_status = excluded.http_status,
             reason = excluded.reason, message = excluded.message",
    )?
    .execute(params![key, attempts, note.http_status, note.reason.as_str(), note.message])?;
    Ok(())
}

fn move_cursor(tx: &Transaction<'_>, run: RunKey, cursor: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE run SET cursor = ?2 WHERE id = ?1 AND cursor < ?2")?
        .execute(params![run.id, cursor])?;
    Ok(())
}
