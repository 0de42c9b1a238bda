//! The account's limit: a token bucket that holds one second's worth of requests.
//!
//! A client that keeps to the rate is never refused, one that bursts gets a second's worth and no more. Refused
//! requests take nothing from the bucket: there is nothing left to take.

use std::time::Instant;

pub(super) struct Bucket {
    rate: f64,
    capacity: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(rate: f64, now: Instant) -> Self {
        let capacity = rate.max(1.0);
        Self { rate, capacity, tokens: capacity, filled: now }
    }

    /// Takes one token; or says how many whole seconds, at least one, until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), u64> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.capacity);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - self.tokens) / self.rate).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 or more, and `as` saturates"
        )]
        Err(seconds as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50.0, start);
        assert!((0..500).all(|n| bucket.take(start + Duration::from_millis(20) * n).is_ok()));
    }

    #[test]
    fn a_burst_gets_one_second_s_worth() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50.0, start);
        assert_eq!((0..80).filter(|_| bucket.take(start).is_ok()).count(), 50);
        assert_eq!(bucket.take(start), Err(1));
        assert_eq!(bucket.take(start + Duration::from_millis(20)), Ok(()));
    }

    #[test]
    fn a_slow_rate_says_how_long_to_wait() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.25, start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Err(4));
        assert_eq!(bucket.take(start + Duration::from_secs(4)), Ok(()));
    }
}
