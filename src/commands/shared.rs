//! What `run`, `resume`, `retry` and `work` do with a journal that several machines share.
//!
//! The way is the same as with a file ([`super::drive`]): the same pipeline, reports and exit codes. What differs: nobody
//! holds the account. The database keeps workers apart, gives permits and keeps the pace, and each worker leaves its
//! units when it ends.

use std::collections::HashMap;
use std::time::Instant;

use crate::breaker::Breaker;
use crate::cli::RunArgs;
use crate::commands::drive::{self, MARKED_PER_SLOT};
use crate::commands::retold::Typed;
use crate::commands::run::{Plan, Planner, nothing_left, nothing_left_but_again};
use crate::commands::source::Source;
use crate::commands::{ending, now_ms, pick_run};
use crate::error::{EXIT_DONE, Error};
use crate::folders;
use crate::journal::archive::Archive as _;
use crate::journal::invocations::{Beginning, End};
use crate::journal::postgres::{Place, Shared, Terms, Worker};
use crate::journal::runs::Run;
use crate::journal::writer::Writer;
use crate::lanes::Lanes;
use crate::pace::Pace;
use crate::pipeline::{Driven, Ended, Parts, Pipeline};
use crate::report::{self, summary};
use crate::settings::{InputSettings, SendSettings};
use crate::shutdown::Shutdown;
use crate::spooled;
use crate::text::{duration, rows};
use crate::until::Until;
use crate::voice::say;

/// `run` on such a journal.
pub(super) fn run(
    place: &Place,
    args: &RunArgs,
    input: &InputSettings,
    settings: &SendSettings,
) -> Result<(), Error> {
    let source = Source::find(&args.check.file)?;
    let shutdown = Shutdown::listen()?;
    settings.terms.bounds.check(jiff::Timestamp::now())?;
    let mut journal = Shared::open(place)?;
    let planner = Planner { input, settings, args, shutdown: &shutdown };
    let again = Typed::now().whole();
    // Copies are needed until the rows are in the database.
    let folder = settings.state_folder.join("staging");
    folders::make(&folder)?;
    spooled::sweep_copies(&folder)?;
    match planner.plan(&mut journal, &folder, &source)? {
        Plan::Send(run) => drive(journal, &run, settings, &shutdown, &again),
        Plan::NothingLeft(run) => {
            let headline = nothing_left_but_again(&run);
            ending::finish(&mut journal, &run, Ended::default(), settings, &headline, &again)
        }
        Plan::TooManyInvalid(run, why) => {
            let headline = format!("run {}: nothing was sent", run.key.id);
            let ended = Ended { stopped: Some(why), ..Ended::default() };
            ending::finish(&mut journal, &run, ended, settings, &headline, &again)
        }
        Plan::Declined => {
            say("nothing was sent");
            Ok(())
        }
    }
}

/// `resume` on such a journal.
pub(super) fn resume(place: &Place, run: &Run, settings: &SendSettings) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let mut journal = Shared::open(place)?;
    let run = pick_run(&journal, Some(run.key.id), "", |_| true)?;
    let again = Typed::now().whole();
    if !run.has_left(settings.terms.limits.resends) {
        return ending::finish(&mut journal, &run, Ended::default(), settings, &nothing_left(&run), &again);
    }
    drive(journal, &run, settings, &shutdown, &again)
}

/// `retry` on such a journal.
pub(super) fn retry(place: &Place, run: &Run, settings: &SendSettings) -> Result<(), Error> {
    let shutdown = Shutdown::listen()?;
    let mut journal = Shared::open(place)?;
    let id = run.key.id;
    let again = journal.retry(run)?;
    if !settings.output.quiet {
        say(&format!("run {id}: {} failed, tried again", rows(again)));
    }
    let run = pick_run(&journal, Some(id), "", |_| true)?;
    drive(journal, &run, settings, &shutdown, &Typed::now().resuming(id))
}

/// Works on a run until nobody has anything left to send, then writes its reports.
fn drive(
    mut journal: Shared,
    run: &Run,
    settings: &SendSettings,
    shutdown: &Shutdown,
    again: &str,
) -> Result<(), Error> {
    report::make_folder(&settings.output.report_dir, &journal, run.key.id)?;
    // Workers may be at work on another one.
    drive::unless_others(settings, shutdown, || journal.activate(run))?;
    begin(&mut journal, run, settings, again)?;
    let began = Instant::now();
    match work_on(&mut journal, run, settings, shutdown)? {
        Worked::Broken(error) => Err(error),
        Worked::Ended(ended) => {
            let headline = format!("run {}, worked on for {}", run.key.id, duration(began.elapsed()));
            ending::finish(&mut journal, run, ended, settings, &headline, again)
        }
    }
}

