//! What `run` and `resume` share: send what is left of a run, then tell how it stands.
//!
//! The account is held from before the journal is trusted until after the last report. Whatever stops the
//! sending, the reports are written; a report that cannot be written does not hide why the run stopped.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::breaker::Breaker;
use crate::commands::{ending, now_ms};
use crate::error::{Error, said};
use crate::folders;
use crate::journal::Journal;
use crate::journal::account::AccountLock;
use crate::journal::fingerprint::SameUpdate;
use crate::journal::invocations::Beginning;
use crate::journal::later::Place;
use crate::journal::runs::{Counts, Run};
use crate::journal::writer::Writer;
use crate::lanes::Lanes;
use crate::mapping::Mapping;
use crate::network_disk;
use crate::pace::Pace;
use crate::pace::uptime::Uptime;
use crate::pipeline::{Driven, Ended, Parts, Pipeline};
use crate::progress::Progress;
use crate::report;
use crate::settings::{SendSettings, Show};
use crate::shutdown::Shutdown;
use crate::spooled::{self, Spooled};
use crate::text::{duration, rows, thousands};
use crate::todo::{Source, Todo};
use crate::until::Until;
use crate::voice::{self, Form, say};

/// Rows marked as sending for each request that may be under way: the bound on what a crash puts in doubt. More of
/// them gained next to nothing; no more than the requests themselves cost a third (see `src/README.md`).
pub(super) const MARKED_PER_SLOT: usize = 2;

/// The account, held, and its journal, confirmed and recovered.
pub struct Held {
    /// The journal.
    pub journal: Journal,
    /// Dropped last.
    pub account: AccountLock,
}

/// Takes the account and opens its journal; puts in doubt what a killed process left on its way.
pub fn hold(path: &Path, settings: &SendSettings, shutdown: &Shutdown) -> Result<Held, Error> {
    settings.terms.bounds.check(jiff::Timestamp::now())?;
    // Before anything is journaled or sent.
    folders::require_place(&settings.output.report_dir, "--report-dir")?;
    let mut account = take_account(settings, shutdown)?;
    let mut journal = Journal::open(path)?;
    network_disk::warn(path, &settings.state_folder);
    account.confirm(&mut journal, &settings.desk_id, settings.accept_journal)?;
    let found = journal.recover(&settings.desk_id)?;
    if found > 0 {
        voice::complain(&format!(
            "the process before this one ended with {} on the way: in doubt from now on, and not sent again",
            rows(found)
        ));
    }
    spooled::sweep(&mut journal)?;
    Ok(Held { journal, account })
}

/// Takes the account; where another process has it, ends or waits for it, as `--on-overlap` says.
fn take_account(settings: &SendSettings, shutdown: &Shutdown) -> Result<AccountLock, Error> {
    unless_others(settings, shutdown, || AccountLock::acquire(&settings.state_folder, &settings.desk_id))
}

/// Takes what others may have just now; where they have it, ends or tries again and again, as `--on-overlap` says.
pub(super) fn unless_others<T>(
    settings: &SendSettings,
    shutdown: &Shutdown,
    mut take: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let mut is_told = false;
    loop {
        match take() {
            Err(Error::Overlap(why)) if settings.waits_for_others => {
                if !std::mem::replace(&mut is_told, true) {
                    say(&format!("{why}; waiting, as --on-overlap wait says"));
                }
                shutdown.check()?;
                std::thread::sleep(LOOK_EVERY);
            }
            done => return done,
        }
    }
}

/// Between two looks whether the others have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Sends what is left of a run. `again` is the command that goes on, for the last line.
pub fn drive(
    held: Held,
    run: &Run,
    settings: &SendSettings,
    shutdown: &Shutdown,
    again: &str,
) -> Result<(), Error> {
    let Held { mut journal, mut account } = held;
    // Before anything is sent: a report folder that cannot be had would be found out too late.
    report::make_folder(&settings.output.report_dir, &journal, run.key.id)?;
    account.bind()?;
    let pace = settings.terms.pace.to_string();
    journal.begin_invocation(run.key, &Beginning { now_ms: now_ms(), again, pace: &pace })?;
    shutdown.begin_sending();
    announce(run, settings);
    let began = Instant::now();
    let driven = send(journal, run, settings, shutdown)?;
    let Driven { writer, progress, ended, broken } = driven;
    progress.finish();
    if broken {
        // What is on disk after a failed commit is anybody's guess: it is dropped, which leaves it to the next start.
        drop(writer.close());
        return ended.stopped.map_or(Ok(()), Err);
    }
    let mut journal = writer.close()?;
    let headline = format!("run {}, worked on for {}", run.key.id, duration(began.elapsed()));
    let ended = ending::finish(&mut journal, run, ended, settings, &headline, again);
    put_away(journal, account, ended)
}

