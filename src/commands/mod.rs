//! One file a subcommand, each thin; what several need is here.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`run`] | takes the input in, decides whether it is new, drives |
//! | [`resume`] | drives an unfinished run with the mapping it was started with |
//! | [`retry`] | the same for the failed rows of a run |
//! | [`drive`] | the part that both share: sends what is left, then tells how it stands |
//! | [`resolve`] | a person's word on rows in doubt |
//! | [`status`], [`report`] | read the journal |
//! | [`sandbox`], [`demo`] | try it without an account |

pub mod demo;
pub mod drive;
pub mod report;
pub mod resolve;
pub mod resume;
pub mod retry;
pub mod run;
pub mod sandbox;
pub mod status;

use std::io::Write as _;

use crate::cli::{Cli, Command};
use crate::error::Error;
use crate::journal::Journal;
use crate::journal::runs::Run;
use crate::text::thousands;

/// Does what was typed.
pub fn dispatch(cli: Cli) -> Result<(), Error> {
    match cli.command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Retry(args) => retry::run(&args),
        Command::Resolve(args) => resolve::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Sandbox(args) => sandbox::run(&args),
    }
}

/// A line for a person. Nobody may be listening; that is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A result on standard output. Whoever closed it wants no more.
pub(crate) fn print(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// The journal, where there must be one.
fn open_journal(path: &std::path::Path) -> Result<Journal, Error> {
    Journal::open_if_there(path)?.ok_or_else(|| {
        Error::Usage(format!(
            "there is no journal {}; nothing has been run with it yet (--journal names another)",
            path.display()
        ))
    })
}

/// The run that was named, or the only one that fits. Where several fit, they are listed.
fn pick_run(
    journal: &Journal,
    named: Option<u64>,
    what: &str,
    fits: impl Fn(&Run) -> bool,
) -> Result<Run, Error> {
    if let Some(id) = named {
        return journal.run(id)?.ok_or_else(|| {
            Error::Usage(format!("there is no run {id} in the journal {}", journal.path().display()))
        });
    }
    let mut fitting: Vec<Run> = journal.runs()?.into_iter().filter(fits).collect();
    match (fitting.pop(), fitting.len()) {
        (None, _) => Err(Error::Usage(format!("no run {what} in the journal {}", journal.path().display()))),
        (Some(run), 0) => Ok(run),
        (Some(last), _) => {
            fitting.push(last);
            let newest = fitting.len().saturating_sub(LISTED_MAX);
            let lines: Vec<String> = fitting.iter().skip(newest).map(line).collect();
            Err(Error::Usage(format!("several runs fit; name one of them:\n{}", lines.join("\n"))))
        }
    }
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
        "  {:>4}  {}  {} rows, {state}, {} failed, {} in doubt",
        run.key.id,
        source(run),
        thousands(counts.rows),
        thousands(counts.failed + counts.invalid),
        thousands(counts.in_doubt)
    )
}

/// Where a run's rows came from.
pub(crate) fn source(run: &Run) -> &str {
    run.input.path.as_deref().unwrap_or("standard input")
}

/// The command as it was typed, so that it can be pasted into a shell.
fn typed() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("deskload".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,%@+".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", crate::text::clean(word).replace('\'', r"'\''"))
}

/// What `-v` says goes to standard error; a body is in no event, so the token is in none.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    // It fails if it is set already, as in tests that run two commands in one process.
    let _ = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).try_init();
}

/// UNIX time in milliseconds.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
