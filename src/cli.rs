//! What was typed, and nothing else.
//!
//! These structs mirror the command line and the `DESKLOAD_…` variables behind it. They validate only the form
//! of a single value; what it all means together is [`crate::settings`]' business. Nothing here touches a file.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::breaker::MaxFailures;
use crate::input::Choice;
use crate::pace::Rate;

/// Applies large files of changes to help-desk tickets: paced, journaled, resumable, no update repeated.
#[derive(Debug, Parser)]
#[command(name = "deskload", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of the contract.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// A sandbox desk, sample rows, a run, an interruption, a resume, a report; no account needed
    Demo(DemoArgs),
    /// Start, or go on with, the run of this input
    Run(Box<RunArgs>),
    /// Go on with an unfinished run, with the mapping it was started with
    Resume(Box<ResumeArgs>),
    /// Send the failed rows of a run again
    Retry(Box<ResumeArgs>),
    /// Settle rows in doubt by your word
    Resolve(ResolveArgs),
    /// How a run stands
    Status(StatusArgs),
    /// Write the report again, from the journal
    Report(ReportArgs),
    /// A local desk that behaves as the documented one, with faults on request
    Sandbox(SandboxArgs),
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo puts its files [default: a new folder among the temporary ones]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The rows: a CSV or JSONL file, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to read it
    #[command(flatten)]
    pub input: InputArgs,
    /// How to send
    #[command(flatten)]
    pub send: SendArgs,
    /// Go on with the newest unfinished run of these bytes and this mapping, else start a new one
    #[arg(long, help_heading = "Safety")]
    pub again: bool,
    /// Do not ask before a new run is sent
    #[arg(long, short = 'y', help_heading = "Safety")]
    pub yes: bool,
}

/// `resume` and `retry`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run's number; not needed if only one fits
    pub run: Option<u64>,
    /// How to send
    #[command(flatten)]
    pub send: SendArgs,
}

/// How an input is read and mapped.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Format of the input [default: by the file's ending]
    #[arg(long, env = "DESKLOAD_FORMAT", value_name = "csv|tsv|jsonl")]
    pub format: Option<Choice>,
    /// What stands between cells: one character, or tab
    #[arg(long, env = "DESKLOAD_DELIMITER", value_name = "CHAR", value_parser = crate::input::layout::parse_delimiter)]
    pub delimiter: Option<u8>,
    /// Take a field from a column of another name; may be given several times
    #[arg(long, env = "DESKLOAD_MAP", value_name = "FIELD=COLUMN", value_delimiter = '\n')]
    pub map: Vec<String>,
    /// Set a field in every row; may be given several times
    #[arg(long, env = "DESKLOAD_SET", value_name = "FIELD=VALUE", value_delimiter = '\n')]
    pub set: Vec<String>,
    /// Leave a column out; may be given several times
    #[arg(long, env = "DESKLOAD_IGNORE", value_name = "COLUMN", value_delimiter = '\n')]
    pub ignore: Vec<String>,
    /// Leave out every column that means nothing
    #[arg(long, env = "DESKLOAD_IGNORE_UNKNOWN")]
    pub ignore_unknown: bool,
    /// Refuse the whole input if any row is invalid
    #[arg(long, env = "DESKLOAD_STRICT")]
    pub strict: bool,
}

/// Everything that sending needs.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Which desk
    #[command(flatten)]
    pub desk: DeskArgs,
    /// How fast
    #[command(flatten)]
    pub pace: PaceArgs,
    /// When to stop
    #[command(flatten)]
    pub safety: SafetyArgs,
    /// Where results go
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which desk, and how it is reached. The token has no flag: it would show in the process list.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Desk (the token: a flag, else DESKLOAD_TOKEN_FILE, DESKLOAD_TOKEN_COMMAND, DESKLOAD_TOKEN)"
)]
pub struct DeskArgs {
    /// Where updates go [default: the documented address]
    #[arg(long, env = "DESKLOAD_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The account's e-mail
    #[arg(long, env = "DESKLOAD_ACCOUNT_EMAIL", value_name = "EMAIL")]
    pub account_email: Option<String>,
    /// Read the token from a file that only you can read, whatever the variables for the token say
    #[arg(long, value_name = "FILE", conflicts_with = "token_command")]
    pub token_file: Option<PathBuf>,
    /// Get the token from a command's first line of output, whatever the variables for the token say
    #[arg(long, value_name = "COMMAND")]
    pub token_command: Option<String>,
    /// Trust this certificate authority, too (PEM)
    #[arg(long, env = "DESKLOAD_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Go through this proxy, to an https desk alone; the environment's proxies are not used
    #[arg(long, env = "DESKLOAD_PROXY", value_name = "URL", hide_env_values = true)]
    pub proxy: Option<String>,
}

