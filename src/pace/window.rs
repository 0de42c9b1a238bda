//! A sliding window: of the requests that left within so much time there are never more than so many.
//!
//! A bucket of 100 a minute with a depth of 2 lets 102 of them out in some minute; this one lets out 100. It remembers
//! when each request stops counting: one by one as far as [`SLOTS_MAX`], beyond that in slots that count as long as the
//! last request in them, which errs to the safe side. It also takes in what processes before this one have sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Moments remembered for one window, some 100 KB.
const SLOTS_MAX: u32 = 3_600;

/// Requests that stop counting at one moment.
#[derive(Debug)]
struct Slot {
    /// When the first of them left.
    began: Instant,
    /// When the last of them stops counting.
    ends: Instant,
    requests: u64,
}

/// One rate's window.
#[derive(Debug)]
pub(super) struct Window {
    most: u64,
    per: Duration,
    /// How long a slot takes requests in; zero where each has its own.
    grain: Duration,
    slots: VecDeque<Slot>,
    requests: u64,
}

impl Window {
    pub(super) fn new(most: u64, per: Duration) -> Self {
        let grain = if most <= u64::from(SLOTS_MAX) { Duration::ZERO } else { per / SLOTS_MAX };
        Self { most, per, grain, slots: VecDeque::new(), requests: 0 }
    }

    /// Takes in what left before this process began: `(how long ago, requests)`.
    pub(super) fn remember(&mut self, sent: &[(Duration, u64)]) {
        let now = Instant::now();
        let left = |(ago, requests): &(Duration, u64)| {
            let left = self.per.checked_sub(*ago).filter(|left| !left.is_zero())?;
            Some((left, *requests))
        };
        let mut counting: Vec<_> = sent.iter().filter_map(left).collect();
        counting.sort_unstable();
        for (left, requests) in counting {
            self.slots.push_back(Slot { began: now, ends: now + left, requests });
            self.requests += requests;
        }
    }

    /// When it has room for one more. In the past: now.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let (mut counting, mut due) = (self.requests, now);
        for slot in &self.slots {
            if counting < self.most {
                break;
            }
            counting -= slot.requests;
            due = slot.ends;
        }
        due.max(now)
    }

    /// A request leaves now.
    pub(super) fn spend(&mut self, now: Instant) {
        while let Some(slot) = self.slots.front().filter(|slot| slot.ends <= now) {
            self.requests -= slot.requests;
            self.slots.pop_front();
        }
        let ends = now + self.per;
        self.requests += 1;
        match self.slots.back_mut().filter(|slot| now.saturating_duration_since(slot.began) < self.grain) {
            Some(slot) => {
                slot.ends = slot.ends.max(ends);
                slot.requests += 1;
            }
            None => self.slots.push_back(Slot { began: now, ends, requests: 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn one_more_may_leave_when_the_first_stops_counting() {
        let mut window = Window::new(3, 10 * SECOND);
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(window.due(Instant::now()), Instant::now());
            window.spend(Instant::now());
            tokio::time::advance(SECOND).await;
        }
        assert_eq!(window.due(Instant::now()), began + 10 * SECOND);
        tokio::time::advance(7 * SECOND).await;
        window.spend(Instant::now());
        assert_eq!(window.due(Instant::now()), began + 11 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_counts_as_long_as_it_would_have() {
        let mut window = Window::new(3, 10 * SECOND);
        window.remember(&[(2 * SECOND, 2), (11 * SECOND, 7), (6 * SECOND, 2)]);
        // Four count, and the two that left 6 s ago are the first to stop.
        assert_eq!(window.due(Instant::now()), Instant::now() + 4 * SECOND);
        tokio::time::advance(4 * SECOND).await;
        window.spend(Instant::now());
        assert_eq!(window.due(Instant::now()), Instant::now() + 4 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_window_takes_little_memory_and_lets_out_no_more() {
        let mut window = Window::new(100_000, 3_600 * SECOND);
        let began = Instant::now();
        let mut sent = 0;
        while window.due(Instant::now()) == Instant::now() {
            window.spend(Instant::now());
            sent += 1;
            tokio::time::advance(Duration::from_millis(9)).await;
        }
        assert_eq!(sent, 100_000);
        assert!(window.slots.len() <= 3_600, "{} slots", window.slots.len());
        let due = window.due(Instant::now()) - began;
        assert!(due >= 3_600 * SECOND && due <= 3_602 * SECOND, "{due:?}");
    }
}
