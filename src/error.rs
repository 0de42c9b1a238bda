//! What ends a run, and the exit code it means.
//!
//! Trouble with one row is no error: it is an outcome, in the journal. An [`Error`] is for what ends the whole
//! invocation. Each text is a fragment that says what happened, where, and what to do about it; none carries
//! the token, a request's body or a type's name.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the signals' own names")]
pub enum Signal {
    Hangup,
    Interrupt,
    Terminate,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "Ctrl-C",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// What ends an invocation before, or instead of, exit 0.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine failed: journal, disk, a bug.
    #[error("{0}")]
    Machine(String),
    /// Wrong use, configuration, address or certificate.
    #[error("{0}")]
    Usage(String),
    /// Every row is settled, and some are failed, invalid or in doubt.
    #[error("{0}")]
    Attention(String),
    /// The desk refused the credentials.
    #[error("{0}")]
    Credentials(String),
    /// Stopped early, and the same command goes on.
    #[error("{0}")]
    Early(String),
    /// The input cannot be used; nothing was sent.
    #[error("{0}")]
    Input(String),
    /// A guard refused the input before anything was sent.
    #[error("{0}")]
    Guard(String),
    /// `--max-failures` was reached.
    #[error("{0}")]
    TooManyFailures(String),
    /// Another process works for this account.
    #[error("{0}")]
    Overlap(String),
    /// A signal came; what was in flight has been finished.
    #[error("interrupted by {0}")]
    Interrupted(Signal),
}

/// Every row applied or skipped, or nothing left to do.
pub const EXIT_DONE: u8 = 0;
/// The machine failed: journal, disk, a bug.
pub const EXIT_MACHINE: u8 = 1;
/// Usage, configuration, wrong address or certificate.
pub const EXIT_USAGE: u8 = 2;
/// Finished, and some rows are failed, invalid or in doubt.
pub const EXIT_ATTENTION: u8 = 3;
/// Credentials refused.
pub const EXIT_CREDENTIALS: u8 = 4;
/// Stopped early and resumable.
pub const EXIT_EARLY: u8 = 5;
/// The input cannot be used; nothing was sent.
pub const EXIT_INPUT: u8 = 6;
/// A guard refused before sending (`--expect-rows`, `--max-updates`).
pub const EXIT_GUARD: u8 = 7;
/// `--max-failures` reached; resumable.
pub const EXIT_TOO_MANY_FAILURES: u8 = 8;
/// Another process works for this account.
pub const EXIT_OVERLAP: u8 = 11;
/// SIGHUP, drained, resumable (128 + the signal's number, as a shell would say).
pub const EXIT_HANGUP: u8 = 129;
/// Ctrl-C, drained, resumable.
pub const EXIT_INTERRUPT: u8 = 130;
/// SIGTERM, drained, resumable.
pub const EXIT_TERMINATE: u8 = 143;

impl Error {
    /// The exit code, as the design fixes it: scripts rely on these numbers.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Machine(_) => EXIT_MACHINE,
            Self::Usage(_) => EXIT_USAGE,
            Self::Attention(_) => EXIT_ATTENTION,
            Self::Credentials(_) => EXIT_CREDENTIALS,
            Self::Early(_) => EXIT_EARLY,
            Self::Input(_) => EXIT_INPUT,
            Self::Guard(_) => EXIT_GUARD,
            Self::TooManyFailures(_) => EXIT_TOO_MANY_FAILURES,
            Self::Overlap(_) => EXIT_OVERLAP,
            Self::Interrupted(Signal::Hangup) => EXIT_HANGUP,
            Self::Interrupted(Signal::Interrupt) => EXIT_INTERRUPT,
            Self::Interrupted(Signal::Terminate) => EXIT_TERMINATE,
        }
    }

    /// Where several ends apply to one invocation, the one that is told. The earlier one wins a tie.
    #[must_use]
    pub fn graver(self, other: Self) -> Self {
        if other.rank() < self.rank() { other } else { self }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Machine(_) => 0,
            Self::Interrupted(_) => 1,
            Self::Credentials(_) => 2,
            Self::Usage(_) => 3,
            Self::TooManyFailures(_) => 4,
            Self::Early(_) => 5,
            Self::Attention(_) => 6,
            // These come before anything is sent, so they never meet another.
            Self::Input(_) | Self::Guard(_) | Self::Overlap(_) => 7,
        }
    }

    /// The machine refused something with a file.
    pub(crate) fn file(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::Machine(format!("failed to {what} {}: {}", path.display(), explained(error)))
    }
}

/// What the system said, and what to do about it.
pub(crate) fn explained(error: &io::Error) -> String {
    format!("{}{}", said(error), advice(error))
}

/// What the system said, without its number.
pub(crate) fn said(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// What to do about it, to be put behind what was said.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied => "; check who owns it, and its mode",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room, then give the same command again",
        ErrorKind::ReadOnlyFilesystem => "; its disk is mounted so that nobody can write, name another place",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; a file is in the place of a folder, name another place"
        }
        ErrorKind::IsADirectory => "; it is a folder, name a file",
        ErrorKind::FileTooLarge => "; raise the limit of how large a file may be (ulimit -f)",
        _ => "; the system's log may say more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_several_ends_apply_the_design_says_which_is_told() {
        let order = || {
            [
                Error::Machine(String::new()),
                Error::Interrupted(Signal::Terminate),
                Error::Credentials(String::new()),
                Error::Usage(String::new()),
                Error::TooManyFailures(String::new()),
                Error::Early(String::new()),
                Error::Attention(String::new()),
            ]
        };
        for (graver, one) in order().into_iter().enumerate() {
            for (other_rank, other) in order().into_iter().enumerate() {
                let expected = if other_rank < graver { other.exit_code() } else { one.exit_code() };
                let one = order().into_iter().nth(graver).unwrap();
                assert_eq!(one.graver(other).exit_code(), expected);
            }
        }
    }
}