/// How fast.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub struct PaceArgs {
    /// Requests in a time: 5/s, 100/min, 3000/h, several with commas, or unlimited
    /// [default: 1/s, a guess; unlimited for a desk on this machine]
    #[arg(long, env = "DESKLOAD_RATE", value_name = "RATE", value_parser = parse_rates)]
    pub rate: Option<Rates>,
    /// Requests that may leave at once after a quiet time [default: 2, more from 400/s on]
    #[arg(long, env = "DESKLOAD_BURST", value_name = "N")]
    pub burst: Option<NonZeroU32>,
    /// Requests under way at once, at most [default: 8]
    #[arg(long, env = "DESKLOAD_CONCURRENCY", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: Option<u16>,
    /// How long one request may take [default: 30s]
    #[arg(long, env = "DESKLOAD_TIMEOUT", value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// How long connecting may take [default: 5s]
    #[arg(long, env = "DESKLOAD_CONNECT_TIMEOUT", value_name = "TIME", value_parser = parse_duration)]
    pub connect_timeout: Option<Duration>,
    /// The longest pause asked for by the desk that is waited for [default: 15m]
    #[arg(long, env = "DESKLOAD_MAX_WAIT", value_name = "TIME", value_parser = parse_duration)]
    pub max_wait: Option<Duration>,
}

/// When to stop.
#[derive(Debug, Args)]
#[command(next_help_heading = "Safety")]
pub struct SafetyArgs {
    /// What becomes of rows in doubt: hold them for your word, or send them again, which may repeat an update
    /// [default: hold]
    #[arg(long, env = "DESKLOAD_IN_DOUBT", value_name = "WHAT", value_enum)]
    pub in_doubt: Option<InDoubtChoice>,
    /// How often one row may be told to come back later, while others go through, before it rests [default: 5]
    #[arg(long, env = "DESKLOAD_RETRIES", value_name = "N")]
    pub retries: Option<u32>,
    /// Stop when more rows than this are failed, invalid or in doubt: a share or a number [default: 25%]
    #[arg(long, env = "DESKLOAD_MAX_FAILURES", value_name = "N|N%", value_parser = MaxFailures::parse)]
    pub max_failures: Option<MaxFailures>,
    /// How long to wait for a desk that does not answer [default: 10m]
    #[arg(long, env = "DESKLOAD_PATIENCE", value_name = "TIME", value_parser = parse_duration)]
    pub patience: Option<Duration>,
    /// Work with this journal although the account's runs are in another one
    #[arg(long)]
    pub accept_journal: bool,
}

/// Where results go, and what is said.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The journal's file
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Where reports go [default: ./deskload-reports]
    #[arg(long, env = "DESKLOAD_REPORT_DIR", value_name = "FOLDER")]
    pub report_dir: Option<PathBuf>,
    /// How to show progress [default: a bar on a terminal, lines elsewhere]
    #[arg(long, env = "DESKLOAD_PROGRESS", value_name = "HOW", value_enum)]
    pub progress: Option<ProgressChoice>,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// Say more: what was begun, pauses, how it ended; twice: every request, too
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Which journal.
#[derive(Debug, Args)]
pub struct JournalArgs {
    /// The journal's file [default: journal.sqlite3 in the state folder]
    #[arg(long, env = "DESKLOAD_JOURNAL", value_name = "FILE")]
    pub journal: Option<PathBuf>,
}

