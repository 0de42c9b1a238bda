//! `--max-failures`: how many bad rows are too many.

/// Rows that must be settled before a share of failures means anything.
const FAILURES_AFTER: u64 = 40;

/// How many failed, invalid and in-doubt rows are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxFailures {
    /// A share of the rows settled in this invocation, in percent.
    Percent(f64),
    /// A number of rows.
    Rows(u64),
}

impl MaxFailures {
    /// Reads `25%` or `100`. The error is a fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is neither a share, such as 25%, nor a number of rows");
        match text.trim().strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|percent: &f64| (0.0..=100.0).contains(percent))
                .map(Self::Percent)
                .ok_or_else(expected),
            None => text.trim().parse().map(Self::Rows).map_err(|_| expected()),
        }
    }

    /// Whether `bad` of `settled` rows are too many.
    #[must_use]
    pub fn is_reached(self, bad: u64, settled: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        match self {
            Self::Percent(percent) => {
                settled >= FAILURES_AFTER && bad as f64 > settled as f64 * percent / 100.0
            }
            Self::Rows(rows) => bad > rows,
        }
    }
}

impl std::fmt::Display for MaxFailures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Rows(rows) => write!(f, "{rows} rows"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_failures_is_read_as_people_write_it() {
        assert_eq!(MaxFailures::parse("25%"), Ok(MaxFailures::Percent(25.0)));
        assert_eq!(MaxFailures::parse(" 0.5 % "), Ok(MaxFailures::Percent(0.5)));
        assert_eq!(MaxFailures::parse("100"), Ok(MaxFailures::Rows(100)));
        for wrong in ["", "%", "101%", "-1%", "NaN%", "-1", "1.5", "many"] {
            assert!(MaxFailures::parse(wrong).unwrap_err().contains("neither a share"), "{wrong}");
        }
    }
}
