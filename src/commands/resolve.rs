//! `deskload resolve [RUN] --applied|--resend|--skip`: settles rows in doubt by a person's word.

use std::path::Path;

use crate::cli::ResolveArgs;
use crate::commands::{answer, none_fits, open_archive, open_journal, pick_run, retold};
use crate::error::Error;
use crate::journal::account::AccountLock;
use crate::journal::runs::Run;
use crate::journal::settle::{Resolved, Word};
use crate::journal::twins::Twins;
use crate::report::next;
use crate::settings::{JournalPlace, journal_place, state_folder};
use crate::text::rows;
use crate::voice::say;

/// What a run must have to be meant without its number.
const WANTED: &str = "has rows in doubt";

/// Runs it.
pub fn run(args: &ResolveArgs) -> Result<(), Error> {
    answer(false, args.quiet, args.verbose);
    let place = journal_place(args.journal.journal.as_deref())?;
    let mut journal = open_archive(&place)?;
    let cut_off = |run: &Run| !run.is_finished() && run.ended_ms.is_none();
    let run = pick_run(&*journal, args.run, WANTED, |run| run.counts.in_doubt > 0 || cut_off(run))?;
    let _account = match &place {
        // The file's own handle is needed: what the account file remembers is compared with it.
        JournalPlace::File(path) => Some(hold(path, &run, args.accept_journal)?),
        // Nobody has a shared journal for himself: what is settled at the same time, the database keeps apart.
        JournalPlace::Database(_) => None,
    };
    journal.recover(&run.desk)?;
    // Read again: what a killed process had on its way is in doubt only now.
    let run = pick_run(&*journal, Some(run.key.id), "", |_| true)?;
    if args.run.is_none() && run.counts.in_doubt == 0 {
        return Err(none_fits(&*journal, WANTED));
    }
    let word = match (args.applied, args.resend) {
        (true, _) => Word::Applied,
        (_, true) => Word::Resend,
        _ => Word::Skip,
    };
    let Resolved { rows: settled, twins } =
        journal.resolve(&run, word, args.rows.as_ref().map(|rows| rows.0.as_slice()))?;
    let became = match word {
        Word::Applied => "applied",
        Word::Resend => "pending",
        Word::Skip => "skipped",
    };
    say(&match settled {
        0 => format!("run {} has no rows in doubt: nothing to settle", run.key.id),
        settled => format!("run {}: {} in doubt, now {became}", run.key.id, rows(settled)),
    });
    for Twins { run, rows: waiting } in &twins {
        say(&format!("run {run}: {} that waited for the same update, now skipped", rows(*waiting)));
    }
    let run = pick_run(&*journal, Some(run.key.id), "", |_| true)?;
    let flags = retold::flags(&*journal, &run)?;
    for step in next::steps_after_a_word(&run, &flags) {
        say(&step.to_string());
    }
    // What no report needs any more is not kept.
    journal.cut_down(&run)?;
    for Twins { run, .. } in twins {
        let run = pick_run(&*journal, Some(run), "", |_| true)?;
        journal.cut_down(&run)?;
    }
    journal.close()
}

/// Takes the account, and checks that the journal is its own.
fn hold(path: &Path, run: &Run, accept: bool) -> Result<AccountLock, Error> {
    let mut account = AccountLock::acquire(&state_folder()?, &run.desk)?;
    let mut journal = open_journal(path)?;
    account.confirm(&mut journal, &run.desk, accept)?;
    account.bind()?;
    journal.close()?;
    Ok(account)
}
