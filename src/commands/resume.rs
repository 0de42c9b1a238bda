//! `deskload resume [RUN]`: goes on with an unfinished run, with the mapping it was started with.

use std::path::Path;

use crate::cli::{InDoubtChoice, ResumeArgs};
use crate::commands::retold::Typed;
use crate::commands::{drive, open_archive, pick_run, require_rows, shared, watched};
use crate::config::Profile;
use crate::error::Error;
use crate::journal::runs::Run;
use crate::settings::{JournalPlace, Known, SendSettings, journal_place};
use crate::shutdown::Shutdown;

/// Runs it.
pub fn run(args: &ResumeArgs, profile: &Profile) -> Result<(), Error> {
    let journal = open_archive(&journal_place(args.send.output.journal.journal.as_deref())?)?;
    let resends = args.send.safety.in_doubt == InDoubtChoice::Resend;
    let is_left = |run: &Run| !run.is_finished() || (resends && run.counts.in_doubt > 0);
    let run = pick_run(&*journal, args.run, "is unfinished", is_left)?;
    require_rows(&run)?;
    journal.close()?;
    let settings = SendSettings::resolve(&args.send, Known(Some(&run.desk)), profile)?;
    super::speak(&settings.output)?;
    let on_finish = settings.output.on_finish.as_deref();
    let done = match &settings.output.journal {
        JournalPlace::File(path) => work(path, &run, &settings),
        JournalPlace::Database(place) => shared::resume(place, &run, &settings),
    };
    watched::on_finish(on_finish, done)
}

fn work(path: &Path, run: &Run, settings: &SendSettings) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let held = drive::hold(path, settings, &shutdown)?;
    // Read again now that the account is held: rows may just have been put in doubt.
    let run = pick_run(&held.journal, Some(run.key.id), "", |_| true)?;
    require_rows(&run)?;
    drive::drive(held, &run, settings, &shutdown, &Typed::now().whole())
}
