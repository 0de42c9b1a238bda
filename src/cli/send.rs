//! What was typed for reading an input and for sending it: the flags that `run` and its like share.
//!
//! Each of them has its variable, `DESKLOAD_` and the flag in capitals, and is a key of the profile of the same name;
//! [`crate::config`] finds them here, so a flag that is added needs nothing else.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{Expected, Rates, parse_duration, parse_rates};
use crate::breaker::MaxFailures;
use crate::input::{Choice, Format};
use crate::pace::Rate;
use crate::until::Window;

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to send, and how
    #[command(flatten)]
    pub check: CheckArgs,
    /// Go on with the newest unfinished run of these bytes and this mapping, else start a new one
    #[arg(long, help_heading = "Safety")]
    pub again: bool,
    /// Send and note nothing: do as `check` does
    #[arg(long, help_heading = "Safety")]
    pub dry_run: bool,
    /// Do not ask before a new run is sent
    #[arg(long, short = 'y', help_heading = "Safety")]
    pub yes: bool,
}

/// `check`: what `run` takes besides its own flags, to see what they would do.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The rows: a CSV, JSONL or .xlsx file, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How to read it
    #[command(flatten)]
    pub input: InputArgs,
    /// How it is sent
    #[command(flatten)]
    pub send: SendArgs,
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
    #[arg(long, env = "DESKLOAD_FORMAT", value_name = "csv|tsv|jsonl|xlsx")]
    pub format: Option<Choice>,
    /// Which sheet of a spreadsheet to read [default: the first]
    #[arg(long, env = "DESKLOAD_SHEET", value_name = "NAME")]
    pub sheet: Option<String>,
    /// What stands between cells: one character, or tab [default: comma, semicolon or tab, as the header shows]
    #[arg(long, env = "DESKLOAD_DELIMITER", value_name = "CHAR", value_parser = crate::input::layout::parse_delimiter)]
    pub delimiter: Option<u8>,
    /// Encoding of the input, for instance windows-1252 [default: UTF-8, or as its byte order mark says]
    #[arg(long, env = "DESKLOAD_ENCODING", value_name = "NAME", value_parser = crate::input::decode::parse_encoding)]
    pub encoding: Option<String>,
    /// Take a field from a column of another name; may be given several times [default: of its own]
    #[arg(long, env = "DESKLOAD_MAP", value_name = "FIELD=COLUMN", value_delimiter = '\n')]
    pub map: Vec<String>,
    /// Set a field in every row; may be given several times [default: none]
    #[arg(long, env = "DESKLOAD_SET", value_name = "FIELD=VALUE", value_delimiter = '\n')]
    pub set: Vec<String>,
    /// What a blank cell of a field means: keep it as it is, clear it, or an invalid row [default: keep]
    #[arg(long, env = "DESKLOAD_BLANK", value_name = "FIELD=keep|clear|error", value_delimiter = '\n')]
    pub blank: Vec<String>,
    /// Leave a column out; may be given several times [default: none]
    #[arg(long, env = "DESKLOAD_IGNORE", value_name = "COLUMN", value_delimiter = '\n')]
    pub ignore: Vec<String>,
    /// Leave out every column that means nothing
    #[arg(long, env = "DESKLOAD_IGNORE_UNKNOWN")]
    pub ignore_unknown: bool,
    /// Refuse the whole input if any row is invalid
    #[arg(long, env = "DESKLOAD_STRICT")]
    pub strict: bool,
    /// Skip the rows of a new input whose tickets were given all of these values last, as far as this journal knows
    #[arg(long, env = "DESKLOAD_ONLY_CHANGED")]
    pub only_changed: bool,
    /// With --only-changed: send what was given longer ago than this all the same: 30d, 12h [default: no end]
    #[arg(long, env = "DESKLOAD_MAX_AGE", value_name = "TIME", value_parser = parse_duration)]
    pub max_age: Option<Duration>,
}

