//! How a row stands, and the tokens that lead from one state to the next.
//!
//! A request can only be made with a [`Permit`], a permit only comes out of a committed intent, and an outcome
//! can only be recorded for what a permit was spent on. None of the three can be cloned, so that the compiler
//! refuses a second request for one intent. This module does no I/O.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::fingerprint::Fingerprint;
use crate::pace::uptime::Moment;
use crate::ticket::TicketId;

/// How a row stands in the journal. A row that was never admitted has no entry, and is pending.
///
/// The numbers are in the file. `Sending` and `Applied` are 0 and 1 because SQLite keeps those without a byte
/// of their own, and equal sizes let an outcome overwrite its intent in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the design")]
pub enum State {
    Sending = 0,
    Applied = 1,
    Pending = 2,
    Failed = 3,
    Invalid = 4,
    InDoubt = 5,
    Skipped = 6,
}

impl State {
    /// The number in the file.
    #[must_use]
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Applied => "applied",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::InDoubt => "in doubt",
            Self::Skipped => "skipped",
        }
    }

    /// The word in files that programs read: as [`State::as_str`], without a blank.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::InDoubt => "in_doubt",
            other => other.as_str(),
        }
    }

    /// Reads the number in the file.
    #[must_use]
    pub const fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Sending,
            1 => Self::Applied,
            2 => Self::Pending,
            3 => Self::Failed,
            4 => Self::Invalid,
            5 => Self::InDoubt,
            6 => Self::Skipped,
            _ => return None,
        })
    }
}

/// Why a row stands as it does; the word goes into reports and is part of the contract with their readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The desk answered with `status: error`.
    Refused,
    /// The desk answered with a status from the list of refusals.
    Rejected,
    /// A 401 or 403 among rows that were applied.
    Forbidden,
    /// A redirect among rows that were applied.
    Redirected,
    /// The row itself cannot be made into an update.
    Invalid,
    /// No answer in time.
    Timeout,
    /// The connection broke after the request may have left.
    ConnectionLost,
    /// A status that does not tell whether the update was applied.
    ServerError,
    /// A success that cannot be believed: not JSON, another ticket's number, cut short.
    UnreadableReply,
    /// The process ended between the intent and the outcome.
    Interrupted,
    /// The desk asked to come back later (429, or 503 with a Retry-After).
    Throttled,
    /// The request never left: no connection.
    NotSent,
    /// The desk refused the credentials.
    Credentials,
    /// The desk's certificate is not valid.
    Certificate,
    /// A person settled the row.
    Resolved,
    /// Later rows have set all of its fields since.
    Superseded,
    /// Later rows have set some of its fields since.
    Overlapped,
    /// Its ticket was given these values last.
    Unchanged,
    /// It waited for the same update in another run, of which a person said that the desk has it.
    AlreadyApplied,
}

impl Reason {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Forbidden => "forbidden",
            Self::Redirected => "redirected",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::ConnectionLost => "connection lost",
            Self::ServerError => "server error",
            Self::UnreadableReply => "unreadable reply",
            Self::Interrupted => "interrupted",
            Self::Throttled => "throttled",
            Self::NotSent => "not sent",
            Self::Credentials => "credentials",
            Self::Certificate => "certificate",
            Self::Resolved => "resolved",
            Self::Superseded => "superseded",
            Self::Overlapped => "overlapped",
            Self::Unchanged => "unchanged",
            Self::AlreadyApplied => "already applied",
        }
    }
}

impl Reason {
    /// Whether it means that no byte of the request left.
    #[must_use]
    pub const fn never_left(self) -> bool {
        matches!(self, Self::NotSent | Self::Certificate)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A row that wants to be sent.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its number, from 1.
    pub row: u64,
    /// Its ticket.
    pub ticket: TicketId,
    /// Which fields it sets, and to what.
    pub fingerprint: Fingerprint,
    /// How many attempts were made before this one.
    pub attempts: u32,
    /// Whether the row is in doubt, and a person said to send it again.
    pub resend: bool,
}

impl Intent {
    /// Where its row is before it gets a permit, and again if nothing comes of that.
    pub(super) const fn unsettled(&self) -> State {
        unsettled(self.resend)
    }
}

/// The right to make one attempt. Its intent is on disk.
#[derive(Debug)]
#[must_use = "a permit is spent by sending, or given back"]
pub struct Permit {
    row: u64,
    attempt: u32,
    resend: bool,
    granted_at: Instant,
    turn: Option<Instant>,
    counted: Option<(TicketId, Moment)>,
}

impl Permit {
    /// For the journal alone, after the commit.
    pub(super) fn new(intent: &Intent) -> Self {
        let Intent { row, attempts, resend, .. } = *intent;
        Self { row, attempt: attempts + 1, resend, granted_at: Instant::now(), turn: None, counted: None }
    }

    /// The same, counted against its ticket at that moment.
    pub(super) fn counted_at(self, ticket: TicketId, moment: Moment) -> Self {
        Self { counted: Some((ticket, moment)), ..self }
    }

    /// The ticket against which it was counted, and the moment to which it was.
    pub(super) const fn counted(&self) -> Option<(TicketId, Moment)> {
        self.counted
    }

    /// The same, from a journal that keeps the account's pace and says when the request may leave.
    pub(super) fn in_turn(intent: &Intent, attempt: u32, turn: Instant) -> Self {
        Self { attempt, turn: Some(turn), ..Self::new(intent) }
    }

