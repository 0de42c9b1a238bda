//! How rows must stand, kept in the plainest way: the diagram of `journal/mod.rs` without a database.

use crate::journal::settle::Word;
use crate::journal::state::{Ending, Reason, State};
use crate::journal::tests::note;

/// Rows of each run; the last is invalid from the start.
pub(super) const ROWS: u64 = 5;

/// What a batch asks of one row, in the order in which a commit takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    Settle(End),
    GiveBack,
    SetAside,
    Skip,
    Fail,
    Grant,
    GrantAgain,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Applied,
    Failed,
    InDoubt,
    Throttled,
    NeverLeft,
}

impl End {
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Applied => Ending::Applied,
            Self::Failed => Ending::Failed(note(Reason::Rejected)),
            Self::InDoubt => Ending::InDoubt(note(Reason::Timeout)),
            Self::Throttled => Ending::NotApplied(note(Reason::Throttled)),
            Self::NeverLeft => Ending::NotApplied(note(Reason::NotSent)),
        }
    }
}

/// A row as it must stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Expected {
    pub(super) state: Option<State>,
    /// It was in doubt before the attempt that is under way.
    pub(super) resend: bool,
    pub(super) attempts: u32,
    pub(super) reason: Option<Reason>,
    pub(super) retried: bool,
}

impl Expected {
    pub(super) fn allows(&self, ask: Ask) -> bool {
        match ask {
            Ask::Settle(_) | Ask::GiveBack => self.state == Some(State::Sending),
            // It gives an entry to a row that has none, and changes no other.
            Ask::SetAside => true,
            Ask::Skip | Ask::Fail | Ask::Grant => matches!(self.state, None | Some(State::Pending)),
            Ask::GrantAgain => self.state == Some(State::InDoubt),
        }
    }

    fn told(&mut self, reason: Reason, attempts: u32) {
        (self.reason, self.attempts) = (Some(reason), attempts);
    }
}

/// A run as it must stand.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) rows: Vec<Expected>,
    pub(super) attempts: u64,
    pub(super) throttled: u64,
    pub(super) cursor: u64,
}

impl Model {
    pub(super) fn new() -> Self {
        let mut rows = vec![Expected::default(); usize::try_from(ROWS).unwrap()];
        let invalid =
            Expected { state: Some(State::Invalid), reason: Some(Reason::Invalid), ..Expected::default() };
        *rows.last_mut().unwrap() = invalid;
        Self { rows, attempts: 0, throttled: 0, cursor: 1 }
    }

    pub(super) fn row(&mut self, number: u64) -> &mut Expected {
        &mut self.rows[usize::try_from(number).unwrap() - 1]
    }

    /// The row, or the next one of which it can be asked.
    pub(super) fn find(&mut self, ask: Ask, number: u64) -> Option<u64> {
        (number..=ROWS).chain(1..number).find(|row| self.row(*row).allows(ask))
    }

    /// Does what was asked, if it can be asked.
    pub(super) fn take(&mut self, ask: Ask, number: u64) -> Result<(), ()> {
        if !self.row(number).allows(ask) {
            return Err(());
        }
        match ask {
            Ask::Settle(end) => self.settle(end, number),
            Ask::GiveBack => {
                self.attempts -= 1;
                self.unsettle(number);
            }
            Ask::SetAside => _ = self.row(number).state.get_or_insert(State::Pending),
            Ask::Skip | Ask::Fail => {
                let (state, reason) = match ask {
                    Ask::Skip => (State::Skipped, Reason::Superseded),
                    _ => (State::Failed, Reason::Overlapped),
                };
                let row = self.row(number);
                row.state = Some(state);
                row.told(reason, row.attempts);
            }
            Ask::Grant | Ask::GrantAgain => {
                self.attempts += 1;
                let row = self.row(number);
                (row.state, row.resend) = (Some(State::Sending), ask == Ask::GrantAgain);
            }
        }
        Ok(())
    }

    fn settle(&mut self, end: End, number: u64) {
        let attempt = self.row(number).attempts + 1;
        match end {
            End::Applied => {
                let row = self.row(number);
                row.state = Some(State::Applied);
                if attempt > 1 {
                    (row.reason, row.attempts, row.retried) = (None, 0, false);
                }
            }
            End::Failed => {
                self.row(number).state = Some(State::Failed);
                self.row(number).told(Reason::Rejected, attempt);
            }
            End::InDoubt => {
                self.row(number).state = Some(State::InDoubt);
                self.row(number).told(Reason::Timeout, attempt);
            }
            End::Throttled => {
                self.throttled += 1;
                self.unsettle(number);
                self.row(number).told(Reason::Throttled, attempt);
            }
            End::NeverLeft => {
                self.attempts -= 1;
                self.unsettle(number);
            }
        }
    }

    /// Nothing came of the attempt: a doubt from before it stays.
    fn unsettle(&mut self, number: u64) {
        let row = self.row(number);
        row.state = Some(if row.resend { State::InDoubt } else { State::Pending });
    }

    pub(super) fn crash(&mut self) {
        for row in self.rows.iter_mut().filter(|row| row.state == Some(State::Sending)) {
            row.state = Some(State::InDoubt);
            row.told(Reason::Interrupted, row.attempts + 1);
        }
    }

    pub(super) fn resolve(&mut self, word: Word, rows: Option<(u64, u64)>) -> Result<u64, ()> {
        let (first, last) = rows.unwrap_or((1, ROWS));
        let in_doubt = |model: &mut Self, row: u64| {
            (1..=ROWS).contains(&row) && model.row(row).state == Some(State::InDoubt)
        };
        if rows.is_some() && !(first..=last).all(|row| in_doubt(self, row)) {
            return Err(());
        }
        let mut settled = 0;
        for number in first..=last {
            if in_doubt(self, number) {
                settled += 1;
                let row = self.row(number);
                row.reason = Some(Reason::Resolved);
                row.state = Some(match word {
                    Word::Applied => State::Applied,
                    Word::Resend => State::Pending,
                    Word::Skip => State::Skipped,
                });
            }
        }
        Ok(settled)
    }

    /// Of the rows that another run, read to its end, asked for as well, these are now applied there by a person's word:
    /// those that wait here for it are skipped, as far as all before them was read.
    pub(super) fn skip_twins(&mut self, applied: &[u64]) -> u64 {
        let mut skipped = 0;
        for number in applied.iter().filter(|number| **number < self.cursor) {
            let row = &mut self.rows[usize::try_from(*number).unwrap() - 1];
            if row.state == Some(State::Pending) {
                row.state = Some(State::Skipped);
                row.told(Reason::AlreadyApplied, row.attempts);
                skipped += 1;
            }
        }
        skipped
    }

    /// Whether each row has an entry for sure.
    pub(super) fn is_whole(&self) -> bool {
        let is_settled = |row: &Expected| !matches!(row.state, None | Some(State::Pending | State::Sending));
        self.cursor > ROWS || self.rows.iter().all(is_settled)
    }

    pub(super) fn in_state(&self, state: State) -> Vec<u64> {
        (1..=ROWS).zip(&self.rows).filter(|(_, row)| row.state == Some(state)).map(|(row, _)| row).collect()
    }

    pub(super) fn retry(&mut self) -> u64 {
        let failed = self.rows.iter_mut().filter(|row| row.state == Some(State::Failed));
        failed.map(|row| (row.state, row.retried) = (Some(State::Pending), true)).count() as u64
    }

    pub(super) fn count(&self, state: State) -> u64 {
        self.rows.iter().filter(|row| row.state == Some(state)).count() as u64
    }
}
