//! What `run` and `resume` share: send what is left of a run, then tell how it stands.
//!
//! The account is held from before the journal is trusted until after the last report. Whatever stops the
//! sending, the reports are written; a report that cannot be written does not hide why the run stopped.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::breaker::Breaker;
use crate::commands::{now_ms, say};
use crate::error::{EXIT_DONE, Error};
use crate::journal::Journal;
use crate::journal::account::AccountLock;
use crate::journal::fingerprint::SameUpdate;
use crate::journal::later::Place;
use crate::journal::runs::Run;
use crate::journal::writer::Writer;
use crate::lanes::Lanes;
use crate::mapping::Mapping;
use crate::pace::Pace;
use crate::pipeline::{Driven, Ended, Parts, Pipeline};
use crate::progress::Progress;
use crate::report::{self, Files, summary};
use crate::settings::{SendSettings, Show};
use crate::shutdown::Shutdown;
use crate::spooled::{self, Spooled};
use crate::text::{duration, thousands};
use crate::todo::{Source, Todo};

/// Rows marked as sending for each request that may be under way: the bound on what a crash puts in doubt. More of
/// them gained next to nothing; no more than the requests themselves cost a third (see `src/README.md`).
const MARKED_PER_SLOT: usize = 2;

/// The account, held, and its journal, confirmed and recovered.
pub struct Held {
    /// The journal.
    pub journal: Journal,
    /// Dropped last.
    pub account: AccountLock,
}

/// Takes the account and opens its journal; puts in doubt what a killed process left on its way.
pub fn hold(settings: &SendSettings) -> Result<Held, Error> {
    let mut account = AccountLock::acquire(&settings.state_folder, &settings.desk_id)?;
    let mut journal = Journal::open(&settings.output.journal)?;
    account.confirm(&mut journal, &settings.desk_id, settings.accept_journal)?;
    let found = journal.recover(&settings.desk_id)?;
    if found > 0 {
        say(&format!(
            "the process before this one ended with {} on the way: in doubt from now on, and not sent again",
            rows(found)
        ));
    }
    spooled::sweep(&mut journal)?;
    Ok(Held { journal, account })
}

/// Sends what is left of a run. `again` is the command that goes on, for the last line.
pub fn drive(
    held: Held,
    run: &Run,
    settings: &SendSettings,
    shutdown: &Shutdown,
    again: &str,
) -> Result<(), Error> {
    let Held { mut journal, account } = held;
    // Before anything is sent: a report folder that cannot be had would be found out too late.
    report::make_folder(&settings.output.report_dir, &journal, run.key.id)?;
    journal.begin_invocation(run.key)?;
    shutdown.begin_sending();
    announce(run, settings);
    let began = Instant::now();
    let driven = send(journal, run, settings, shutdown)?;
    let Driven { writer, progress, ended, broken } = driven;
    progress.finish();
    if broken {
        // What is on disk after a failed commit is anybody's guess: leave it to the next start.
        writer.abandon();
        return ended.stopped.map_or(Ok(()), Err);
    }
    let mut journal = writer.close()?;
    let headline = format!("run {}, worked on for {}", run.key.id, duration(began.elapsed()));
    let ended = finish(&mut journal, run, ended, settings, &headline, again);
    let closed = journal.close();
    drop(account);
    ended.and(closed)
}

