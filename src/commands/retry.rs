//! `deskload retry [RUN]`: sends the failed rows of a run again, unless later rows have said the same since.

use std::path::Path;

use crate::cli::ResumeArgs;
use crate::commands::retold::Typed;
use crate::commands::{drive, open_archive, pick_run, require_rows, shared, watched};
use crate::config::Profile;
use crate::error::Error;
use crate::journal::runs::Run;
use crate::settings::{JournalPlace, Known, SendSettings, journal_place};
use crate::shutdown::Shutdown;
use crate::text::rows;
use crate::voice::say;

/// Runs it.
pub fn run(args: &ResumeArgs, profile: &Profile) -> Result<(), Error> {
    let journal = open_archive(&journal_place(args.send.output.journal.journal.as_deref())?)?;
    let run =
        pick_run(&*journal, args.run, "has failed rows", |run| run.counts.failed > 0 && !run.is_pruned())?;
    require_rows(&run)?;
    journal.close()?;
    let settings = SendSettings::resolve(&args.send, Known(Some(&run.desk)), profile)?;
    super::speak(&settings.output)?;
    let on_finish = settings.output.on_finish.as_deref();
    let done = match &settings.output.journal {
        JournalPlace::File(path) => work(path, &run, &settings),
        JournalPlace::Database(place) => shared::retry(place, &run, &settings),
    };
    watched::on_finish(on_finish, done)
}

fn work(path: &Path, run: &Run, settings: &SendSettings) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let mut held = drive::hold(path, settings, &shutdown)?;
    let run = pick_run(&held.journal, Some(run.key.id), "", |_| true)?;
    require_rows(&run)?;
    if run.counts.failed == 0 {
        say(&format!("run {} has no failed rows: nothing to retry", run.key.id));
        return Ok(());
    }
    let failed = held.journal.retry(&run)?;
    if !settings.output.quiet {
        say(&format!("run {}: {} failed, tried again", run.key.id, rows(failed)));
    }
    let run = pick_run(&held.journal, Some(run.key.id), "", |_| true)?;
    // What is left of it after an interruption is pending: `resume` goes on, or fails nothing anew.
    drive::drive(held, &run, settings, &shutdown, &Typed::now().resuming(run.key.id))
}
