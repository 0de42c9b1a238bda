//! The way back: what an answer means for its row, its ticket and the run, and what a person is told.
//!
//! Nothing here sends; what has to be durable goes into the next batch.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::{Landed, Pipeline};
use crate::breaker::Decision;
use crate::desk::{Answer, Desk};
use crate::error::Error;
use crate::journal::state::{Ending, Note, Sent};
use crate::journal::writer::Commits;
use crate::progress::Waiting;
use crate::todo::Row;

impl<D: Desk, J: Commits> Pipeline<'_, D, J> {
    /// A request has come back: what it means for its row, its ticket and the run.
    pub(super) fn take_in(&mut self, landed: Landed<D::Line>) {
        let Landed { row, probe, renewals, answer } = landed;
        let mut row = *row;
        let Some(Answer { sent, verdict, latency, line }) = answer else {
            return self.stop(Error::Machine(format!(
                "sending row {} ended in a bug; it is in doubt, and nothing more was sent",
                row.number
            )));
        };
        if let Some(line) = line {
            self.kept += usize::from(self.pool.put(line, Instant::now()));
        }
        let breaker = &mut self.parts.breaker;
        match breaker.decide(verdict, &mut row, probe, &mut self.parts.pace) {
            Decision::Settle(ending) => {
                let ticket = row.update.ticket();
                if matches!(ending, Ending::InDoubt(_)) {
                    // A late arrival must not overwrite what later rows of this ticket ask for.
                    let waiting = self.parts.lanes.hold(ticket);
                    self.ended.holding |= !waiting.is_empty();
                    self.set_aside(waiting);
                } else {
                    self.parts.lanes.done(ticket);
                }
                self.batch.outcomes.push(sent.settle(ending, latency));
                self.parts.source.done_with(row.number);
            }
            Decision::Again(note) => self.again(row, sent, note, latency),
            Decision::Later(note) => {
                self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
                self.parts.lanes.later(row);
            }
            Decision::Park(note, wait) => {
                self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
                self.park(row, Instant::now() + wait);
            }
            Decision::Resend(note) => {
                self.batch.outcomes.push(sent.settle(Ending::InDoubt(note), latency));
                self.parts.lanes.again(Row { resend: true, ..row });
            }
            Decision::Rest(note) => {
                self.ended.resting += 1;
                self.parts.source.rests(row.number);
                let waiting = self.parts.lanes.hold(row.update.ticket());
                self.set_aside(waiting);
                self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
            }
            Decision::Renew(note, refused) => {
                self.again(row, sent, note, latency);
                // Others that left with the old token come back refused, too; they say nothing of the new one.
                if renewals == self.renewals {
                    self.renew(refused);
                }
            }
            Decision::Stop(note, error) => {
                self.again(row, sent, note, latency);
                self.stop(error);
            }
        }
        self.tell_of_the_pace();
        if let Some(error) = self.parts.breaker.gives_up().or_else(|| self.parts.breaker.too_many_failures())
        {
            self.stop(error);
        }
    }

    /// The row was not applied and goes first when its turn comes again.
    pub(super) fn again(&mut self, mut row: Row, sent: Sent, note: Note, latency: Duration) {
        if note.reason.never_left() {
            row.attempts -= 1;
        }
        self.batch.outcomes.push(sent.settle(Ending::NotApplied(note), latency));
        self.parts.lanes.again(row);
    }

    /// Asks once for a new token, while what is in flight goes on; a desk that refuses the new one before it has
    /// applied anything ends the run.
    pub(super) fn renew(&mut self, refused: Error) {
        if self.renewing.is_some() {
            return;
        }
        let applied = self.parts.counts.applied;
        if self.renewals > 0 && applied == self.applied_at_renewal {
            return self.stop(refused);
        }
        self.renewals += 1;
        self.applied_at_renewal = applied;
        let asked = self.parts.desk.renew_credentials();
        self.renewing = Some(
            asked.map(|asked| asked.and_then(|new| if new { Ok(()) } else { Err(refused) })).boxed_local(),
        );
    }

    pub(super) fn renewed(&mut self, renewed: Result<(), Error>) {
        if let Err(error) = renewed {
            self.stop(error);
        }
    }

    /// Nothing new is sent from now on. The gravest reason is the one that is told.
    pub(super) fn stop(&mut self, error: Error) {
        tracing::debug!(%error, "stopping");
        if self.ended.stopped.is_none() {
            // A wait that is broken off would not be told otherwise. Once: to tell of it takes a commit, and a shared
            // journal may give the same reason to stop with each.
            self.note_meanwhile();
        }
        self.ended.stopped = Some(match self.ended.stopped.take() {
            Some(before) => before.graver(error),
            None => error,
        });
        // Intents that are not under way yet are withdrawn; the rows get entries, because the cursor counts them.
        self.open -= self.wanting.len();
        self.batch.wanted.clear();
        let withdrawn = std::mem::take(&mut self.wanting);
        self.set_aside(withdrawn);
    }

    /// A pause that the desk asked a process before this one for holds on; one that is too long ends this one, too.
    pub(super) fn go_on_with_a_pause(&mut self) {
        if let Some(error) = self.parts.breaker.waits_too_long(&self.parts.pace) {
            self.stop(error);
        }
    }

    /// That the pace is another one than asked for belongs into the log.
    fn tell_of_the_pace(&mut self) {
        let slowed = self.parts.pace.slowed_to();
        if slowed == self.slowed_told {
            return;
        }
        if let Some(per_second) = slowed {
            tracing::info!("the desk asks for a slower pace: {per_second:.3}/s for now");
        } else {
            tracing::info!("back at the pace that was asked for");
        }
        self.slowed_told = slowed;
    }

    /// Once its time is up an invocation drains.
    pub(super) fn look_at_the_clock(&mut self) {
        if self.ended.stopped.is_none()
            && let Some(error) = self.parts.until.is_up()
        {
            self.stop(error);
        }
    }

    pub(super) fn tell(&mut self) {
        let waiting = self.waiting();
        self.parts.progress.update(&self.parts.counts, waiting);
    }

    pub(super) fn waiting(&self) -> Waiting {
        if let Some(until) = self.parts.pace.paused_until() {
            return Waiting::Paused(until.saturating_duration_since(Instant::now()));
        }
        match self.parts.breaker.probe_at() {
            Some(at) => Waiting::Away(at.saturating_duration_since(Instant::now())),
            None => match (self.parts.pace.spent_until(), self.parts.pace.slowed_to()) {
                (Some(at), _) => Waiting::Spent(at.saturating_duration_since(Instant::now())),
                (None, Some(per_second)) => Waiting::Slowed(per_second),
                (None, None) => Waiting::Nothing,
            },
        }
    }
}
