//! One file a subcommand, each thin; what several need is here.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`check`] | reads every row and sends nothing: what is wrong, what would be sent, when it would be done |
//! | [`run`] | takes the input in, decides whether it is new, drives |
//! | [`resume`] | drives an unfinished run with the mapping it was started with |
//! | [`retry`] | the same for the failed rows of a run |
//! | [`drive`], [`ending`] | what these share: send what is left; tell how it stands and what to do next |
//! | `source`, `forecast` | what was named as the input; which limit binds, and until when |
//! | `watched` | metrics, and the command at the end |
//! | `remarks` | what `run` and `check` say of an input before anything is sent |
//! | [`resolve`] | a person's word on rows in doubt |
//! | [`status`], [`report`], [`runs`] | read the journal |
//! | [`prune`] | gives up the rows of old runs |
//! | `retold` | the commands that a person is told, with the flags they need |
//! | `standing` | how a run stands, in a word and in a sentence |
//! | `shared` | what `run`, `resume` and `retry` do with a journal that several machines share |
//! | [`work`] | joins in with the run that others have begun there |
//! | [`journal`] | makes such a journal, and judges its database |
//! | [`init`], [`config`] | the configuration file |
//! | [`sandbox`], [`demo`] | try it without an account |
//! | [`man`] | man pages and completions |

pub mod check;
pub mod config;
pub mod demo;
pub mod drive;
pub mod ending;
mod forecast;
pub mod init;
pub mod journal;
pub mod man;
pub mod prune;
mod remarks;
pub mod report;
pub mod resolve;
pub mod resume;
mod retold;
pub mod retry;
pub mod run;
pub mod runs;
pub mod sandbox;
mod shared;
mod source;
mod standing;
pub mod status;
mod watched;
pub mod work;

use std::io::Write as _;
use std::panic::{UnwindSafe, catch_unwind};

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cli::{ColorChoice, Command, ConfigCommand, JournalCommand, RunsCommand};
use crate::config::Layered;
use crate::contained;
use crate::error::{EXIT_DONE, Error};
use crate::journal::Journal;
use crate::journal::archive::Archive;
use crate::journal::postgres::Shared;
use crate::journal::runs::Run;
use crate::settings::{JournalPlace, OutputSettings};
use crate::shutdown;
use crate::text::{clean, date, rows, thousands};
use crate::voice::{self, Form, Voice};
use retold::Typed;

/// Does what was typed.
pub fn dispatch(layered: &Layered) -> Result<(), Error> {
    let done = shutdown::outlive_file_size_limits().and_then(|()| obey(layered));
    match &done {
        Ok(()) => tracing::info!(exit_code = EXIT_DONE, "ended"),
        Err(error) => tracing::info!(exit_code = error.exit_code(), "ended: {error}"),
    }
    done
}

fn obey(layered: &Layered) -> Result<(), Error> {
    let profile = &layered.profile;
    match &layered.cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(args, layered),
        Command::Run(args) => run::run(args, layered),
        Command::Resume(args) => resume::run(args, profile),
        Command::Retry(args) => retry::run(args, profile),
        Command::Resolve(args) => resolve::run(args),
        Command::Status(args) => status::run(args),
        Command::Report(args) => report::run(args),
        Command::Runs(args) => match &args.command {
            None => runs::list(&args.list),
            Some(RunsCommand::List(args)) => runs::list(args),
            Some(RunsCommand::Prune(args)) => prune::run(args),
        },
        Command::Work(args) => work::run(args, profile),
        Command::Journal(JournalCommand::Init(args)) => journal::init(args),
        Command::Journal(JournalCommand::Check(args)) => journal::check(args),
        Command::Sandbox(args) => sandbox::run(args),
        Command::Init(args) => init::run(args),
        Command::Config(ConfigCommand::Show(args)) => config::show(args, layered),
        Command::Config(ConfigCommand::Path(args)) => config::path(args),
        Command::Completions(args) => {
            man::completions(args);
            Ok(())
        }
        Command::Man(args) => man::man(args),
    }
}

/// Makes of a panic in `work` what it is, a failure of the machine: 101 is no code of ours.
pub fn guarded(work: impl FnOnce() -> Result<(), Error> + UnwindSafe) -> Result<(), Error> {
    // Where it was, and not what it says: that may quote a row, or worse.
    std::panic::set_hook(Box::new(|info| {
        if contained::is_at_work() {
            return;
        }
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        voice::complain(&format!("deskload: a bug in deskload{place}"));
    }));
    catch_unwind(work).unwrap_or_else(|_| {
        Err(Error::Machine(
            "stopped by a bug in deskload; please report it with the line above; what was sent is in the journal"
                .to_owned(),
        ))
    })
}