/// What is about to happen, in a line.
fn announce(run: &Run, settings: &SendSettings) {
    if settings.output.quiet {
        return;
    }
    let pace = if settings.pace.rates.is_empty() {
        "no limit".to_owned()
    } else {
        settings.pace.rates.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    say(&format!(
        "run {}: {} of {} to send to {}, pace {pace}",
        run.key.id,
        rows(run.counts.pending),
        thousands(run.counts.rows),
        run.desk.url
    ));
    if settings.limits.resends && run.counts.in_doubt > 0 {
        say(&format!("{} in doubt will be sent again, as --in-doubt resend says", rows(run.counts.in_doubt)));
    }
    if let Some(per_second) = settings.pace.per_second().filter(|_| settings.pace.is_guess) {
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let left =
            Duration::try_from_secs_f64(run.counts.pending as f64 / per_second).unwrap_or(Duration::MAX);
        say(&format!(
            "the pace is a guess, because the desk documents no limit: this takes {} (--rate sets another)",
            duration(left)
        ));
    }
}

fn send(journal: Journal, run: &Run, settings: &SendSettings, shutdown: &Shutdown) -> Result<Driven, Error> {
    let resends = settings.limits.resends;
    let (lanes, doubts) = waiting_for_a_word(&journal, run, resends)?;
    let Some(spooled) = Spooled::open(&journal, run)? else {
        return Ok(nothing_to_send(journal, run));
    };
    let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
    let todo = Todo::new(journal.open_again()?, run, spooled, mapping, resends)?;
    let per_second = settings.pace.per_second();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Machine(format!("failed to start the network: {error}")))?;
    let context = runtime.enter();
    let parts = Parts {
        desk: &settings.desk,
        source: Source::spawn(todo)?,
        writer: Writer::spawn(journal, run.key)?,
        lanes,
        pace: Pace::new(&settings.pace.rates, settings.pace.burst)?,
        breaker: Breaker::new(settings.limits, fastrand::Rng::new(), newly_invalid(run)),
        doubts,
        concurrency: settings.pace.concurrency,
        marked_max: MARKED_PER_SLOT * settings.pace.concurrency,
        counts: run.counts,
        progress: match settings.output.show {
            Show::Nothing => Progress::None,
            Show::Lines => Progress::plain(&run.counts, per_second),
            Show::Bar => Progress::bar(&run.counts, per_second),
        },
        shutdown: shutdown.clone(),
    };
    let driven = runtime.block_on(Pipeline::new(parts).run());
    drop(context);
    // A token command that hangs is not waited for.
    runtime.shutdown_background();
    Ok(driven)
}

/// A finished run has no spool if none of its rows has anything to tell.
fn nothing_to_send(journal: Journal, run: &Run) -> Driven {
    Driven {
        writer: Writer::Inline(Box::new(journal), run.key),
        progress: Progress::None,
        ended: Ended::default(),
        broken: false,
    }
}

/// The invalid rows count as settled in the invocation whose first pass found them.
fn newly_invalid(run: &Run) -> u64 {
    let is_new = run.attempts == 0 && run.cursor == 1 && run.exit_code.is_none();
    if is_new { run.counts.invalid } else { 0 }
}

/// What is in doubt holds back the later rows of its ticket, and the same update wherever it comes from.
pub fn waiting_for_a_word(
    journal: &Journal,
    run: &Run,
    resends: bool,
) -> Result<(Lanes, HashMap<SameUpdate, Place>), Error> {
    let mut lanes = Lanes::starting_at(run.cursor);
    // With `--in-doubt resend` they are among the rows to send, in their order.
    if !resends {
        for (ticket, _) in journal.tickets_in_doubt(run.key, run.counts.rows)? {
            lanes.close(ticket);
        }
    }
    Ok((lanes, journal.updates_in_doubt(&run.desk, run.key)?))
}

/// Settles the invocation: what a bug left on its way, exit code, reports, spool, the last words, which begin with
/// `headline`. Does it for a process that was killed before it could, too.
pub(super) fn finish(
    journal: &mut Journal,
    run: &Run,
    ended: Ended,
    settings: &SendSettings,
    headline: &str,
    again: &str,
) -> Result<(), Error> {
    if matches!(ended.stopped, Some(Error::Machine(_))) {
        // A bug may have left rows on their way: they are in doubt from now on.
        journal.recover(&run.desk)?;
    }
    let run = reload(journal, run)?;
    let end = ending(&run, ended);
    let exit_code = end.as_ref().map_or(EXIT_DONE, Error::exit_code);
    // Where an end is noted already, this invocation has sent nothing, and the time stays true.
    let noted = match run.ended_ms {
        None => journal.end_invocation(run.key, now_ms(), exit_code),
        Some(_) => Ok(()),
    };
    let written = noted
        .and_then(|()| reload(journal, &run))
        .and_then(|run| report::write(&settings.output.report_dir, journal, &run))
        .and_then(|files| spooled::cut_down(journal, &run).map(|()| files));
    let end = match (&written, end) {
        (Ok(_), end) => end,
        (Err(_), Some(Error::Machine(why))) => Some(Error::Machine(why)),
        (Err(error), _) => Some(Error::Machine(error.to_string())),
    };
    if !settings.output.quiet || end.is_some() {
        tell(journal, &run, written.as_ref().ok(), end.as_ref(), headline, again)?;
    }
    end.map_or(Ok(()), Err)
}

