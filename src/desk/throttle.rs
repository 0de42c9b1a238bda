//! How long an answer asks to wait, in every form that the contract page lists. Pure.
//!
//! None of these is documented for this desk; neighbours use them. What cannot be read means nothing, and our
//! own backoff decides: half-reading `120junk` as 120 has hurt other tools.

use std::time::{Duration, SystemTime};

/// From here on a bare number is a moment in UNIX seconds (2001-09-09), below it a number of seconds to wait.
const UNIX_SECONDS_MIN: u64 = 1_000_000_000;

/// The headers that may say when to come back; each as often as it occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitHeaders {
    /// `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3).
    pub retry_after: Vec<String>,
    /// `X-RateLimit-Retry-After`: seconds.
    pub ratelimit_retry_after: Vec<String>,
    /// `X-RateLimit-Reset`: UNIX seconds, seconds to wait, or ISO 8601.
    pub ratelimit_reset: Vec<String>,
}

impl WaitHeaders {
    /// What `Retry-After` says, if it can be read. A moment in the past is no wait at all.
    #[must_use]
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        longest(&self.retry_after, |text| seconds(text).or_else(|| http_date(text, now)))
    }

    /// What any of the headers says; `Retry-After` first, because it alone is a standard.
    #[must_use]
    pub fn wait(&self, now: SystemTime) -> Option<Duration> {
        self.retry_after(now)
            .or_else(|| longest(&self.ratelimit_retry_after, seconds))
            .or_else(|| longest(&self.ratelimit_reset, |text| reset(text, now)))
    }
}

/// Where a header occurs twice, the longer wait is the safe one.
fn longest(values: &[String], read: impl Fn(&str) -> Option<Duration>) -> Option<Duration> {
    values.iter().filter_map(|value| read(value.trim())).max()
}

/// Digits alone. A number too long to count is a very long wait, not no wait.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

fn http_date(text: &str, now: SystemTime) -> Option<Duration> {
    httpdate::parse_http_date(text).ok().map(|then| until(then, now))
}

fn reset(text: &str, now: SystemTime) -> Option<Duration> {
    if let Some(number) = seconds(text) {
        if number.as_secs() < UNIX_SECONDS_MIN {
            return Some(number);
        }
        return Some(SystemTime::UNIX_EPOCH.checked_add(number).map_or(number, |then| until(then, now)));
    }
    let then: jiff::Timestamp = text.parse().ok()?;
    SystemTime::try_from(then).ok().map(|then| until(then, now))
}

fn until(then: SystemTime, now: SystemTime) -> Duration {
    then.duration_since(now).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_894_400) // 2026-07-24T12:00:00Z
    }

    fn retry_after(value: &str) -> Option<u64> {
        let headers = WaitHeaders { retry_after: vec![value.to_owned()], ..WaitHeaders::default() };
        headers.wait(now()).map(|wait| wait.as_secs())
    }

    fn ratelimit_reset(value: &str) -> Option<u64> {
        let headers = WaitHeaders { ratelimit_reset: vec![value.to_owned()], ..WaitHeaders::default() };
        headers.wait(now()).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_an_http_date() {
        assert_eq!(retry_after("120"), Some(120));
        assert_eq!(retry_after(" 0 "), Some(0));
        assert_eq!(retry_after("Fri, 24 Jul 2026 12:01:30 GMT"), Some(90));
        assert_eq!(retry_after("Fri, 24 Jul 2026 11:00:00 GMT"), Some(0), "the past is now");
        assert_eq!(retry_after("99999999999999999999999"), Some(u64::MAX), "absurd is long, not short");
        for junk in ["", "120junk", "-5", "1.5", "soon", "١٢"] {
            assert_eq!(retry_after(junk), None, "{junk:?}");
        }
    }

    #[test]
    fn reset_is_unix_seconds_or_a_wait_or_iso_8601() {
        assert_eq!(ratelimit_reset("1784894460"), Some(60));
        assert_eq!(ratelimit_reset("1784894000"), Some(0));
        assert_eq!(ratelimit_reset("30"), Some(30));
        assert_eq!(ratelimit_reset("2026-07-24T12:00:45Z"), Some(45));
        assert_eq!(ratelimit_reset("2026-07-24T14:00:45+02:00"), Some(45));
        assert_eq!(ratelimit_reset("tomorrow"), None);
    }

    #[test]
    fn the_standard_header_comes_first_and_the_longer_of_two_counts() {
        let headers = WaitHeaders {
            retry_after: vec!["5".to_owned(), "7".to_owned()],
            ratelimit_retry_after: vec!["60".to_owned()],
            ratelimit_reset: vec!["90".to_owned()],
        };
        assert_eq!(headers.wait(now()), Some(Duration::from_secs(7)));
        let headers = WaitHeaders { retry_after: vec!["junk".to_owned()], ..headers };
        assert_eq!(headers.wait(now()), Some(Duration::from_secs(60)));
        assert_eq!(WaitHeaders::default().wait(now()), None);
    }
}
