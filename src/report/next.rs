//! What to do next with a run, and the command to do it with: the last lines of a terminal, and the report's.

use std::fmt;
use std::path::Path;

use crate::error::EXIT_ATTENTION;
use crate::journal::later::Place;
use crate::journal::runs::Run;
use crate::text::{rows, shell_word};

/// What an invocation knows that the journal's rows do not say.
#[derive(Clone, Copy, Debug)]
pub struct Going<'a> {
    /// The command that goes on with the run.
    pub again: &'a str,
    /// What goes with the other commands.
    pub flags: &'a Flags,
    /// The row in doubt of another run that holds this one up.
    pub waits_for: Option<Place>,
}

/// The flags that commands about a run need here, each with a blank before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the commands' names")]
pub struct Flags {
    pub run: String,
    pub resume: String,
    pub resolve: String,
    pub report: String,
}

impl Flags {
    /// The command that goes on with a run.
    #[must_use]
    pub fn resuming(&self, run: u64) -> String {
        format!("deskload resume {run}{}", self.resume)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What, before the command.
    pub what: String,
    /// The command, to be pasted.
    pub command: String,
    /// What else the command could be.
    pub more: &'static str,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.what, self.command, self.more)
    }
}

/// What to do next, in this order. `failures` is the file of rows to correct, if it was written.
#[must_use]
pub fn steps(run: &Run, failures: Option<&Path>, going: Going<'_>) -> Vec<Step> {
    let counts = &run.counts;
    let mut steps = Vec::new();
    if counts.in_doubt > 0 {
        steps.push(resolve(run.key.id, going.flags));
    } else if let Some(place) = going.waits_for {
        steps.push(resolve(place.run, going.flags));
    }
    if let Some(failures) = failures {
        let name = shell_word(&failures.to_string_lossy());
        steps.push(Step {
            what: format!("correct the cells in {}, then", failures.display()),
            command: format!("deskload run {name}{}", going.flags.run),
            more: "",
        });
    }
    // Rows that wait behind one in doubt are freed by a person's word alone.
    if counts.pending > 0 && run.exit_code != Some(EXIT_ATTENTION) {
        steps.push(Step { what: "to go on".to_owned(), command: going.again.to_owned(), more: "" });
    }
    steps
}

fn resolve(run: u64, flags: &Flags) -> Step {
    Step {
        what: "look up the rows in doubt at the desk, then".to_owned(),
        command: format!("deskload resolve {run} --applied{}", flags.resolve),
        more: " (or --resend, or --skip; --rows 5,9-12 for some of them)",
    }
}

/// What to do once a person has said what rows in doubt are. The reports are as they were before.
#[must_use]
pub fn steps_after_a_word(run: &Run, flags: &Flags) -> Vec<Step> {
    let id = run.key.id;
    let mut steps = Vec::new();
    if run.counts.in_doubt > 0 {
        steps.push(resolve(id, flags));
    }
    let (what, command) = if run.counts.pending > 0 {
        let pending = rows(run.counts.pending);
        (format!("{pending} left to send; to go on"), flags.resuming(id))
    } else {
        ("to write the reports anew".to_owned(), format!("deskload report {id}{}", flags.report))
    };
    steps.push(Step { what, command, more: "" });
    steps
}