/// A result on standard output. Whoever closed it wants no more.
pub(crate) fn print(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// The journal's file, where there must be one.
fn open_journal(path: &std::path::Path) -> Result<Journal, Error> {
    Journal::open_if_there(path)?.ok_or_else(|| {
        Error::Usage(format!(
            "there is no journal {}; nothing has been run with it yet (--journal names another)",
            path.display()
        ))
    })
}

/// The journal, whichever engine keeps it, where there must be one.
fn open_archive(place: &JournalPlace) -> Result<Box<dyn Archive>, Error> {
    Ok(match place {
        JournalPlace::File(path) => Box::new(open_journal(path)?),
        JournalPlace::Database(place) => Box::new(Shared::open(place)?),
    })
}

/// The run that was named, or the only one that fits. Where several fit, they are listed.
fn pick_run(
    journal: &dyn Archive,
    named: Option<u64>,
    what: &str,
    fits: impl Fn(&Run) -> bool,
) -> Result<Run, Error> {
    if let Some(id) = named {
        return match journal.run(id)? {
            Some(run) => Ok(run),
            None => Err(no_run(journal, id)?),
        };
    }
    let mut fitting: Vec<Run> = journal.runs()?.into_iter().filter(fits).collect();
    match (fitting.pop(), fitting.len()) {
        (None, _) => Err(none_fits(journal, what)),
        (Some(run), 0) => Ok(run),
        (Some(last), _) => {
            fitting.push(last);
            Err(Error::Usage(format!("several runs fit; name one of them:\n{}", lines(&fitting))))
        }
    }
}

/// A run was named that is not there.
fn no_run(journal: &dyn Archive, id: u64) -> Result<Error, Error> {
    let runs = journal.runs()?;
    let there = if runs.is_empty() {
        "nothing has been run with it yet (--journal names another)".to_owned()
    } else {
        format!("name one of these:\n{}", lines(&runs))
    };
    Ok(Error::Usage(format!("there is no run {id} in the journal {}; {there}", journal.name())))
}

/// No run was named, and none is meant.
fn none_fits(journal: &dyn Archive, what: &str) -> Error {
    let journal = journal.name();
    let flags = Typed::now().flags_for("runs");
    Error::Usage(format!(
        "no run {what} in the journal {journal}; deskload runs{flags} lists those that are there"
    ))
}

/// The newest of these runs, a line each.
fn lines(runs: &[Run]) -> String {
    let newest = runs.len().saturating_sub(LISTED_MAX);
    let lines: Vec<String> = runs.iter().skip(newest).map(line).collect();
    lines.join("\n")
}

/// Refuses a run whose rows were given up: there is nothing that could be reported or sent again.
fn require_rows(run: &Run) -> Result<(), Error> {
    let Some(pruned_ms) = run.pruned_ms else { return Ok(()) };
    let (id, flags) = (run.key.id, Typed::now().flags_for("status"));
    Err(Error::Usage(format!(
        "the rows of run {id} were pruned on {}; deskload status {id}{flags} still shows their counts, reports that were \
         written are where they were, and deskload run FILE --again sends the whole file anew",
        date(pruned_ms)
    )))
}

/// Runs listed where several fit.
const LISTED_MAX: usize = 20;

/// A run in a line.
fn line(run: &Run) -> String {
    let counts = &run.counts;
    let state = if run.is_finished() {
        "finished".to_owned()
    } else {
        format!("{} pending", thousands(counts.pending))
    };
    format!(
        "  {:>4}  {}  {}, {state}, {} failed, {} in doubt",
        run.key.id,
        clean(run.input.source()),
        rows(counts.rows),
        thousands(counts.failed + counts.invalid),
        thousands(counts.in_doubt)
    )
}

/// Begins to speak as the settings say. `-v` adds diagnostics, on standard error and in the log file; a body is in no
/// event, so the token is in none.
fn speak(output: &OutputSettings) -> Result<(), Error> {
    let log = output.log_file.as_deref().map(voice::open_log).transpose()?;
    match output.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => console::set_colors_enabled_stderr(true),
        ColorChoice::Never => console::set_colors_enabled_stderr(false),
    }
    speak_as(Voice { form: output.form, quiet: output.quiet, log }, output.verbose);
    Ok(())
}

/// Begins to speak for a command that ends soon: to a person, or in one object to a program.
fn answer(json: bool, quiet: bool, verbose: u8) {
    speak_as(Voice { form: if json { Form::Program } else { Form::Person }, quiet, log: None }, verbose);
}

fn speak_as(voice: Voice, verbose: u8) {
    let is_logged = voice.log.is_some();
    voice::set(voice);
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    // Their complaint about a stream that is gone would go to that very stream, and panic there.
    let on_terminal = tracing_subscriber::fmt::layer()
        .log_internal_errors(false)
        .with_ansi(console::colors_enabled_stderr())
        .with_writer(|| voice::Diagnostics)
        .with_filter(ours(level));
    let mut layers = vec![on_terminal.boxed()];
    if is_logged {
        let in_file = tracing_subscriber::fmt::layer()
            .log_internal_errors(false)
            .with_ansi(false)
            .with_writer(|| voice::Logged)
            .with_filter(ours(level.max(Level::INFO)));
        layers.push(in_file.boxed());
    }
    // It fails if it is set already, as in tests that run two commands in one process.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "begun: {}", Typed::now().whole());
}

/// Ours alone: what the libraries say is of no use to who wants to know how the rows fare.
fn ours(level: Level) -> Targets {
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), level)
}

/// UNIX time in milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EXIT_MACHINE;

    #[test]
    fn a_panic_is_a_failure_of_the_machine() {
        let hook = std::panic::take_hook();
        let bug = guarded(|| panic!("a row's text")).unwrap_err();
        let other = guarded(|| Err(Error::Usage("x".to_owned()))).unwrap_err();
        std::panic::set_hook(hook);
        assert_eq!(bug.exit_code(), EXIT_MACHINE);
        assert!(bug.to_string().contains("a bug in deskload"), "{bug}");
        assert!(!bug.to_string().contains("row's"), "{bug}");
        assert_eq!(other.to_string(), "x");
    }
}
