//! How fast, and when to come back: `--rate`, and the headers of a desk that asks for patience.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use deskload::desk::throttle::WaitHeaders;
use deskload::error::Error;
use deskload::pace::{Pace, Rate};
use deskload::text;
use deskload::ticket::TicketId;

use super::assert_tells;

/// 24 July 2026, noon, where the first line says nothing else.
const NOON: u64 = 1_784_894_400;

/// What an HTTP date can hold (up to the year 9999), and what a reset in ISO 8601 can; 10,000 years in seconds.
const DATE_MAX: Duration = Duration::from_secs(10_000 * 366 * 86_400);

/// First line: what time it is, in UNIX seconds. Then a header a line: `r:` Retry-After, `a:` X-RateLimit-Retry-After,
/// `x:` X-RateLimit-Reset.
pub(super) fn retry_after(data: &[u8]) {
    let (now, rest) = super::split(data);
    let now = now.trim().parse().ok().filter(|now: &u64| *now < 1 << 38).unwrap_or(NOON);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    let rest = String::from_utf8_lossy(rest);
    let values = |prefix: &str| -> Vec<String> {
        rest.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let headers = WaitHeaders {
        retry_after: values("r:"),
        ratelimit_retry_after: values("a:"),
        ratelimit_reset: values("x:"),
    };
    let standard = headers.retry_after(now);
    let wait = headers.wait(now);
    let expected: Vec<Option<Duration>> = headers.retry_after.iter().map(|value| read(value, now)).collect();
    assert_eq!(standard, expected.iter().flatten().max().copied(), "{headers:?}");
    if standard.is_some() {
        assert_eq!(wait, standard, "the standard header comes first: {headers:?}");
    }
    let Some(wait) = wait else { return };
    // Only a number can ask for more than any date does, and then it stands there.
    let all =
        headers.retry_after.iter().chain(&headers.ratelimit_retry_after).chain(&headers.ratelimit_reset);
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_number = |value: &String| {
        let number = value.trim().parse::<u64>().ok();
        number.is_some_and(|number| [number, number.saturating_sub(since)].contains(&wait.as_secs()))
    };
    let is_endless = |value: &String| wait.as_secs() == u64::MAX && digits(value.trim()).is_some();
    let mut all = all.filter(|value| is_number(value) || is_endless(value));
    assert!(wait <= DATE_MAX || all.next().is_some(), "{wait:?} of {headers:?}");
    // Whoever waits must be able to: a clock that overflows would be a panic.
    assert_tells(&text::duration(wait));
    let mut pace = Pace::new(&[], None).expect("no rate is too fast");
    pace.pause(wait);
    assert_eq!(pace.take(ticket()).is_err(), pace.paused_until().is_some());
    assert!(pace.paused_total() <= wait.max(Duration::from_secs(1)));
}

/// What one Retry-After says, read by other means.
fn read(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Some(number) = digits(value) {
        return Some(Duration::from_secs(number));
    }
    // deskload's own reader for dates alone: three forms, of which one is checked by another library.
    let headers = WaitHeaders { retry_after: vec![value.to_owned()], ..WaitHeaders::default() };
    let wait = headers.retry_after(now)?;
    assert!(value.ends_with("GMT") || value.split_whitespace().count() == 5, "{value:?} is no HTTP date");
    if let Ok(date) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value) {
        let then = SystemTime::try_from(date).expect("a date that a header can hold");
        assert_eq!(wait, then.duration_since(now).unwrap_or_default(), "{value:?}");
    }
    Some(wait)
}

fn digits(value: &str) -> Option<u64> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let add = |sum: u64, byte: u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    is_number.then(|| value.bytes().fold(0, add))
}

fn ticket() -> TicketId {
    TicketId::parse("1").expect("a ticket's number")
}

/// First line: `--burst`, blank for none. Then what `--rate` says.
pub(super) fn rates(data: &[u8]) {
    let (burst, text) = super::split(data);
    let burst: Option<NonZeroU32> = burst.trim().parse().ok();
    let Ok(text) = str::from_utf8(text) else { return };
    let rates = match Rate::parse_all(text) {
        Ok(rates) => rates,
        Err(message) => {
            // Quoted whole, and escaped; its length is the caller's own.
            assert!(!message.chars().any(char::is_control), "a control character in {message:?}");
            assert!(message.contains("5/s"), "{message:?} does not say what a rate looks like");
            return;
        }
    };
    if text.trim().eq_ignore_ascii_case("unlimited") {
        assert_eq!(rates, []);
    } else {
        assert_eq!(rates.len(), text.split(',').count(), "{text:?}");
    }
    for (rate, written) in rates.iter().zip(text.split(',')) {
        assert_eq!(Rate::parse(&rate.to_string()), Ok(*rate), "{rate} of {text:?}");
        let (count, _) = written.split_once('/').expect("a rate has a stroke");
        let digits: String = count.chars().filter(char::is_ascii_digit).collect();
        assert_eq!(digits.trim_start_matches('0'), rate.count.to_string(), "{written:?}");
        assert!((1..=86_400).contains(&rate.per.as_secs()), "{rate:?}");
    }
    let again: Vec<String> = rates.iter().map(ToString::to_string).collect();
    if !again.is_empty() {
        assert_eq!(Rate::parse_all(&again.join(",")).as_ref(), Ok(&rates), "{text:?}");
    }
    let mut pace = match Pace::new(&rates, burst) {
        Ok(pace) => pace,
        Err(error) => {
            assert!(matches!(error, Error::Usage(_)), "{error:?}");
            return assert_tells(&error.to_string());
        }
    };
    assert!(pace.ahead_max() >= 1);
    assert!(pace.take(ticket()).is_ok(), "the first request of {text:?} has to wait");
    if let Err(next) = pace.take(ticket()) {
        assert!(!rates.is_empty());
        let longest = rates.iter().map(|rate| rate.per).max().unwrap_or_default();
        // Its own clock: a pace without rates is due now.
        let now = Pace::new(&[], None).expect("no rate is too fast").due();
        let wait = next.saturating_duration_since(now);
        // A window is kept a little longer than it is, see `Window`.
        assert!(wait <= longest + Duration::from_secs(2), "{text:?} waits {wait:?} for the second request");
    }
}