/// Closes the journal, unless the machine has failed: what is on disk then is left to the next start, as it is.
pub(super) fn put_away(
    journal: Journal,
    account: AccountLock,
    ended: Result<(), Error>,
) -> Result<(), Error> {
    let closed = match ended {
        Err(Error::Machine(_)) => {
            drop(journal);
            Ok(())
        }
        _ => journal.close(),
    };
    drop(account);
    ended.and(closed)
}

/// What is about to happen.
pub(super) fn announce(run: &Run, settings: &SendSettings) {
    voice::tell("plan", Plan::of(run, settings));
    if voice::form() == Form::Program {
        return;
    }
    let unchanged = match run.unchanged {
        None | Some(0) => String::new(),
        Some(unchanged) => format!(" ({} unchanged)", thousands(unchanged)),
    };
    say(&format!(
        "run {}: {} of {}{unchanged} to send to {}, pace {}",
        run.key.id,
        rows(run.counts.pending),
        thousands(run.counts.rows),
        run.desk.url,
        settings.terms.pace
    ));
    if settings.terms.limits.resends && run.counts.in_doubt > 0 {
        say(&format!("{} in doubt will be sent again, as --in-doubt resend says", rows(run.counts.in_doubt)));
    }
    if settings.terms.pace.is_guess {
        say(&format!(
            "the pace is a guess, because the desk documents no limit{} (--rate sets another)",
            settings
                .terms
                .pace
                .takes(run.counts.pending)
                .map_or_else(String::new, |time| format!(": this takes {}", until(time)))
        ));
    }
}

/// How long something takes, and until when by the clock.
pub(super) fn until(takes: Duration) -> String {
    let now = jiff::ZonedDateTime::now();
    let end = jiff::SignedDuration::try_from(takes).ok().and_then(|takes| now.checked_add(takes).ok());
    let clock = end.map(|end| {
        let form = if end.date() == now.date() { "%H:%M" } else { "%a %d %b %H:%M" };
        end.strftime(form).to_string()
    });
    match clock {
        Some(clock) if takes >= Duration::from_secs(60) => {
            format!("{}, until about {clock}", duration(takes))
        }
        _ => format!("about {}", duration(takes)),
    }
}

/// What a program is told of what is about to happen.
#[derive(Serialize)]
struct Plan<'a> {
    run: u64,
    input: &'a str,
    url: &'a str,
    account_email: &'a str,
    counts: Counts,
    rate: Option<String>,
    rate_is_guess: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_seconds: Option<u64>,
}

impl<'a> Plan<'a> {
    fn of(run: &'a Run, settings: &SendSettings) -> Self {
        let pace = &settings.terms.pace;
        Self {
            run: run.key.id,
            input: run.input.source(),
            url: &run.desk.url,
            account_email: &run.desk.account_email,
            counts: run.counts,
            rate: (!pace.rates.is_empty()).then(|| pace.to_string()),
            rate_is_guess: pace.is_guess,
            takes_seconds: pace.takes(run.counts.pending).map(|takes| takes.as_secs()),
        }
    }
}

fn send(journal: Journal, run: &Run, settings: &SendSettings, shutdown: &Shutdown) -> Result<Driven, Error> {
    let resends = settings.terms.limits.resends;
    let (lanes, doubts) = waiting_for_a_word(&journal, run, resends)?;
    let Some(spooled) = Spooled::open(&journal, run)? else {
        return Ok(nothing_to_send(journal, run));
    };
    let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
    let todo = Todo::new(journal.open_again()?, run, spooled, mapping, resends)?;
    let before = journal.remembered(&run.desk)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Error::Machine(format!(
            "failed to start the network: {}; the system's log may say more",
            said(&error)
        ))
    })?;
    let context = runtime.enter();
    let parts = Parts {
        desk: &settings.desk,
        source: Source::spawn(todo)?,
        writer: Writer::spawn(journal, run.key)?,
        lanes,
        pace: Pace::new(&settings.terms.pace.rates, settings.terms.pace.burst)?
            .with_each_ticket(settings.terms.pace.rate_per_ticket)
            .remembering(&before, Uptime::of_this_machine()),
        breaker: Breaker::new(settings.terms.limits, fastrand::Rng::new(), newly_invalid(run)),
        doubts,
        concurrency: settings.terms.pace.concurrency,
        marked_max: MARKED_PER_SLOT * settings.terms.pace.concurrency,
        counts: run.counts,
        progress: progress(run, settings),
        until: Until::new(settings.terms.bounds.clone(), jiff::Timestamp::now),
        shutdown: shutdown.clone(),
    };
    let driven = runtime.block_on(Pipeline::new(parts).run());
    drop(context);
    // A token command that hangs is not waited for.
    runtime.shutdown_background();
    Ok(driven)
}

/// How progress is shown.
pub(super) fn progress(run: &Run, settings: &SendSettings) -> Progress {
    let per_second = settings.terms.pace.per_second();
    match settings.output.show {
        Show::Nothing => Progress::None,
        Show::Lines => Progress::plain(&run.counts, per_second),
        Show::Bar => Progress::bar(&run.counts, per_second),
    }
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
pub(super) fn newly_invalid(run: &Run) -> u64 {
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
