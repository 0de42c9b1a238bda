//! What to do next with a run, and the command to do it with: the last lines of a terminal, and the report's.

use std::fmt;
use std::path::Path;

use crate::error::EXIT_ATTENTION;
use crate::journal::later::Place;
use crate::journal::runs::Run;

/// What an invocation knows that the journal's rows do not say.
#[derive(Clone, Copy, Debug)]
pub struct Going<'a> {
    /// The command that goes on with the run.
    pub again: &'a str,
    /// The row in doubt of another run that holds this one up.
    pub waits_for: Option<Place>,
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
    let resolve = |run: u64| Step {
        what: "look up the rows in doubt at the desk, then".to_owned(),
        command: format!("deskload resolve {run} --applied"),
        more: " (or --resend, or --skip; --rows 5,9-12 for some of them)",
    };
    if counts.in_doubt > 0 {
        steps.push(resolve(run.key.id));
    } else if let Some(place) = going.waits_for {
        steps.push(resolve(place.run));
    }
    if let Some(failures) = failures.map(Path::display) {
        steps.push(Step {
            what: format!("correct the cells in {failures}, then"),
            command: format!("deskload run {failures}"),
            more: "",
        });
    }
    // Rows that wait behind one in doubt are freed by a person's word alone.
    if counts.pending > 0 && run.exit_code != Some(EXIT_ATTENTION) {
        steps.push(Step { what: "to go on".to_owned(), command: going.again.to_owned(), more: "" });
    }
    steps
}
