//! What is meant: resolved once, typed, validated. Nothing after it sees clap or the environment.
//!
//! This reads the environment, the token and certificate files; it sends nothing. Its errors are
//! [`Error::Usage`] and say which flag or variable to change.

mod desk;
mod guards;
mod input;
mod lookup;
mod places;
mod token;

use std::fmt;
use std::io::IsTerminal as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::PathBuf;
use std::time::Duration;

pub use guards::Guards;
pub use input::InputSettings;
use jiff::tz::TimeZone;
pub use places::{JournalPlace, journal_place, report_dir, state_folder};
pub use token::{TOKEN_VARIABLE, TokenPlace, token_place};
use url::Url;

use crate::breaker::Limits;
use crate::cli::{ColorChoice, InDoubtChoice, OutputArgs, OverlapChoice, PaceArgs, ProgressChoice, SendArgs};
use crate::config::Profile;
use crate::desk::proprofs::ProProfs;
use crate::error::Error;
use crate::input::Format;
use crate::journal::runs::DeskId;
use crate::pace::Rate;
use crate::until::Bounds;
use crate::voice::Form;

/// How fast.
#[derive(Clone, Debug)]
pub struct PaceSettings {
    /// All of them hold; none: no limit.
    pub rates: Vec<Rate>,
    /// What one ticket may get.
    pub rate_per_ticket: Option<Rate>,
    /// Whether the rate is our guess, which every run must say.
    pub is_guess: bool,
    /// Depth of the buckets, if somebody asked for one.
    pub burst: Option<NonZeroU32>,
    /// Requests under way at once.
    pub concurrency: usize,
}

impl PaceSettings {
    fn resolve(args: &PaceArgs, url: &Url) -> Self {
        let guess = || if desk::is_loopback(url) { Vec::new() } else { vec![Rate::GUESS] };
        let rates = args.rate.as_ref().map_or_else(guess, |rates| rates.0.clone());
        Self {
            is_guess: args.rate.is_none() && !rates.is_empty(),
            rates,
            rate_per_ticket: args.rate_per_ticket,
            burst: args.burst,
            concurrency: args.concurrency.into(),
        }
    }

    /// How long so many requests take at this pace; `None`: nobody knows, because there is no limit.
    #[must_use]
    pub fn takes(&self, requests: u64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
        let seconds = requests as f64 / self.per_second()?;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// Requests a second that the slowest rate lets out; `None`: no limit.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        self.binding().map(Rate::per_second)
    }

    /// The slowest rate, which binds in the long run; `None`: no limit.
    #[must_use]
    pub fn binding(&self) -> Option<&Rate> {
        self.rates.iter().min_by(|one, other| one.per_second().total_cmp(&other.per_second()))
    }
}

impl fmt::Display for PaceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rates.is_empty() {
            return f.write_str("no limit");
        }
        for (index, rate) in self.rates.iter().enumerate() {
            write!(f, "{}{rate}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the three words say it")]
pub enum Show {
    Bar,
    Lines,
    Nothing,
}

/// Where results go, and what is said.
#[derive(Clone, Debug)]
pub struct OutputSettings {
    /// Which journal.
    pub journal: JournalPlace,
    /// The folder of all reports.
    pub report_dir: PathBuf,
    /// The format of the rows there; `None`: the input's own.
    pub report_format: Option<Format>,
    /// Progress.
    pub show: Show,
    /// Nothing is said unless something is wrong.
    pub quiet: bool,
    /// 0, 1 or 2 and more.
    pub verbose: u8,
    /// To whom.
    pub form: Form,
    /// Where it is written besides.
    pub log_file: Option<PathBuf>,
    /// Colours.
    pub color: ColorChoice,
    /// `--metrics-file`
    pub metrics_file: Option<PathBuf>,
    /// `--on-finish`
    pub on_finish: Option<String>,
}

impl OutputSettings {
    fn resolve(args: &OutputArgs) -> Result<Self, Error> {
        let is_terminal = std::io::stderr().is_terminal();
        let auto = || if is_terminal { Show::Bar } else { Show::Lines };
        let show = match args.progress {
            _ if args.quiet => Show::Nothing,
            ProgressChoice::Auto | ProgressChoice::Bar | ProgressChoice::Plain if args.json => Show::Lines,
            ProgressChoice::Auto => auto(),
            ProgressChoice::Bar => Show::Bar,
            ProgressChoice::Plain => Show::Lines,
            ProgressChoice::None => Show::Nothing,
        };
        let form = match args.json {
            true => Form::Program,
            false if show == Show::Bar || is_terminal => Form::Person,
            false => Form::Log,
        };
        Ok(Self {
            journal: journal_place(args.journal.journal.as_deref())?,
            report_dir: report_dir(args.report_dir.as_deref()),
            report_format: args.report_format.format(),
            show,
            quiet: args.quiet,
            verbose: args.verbose,
            form,
            log_file: args.log_file.clone(),
            color: args.color,
            metrics_file: args.metrics_file.clone(),
            on_finish: args.on_finish.clone(),
        })
    }
}

