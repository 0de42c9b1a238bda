//! Connections: made ready before permits are asked for.
//!
//! A permit that waited for a connection would leave late, perhaps together with others, and the desk would see more at
//! once than the pace allows. So a row asks for a permit once a connection lies ready for it, and the pace is spent when
//! the request leaves on it. Where none lies ready, one is begun so long before the next request is due as the last one
//! took; while it is being made others are begun, no faster than requests may leave: without a pace, one for each row that
//! may go.

use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::Instant;

use super::Pipeline;
use crate::desk::Desk;
use crate::desk::verdict::Verdict;
use crate::journal::state::{Note, Reason};
use crate::journal::writer::Commits;
use crate::pace::LEAD;

/// A connection that has been made, or not.
pub(super) struct Opened<L> {
    line: Result<L, Verdict>,
    /// It was begun while the desk was away.
    probe: bool,
    took: Duration,
}

impl<D: Desk, J: Commits> Pipeline<'_, D, J> {
    /// When the next connection is to be begun; `None`: there is no use for another one.
    pub(super) fn connects_from(&self) -> Option<Instant> {
        let rows = self.parts.lanes.ready() + self.unsent();
        let slots = self.parts.breaker.allowed(self.parts.concurrency);
        let idle = self.ended.stopped.is_some() || self.renewing.is_some();
        let (opening, in_flight) = (self.opening.len(), self.in_flight.len());
        if idle || rows <= opening || slots <= in_flight + opening || self.lines_ready() > 0 {
            return None;
        }
        // Where one is on its way back or being made already, it will do, unless the next request is due before it comes.
        let early = if in_flight + opening == 0 { LEAD + self.opening_took } else { LEAD };
        let due = self.parts.pace.asks_from();
        let from = due.checked_sub(early).unwrap_or(due);
        Some(if opening == 0 { from } else { from.max(self.opens_from) })
    }

    /// Connections that will do for the next request.
    pub(super) fn lines_ready(&self) -> usize {
        self.pool.fit_at(self.parts.pace.asks_from().max(Instant::now()))
    }

    /// Begins connections for the rows that have none.
    pub(super) fn connect(&mut self) {
        let now = Instant::now();
        while self.connects_from().is_some_and(|from| from <= now) {
            if let Some(per_second) = self.parts.pace.in_force() {
                self.opens_from = now + Duration::try_from_secs_f64(per_second.recip()).unwrap_or_default();
            }
            let (desk, probe) = (self.parts.desk, self.parts.breaker.is_probing());
            let opened = async move { Opened { line: desk.connect().await, probe, took: now.elapsed() } };
            self.opening.push(opened.boxed_local());
        }
    }

    /// A connection has been made, or not.
    pub(super) fn opened(&mut self, opened: Opened<D::Line>) {
        let Opened { line, probe, took } = opened;
        match line {
            Ok(line) => {
                self.opening_took = took;
                self.pool.lay(line, probe, Instant::now());
            }
            Err(verdict) => self.no_connection(&verdict, probe),
        }
    }

    /// Lets go of connections that are too old. To those that the desk has closed unused it might as well not have
    /// agreed. One that was begun before the desk was away is no probe: several that close together count once.
    pub(super) fn sweep(&mut self) {
        for probe in self.pool.sweep(Instant::now()) {
            let message = "the desk closed the connection before anything was sent";
            tracing::debug!("{message}");
            let note = Note { reason: Reason::NotSent, message: message.to_owned(), http_status: None };
            self.no_connection(&Verdict::NotSent { away: true, note }, probe);
        }
    }

    fn no_connection(&mut self, verdict: &Verdict, probe: bool) {
        let stop = match self.parts.breaker.no_connection(verdict, probe, &self.parts.pace) {
            Err(error) => Some(error),
            Ok(()) => self.parts.breaker.gives_up(),
        };
        if let Some(error) = stop {
            self.stop(error);
        }
    }
}