/// `--in-doubt`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InDoubtChoice {
    /// They wait for `deskload resolve`
    Hold,
    /// They are sent again, as often as --retries allows
    Resend,
}

/// `--progress`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressChoice {
    /// A bar on a terminal, lines elsewhere
    Auto,
    /// A bar
    Bar,
    /// Lines
    Plain,
    /// Nothing
    None,
}

/// `resolve`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what was typed")]
#[command(group = clap::ArgGroup::new("word").required(true).args(["applied", "resend", "skip"]))]
pub struct ResolveArgs {
    /// The run's number; not needed if only one has rows in doubt
    pub run: Option<u64>,
    /// The desk has them
    #[arg(long)]
    pub applied: bool,
    /// Send them again
    #[arg(long)]
    pub resend: bool,
    /// Leave them
    #[arg(long)]
    pub skip: bool,
    /// Only these rows: 5,9-12 [default: all that are in doubt]
    #[arg(long, value_name = "ROWS", value_parser = parse_rows)]
    pub rows: Option<Rows>,
    /// Work with this journal although the account's runs are in another one
    #[arg(long)]
    pub accept_journal: bool,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's number; not needed if there is only one
    pub run: Option<u64>,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
}

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's number; not needed if there is only one
    pub run: Option<u64>,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Where reports go [default: ./deskload-reports]
    #[arg(long, env = "DESKLOAD_REPORT_DIR", value_name = "FOLDER")]
    pub report_dir: Option<PathBuf>,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
}

/// `sandbox`
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub port: u16,
    /// Requests a second before it answers 429: 50 or 50/s
    #[arg(long, value_name = "R")]
    pub rate: Option<String>,
    /// Share of tickets that it refuses: 0.02 or 2%
    #[arg(long, value_name = "P")]
    pub fail: Option<String>,
    /// Share of requests that it applies and leaves without an answer
    #[arg(long, value_name = "P")]
    pub drop: Option<String>,
    /// How long an answer takes, in milliseconds: 5..20
    #[arg(long, value_name = "A..B")]
    pub latency: Option<String>,
    /// Makes the same faults again
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Writes a line for each request, without the token
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// The rates of `--rate`; none: unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates(pub Vec<Rate>);

fn parse_rates(text: &str) -> Result<Rates, String> {
    Rate::parse_all(text).map(Rates)
}

/// The rows of `--rows`: inclusive ranges, in order, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(pub Vec<(u64, u64)>);

fn parse_rows(text: &str) -> Result<Rows, String> {
    let expected = || format!("{text:?} is not a list of rows, such as 5,9-12");
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u64 = first.trim().parse().map_err(|_| expected())?;
        let last: u64 = last.trim().parse().map_err(|_| expected())?;
        if first == 0 || last < first { Err(expected()) } else { Ok((first, last)) }
    };
    let mut ranges = text.split(',').map(range).collect::<Result<Vec<_>, _>>()?;
    ranges.sort_unstable();
    match ranges.array_windows().find(|[(_, last), (first, _)]| first <= last) {
        Some([_, (first, _)]) => Err(format!("row {first} is named twice in {text:?}")),
        None => Ok(Rows(ranges)),
    }
}

/// Reads `30s`, `1h30m`, `15m`, `500ms`; at most 366 days, so that no sum of such times overflows a clock.
fn parse_duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_hours(366 * 24);
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero() && *duration <= MAX)
        .ok_or_else(|| format!("{text:?} is not a time, such as 30s, 15m or 1h30m, of at most 366 days"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn rows_are_numbers_and_ranges_none_twice() {
        assert_eq!(parse_rows("9-12, 5"), Ok(Rows(vec![(5, 5), (9, 12)])));
        for wrong in ["", "0", "5-4", "a", "1,,2", "5,4-6"] {
            assert!(parse_rows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("8784h"), Ok(Duration::from_hours(8784)));
        for wrong in ["", "15", "0s", "-5s", "soon", "8784h 1ns", "9000000000000000000s"] {
            assert!(parse_duration(wrong).unwrap_err().contains("30s, 15m"), "{wrong}");
        }
    }
}
