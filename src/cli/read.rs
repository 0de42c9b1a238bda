//! What was typed for reading the journal and for settling what is in it: the commands that send nothing.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::send::{ConfigArgs, JournalArgs, ReportFormat};
use super::values::{Age, Rows, parse_age, parse_rows};

/// Which journal, and for whom the answer is.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Tell a program: one JSON object on standard output
    #[arg(long, env = "DESKLOAD_JSON")]
    pub json: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The run's number; not needed if there is only one
    pub run: Option<u64>,
    /// Which journal
    #[command(flatten)]
    pub read: ReadArgs,
}

/// `report`
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run's number; not needed if there is only one
    pub run: Option<u64>,
    /// Which journal
    #[command(flatten)]
    pub read: ReadArgs,
    /// Where reports go [default: ./deskload-reports]
    #[arg(long, env = "DESKLOAD_REPORT_DIR", value_name = "FOLDER")]
    pub report_dir: Option<PathBuf>,
    /// In which format failures and rows in doubt are written; auto: as the input
    #[arg(long, env = "DESKLOAD_REPORT_FORMAT", default_value = "auto", value_name = "FORMAT", value_enum)]
    pub report_format: ReportFormat,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
}

/// `runs`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    /// What to do with them
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    /// `runs` alone is `runs list`
    #[command(flatten)]
    pub list: ReadArgs,
}

/// `runs list`, `runs prune`
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// The journal's runs, a line each (the default)
    List(ReadArgs),
    /// Give up the rows of old runs that are finished, with nothing in doubt; keeps what later runs are compared with
    #[command(before_help = PRUNE_EXAMPLES)]
    Prune(PruneArgs),
}

const PRUNE_EXAMPLES: &str = "\
Examples:
  deskload runs prune --dry-run                  what would go, with runs older than 90 days
  deskload runs prune --older-than 30d -q        from cron, silent unless something is wrong";

/// `runs prune`
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only runs that were last worked on so long ago: 90d, 12w, 36h; 0d takes all
    #[arg(long, default_value = "90d", value_name = "TIME", value_parser = parse_age)]
    pub older_than: Age,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which journal
    #[command(flatten)]
    pub read: ReadArgs,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
}

/// `resolve`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags are what was typed")]
#[command(group = ArgGroup::new("word").required(true).args(["applied", "resend", "skip"]))]
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
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Which journal
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Say nothing unless something is wrong
    #[arg(long, short)]
    pub quiet: bool,
    /// Say more: what was begun, how it ended
    #[arg(long, short, env = "DESKLOAD_VERBOSE", value_name = "N", action = clap::ArgAction::Count)]
    pub verbose: u8,
}
