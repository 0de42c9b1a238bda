//! `--rate-per-ticket`: of one ticket never more than so many requests within so much time.
//!
//! Only tickets with a request in the window are remembered, and of all of them together at most [`REQUESTS_MAX`]
//! requests: who sends faster than that waits for the oldest to stop counting. It takes in what processes before this one
//! have sent.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::SpentByTicket;
use super::rate::Rate;
use super::uptime::Moment;
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

    /// How long a request counts.
    pub(super) fn window(&self) -> Duration {
        self.rate.window()
    }

    /// Takes in what left before this process began.
    pub(super) fn remember(&mut self, before: &[SpentByTicket], now: Moment) {
        let left = |spent: &SpentByTicket| {
            let left = self.window().saturating_sub(spent.spent.until.ago_at_least(now));
            (!left.is_zero()).then_some((left, spent.ticket, spent.spent.requests))
        };
        let mut counting: Vec<_> = before.iter().filter_map(left).collect();
        counting.sort_unstable_by_key(|(left, ..)| *left);
        let (now, most) = (Instant::now(), u64::from(self.rate.count.get()));
        for (left, ticket, requests) in counting {
            // More than the window takes hold nothing back that so many do not.
            for _ in 0..requests.min(most) {
                self.count(now + left, ticket);
            }
        }
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
        self.count(now + self.window(), ticket);
    }

    /// A request of this ticket counts until then, which no one before it outlasts.
    fn count(&mut self, ends: Instant, ticket: TicketId) {
        self.requests.push_back((ends, ticket));
        self.by_ticket.entry(ticket).or_default().push_back(ends);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::ledger::Spent;
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

    /// When the next request of ticket 1 may leave under `30/10s`, in a process that begins at this moment and
    /// remembers so much.
    fn next_after(before: &[(u64, Moment, u64)], now: Moment) -> Option<Duration> {
        let before: Vec<_> = before
            .iter()
            .map(|(number, until, requests)| SpentByTicket {
                ticket: ticket(*number),
                spent: Spent { until: *until, requests: *requests },
            })
            .collect();
        let mut tickets = Tickets::new(Rate::parse("3/10s").unwrap());
        tickets.remember(&before, now);
        tickets.due_for(ticket(1), Instant::now()).map(|due| due - Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_ticket_was_sent_before_a_restart_counts_and_no_clock_grants_any_back() {
        let at = |boot, seconds: u64| Moment { boot: Uuid::from_u128(boot), ms: seconds * 1_000 };
        let window = |less: u64| Some(Duration::from_millis(10_050 - 1_000 * less));
        let before = [(1, at(1, 1_004), 1), (2, at(1, 1_004), 9), (1, at(1, 1_000), 2)];
        assert_eq!(next_after(&before, at(1, 1_005)), window(5), "the two that left first make room");
        assert_eq!(next_after(&before, at(1, 1_011)), None);
        assert_eq!(next_after(&before[..2], at(1, 1_005)), None, "there is some left");
        assert_eq!(next_after(&[(1, at(1, 1_000), u64::MAX)], at(1, 1_005)), window(5));
        // A clock that went back: as if it had been sent just now. Another boot: as long ago as that is.
        assert_eq!(next_after(&before, at(1, 20)), window(0));
        assert_eq!(next_after(&before, at(2, 4)), window(4));
        assert_eq!(next_after(&before, at(2, 1_004)), None);
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
