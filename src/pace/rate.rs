//! So many requests in so much time: as people write it, and what it means for a bucket and a window.

use std::num::NonZeroU32;
use std::time::Duration;

/// A bucket this deep absorbs the lateness of a wake-up; with one cell, 1,000 a second came to 0.9 of it.
pub(super) const LATENESS: Duration = Duration::from_millis(5);

/// A window is kept longer by this part of it, at most by [`MARGIN_MAX`]: what counts is when requests arrive, and
/// one that was held up on its way arrives closer to the next one. Not so for rates by the second, of which it would
/// cost a part that one can see.
const MARGIN_PART: u32 = 200;
const MARGIN_MAX: Duration = Duration::from_secs(2);

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: NonZeroU32,
    /// In this long.
    pub per: Duration,
}

impl Rate {
    /// The pace where nobody named one. The desk documents no limit, and the slowest of its neighbours allow
    /// 40 to 50 a minute; so this is a guess, and every run that uses it says so.
    pub const GUESS: Self = Self { count: NonZeroU32::MIN, per: Duration::from_secs(1) };

    /// Reads `5/s`, `100/min`, `3000/h`, `30/10min`. The error is a fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a rate, such as 5/s, 100/min, 3000/h or unlimited");
        let (count, per) = text.trim().split_once('/').ok_or_else(expected)?;
        let count = count.trim().replace('_', "").parse().map_err(|_| expected())?;
        let per = per.trim();
        let digits = per.find(|char: char| !char.is_ascii_digit()).ok_or_else(expected)?;
        let (times, unit) = per.split_at(digits);
        let times: u64 = if times.is_empty() { 1 } else { times.parse().map_err(|_| expected())? };
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            _ => return Err(expected()),
        };
        let per = times.checked_mul(seconds).filter(|seconds| (1..=86_400).contains(seconds));
        Ok(Self { count, per: Duration::from_secs(per.ok_or_else(expected)?) })
    }

    /// Reads one rate, several with commas between, or `unlimited` (none).
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        if text.trim().eq_ignore_ascii_case("unlimited") {
            return Ok(Vec::new());
        }
        text.split(',').map(Self::parse).collect()
    }

    /// Requests a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.count.get()) / self.per.as_secs_f64()
    }

    /// Whether it counts by the second: then the bucket keeps it, and its depth may come on top in a second.
    fn is_by_the_second(&self) -> bool {
        self.per <= Duration::from_secs(1)
    }

    /// How long a request counts.
    pub(crate) fn window(&self) -> Duration {
        if self.is_by_the_second() { self.per } else { self.per + (self.per / MARGIN_PART).min(MARGIN_MAX) }
    }

    /// Requests that may count at once.
    pub(super) fn most(&self, burst: Option<NonZeroU32>) -> u64 {
        let on_top = if self.is_by_the_second() { self.burst(burst).get() } else { 0 };
        u64::from(self.count.get()) + u64::from(on_top)
    }

    /// Between two requests, so that they leave evenly and the window seldom has to hold one back.
    pub(super) fn period(&self) -> Duration {
        (self.window() / self.count.get()).max(Duration::from_nanos(1))
    }

    /// What a journal that keeps the pace has to know of it.
    pub(crate) fn terms(&self, burst: Option<NonZeroU32>) -> Terms {
        let period = self.period();
        Terms {
            period,
            depth: period * (self.burst(burst).get() - 1),
            count: self.count.get(),
            window: (!self.is_by_the_second()).then(|| self.window()),
        }
    }

    /// The depth of its bucket: what was asked for, or enough to absorb late wake-ups, and never more than
    /// the rate itself counts.
    pub(super) fn burst(&self, asked: Option<NonZeroU32>) -> NonZeroU32 {
        let lateness = (LATENESS.as_secs_f64() * self.per_second()).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 2..=u32::MAX"
        )]
        let enough = lateness.clamp(2.0, f64::from(u32::MAX)) as u32;
        asked.unwrap_or_else(|| NonZeroU32::new(enough).unwrap_or(NonZeroU32::MIN)).min(self.count)
    }
}

/// A rate, worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Between two requests.
    pub(crate) period: Duration,
    /// How much earlier one may leave after a quiet time.
    pub(crate) depth: Duration,
    /// Requests, at most,
    pub(crate) count: u32,
    /// within this; `None`: the bucket keeps it.
    pub(crate) window: Option<Duration>,
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.per.as_secs() {
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3_600 => write!(f, "{}/h", self.count),
            seconds if seconds % 60 == 0 => write!(f, "{}/{}min", self.count, seconds / 60),
            seconds => write!(f, "{}/{seconds}s", self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_people_write_it() {
        let read = |text| Rate::parse(text).map(|rate| (rate.count.get(), rate.per.as_secs()));
        assert_eq!(read("5/s"), Ok((5, 1)));
        assert_eq!(read(" 100 / min "), Ok((100, 60)));
        assert_eq!(read("30/10min"), Ok((30, 600)));
        assert_eq!(read("3_000/h"), Ok((3000, 3600)));
        for wrong in ["", "5", "0/s", "-1/s", "5/", "5/fortnight", "1.5/s", "5/0s", "/s", "5/99999h", "5/s/s"]
        {
            assert!(read(wrong).unwrap_err().contains("not a rate"), "{wrong}");
        }
        assert_eq!(Rate::parse_all("unlimited"), Ok(vec![]));
        assert_eq!(Rate::parse_all("5/s,100/min").unwrap().len(), 2);
        assert_eq!(Rate::parse("30/10min").unwrap().to_string(), "30/10min");
    }
}
