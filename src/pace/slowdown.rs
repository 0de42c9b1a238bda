//! After the desk said "later": half the pace, then step by step back to all of it.
//!
//! A process that follows another goes on from its pace. Additive growth after a halving finds a limit that nobody documents and stays near it; to go on at once at the full
//! pace would meet the same refusal again, and some desks lock an account out for that. Only a pace that was asked for
//! is slowed down: of `unlimited` there is no half.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::LATENESS;

/// The pace is counted in parts of the target, and grows by one at a time.
const PARTS: u32 = 8;

/// A part more after this long without a refusal, and so many rows that went through: four steps lead from the half to
/// the whole, so that it takes 40 s; a desk that counts by the minute has most of a quiet minute to say "later" in, and a
/// pace of one in 8 s has shown that something goes through.
const STEP: Duration = Duration::from_secs(10);
const STEP_ROWS: u32 = 10;

/// Refusals that come together were caused together, and count once.
const TOGETHER: Duration = Duration::from_secs(1);

/// How much slower than asked for.
#[derive(Debug)]
pub(super) struct Slowdown {
    /// Requests a second that were asked for.
    target: f64,
    parts: u32,
    /// When the last step was made, and how many rows have gone through since.
    since: Instant,
    passed: u32,
    /// When the next request may leave, [`LATENESS`] allowed.
    next: Instant,
}

impl Slowdown {
    pub(super) fn new(target: f64) -> Self {
        let now = Instant::now();
        Self { target, parts: PARTS, since: now, passed: 0, next: now }
    }

    /// The process before this one was at so many requests a second, and its last one may have left just now.
    pub(super) fn remember(&mut self, per_second: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to integer cast saturates, and no rate is negative"
        )]
        // A thousandth of a part more, because what was written down is a fraction rounded to a float.
        let parts = (per_second / self.target * f64::from(PARTS) + 1e-3) as u32;
        self.parts = parts.clamp(1, PARTS);
        self.spend(Instant::now());
    }

    /// The desk said "later".
    pub(super) fn halve(&mut self) {
        let now = Instant::now();
        if self.slowed().is_some() && now.saturating_duration_since(self.since) < TOGETHER {
            return;
        }
        self.parts = (self.parts / 2).max(1);
        self.step(now);
    }

    /// The time of a pause proves nothing: counting begins when it ends.
    pub(super) fn wait_until(&mut self, until: Instant) {
        self.since = self.since.max(until);
    }

    /// A row went through.
    pub(super) fn passed(&mut self) {
        if self.slowed().is_none() {
            return;
        }
        self.passed += 1;
        let now = Instant::now();
        if self.passed >= STEP_ROWS && now.saturating_duration_since(self.since) >= STEP {
            self.parts += 1;
            self.step(now);
        }
    }

    fn step(&mut self, now: Instant) {
        self.since = now;
        self.passed = 0;
    }

    /// Requests a second while they are fewer than asked for.
    pub(super) fn slowed(&self) -> Option<f64> {
        (self.parts < PARTS).then(|| self.target * f64::from(self.parts) / f64::from(PARTS))
    }

    /// When the next request may leave. In the past: now.
    pub(super) fn due(&self, now: Instant) -> Instant {
        if self.slowed().is_some() { self.next.max(now) } else { now }
    }

    /// A request leaves now.
    pub(super) fn spend(&mut self, now: Instant) {
        if let Some(per_second) = self.slowed() {
            let late = now.checked_sub(LATENESS).unwrap_or(now);
            let period = Duration::try_from_secs_f64(per_second.recip()).unwrap_or(STEP);
            self.next = self.next.max(late) + period;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_halved_and_grows_back_by_an_eighth() {
        let mut slowdown = Slowdown::new(8.0);
        assert_eq!(slowdown.slowed(), None);
        slowdown.halve();
        slowdown.halve();
        assert_eq!(slowdown.slowed(), Some(4.0), "what comes together counts once");
        let mut seen = Vec::new();
        for _ in 0..200 {
            tokio::time::advance(Duration::from_millis(250)).await;
            slowdown.passed();
            seen.extend(slowdown.slowed());
        }
        seen.dedup();
        assert_eq!(seen, [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(slowdown.slowed(), None);
        for _ in 0..9 {
            tokio::time::advance(TOGETHER).await;
            slowdown.halve();
        }
        assert_eq!(slowdown.slowed(), Some(1.0), "an eighth is the least");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_process_goes_on_from_it() {
        let after = |target, per_second| {
            let mut slowdown = Slowdown::new(target);
            slowdown.remember(per_second);
            (slowdown.slowed(), slowdown.due(Instant::now()) - Instant::now())
        };
        for parts in 1..PARTS {
            let per_second = 0.3 * f64::from(parts) / f64::from(PARTS);
            assert_eq!(after(0.3, per_second).0, Some(per_second));
        }
        let (_, wait) = after(1.0, 0.125);
        assert!(wait >= Duration::from_millis(7_990), "its last request may have left just now: {wait:?}");
        // Another pace was asked for meanwhile.
        assert_eq!(after(4.0, 5.0), (None, Duration::ZERO));
        assert_eq!(after(20.0, 5.0).0, Some(5.0));
        assert_eq!(after(1_000.0, 5.0).0, Some(125.0), "an eighth is the least");
    }

    #[tokio::test(start_paused = true)]
    async fn time_alone_and_rows_alone_prove_nothing() {
        let mut slowdown = Slowdown::new(8.0);
        slowdown.halve();
        for _ in 0..100 {
            slowdown.passed();
        }
        assert_eq!(slowdown.slowed(), Some(4.0));
        let mut slowdown = Slowdown::new(8.0);
        slowdown.halve();
        tokio::time::advance(STEP * 100).await;
        slowdown.passed();
        assert_eq!(slowdown.slowed(), Some(4.0));
    }

    #[tokio::test(start_paused = true)]
    async fn while_it_lasts_requests_leave_at_the_slower_pace() {
        let mut slowdown = Slowdown::new(2_000.0);
        slowdown.halve();
        let began = Instant::now();
        let mut sent = 0;
        while began.elapsed() < Duration::from_secs(5) {
            let due = slowdown.due(Instant::now());
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
                continue;
            }
            slowdown.spend(Instant::now());
            sent += 1;
        }
        assert!((4_990..=5_010).contains(&sent), "{sent}");
    }
}
