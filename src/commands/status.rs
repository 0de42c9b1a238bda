//! `deskload status [RUN]`: how a run stands, from the journal; it may be read while a run is under way.

use crate::cli::StatusArgs;
use crate::commands::{open_journal, pick_run, print, source};
use crate::error::Error;
use crate::journal::account::AccountLock;
use crate::report::summary;
use crate::settings::{journal_path, state_folder};

/// Runs it.
pub fn run(args: &StatusArgs) -> Result<(), Error> {
    let journal = open_journal(&journal_path(args.journal.journal.as_deref())?)?;
    let run = pick_run(&journal, args.run, "is there", |_| true)?;
    let at_work = AccountLock::is_held(&state_folder()?, &run.desk);
    let state = match (run.is_finished(), at_work, run.ended_ms) {
        (true, _, _) => "finished",
        (false, true, None) => "a process is sending",
        (false, _, Some(_)) => "stopped",
        (false, false, None) => "cut off: what was on its way is in doubt once a command works on it",
    };
    let (id, desk) = (run.key.id, &run.desk);
    print(&format!("run {id}: {} → {} for {}, {state}\n", source(&run), desk.url, desk.account_email));
    print(&format!("{}\n", summary::table(&run)));
    if let Some(lines) = summary::reason_lines(&summary::reasons(&journal, &run)?) {
        print(&format!("{lines}\n"));
    }
    journal.close()
}
