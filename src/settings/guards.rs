//! What an input must be like before anything of it is sent: an export that came out empty, or ten times too large,
//! is the usual accident.

use crate::cli::Expected;
use crate::error::Error;
use crate::text::rows;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    /// `--expect-rows`
    pub expect_rows: Option<Expected>,
    /// `--max-updates`
    pub max_updates: Option<u64>,
}

impl Guards {
    /// Refuses a new input of so many rows, `updates` of which would be sent.
    pub fn check(self, found: u64, updates: u64) -> Result<(), Error> {
        if let Some(expected) = self.expect_rows.filter(|expected| !expected.holds(found)) {
            return Err(Error::Guard(format!(
                "the input has {}, and --expect-rows says {expected}; nothing was sent; look at the export",
                rows(found)
            )));
        }
        if let Some(max) = self.max_updates.filter(|max| updates > *max) {
            return Err(Error::Guard(format!(
                "{} would be sent, and --max-updates allows {max}; nothing was sent; look at the export",
                rows(updates)
            )));
        }
        Ok(())
    }
}