    /// When its request may leave, where the journal says so. It does not wait for long: a permit that is not used at
    /// its turn is given back.
    #[must_use]
    pub const fn turn(&self) -> Option<Instant> {
        self.turn
    }

    /// Which row it is for.
    #[must_use]
    pub const fn row(&self) -> u64 {
        self.row
    }

    /// Which attempt of its row it allows, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Where its row goes if nothing comes of it: an earlier attempt may still have been applied.
    pub(super) const fn unsettled(&self) -> State {
        unsettled(self.resend)
    }

    /// How long ago it was given.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.granted_at.elapsed()
    }

    /// Spends it: the request leaves now.
    pub const fn send(self) -> Sent {
        Sent { row: self.row, attempt: self.attempt, resend: self.resend }
    }
}

/// A permit that was spent. What became of it is not known yet.
#[derive(Debug)]
#[must_use = "what was sent needs an outcome, or it stays in doubt"]
pub struct Sent {
    row: u64,
    attempt: u32,
    resend: bool,
}

impl Sent {
    /// Joins the attempt and what is known of it now.
    pub const fn settle(self, ending: Ending, latency: Duration) -> Outcome {
        Outcome { row: self.row, attempt: self.attempt, resend: self.resend, ending, latency }
    }
}

/// What a row is while it waits for another attempt. A doubt is not undone by an attempt that comes to nothing.
const fn unsettled(resend: bool) -> State {
    if resend { State::InDoubt } else { State::Pending }
}

/// What is known after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The desk said so, in a form that can be believed.
    Applied,
    /// The desk refused this row for good.
    Failed(Note),
    /// Perhaps applied, perhaps not.
    InDoubt(Note),
    /// Proven not applied: the row is pending again, or in doubt again if an earlier attempt of it was.
    NotApplied(Note),
}

/// What becomes of a row without a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// There is nothing left for it to say.
    Skipped(Note),
    /// A person has to look.
    Failed(Note),
}

/// Why, in a word and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The word for counting.
    pub reason: Reason,
    /// The sentence for reading; already redacted and cleaned.
    pub message: String,
    /// The status of the HTTP reply, if there was one.
    pub http_status: Option<u16>,
}

/// What the journal takes in after an attempt.
#[derive(Debug)]
#[must_use = "an outcome counts once it is committed"]
pub struct Outcome {
    pub(super) row: u64,
    pub(super) attempt: u32,
    pub(super) resend: bool,
    pub(super) ending: Ending,
    pub(super) latency: Duration,
}

impl Outcome {
    /// Where the row goes.
    pub(super) const fn state(&self) -> State {
        match self.ending {
            Ending::Applied => State::Applied,
            Ending::Failed(_) => State::Failed,
            Ending::InDoubt(_) => State::InDoubt,
            Ending::NotApplied(_) => unsettled(self.resend),
        }
    }

    /// Which row it is for.
    #[must_use]
    pub const fn row(&self) -> u64 {
        self.row
    }

    /// What is known.
    #[must_use]
    pub const fn ending(&self) -> &Ending {
        &self.ending
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::intent;
    use super::*;

    #[test]
    fn numbers_in_the_file_and_words_in_reports_stay_as_they_are() {
        for (state, code, word, key) in [
            (State::Sending, 0, "sending", "sending"),
            (State::Applied, 1, "applied", "applied"),
            (State::Pending, 2, "pending", "pending"),
            (State::Failed, 3, "failed", "failed"),
            (State::Invalid, 4, "invalid", "invalid"),
            (State::InDoubt, 5, "in doubt", "in_doubt"),
            (State::Skipped, 6, "skipped", "skipped"),
        ] {
            assert_eq!((state.code(), state.as_str(), state.key()), (code, word, key));
            assert_eq!(State::from_code(code), Some(state));
        }
        assert_eq!((State::from_code(-1), State::from_code(7)), (None, None));
        for (reason, word) in [
            (Reason::Refused, "refused"),
            (Reason::Rejected, "rejected"),
            (Reason::Forbidden, "forbidden"),
            (Reason::Redirected, "redirected"),
            (Reason::Invalid, "invalid"),
            (Reason::Timeout, "timeout"),
            (Reason::ConnectionLost, "connection lost"),
            (Reason::ServerError, "server error"),
            (Reason::UnreadableReply, "unreadable reply"),
            (Reason::Interrupted, "interrupted"),
            (Reason::Throttled, "throttled"),
            (Reason::NotSent, "not sent"),
            (Reason::Credentials, "credentials"),
            (Reason::Certificate, "certificate"),
            (Reason::Resolved, "resolved"),
            (Reason::Superseded, "superseded"),
            (Reason::Overlapped, "overlapped"),
            (Reason::Unchanged, "unchanged"),
            (Reason::AlreadyApplied, "already applied"),
        ] {
            assert_eq!(reason.to_string(), word);
            assert_eq!(reason.never_left(), matches!(reason, Reason::NotSent | Reason::Certificate));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_tells_its_row_its_attempt_and_its_age() {
        let permit = Permit::new(&Intent { attempts: 2, ..intent(7) });
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!((permit.row(), permit.attempt(), permit.age()), (7, 3, Duration::from_secs(3)));
        let outcome = permit.send().settle(Ending::Applied, Duration::ZERO);
        assert_eq!((outcome.row(), outcome.ending()), (7, &Ending::Applied));
    }
}