/// Which configuration.
#[derive(Debug, Args)]
#[command(next_help_heading = "Desk")]
pub struct ConfigArgs {
    /// The configuration file [default: config.toml in the configuration folder, if there is one]
    #[arg(long, env = "DESKLOAD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The profile of the configuration file [default: the one that the file names]
    #[arg(long, env = "DESKLOAD_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
}

/// Everything that sending needs.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
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
#[command(next_help_heading = "Desk")]
pub struct DeskArgs {
    /// Where updates go [default: the documented address]
    #[arg(long, env = "DESKLOAD_URL", value_name = "URL")]
    pub url: Option<String>,
    /// The account's e-mail [default: none; it must be given]
    #[arg(long, env = "DESKLOAD_ACCOUNT_EMAIL", value_name = "EMAIL")]
    pub account_email: Option<String>,
    /// Read the token from a file that only you can read [default: `DESKLOAD_TOKEN_FILE`, `DESKLOAD_TOKEN_COMMAND`,
    /// `DESKLOAD_TOKEN`, systemd's credential deskload-token, the profile: the first that is set]
    #[arg(long, value_name = "FILE", conflicts_with = "token_command")]
    pub token_file: Option<PathBuf>,
    /// Get the token from a command's first line of output [default: as for --token-file]
    #[arg(long, value_name = "COMMAND")]
    pub token_command: Option<String>,
    /// Trust this certificate authority, too (PEM) [default: the system's alone]
    #[arg(long, env = "DESKLOAD_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Go through this proxy, to an https desk alone; the environment's proxies are not used [default: none]
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
    /// Requests for one ticket in a time, such as 30/10min [default: no limit of its own]
    #[arg(long, env = "DESKLOAD_RATE_PER_TICKET", value_name = "RATE", value_parser = Rate::parse)]
    pub rate_per_ticket: Option<Rate>,
    /// Requests that may leave at once after a quiet time [default: 2, more from 400/s on]
    #[arg(long, env = "DESKLOAD_BURST", value_name = "N")]
    pub burst: Option<NonZeroU32>,
    /// Requests under way at once, at most
    #[arg(long, env = "DESKLOAD_CONCURRENCY", default_value = "8", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How long one request may take
    #[arg(long, env = "DESKLOAD_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Duration,
    /// How long connecting may take
    #[arg(long, env = "DESKLOAD_CONNECT_TIMEOUT", default_value = "5s", value_name = "TIME", value_parser = parse_duration)]
    pub connect_timeout: Duration,
    /// The longest pause asked for by the desk that is waited for
    #[arg(long, env = "DESKLOAD_MAX_WAIT", default_value = "15m", value_name = "TIME", value_parser = parse_duration)]
    pub max_wait: Duration,
}