/// On what terms rows are sent, if at all.
pub struct Terms {
    /// How fast.
    pub pace: PaceSettings,
    /// How much trouble is borne.
    pub limits: Limits,
    /// How long an invocation may go on.
    pub bounds: Bounds,
    /// What an input must be like.
    pub guards: Guards,
}

impl Terms {
    fn resolve(args: &SendArgs, url: &Url) -> Result<Self, Error> {
        let SendArgs { pace, safety, .. } = args;
        let zone = match &safety.time_zone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name).map_err(|_| {
                Error::Usage(format!(
                    "--time-zone {name:?} is not known here; name one such as Europe/Berlin"
                ))
            })?,
        };
        Ok(Self {
            pace: PaceSettings::resolve(pace, url),
            limits: Limits {
                retries: safety.retries,
                resends: safety.in_doubt == InDoubtChoice::Resend,
                patience: safety.patience,
                max_wait: pace.max_wait,
                max_failures: safety.max_failures,
            },
            bounds: Bounds {
                limit: safety.limit.map(NonZeroU64::get),
                max_duration: safety.max_duration,
                window: safety.window.map(|window| (window, zone)),
            },
            guards: Guards { expect_rows: safety.expect_rows, max_updates: safety.max_updates },
        })
    }
}

/// What can be said of sending without a token and without an account.
pub struct CheckSettings {
    /// Where updates would go.
    pub url: Url,
    /// The account, if it was named.
    pub account_email: Option<String>,
    /// On what terms.
    pub terms: Terms,
    /// Whether custom fields would be sent as a string.
    pub custom_fields_as_string: bool,
    /// What is said.
    pub output: OutputSettings,
}

impl CheckSettings {
    /// Resolves what was typed. Neither token nor certificates are looked for.
    pub fn resolve(args: &SendArgs, profile: &Profile) -> Result<Self, Error> {
        let url = desk::url(&args.desk, Known(None))?;
        let mut output = OutputSettings::resolve(&args.output)?;
        if output.form == Form::Log {
            // Nothing goes on here for long, so no line needs its time.
            output.form = Form::Person;
        }
        Ok(Self {
            account_email: desk::account_email(&args.desk, Known(None)).ok(),
            terms: Terms::resolve(args, &url)?,
            url,
            custom_fields_as_string: profile.custom_fields_as_string,
            output,
        })
    }
}

/// Everything that sending needs.
pub struct SendSettings {
    /// Whose runs these are.
    pub desk_id: DeskId,
    /// The state folder, where the account file is.
    pub state_folder: PathBuf,
    /// The desk, ready to be called.
    pub desk: ProProfs,
    /// On what terms.
    pub terms: Terms,
    /// Whether another process for the account is waited for.
    pub waits_for_others: bool,
    /// Whether another journal may become the account's own.
    pub accept_journal: bool,
    /// Where results go.
    pub output: OutputSettings,
}

/// Of which desk an unfinished run is, where the command line need not say it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a>(pub Option<&'a DeskId>);

impl SendSettings {
    /// Resolves what was typed. `known` is the desk of the run to be resumed.
    pub fn resolve(args: &SendArgs, known: Known<'_>, profile: &Profile) -> Result<Self, Error> {
        let url = desk::url(&args.desk, known)?;
        let account_email = desk::account_email(&args.desk, known)?;
        let desk_id = DeskId::new(url.as_str(), &account_email);
        if let Some(known) = known.0.filter(|known| **known != desk_id) {
            return Err(Error::Usage(format!(
                "the run belongs to {} at {}; leave out --url and --account-email",
                known.account_email, known.url
            )));
        }
        let output = OutputSettings::resolve(&args.output)?;
        let terms = Terms::resolve(args, &url)?;
        let connection = desk::connection(args, url, account_email, profile)?;
        let (token, renew) = token::find(&args.desk, profile)?;
        let desk = ProProfs::new(connection, token, renew)?;
        Ok(Self {
            desk_id,
            state_folder: state_folder()?,
            desk,
            terms,
            waits_for_others: args.safety.on_overlap == OverlapChoice::Wait,
            accept_journal: args.safety.accept_journal,
            output,
        })
    }
}
