//! `deskload resolve [RUN] --applied|--resend|--skip`: settles rows in doubt by a person's word.

use crate::cli::ResolveArgs;
use crate::commands::drive::rows;
use crate::commands::{open_journal, pick_run, say};
use crate::error::Error;
use crate::journal::account::AccountLock;
use crate::journal::settle::Word;
use crate::settings::{journal_path, state_folder};
use crate::spooled;

/// Runs it.
pub fn run(args: &ResolveArgs) -> Result<(), Error> {
    let mut journal = open_journal(&journal_path(args.journal.journal.as_deref())?)?;
    let run = pick_run(&journal, args.run, "has rows in doubt", |run| run.counts.in_doubt > 0)?;
    let mut account = AccountLock::acquire(&state_folder()?, &run.desk)?;
    account.confirm(&mut journal, &run.desk, args.accept_journal)?;
    journal.recover(&run.desk)?;
    let run = pick_run(&journal, Some(run.key.id), "", |_| true)?;
    let word = match (args.applied, args.resend) {
        (true, _) => Word::Applied,
        (_, true) => Word::Resend,
        _ => Word::Skip,
    };
    let settled = journal.resolve(&run, word, args.rows.as_ref().map(|rows| rows.0.as_slice()))?;
    if !args.quiet {
        let became = match word {
            Word::Applied => "applied",
            Word::Resend => "pending",
            Word::Skip => "skipped",
        };
        say(&format!("run {}: {} in doubt, now {became}", run.key.id, rows(settled)));
        let run = pick_run(&journal, Some(run.key.id), "", |_| true)?;
        if run.counts.pending > 0 {
            say(&format!("{} left to send: deskload resume {}", rows(run.counts.pending), run.key.id));
        }
    }
    // What no report needs any more is not kept.
    let run = pick_run(&journal, Some(run.key.id), "", |_| true)?;
    spooled::cut_down(&mut journal, &run)?;
    journal.close()
}