fn reload(journal: &Journal, run: &Run) -> Result<Run, Error> {
    journal
        .run(run.key.id)?
        .ok_or_else(|| Error::Machine(format!("run {} has vanished from the journal", run.key.id)))
}

/// What the invocation ends with, as the design orders it.
fn ending(run: &Run, ended: Ended) -> Option<Error> {
    let Ended { stopped, resting, holding, waits_for } = ended;
    if run.counts.pending > 0 && stopped.is_none() && resting == 0 && !holding {
        return Some(Error::Machine(format!(
            "{} were not sent, and nothing held them back: this is a bug in deskload",
            rows(run.counts.pending)
        )));
    }
    let resting = (resting > 0).then(|| {
        Error::Early(format!(
            "the desk kept asking to come back later for {}; the same command sends them another time",
            rows(resting)
        ))
    });
    let attention = attention(run, holding, waits_for);
    [stopped, resting, attention].into_iter().flatten().reduce(Error::graver)
}

/// Rows that need a person; those that wait behind a row in doubt are among them.
pub(super) fn attention(run: &Run, holding: bool, waits_for: Option<Place>) -> Option<Error> {
    let counts = &run.counts;
    let mut parts = Vec::new();
    for (count, word) in
        [(counts.failed, "failed"), (counts.invalid, "invalid"), (counts.in_doubt, "in doubt")]
    {
        if count > 0 {
            parts.push(format!("{} {word}", thousands(count)));
        }
    }
    if counts.pending > 0 && holding {
        let other =
            waits_for.map_or_else(String::new, |place| format!(" (run {}, row {})", place.run, place.row));
        parts.push(format!("{} waiting behind rows in doubt{other}", thousands(counts.pending)));
    }
    (!parts.is_empty()).then(|| Error::Attention(format!("rows need a look: {}", parts.join(", "))))
}

/// How the run stands, where the reports are, and what to do next.
fn tell(
    journal: &Journal,
    run: &Run,
    files: Option<&Files>,
    end: Option<&Error>,
    headline: &str,
    again: &str,
) -> Result<(), Error> {
    say(headline);
    // The reports have read them already; without reports they are read here.
    let table = match files {
        Some(files) => summary::table(run, &files.reasons),
        None => summary::table(run, &summary::reasons(journal, run)?),
    };
    say(&table);
    if let Some(older) = journal.older_unfinished(run)? {
        say(&format!(
            "run {older} of the same file, with other content, is not finished: deskload resume {older}"
        ));
    }
    if let Some(files) = files {
        for path in [&files.failures, &files.in_doubt].into_iter().flatten() {
            say(&format!("written: {}", path.display()));
        }
        say(&format!("written: {}", files.folder.join("summary.json").display()));
    }
    for next in next_steps(run, files, end, again) {
        say(&next);
    }
    Ok(())
}

fn next_steps(run: &Run, files: Option<&Files>, end: Option<&Error>, again: &str) -> Vec<String> {
    let mut next = Vec::new();
    let id = run.key.id;
    let shown = |path: &Path| path.display().to_string();
    if run.counts.in_doubt > 0 {
        next.push(format!(
            "look up the rows in doubt at the desk, then: deskload resolve {id} --applied (or --resend, or --skip; \
             --rows 5,9-12 for some of them)"
        ));
    }
    if let Some(failures) = files.and_then(|files| files.failures.as_deref()) {
        next.push(format!("correct the cells in {0}, then: deskload run {0}", shown(failures)));
    }
    if run.counts.pending > 0 && !matches!(end, Some(Error::Attention(_))) {
        next.push(format!("to go on: {again}"));
    }
    next
}

/// `1 row`, `2 rows`.
pub(super) fn rows(count: u64) -> String {
    format!("{} row{}", thousands(count), if count == 1 { "" } else { "s" })
}
