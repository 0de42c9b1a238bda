//! What the desk may see at most: a token bucket for each rate, written apart from the program's own, and the
//! pauses that the desk announced.

use std::num::NonZeroU32;
use std::time::Duration;

use deskload::pace::Rate;
use tokio::time::Instant;

/// Counts what one process sends.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    buckets: Vec<Bucket>,
    /// From when to when nothing may be sent.
    pauses: Vec<(Instant, Instant)>,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    depth: f64,
    level: f64,
    last: Option<Instant>,
}

impl Meter {
    pub(crate) fn new(rates: &[Rate], burst: Option<NonZeroU32>) -> Self {
        let buckets = rates.iter().map(|rate| {
            // As documented: what was asked for, or enough to absorb 5 ms of lateness, at most the rate's count.
            let enough = (rate.per_second() * 0.005).ceil().max(2.0);
            let depth = burst.map_or(enough, |burst| f64::from(burst.get())).min(f64::from(rate.count.get()));
            Bucket { rate: *rate, depth, level: depth, last: None }
        });
        Self { buckets: buckets.collect(), pauses: Vec::new() }
    }

    /// A request leaves now.
    pub(crate) fn sent(&mut self, now: Instant) -> Result<(), String> {
        if let Some((from, until)) = self.pauses.iter().find(|(from, until)| *from < now && now < *until) {
            return Err(format!("sent {:?} into a pause of {:?}", now - *from, *until - *from));
        }
        for bucket in &mut self.buckets {
            if let Some(last) = bucket.last {
                let came = (now - last).as_secs_f64() * bucket.rate.per_second();
                bucket.level = (bucket.level + came).min(bucket.depth);
            }
            bucket.last = Some(now);
            bucket.level -= 1.0;
            if bucket.level < -1e-6 {
                return Err(format!("more than {} with bursts of {}", bucket.rate, bucket.depth));
            }
        }
        Ok(())
    }

    /// For how long a request could have left already.
    pub(crate) fn overdue(&self, now: Instant) -> Duration {
        let waited = self.buckets.iter().map(|bucket| {
            let Some(last) = bucket.last else { return Duration::MAX };
            let missing = (1.0 - bucket.level).max(0.0) / bucket.rate.per_second();
            (now - last).saturating_sub(Duration::from_secs_f64(missing))
        });
        waited.min().unwrap_or(Duration::MAX)
    }

    /// The desk asks for a pause from now on.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration) {
        self.pauses.retain(|(_, until)| *until > now);
        self.pauses.push((now, now + wait));
    }

    /// How many rows may be marked as sending without being on the wire.
    pub(crate) fn ahead_max(&self) -> usize {
        let slowest = self.buckets.iter().map(|bucket| bucket.rate.per_second()).min_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        slowest.map_or(usize::MAX, |rate| ((rate * 0.02) as usize).max(1))
    }
}
