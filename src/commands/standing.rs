//! How a run stands as a whole, in a word and in a sentence: for `status` and `runs list`.

use serde::Serialize;

use crate::journal::runs::Run;
use crate::report::next::Flags;
use crate::text::date;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// No row is pending or in doubt.
    Finished,
    /// No row is pending, and some wait for a person's word.
    InDoubt,
    /// A process is sending it.
    AtWork,
    /// Rows are pending, and the last invocation said so.
    Stopped,
    /// Rows are pending, and the last invocation said nothing.
    CutOff,
    /// The same, and not a single request was about to be sent: what it was told was refused before.
    NotBegun,
    /// Its rows were given up.
    Pruned,
}

impl Standing {
    /// `is_held`: whether a process works for the account.
    pub(super) const fn of(run: &Run, is_held: bool) -> Self {
        match (run.is_finished(), run.ended_ms) {
            _ if run.is_pruned() => Self::Pruned,
            (true, _) if run.counts.in_doubt > 0 => Self::InDoubt,
            (true, _) => Self::Finished,
            (false, Some(_)) => Self::Stopped,
            (false, None) if is_held => Self::AtWork,
            // Each intent is counted in the commit that marks its row.
            (false, None) if run.attempts == 0 => Self::NotBegun,
            (false, None) => Self::CutOff,
        }
    }

    /// The word for a table.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::InDoubt => "in doubt",
            Self::AtWork => "at work",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
            Self::NotBegun => "not begun",
            Self::Pruned => "pruned",
        }
    }

    /// The sentence, with what to do.
    pub(super) fn sentence(self, run: &Run, flags: &Flags) -> String {
        let id = run.key.id;
        match self {
            Self::Finished => "finished".to_owned(),
            Self::InDoubt => format!(
                "finished, but for the rows in doubt: look them up at the desk, then deskload resolve {id}{}",
                flags.resolve
            ),
            Self::AtWork => "a process is sending".to_owned(),
            Self::Stopped => format!("stopped; to go on: {}", flags.resuming(id)),
            Self::CutOff => "cut off: what was on its way is in doubt once a command works on it".to_owned(),
            Self::NotBegun => format!("not begun, nothing was sent: {} begins it", flags.resuming(id)),
            Self::Pruned => {
                format!(
                    "finished, and its rows were pruned on {}",
                    run.pruned_ms.map_or_else(String::new, date)
                )
            }
        }
    }
}
