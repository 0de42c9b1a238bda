//! What was typed, and nothing else.
//!
//! These structs mirror the command line and the `DESKLOAD_…` variables behind it. They validate only the form
//! of a single value; what it all means together is [`crate::settings`]' business. Nothing here touches a file.

mod read;
mod send;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use read::{PruneArgs, ReadArgs, ReportArgs, ResolveArgs, RunsArgs, RunsCommand, StatusArgs};
pub use send::{
    CheckArgs, ColorChoice, ConfigArgs, DeskArgs, InDoubtChoice, InputArgs, JournalArgs, OutputArgs,
    OverlapChoice, PaceArgs, ProgressChoice, ReportFormat, ResumeArgs, RunArgs, SafetyArgs, SendArgs,
};
pub use values::{Age, Expected, Rates, Rows};

/// Applies large files of changes to help-desk tickets: paced, journaled, resumable, no update repeated.
#[derive(Debug, Parser)]
#[command(
    name = "deskload",
    version,
    long_version = long_version(),
    before_help = EXAMPLES,
    after_help = "deskload COMMAND --help lists a command's flags. Exit codes: 0 done, 3 read the report, 5 the same \
                  command goes on; the others are in the guide.",
    max_term_width = 100,
    arg_required_else_help = true
)]
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
    /// Read every row and send nothing: what is wrong, what would be sent, when it would be done; needs no token
    Check(Box<CheckArgs>),
    /// Start, or go on with, the run of this input
    #[command(before_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Go on with an unfinished run, with the mapping it was started with
    Resume(Box<ResumeArgs>),
    /// Send the failed rows of a run again
    Retry(Box<ResumeArgs>),
    /// Settle rows in doubt by your word
    #[command(before_help = RESOLVE_EXAMPLES)]
    Resolve(ResolveArgs),
    /// How a run stands
    Status(StatusArgs),
    /// Write the report again, from the journal
    Report(ReportArgs),
    /// The journal's runs: list them, or give up the rows of old ones
    #[command(before_help = RUNS_EXAMPLES)]
    Runs(RunsArgs),
    /// Join in with the run that another machine has begun in a journal on PostgreSQL
    #[command(before_help = WORK_EXAMPLES)]
    Work(Box<WorkArgs>),
    /// A journal on PostgreSQL, for several machines: make it, or check its database
    #[command(subcommand)]
    Journal(JournalCommand),
    /// A local desk that behaves as the documented one, with faults on request
    #[command(before_help = SANDBOX_EXAMPLES)]
    Sandbox(SandboxArgs),
    /// Write a commented configuration file, which works with the sandbox at once
    Init(InitArgs),
    /// What the configuration says, and where it is
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    #[command(before_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the man page, or write the pages of all commands
    #[command(before_help = MAN_EXAMPLES)]
    Man(ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  deskload demo                        try it: no account, ten seconds
  deskload check changes.csv           look before you send
  deskload run changes.csv --rate 1/s  send; stopped? the same command goes on
  deskload status                      how it stands
  deskload resolve 7 --applied         your word on rows in doubt of run 7";

const RUN_EXAMPLES: &str = "\
Examples:
  deskload run changes.csv --rate 100/min
  deskload run export.csv --delimiter ';' --map staff=Owner --ignore-unknown
  deskload run changes.csv --limit 10  ten rows to look at; then without it
  deskload run -q nightly.csv --window 22:00-06:00 --expect-rows 9000..11000";

const RESOLVE_EXAMPLES: &str = "\
Examples:
  deskload resolve 7 --applied --rows 5,9-12  the desk has these
  deskload resolve 7 --resend                 not the others: to be sent again
  deskload resume 7                           sends them";

const RUNS_EXAMPLES: &str = "\
Examples:
  deskload runs                                  each run, how its rows stand
  deskload runs --json
  deskload runs prune --older-than 90d --dry-run";

const WORK_EXAMPLES: &str = "\
Examples:
  deskload work --journal postgres://deskload@db.example/desk --rate 5/s
  deskload work --once                           ends when nothing is left (DESKLOAD_JOURNAL names the journal)";

const SANDBOX_EXAMPLES: &str = "\
Examples:
  deskload sandbox --port 8008  a desk without a fault
  deskload sandbox --port 8008 --rate 20 --fail 2% --drop 1%";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  deskload completions bash >~/.local/share/bash-completion/completions/deskload
  deskload completions fish >~/.config/fish/completions/deskload.fish
  deskload completions zsh >~/.zfunc/_deskload  (a folder of $fpath)";

const MAN_EXAMPLES: &str = "\
Examples:
  deskload man | man -l -
  deskload man --dir ~/.local/share/man/man1";

/// What a report of a bug should begin with.
fn long_version() -> String {
    format!(
        "{}\ncommit: {}\ntarget: {}\nSQLite: {}\njournal schema: {}",
        env!("CARGO_PKG_VERSION"),
        env!("DESKLOAD_BUILD_COMMIT"),
        env!("DESKLOAD_BUILD_TARGET"),
        rusqlite::version(),
        crate::journal::schema::VERSION
    )
}

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    pub shell: ShellChoice,
}

