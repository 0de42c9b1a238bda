//! `deskload resume [RUN]`: goes on with an unfinished run, with the mapping it was started with.

use std::path::Path;

use crate::cli::{InDoubtChoice, ResumeArgs};
use crate::commands::retold::Typed;
use crate::commands::run::{end_without_sending, nothing_left};
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
    let run = pick_run(&*journal, args.run, "is unfinished", |run| run.has_left(resends))?;
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
    let again = Typed::now().whole();
    if !run.has_left(settings.terms.limits.resends) {
        // Not driven: when it ended is when it last did something.
        return end_without_sending(held, &run, None, settings, &nothing_left(&run), &again);
    }
    drive::drive(held, &run, settings, &shutdown, &again)
}
