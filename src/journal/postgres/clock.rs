//! The database's clock on this machine's monotonic one, so that nobody's wall clock matters.
//!
//! A sample is: asked then, answered then, and somewhere between the database's clock said so. The answer that came
//! fastest tells it best. A moment of the database's is never taken for later than the answer that told of it allows:
//! what hangs on it (a permit's turn) then comes out too late to be used, never too early for the others.

use std::time::Duration;

use tokio::time::Instant;

/// How far two clocks may drift apart.
const DRIFT_PER_SECOND_US: i64 = 100;

/// Where it took longer than this to be answered, no more is claimed than what was known when it was asked.
const VAGUE_US: i64 = 1_000_000;

/// What is known of the database's clock.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    /// What is added to the database's time, at most, to get microseconds since `began`.
    ahead: Option<(i64, Instant)>,
    /// How long answers take to get here, lately.
    reply_us: i64,
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// The database's clock between the two, in microseconds.
    pub(super) said: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), ahead: None, reply_us: 0 }
    }

    /// Takes in an answer; gives how its moments are turned into ours.
    pub(super) fn heard(&mut self, sample: Sample) -> impl Fn(i64) -> Instant + use<> {
        let since = |moment: Instant| micros(moment.saturating_duration_since(self.began));
        let (least, most) = (since(sample.asked) - sample.said, since(sample.answered) - sample.said);
        let before = self.ahead.map(|(ahead, at)| {
            let seconds = sample.answered.saturating_duration_since(at).as_secs().cast_signed();
            ahead + seconds * DRIFT_PER_SECOND_US
        });
        // Below the least it cannot be: the database's clock was set.
        let known = before.filter(|ahead| *ahead >= least).map_or(most, |ahead| ahead.min(most));
        let is_news = before.is_none_or(|before| known != before);
        if is_news {
            self.ahead = Some((known, sample.answered));
        }
        self.reply_us = (most - known).max(self.reply_us - self.reply_us / 8).clamp(0, VAGUE_US);
        let ahead = if known - least > VAGUE_US { least } else { known };
        let began = self.began;
        move |moment| began + Duration::from_micros((moment + ahead).max(0).cast_unsigned())
    }

    /// How long an answer takes to get here: what is due before then comes late.
    pub(super) const fn reply_us(&self) -> i64 {
        self.reply_us
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: i64 = 3_600_000_000;

    fn sample(clock: &Clock, asked_us: u64, answered_us: u64, said: i64) -> Sample {
        let at = |us| clock.began + Duration::from_micros(us);
        Sample { asked: at(asked_us), answered: at(answered_us), said }
    }

    fn us(clock: &Clock, moment: Instant) -> u128 {
        (moment - clock.began).as_micros()
    }

    #[test]
    fn the_fastest_answer_tells_the_time_whatever_the_clocks_say() {
        let mut clock = Clock::new();
        // The database is two hours ahead.
        let slow = clock.heard(sample(&clock, 0, 80_000, 2 * HOUR_US + 10_000));
        assert_eq!(us(&clock, slow(2 * HOUR_US + 110_000)), 180_000);
        let fast = clock.heard(sample(&clock, 200_000, 202_000, 2 * HOUR_US + 201_000));
        assert_eq!(us(&clock, fast(2 * HOUR_US + 300_000)), 301_000);
        let slow_again = clock.heard(sample(&clock, 300_000, 390_000, 2 * HOUR_US + 310_000));
        assert_eq!(us(&clock, slow_again(2 * HOUR_US + 400_000)), 401_000);
        assert!((70_000..90_000).contains(&clock.reply_us()));
    }

    #[test]
    fn a_database_whose_clock_is_set_is_believed() {
        let mut clock = Clock::new();
        let _ = clock.heard(sample(&clock, 0, 2_000, HOUR_US));
        let back = clock.heard(sample(&clock, 10_000, 12_000, 5_000));
        assert_eq!(us(&clock, back(5_000)), 12_000);
        let forth = clock.heard(sample(&clock, 20_000, 22_000, 9 * HOUR_US));
        assert_eq!(us(&clock, forth(9 * HOUR_US)), 22_000);
    }

    #[test]
    fn of_an_answer_that_took_long_the_earliest_is_assumed() {
        let mut clock = Clock::new();
        let stopped = clock.heard(sample(&clock, 1_000, 20_001_000, HOUR_US));
        assert_eq!(us(&clock, stopped(HOUR_US + 50_000)), 51_000, "so that its permits are stale");
    }
}