/// Notes that this process has begun to work on the run.
fn begin(journal: &mut Shared, run: &Run, settings: &SendSettings, again: &str) -> Result<(), Error> {
    let pace = settings.terms.pace.to_string();
    journal.begin_invocation(run.key, &Beginning { now_ms: now_ms(), again, pace: &pace })
}

/// How work on a run ended.
enum Worked {
    /// As it should, for better or worse.
    Ended(Ended),
    /// The journal could not be reached any more: what is on its way is found in doubt by others.
    Broken(Error),
}

fn work_on(
    journal: &mut Shared,
    run: &Run,
    settings: &SendSettings,
    shutdown: &Shutdown,
) -> Result<Worked, Error> {
    shutdown.begin_sending();
    drive::announce(run, settings);
    let terms = Terms {
        rates: settings.terms.pace.rates.clone(),
        rate_per_ticket: settings.terms.pace.rate_per_ticket,
        burst: settings.terms.pace.burst,
        resends: settings.terms.limits.resends,
        patience: settings.terms.limits.patience,
        shutdown: shutdown.clone(),
    };
    let (worker, source, keeper) = journal.join(run, terms)?;
    let driven = send((worker, source), run, settings, shutdown);
    keeper.end();
    let Driven { writer, progress, mut ended, broken } = driven?;
    progress.finish();
    let worker = writer.close()?;
    if broken {
        let gone = || Error::Machine("the journal cannot be written; nothing more was sent".to_owned());
        return Ok(Worked::Broken(ended.stopped.unwrap_or_else(gone)));
    }
    worker.leave()?;
    // The rows ended because nobody has one left that may go: the others wait for a person.
    ended.holding |= ended.stopped.is_none() && ended.resting == 0;
    if ended.holding {
        ended.waits_for = journal.waits_for(run)?;
    }
    Ok(Worked::Ended(ended))
}

fn send(
    (worker, source): (Worker, crate::todo::Source),
    run: &Run,
    settings: &SendSettings,
    shutdown: &Shutdown,
) -> Result<Driven<Worker>, Error> {
    let pace = &settings.terms.pace;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Machine(format!("failed to start the network: {error}")))?;
    let context = runtime.enter();
    let parts = Parts {
        desk: &settings.desk,
        source,
        writer: Writer::spawn(worker, run.key)?,
        lanes: Lanes::of_a_shared_journal(),
        pace: Pace::kept_by_the_journal(&pace.rates)?,
        breaker: Breaker::new(settings.terms.limits, fastrand::Rng::new(), drive::newly_invalid(run)),
        // The database itself keeps back what is in doubt elsewhere.
        doubts: HashMap::new(),
        concurrency: pace.concurrency,
        marked_max: MARKED_PER_SLOT * pace.concurrency,
        counts: run.counts,
        progress: drive::progress(run, settings),
        until: Until::new(settings.terms.bounds.clone(), jiff::Timestamp::now),
        shutdown: shutdown.clone(),
    };
    let driven = runtime.block_on(Pipeline::new(parts).run());
    drop(context);
    // A token command that hangs is not waited for.
    runtime.shutdown_background();
    Ok(driven)
}

/// Joins in with the account's active run, if it has something left; `None`: it has not. Writes no reports: whoever
/// began the run does, or `report`. The error is what kept it from going on.
pub(super) fn join_in(
    place: &Place,
    settings: &SendSettings,
    shutdown: &Shutdown,
) -> Result<Option<Result<(), Error>>, Error> {
    let mut journal = Shared::open(place)?;
    let Some(run) = journal.active(&settings.desk_id)? else { return Ok(None) };
    let began = Instant::now();
    begin(&mut journal, &run, settings, &Typed::now().resuming(run.key.id))?;
    let ended = match work_on(&mut journal, &run, settings, shutdown)? {
        Worked::Broken(error) => return Err(error),
        Worked::Ended(ended) => ended,
    };
    let run = pick_run(&journal, Some(run.key.id), "", |_| true)?;
    let end = ending::ending(&run, ended);
    let said = end.as_ref().map(ToString::to_string);
    let exit_code = end.as_ref().map_or(EXIT_DONE, Error::exit_code);
    let now_ms = now_ms();
    journal.end_invocation(run.key, &End { now_ms, ended_ms: now_ms, exit_code, said: said.as_deref() })?;
    let id = run.key.id;
    say(&format!("run {id}, worked on for {}: {}", duration(began.elapsed()), summary::line(&run)));
    Ok(Some(end.map_or(Ok(()), Err)))
}
