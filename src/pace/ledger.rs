//! What a commit writes down of the budget and of the pace, so that the next process knows what this one may have sent.
//!
//! The entry goes with the intents, before anything is sent, and must hold whenever the process dies: so it names a
//! moment by which these requests have left or never will. A commit that took longer than was thought makes its permits
//! stale, and they are given back; the next entry allows for such a commit. What was given back stays in the account's
//! ledger: it is little, and errs to the safe side. It no longer counts against its ticket, whose limit may be one
//! request in a long time.

use std::time::Duration;

use tokio::time::Instant;

use super::uptime::{Moment, Uptime};
use crate::ticket::TicketId;

/// From asking for a permit to its use: at first so long for the commit, and as long again for the permit.
const ALLOWED_MIN: Duration = Duration::from_secs(1);

/// Entries are kept at least so long, whatever the rates: the next command may name another one.
const KEPT_MIN: Duration = Duration::from_hours(1);

/// A pause is remembered for a day at the most: a desk that once said a year can be asked again.
pub(super) const PAUSE_MAX: Duration = Duration::from_hours(24);

/// Of the longest window there are at most so many entries.
const ENTRIES_MAX: u64 = 3_600;

/// Requests that may be sent, as the journal keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// By then they have left, or never will.
    pub until: Moment,
    /// How many.
    pub requests: u64,
}

/// The same for one ticket, where each has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentByTicket {
    /// Which.
    pub ticket: TicketId,
    /// How many, and when.
    pub spent: Spent,
}

/// The pace that is in force since the desk said "later".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slowed {
    /// Requests a second; `None`: back at what was asked for.
    pub per_second: Option<f64>,
}

/// A pause that the desk asked for, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it was last looked at.
    pub from: Moment,
    /// How long it lasts from then on, in milliseconds.
    pub wait_ms: u64,
}

impl Pause {
    /// How much of it is left at most.
    #[must_use]
    pub fn left(&self, now: Moment) -> Duration {
        Duration::from_millis(self.wait_ms).saturating_sub(self.from.ago_at_least(now))
    }
}

/// What a batch writes down of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The moment to which its requests are added.
    pub until: Moment,
    /// When the batch is put together, in milliseconds of the same boot.
    pub now_ms: u64,
    /// What is older is of no use any more. In this boot; entries of others are if this is above zero.
    pub useless_before_ms: u64,
    /// For how long a request counts for its ticket; `None`: tickets have no limit of their own, and nothing is written
    /// down for each.
    pub ticket_counts_ms: Option<u64>,
}

/// What processes before this one have left in the journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Requests that may have been sent.
    pub spent: Vec<Spent>,
    /// Those that may count for their tickets still.
    pub spent_by_ticket: Vec<SpentByTicket>,
    /// The desk's last pause.
    pub pause: Option<Pause>,
    /// Requests a second, if the desk said "later" and the pace has not grown back yet.
    pub slowed_to: Option<f64>,
}

/// Keeps the account's ledger.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) uptime: Uptime,
    /// The longest window; `None`: no limit, and nothing to write down.
    longest: Option<Duration>,
    /// The window that each ticket has of its own.
    each_ticket: Option<Duration>,
    /// How long a commit may take before its permits are stale.
    allowed: Duration,
}

impl Ledger {
    /// `longest` is that of the account's windows.
    pub(super) fn new(uptime: Uptime, longest: Option<Duration>, each_ticket: Option<Duration>) -> Self {
        Self { uptime, longest: longest.max(each_ticket), each_ticket, allowed: ALLOWED_MIN }
    }

    /// What the batch about to be committed writes down, and until when its permits may be used.
    pub(super) fn entry(&self) -> Option<(Entry, Instant)> {
        let longest = self.longest?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = self.uptime.now();
        let good_for = self.allowed + ALLOWED_MIN;
        let slot_ms = 1_000 * longest.as_secs().div_ceil(ENTRIES_MAX).max(1);
        let until_ms = now.ms.saturating_add(ms(good_for)).div_ceil(slot_ms).saturating_mul(slot_ms);
        let entry = Entry {
            until: Moment { ms: until_ms, ..now },
            now_ms: now.ms,
            useless_before_ms: now.ms.saturating_sub(ms(longest.max(KEPT_MIN))),
            ticket_counts_ms: self.each_ticket.map(ms),
        };
        Some((entry, Instant::now() + good_for))
    }

    /// A commit took so long.
    pub(super) fn committed(&mut self, took: Duration) {
        if took > self.allowed {
            self.allowed = took.saturating_mul(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn ledger(longest: u64) -> Ledger {
        let uptime = Uptime::new(Uuid::from_u128(1), || Duration::from_millis(10_000_400));
        Ledger::new(uptime, Some(Duration::from_secs(longest)), None)
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_names_the_end_of_the_second_by_which_all_has_left() {
        let (entry, good_until) = ledger(60).entry().unwrap();
        assert_eq!(entry.until.ms, 10_003_000);
        assert_eq!(entry.useless_before_ms, 6_400_400, "an hour is kept in any case");
        assert_eq!(good_until - Instant::now(), Duration::from_secs(2));
        let (entry, _) = ledger(86_400).entry().unwrap();
        assert_eq!(
            (entry.until.ms, entry.useless_before_ms),
            (10_008_000, 0),
            "a day has fewer, coarser ones"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_is_allowed_for_from_then_on() {
        let mut ledger = ledger(60);
        ledger.committed(Duration::from_secs(5));
        let (entry, good_until) = ledger.entry().unwrap();
        assert_eq!((entry.until.ms, good_until - Instant::now()), (10_012_000, Duration::from_secs(11)));
    }

    #[test]
    fn without_a_limit_nothing_is_written_down() {
        assert_eq!(Ledger::new(Uptime::of_this_machine(), None, None).entry(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_for_each_ticket_alone_is_written_down_too() {
        let window = Duration::from_secs(603);
        let entry = |longest, each_ticket| Ledger { longest, each_ticket, ..ledger(60) }.entry().unwrap().0;
        assert_eq!(entry(Some(window), Some(window)).ticket_counts_ms, Some(603_000));
        assert_eq!(entry(Some(window), None).ticket_counts_ms, None);
        assert!(Ledger::new(Uptime::of_this_machine(), None, Some(window)).entry().is_some());
    }

    #[test]
    fn a_pause_is_over_when_that_is_sure() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let pause = Pause { from: Moment { boot: one, ms: 100_000 }, wait_ms: 60_000 };
        let left = |boot, ms| pause.left(Moment { boot, ms }).as_secs();
        assert_eq!([left(one, 110_000), left(one, 160_000), left(one, 0)], [50, 0, 60]);
        assert_eq!([left(other, 10_000), left(other, 100_000)], [50, 0]);
    }
}
