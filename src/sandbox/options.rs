//! What a sandbox is asked to be, and how the texts of the command line are read.
//!
//! The parsers return a fragment that says what was expected, for the argument parser to print. Nothing here
//! opens a file or a socket.

use std::path::PathBuf;
use std::time::Duration;

use super::faults::Fate;

/// A sandbox's behaviour. The default is a desk without a fault that accepts `sandbox-token`.
#[derive(Clone)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free one. [`super::serve`], which is handed a listener, ignores it.
    pub port: u16,
    /// The one account's e-mail, compared without regard to case; `None` accepts any.
    pub account_email: Option<String>,
    /// The token that the account is known by.
    pub token: String,
    /// Requests a second; over it the answer is 429. `None` is no limit.
    pub rate: Option<f64>,
    /// The probability that a ticket is refused as not found, 0 to 1. The same seed refuses the same tickets,
    /// every time they are asked for.
    pub fail: f64,
    /// The probability that a request is applied and the connection closed without a reply, 0 to 1.
    pub drop: f64,
    /// How long a reply takes.
    pub latency: Latency,
    /// Of the dice behind `fail`, `drop` and `latency`.
    pub seed: u64,
    /// Where the desk's own account of every request goes, appended.
    pub log: Option<PathBuf>,
    /// Scripted replies; of those that fit, the first in the list that has turns left speaks.
    pub fates: Vec<Fate>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            account_email: None,
            token: "sandbox-token".to_owned(),
            rate: None,
            fail: 0.0,
            drop: 0.0,
            latency: Latency::default(),
            seed: 1,
            log: None,
            fates: Vec::new(),
        }
    }
}

/// How long a reply takes: uniform between the two, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the two ends")]
pub struct Latency {
    pub min: Duration,
    pub max: Duration,
}

/// Reads a rate: `50`, `50/s`, `100/min`, `3000/h`. The result is requests a second.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None => (text, 1.0),
        Some((number, "s")) => (number, 1.0),
        Some((number, "min")) => (number, 60.0),
        Some((number, "h")) => (number, 3_600.0),
        Some((_, unit)) => return Err(format!("a rate cannot be counted by {unit:?}: s, min or h")),
    };
    match number.trim().parse::<f64>().map(|count| count / seconds) {
        // After the division, which can leave nothing of a very small number.
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err(format!("{text:?} is not a rate: a number over 0, as 50, 50/s or 100/min")),
    }
}

/// Reads a probability: `0.02` or `2%`.
pub fn parse_probability(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(part) if (0.0..=scale).contains(&part) => Ok(part / scale),
        Ok(part) if part > 1.0 && part <= 100.0 => {
            Err(format!("{text:?} is over 1, which is always; did you mean {part}%?"))
        }
        _ => Err(format!("{text:?} is not a probability: 0 to 1, as 0.02, or 0% to 100%")),
    }
}

/// Reads a latency in milliseconds: `5..20`, `5ms..20ms`, or `5` for always the same.
pub fn parse_latency(text: &str) -> Result<Latency, String> {
    let (min, max) = text.split_once("..").unwrap_or((text, text));
    let expected = || format!("{text:?} is not a latency: milliseconds, as 5..20 or 5ms..20ms");
    let read = |end: &str| {
        let end = end.trim();
        let millis = end.strip_suffix("ms").unwrap_or(end).trim_end().parse::<u32>();
        millis.map(|millis| Duration::from_millis(millis.into())).map_err(|_| expected())
    };
    let latency = Latency { min: read(min)?, max: read(max)? };
    if latency.min > latency.max {
        return Err(format!("the latency {text:?} ends before it begins; put the smaller number first"));
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-12
    }

    #[test]
    fn a_rate_may_name_its_unit() {
        for (text, rate) in [("50", 50.0), ("50/s", 50.0), ("90/min", 1.5), ("1800/h", 0.5)] {
            assert!(near(parse_rate(text).unwrap(), rate), "{text}");
        }
        assert!(parse_rate("5/d").unwrap_err().contains("s, min or h"));
        for text in ["", "0", "-1", "inf", "NaN", "fast", "5e-324/h"] {
            assert!(parse_rate(text).unwrap_err().contains("not a rate"), "{text}");
        }
    }

    #[test]
    fn a_probability_may_be_a_percentage() {
        for (text, part) in [("0.02", 0.02), ("2%", 0.02), ("0", 0.0), ("1", 1.0), ("100%", 1.0)] {
            assert!(near(parse_probability(text).unwrap(), part), "{text}");
        }
        assert!(parse_probability("2").unwrap_err().contains("did you mean 2%?"));
        for text in ["", "-0.1", "101%", "NaN", "some"] {
            assert!(parse_probability(text).unwrap_err().contains("not a probability"), "{text}");
        }
    }

    #[test]
    fn a_latency_is_a_range_of_milliseconds() {
        let millis = |min, max| Latency { min: Duration::from_millis(min), max: Duration::from_millis(max) };
        for (text, latency) in [("5..20", millis(5, 20)), ("5ms..20ms", millis(5, 20)), ("7", millis(7, 7))] {
            assert_eq!(parse_latency(text).unwrap(), latency, "{text}");
        }
        assert!(parse_latency("20..5").unwrap_err().contains("smaller number first"));
        for text in ["", "5..", "..5", "1s..2s", "5...20"] {
            assert!(parse_latency(text).unwrap_err().contains("milliseconds"), "{text}");
        }
    }
}