/// When to stop.
#[derive(Debug, Args)]
#[command(next_help_heading = "Safety")]
pub struct SafetyArgs {
    /// What becomes of rows in doubt: hold them for your word, or send them again, which may repeat an update
    #[arg(long, env = "DESKLOAD_IN_DOUBT", default_value = "hold", value_name = "WHAT", value_enum)]
    pub in_doubt: InDoubtChoice,
    /// How often one row may be told to come back later, while others go through, before it rests
    #[arg(long, env = "DESKLOAD_RETRIES", default_value = "5", value_name = "N")]
    pub retries: u32,
    /// Stop when more rows than this are failed, invalid or in doubt: a share or a number
    #[arg(long, env = "DESKLOAD_MAX_FAILURES", default_value = "25%", value_name = "N|N%", value_parser = MaxFailures::parse)]
    pub max_failures: MaxFailures,
    /// How long to wait for a desk that does not answer
    #[arg(long, env = "DESKLOAD_PATIENCE", default_value = "10m", value_name = "TIME", value_parser = parse_duration)]
    pub patience: Duration,
    /// Stop after this time, drained: 4h, 90m; the same command goes on [default: none]
    #[arg(long, env = "DESKLOAD_MAX_DURATION", value_name = "TIME", value_parser = parse_duration)]
    pub max_duration: Option<Duration>,
    /// Send only in this daily window, 22:00-06:00; drained at its end, the same command goes on
    /// [default: at any time]
    #[arg(long, env = "DESKLOAD_WINDOW", value_name = "HH:MM-HH:MM", value_parser = Window::parse)]
    pub window: Option<Window>,
    /// The zone of --window, such as Europe/Berlin [default: this machine's]
    #[arg(long, env = "DESKLOAD_TIME_ZONE", value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// Send so many rows at the most, to look at before the others go [default: all]
    #[arg(long, env = "DESKLOAD_LIMIT", value_name = "N")]
    pub limit: Option<NonZeroU64>,
    /// Refuse a new input that has another number of rows: 9000..11000, 9000.., ..11000 or 10000
    /// [default: any]
    #[arg(long, env = "DESKLOAD_EXPECT_ROWS", value_name = "A..B")]
    pub expect_rows: Option<Expected>,
    /// Refuse a new input that would send more updates than this [default: any number]
    #[arg(long, env = "DESKLOAD_MAX_UPDATES", value_name = "N")]
    pub max_updates: Option<u64>,
    /// What to do while another process works for the account: end with exit 11, or wait for it to end
    #[arg(long, env = "DESKLOAD_ON_OVERLAP", default_value = "fail", value_name = "WHAT", value_enum)]
    pub on_overlap: OverlapChoice,
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
    /// In which format failures and rows in doubt are written; auto: as the input
    #[arg(long, env = "DESKLOAD_REPORT_FORMAT", default_value = "auto", value_name = "FORMAT", value_enum)]
    pub report_format: ReportFormat,
    /// How to show progress
    #[arg(long, env = "DESKLOAD_PROGRESS", default_value = "auto", value_name = "HOW", value_enum)]
    pub progress: ProgressChoice,
    /// Tell a program: one JSON object a line on standard output, the last of them the summary
    #[arg(long, env = "DESKLOAD_JSON")]
    pub json: bool,
    /// Add what happens to this file, each line with its time [default: none]
    #[arg(long, env = "DESKLOAD_LOG_FILE", value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Write metrics here, for Prometheus' node exporter and its textfile collector [default: none]
    #[arg(long, env = "DESKLOAD_METRICS_FILE", value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Run this at the end: the summary on its standard input, the exit code in `DESKLOAD_EXIT_CODE`
    /// [default: nothing]
    #[arg(long, env = "DESKLOAD_ON_FINISH", value_name = "COMMAND", hide_env_values = true)]
    pub on_finish: Option<String>,
    /// Whether to use colours [default: on a terminal, unless `NO_COLOR` or `CLICOLOR` says otherwise]
    #[arg(
        long,
        env = "DESKLOAD_COLOR",
        default_value = "auto",
        value_name = "WHEN",
        value_enum,
        hide_default_value = true
    )]
    pub color: ColorChoice,
    /// Say nothing unless something is wrong
    #[arg(long, short, env = "DESKLOAD_QUIET")]
    pub quiet: bool,
    /// Say more: what was begun, pauses, how it ended; twice: every request, too
    #[arg(long, short, env = "DESKLOAD_VERBOSE", value_name = "N", action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Which journal.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct JournalArgs {
    /// The journal: a file, or for several machines `postgres://USER@HOST/DATABASE`
    /// [default: journal.sqlite3 in the state folder]
    #[arg(long, env = "DESKLOAD_JOURNAL", value_name = "FILE|URL", hide_env_values = true)]
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

/// `--on-overlap`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OverlapChoice {
    /// Exit 11
    Fail,
    /// Until it has ended
    Wait,
}

/// `--color`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// `--report-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// As the input: CSV for CSV and for a spreadsheet, JSONL for JSONL
    Auto,
    /// CSV
    Csv,
    /// JSONL
    Jsonl,
}

impl ReportFormat {
    /// The format; `None`: the input's own.
    #[must_use]
    pub const fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Csv => Some(Format::Csv),
            Self::Jsonl => Some(Format::Jsonl),
        }
    }
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
