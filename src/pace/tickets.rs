//! `--rate-per-ticket`: of one ticket never more than so many requests within so much time.
//!
//! Only tickets with a request in the window are remembered, and of all of them together at most [`REQUESTS_MAX`]
//! requests: who sends faster than that waits for the oldest to stop counting. It begins anew with each process.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::rate::Rate;
use crate::ticket::TicketId;

/// Some 25 MB.
const REQUESTS_MAX: usize = 200_000;

/// Every ticket's window.
#[derive(Debug)]
pub(super) struct Tickets {
    rate: Rate,
    requests_max: usize,
    /// When each request stops counting, oldest first.
    requests: VecDeque<(Instant, TicketId)>,
    by_ticket: HashMap<TicketId, VecDeque<Instant>>,
}

impl Tickets {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, requests_max: REQUESTS_MAX, requests: VecDeque::new(), by_ticket: HashMap::new() }
    }

    /// When one more request may leave for whatever ticket. In the past: now.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let full = self.requests.len() >= self.requests_max;
        self.requests.front().filter(|_| full).map_or(now, |(ends, _)| (*ends).max(now))
    }

    /// When the next request may leave for this ticket; `None`: now.
    pub(super) fn due_for(&self, ticket: TicketId, now: Instant) -> Option<Instant> {
        let most = usize::try_from(self.rate.count.get()).unwrap_or(usize::MAX);
        let ends = self.by_ticket.get(&ticket)?;
        // Of more than the window takes, which a person's lower limit makes, the later ones bind.
        ends.get(ends.len().checked_sub(most)?).copied().filter(|due| *due > now)
    }

    /// A request for this ticket leaves now.
    pub(super) fn spend(&mut self, ticket: TicketId, now: Instant) {
        while let Some((_, old)) = self.requests.pop_front_if(|(ends, _)| *ends <= now) {
            if let Some(ends) = self.by_ticket.get_mut(&old) {
                ends.pop_front();
                if ends.is_empty() {
                    self.by_ticket.remove(&old);
                }
            }
        }
        let ends = now + self.rate.window();
        self.requests.push_back((ends, ticket));
        self.by_ticket.entry(ticket).or_default().push_back(ends);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticket(number: u64) -> TicketId {
        TicketId::parse(&number.to_string()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_ticket_has_a_window_of_its_own() {
        let mut tickets = Tickets::new(Rate::parse("2/10s").unwrap());
        let began = Instant::now();
        for number in [1, 2, 1] {
            assert_eq!(tickets.due_for(ticket(number), Instant::now()), None);
            tickets.spend(ticket(number), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let window = Duration::from_millis(10_050);
        assert_eq!(tickets.due_for(ticket(1), Instant::now()), Some(began + window));
        assert_eq!(tickets.due_for(ticket(2), Instant::now()), None);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(tickets.due_for(ticket(1), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded_and_forgotten() {
        let mut tickets = Tickets::new(Rate::parse("1/10s").unwrap());
        tickets.requests_max = 3;
        for number in 1..=3 {
            assert!(tickets.due(Instant::now()) <= Instant::now());
            tickets.spend(ticket(number), Instant::now());
        }
        assert!(tickets.due(Instant::now()) > Instant::now());
        tokio::time::advance(Duration::from_secs(11)).await;
        tickets.spend(ticket(9), Instant::now());
        assert_eq!((tickets.requests.len(), tickets.by_ticket.len()), (1, 1));
    }
}