/// The shells that completions are tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the shells' own names")]
pub enum ShellChoice {
    Bash,
    Zsh,
    Fish,
}

/// `man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder [default: the main page on standard output]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo puts its files [default: a new folder among the temporary ones]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
}

/// `work`
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// End when nothing is left to send, instead of waiting for the next run
    #[arg(long)]
    pub once: bool,
    /// How to send
    #[command(flatten)]
    pub send: SendArgs,
}

/// `journal`
#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// Make the journal's schema in a database, or bring an older one up to this version
    Init(JournalInitArgs),
    /// Refuse a database that may forget what was sent; say whether another server has taken over
    Check(JournalCheckArgs),
}

/// `journal init`
#[derive(Debug, Args)]
pub struct JournalInitArgs {
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
}

/// `journal check`
#[derive(Debug, Args)]
pub struct JournalCheckArgs {
    /// Trust the server as it is now, although another one was there before: you know that it has forgotten nothing
    #[arg(long)]
    pub confirm: bool,
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
}

/// `sandbox`
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub port: u16,
    /// Requests a second before it answers 429: 50 or 50/s [default: no limit]
    #[arg(long, value_name = "R")]
    pub rate: Option<String>,
    /// Share of tickets that it refuses: 0.02 or 2% [default: 0]
    #[arg(long, value_name = "P")]
    pub fail: Option<String>,
    /// Share of requests that it applies and leaves without an answer: 0.01 or 1% [default: 0]
    #[arg(long, value_name = "P")]
    pub drop: Option<String>,
    /// How long an answer takes, in milliseconds: 5..20 [default: 0..0]
    #[arg(long, value_name = "A..B")]
    pub latency: Option<String>,
    /// Makes the same faults again
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Writes a line for each request, without the token [default: none]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write [default: the usual place]
    #[arg(long, env = "DESKLOAD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Each setting, its value and where that comes from
    Show(Box<ShowArgs>),
    /// Where the configuration file is
    Path(ConfigPathArgs),
}

/// `config show`: takes the flags of `run`, to see what they would do.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// How to read an input
    #[command(flatten)]
    pub input: InputArgs,
    /// How to send
    #[command(flatten)]
    pub send: SendArgs,
}

/// `config path`
#[derive(Debug, Args)]
pub struct ConfigPathArgs {
    /// Which file [default: the usual place]
    #[arg(long, env = "DESKLOAD_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    fn every_flag_with_a_value_tells_its_default() {
        fn look(command: &clap::Command, silent: &mut Vec<String>) {
            for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let is_told = help.contains("[default: ") || !arg.get_default_values().is_empty();
                if arg.get_action().takes_values() && !is_told {
                    silent.push(format!("{} {arg}", command.get_name()));
                }
            }
            command.get_subcommands().for_each(|inner| look(inner, silent));
        }
        let (mut silent, mut command) = (Vec::new(), Cli::command());
        command.build();
        look(&command, &mut silent);
        assert!(silent.is_empty(), "no default is told by {silent:#?}");
    }
}
