//! `deskload report [RUN]`: writes the reports again, from the journal.

use crate::cli::ReportArgs;
use crate::commands::{open_journal, pick_run};
use crate::error::Error;
use crate::report;
use crate::settings::{journal_path, report_dir};
use crate::voice::say;

/// Runs it.
pub fn run(args: &ReportArgs) -> Result<(), Error> {
    let journal = open_journal(&journal_path(args.journal.journal.as_deref())?)?;
    let run = pick_run(&journal, args.run, "is there", |_| true)?;
    let files = report::write(&report_dir(args.report_dir.as_deref()), &journal, &run)?;
    if !args.quiet {
        for path in [files.failures, files.in_doubt].into_iter().flatten() {
            say(&format!("written: {}", path.display()));
        }
        say(&format!("written: {}", files.folder.join("summary.json").display()));
    }
    journal.close()
}
