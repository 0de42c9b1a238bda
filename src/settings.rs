//! What is meant: resolved once, typed, validated. Nothing after it sees clap or the environment.
//!
//! This reads the environment, the token and certificate files; it sends nothing. Its errors are
//! [`Error::Usage`] and say which flag or variable to change.

use std::env;
use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::breaker::{Limits, MaxFailures};
use crate::cli::{
    DeskArgs, InDoubtChoice, InputArgs, OutputArgs, PaceArgs, ProgressChoice, SafetyArgs, SendArgs,
};
use crate::desk::proprofs::{self, Connection, ProProfs, Renew};
use crate::desk::verdict::Rules;
use crate::error::Error;
use crate::input::Choice;
use crate::journal::runs::DeskId;
use crate::mapping::MappingSpec;
use crate::pace::Rate;
use crate::secret::Token;

/// The variable that may hold the token. It is taken out of the environment of every child process.
pub const TOKEN_VARIABLE: &str = "DESKLOAD_TOKEN";

const CONCURRENCY: u16 = 8;
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_mins(15);
const RETRIES: u32 = 5;
const MAX_FAILURES: MaxFailures = MaxFailures::Percent(25.0);
const PATIENCE: Duration = Duration::from_mins(10);

/// How an input is read and mapped.
#[derive(Debug)]
pub struct InputSettings {
    /// What `--format` says.
    pub format: Option<Choice>,
    /// What `--delimiter` says.
    pub delimiter: Option<u8>,
    /// How columns become fields.
    pub mapping: MappingSpec,
    /// Whether one invalid row spoils the input.
    pub strict: bool,
}

impl InputSettings {
    /// Reads what was typed.
    pub fn resolve(args: &InputArgs) -> Result<Self, Error> {
        let mut mapping = MappingSpec { ignore_unknown: args.ignore_unknown, ..MappingSpec::default() };
        for typed in &args.map {
            mapping.add_map(typed).map_err(|why| Error::Usage(format!("--map {why}")))?;
        }
        for typed in &args.set {
            mapping.add_set(typed).map_err(|why| Error::Usage(format!("--set {why}")))?;
        }
        for typed in &args.ignore {
            mapping.add_ignore(typed);
        }
        Ok(Self { format: args.format, delimiter: args.delimiter, mapping, strict: args.strict })
    }
}

/// How fast.
#[derive(Clone, Debug)]
pub struct PaceSettings {
    /// All of them hold; none: no limit.
    pub rates: Vec<Rate>,
    /// Whether the rate is our guess, which every run must say.
    pub is_guess: bool,
    /// Depth of the buckets, if somebody asked for one.
    pub burst: Option<NonZeroU32>,
    /// Requests under way at once.
    pub concurrency: usize,
}

impl PaceSettings {
    fn resolve(args: &PaceArgs, url: &Url) -> Self {
        let guess = || if is_loopback(url) { Vec::new() } else { vec![Rate::GUESS] };
        let rates = args.rate.as_ref().map_or_else(guess, |rates| rates.0.clone());
        Self {
            is_guess: args.rate.is_none() && !rates.is_empty(),
            rates,
            burst: args.burst,
            concurrency: args.concurrency.unwrap_or(CONCURRENCY).into(),
        }
    }

    /// Requests a second that the slowest rate lets out; `None`: no limit.
    #[must_use]
    pub fn per_second(&self) -> Option<f64> {
        self.rates.iter().map(Rate::per_second).min_by(f64::total_cmp)
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
    /// The journal's file.
    pub journal: PathBuf,
    /// The folder of all reports.
    pub report_dir: PathBuf,
    /// Progress.
    pub show: Show,
    /// Nothing is said unless something is wrong.
    pub quiet: bool,
    /// 0, 1 or 2 and more.
    pub verbose: u8,
}

impl OutputSettings {
    fn resolve(args: &OutputArgs) -> Result<Self, Error> {
        let auto = || if std::io::stderr().is_terminal() { Show::Bar } else { Show::Lines };
        let show = match args.progress {
            _ if args.quiet => Show::Nothing,
            None | Some(ProgressChoice::Auto) => auto(),
            Some(ProgressChoice::Bar) => Show::Bar,
            Some(ProgressChoice::Plain) => Show::Lines,
            Some(ProgressChoice::None) => Show::Nothing,
        };
        Ok(Self {
            journal: journal_path(args.journal.journal.as_deref())?,
            report_dir: report_dir(args.report_dir.as_deref()),
            show,
            quiet: args.quiet,
            verbose: args.verbose,
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
    /// How fast.
    pub pace: PaceSettings,
    /// How much trouble is borne.
    pub limits: Limits,
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
    pub fn resolve(args: &SendArgs, known: Known<'_>) -> Result<Self, Error> {
        let url = url(&args.desk, known)?;
        let account_email = account_email(&args.desk, known)?;
        let desk_id = DeskId::new(url.as_str(), &account_email);
        if let Some(known) = known.0.filter(|known| **known != desk_id) {
            return Err(Error::Usage(format!(
                "the run belongs to {} at {}; leave out --url and --account-email",
                known.account_email, known.url
            )));
        }
        let output = OutputSettings::resolve(&args.output)?;
        let pace = PaceSettings::resolve(&args.pace, &url);
        let desk = desk(&args.desk, &args.pace, url, account_email, pace.concurrency)?;
        Ok(Self {
            desk_id,
            state_folder: state_folder()?,
            desk,
            limits: limits(&args.safety, &args.pace),
            accept_journal: args.safety.accept_journal,
            pace,
            output,
        })
    }
}

fn limits(safety: &SafetyArgs, pace: &PaceArgs) -> Limits {
    Limits {
        retries: safety.retries.unwrap_or(RETRIES),
        resends: safety.in_doubt == Some(InDoubtChoice::Resend),
        patience: safety.patience.unwrap_or(PATIENCE),
        max_wait: pace.max_wait.unwrap_or(MAX_WAIT),
        max_failures: safety.max_failures.unwrap_or(MAX_FAILURES),
    }
}

fn url(args: &DeskArgs, known: Known<'_>) -> Result<Url, Error> {
    let text = args.url.as_deref().or(known.0.map(|desk| desk.url.as_str())).unwrap_or(proprofs::URL);
    let wrong = |why: &str| Error::Usage(format!("--url {text:?} {why}"));
    let url = Url::parse(text).map_err(|error| wrong(&format!("is no address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Without the address itself: it holds a secret.
        return Err(Error::Usage("--url must not hold a user name or password; remove it".to_owned()));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => {
            Err(wrong("would send the token unencrypted; use https (plain http is for this machine alone)"))
        }
        _ => Err(wrong("is not an https address")),
    }
}

/// Whether the desk is on this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        // An IPv6 address stands in brackets here.
        Some(host) => {
            host.eq_ignore_ascii_case("localhost")
                || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        None => false,
    }
}

fn account_email(args: &DeskArgs, known: Known<'_>) -> Result<String, Error> {
    args.account_email
        .clone()
        .or_else(|| known.0.map(|desk| desk.account_email.clone()))
        .map(|email| email.trim().to_owned())
        .filter(|email| !email.is_empty())
        .ok_or_else(|| {
            Error::Usage(
                "the account's e-mail is missing; give it with --account-email or DESKLOAD_ACCOUNT_EMAIL"
                    .to_owned(),
            )
        })
}

fn desk(
    args: &DeskArgs,
    pace: &PaceArgs,
    url: Url,
    account_email: String,
    connections: usize,
) -> Result<ProProfs, Error> {
    let timeout = pace.timeout.unwrap_or(TIMEOUT);
    // Below the whole, so that "no connection" (not sent) and "no answer" (in doubt) can be told apart.
    let connect_timeout = pace.connect_timeout.unwrap_or(CONNECT_TIMEOUT).min(timeout.mul_f64(0.8));
    let connection = Connection {
        url,
        account_email,
        timeout,
        connect_timeout,
        connections,
        proxy: args.proxy.as_deref().map(proxy).transpose()?,
        authorities: args.ca_file.as_deref().map(authorities).transpose()?.unwrap_or_default(),
        rules: Rules::default(),
    };
    let (token, renew) = token(args)?;
    ProProfs::new(connection, token, renew)
}

fn proxy(url: &str) -> Result<reqwest::Proxy, Error> {
    // Without the address: it may hold a password.
    reqwest::Proxy::all(url).map_err(|_| Error::Usage("--proxy is no address of a proxy".to_owned()))
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, Error> {
    let wrong = |why: String| Error::Usage(format!("--ca-file {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem)
        .map_err(|_| wrong("it is not a certificate in PEM form".to_owned()))?;
    if found.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(found) }
}

/// The token, from the first place that has one, and how to get another.
fn token(args: &DeskArgs) -> Result<(Token, Option<Renew>), Error> {
    if let Some(path) = &args.token_file {
        return Ok((token_from_file(path)?, None));
    }
    if let Some(command) = args.token_command.clone() {
        let token = token_from_command(&command)?;
        return Ok((token, Some(Arc::new(move || token_from_command(&command)))));
    }
    let variable = env::var(TOKEN_VARIABLE).ok().and_then(Token::new);
    variable.map(|token| (token, None)).ok_or_else(|| {
        Error::Usage(format!(
            "the token is missing; put it into a file of mode 0600 and name that with --token-file, \
             or use --token-command or {TOKEN_VARIABLE}"
        ))
    })
}

fn token_from_file(path: &Path) -> Result<Token, Error> {
    let wrong = |why: String| Error::Usage(format!("the token file {}: {why}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        return Err(wrong(format!("others can read it; run chmod 600 {}", path.display())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Token::new(text).ok_or_else(|| wrong("it is empty".to_owned()))
}

fn token_from_command(command: &str) -> Result<Token, Error> {
    let wrong = |why: &str| Error::Usage(format!("--token-command {why}"));
    let output = Command::new("sh")
        .args(["-c", command])
        .env_remove(TOKEN_VARIABLE)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| wrong(&format!("could not be started: {error}")))?;
    if !output.status.success() {
        return Err(wrong(&format!("failed ({})", output.status)));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| wrong("printed something that is no text"))?;
    let first = text.lines().next().unwrap_or_default().to_owned();
    Token::new(first).ok_or_else(|| wrong("printed nothing"))
}

/// Where journals and account files are.
pub fn state_folder() -> Result<PathBuf, Error> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd makes this one for the service, which often may write nowhere else.
    if let Some(folder) = systemd_state() {
        return Ok(folder);
    }
    set("XDG_STATE_HOME")
        .or_else(|| env::home_dir().map(|home| home.join(".local/state")))
        .map(|folder| folder.join("deskload"))
        .ok_or_else(|| {
            Error::Usage("there is no home folder to keep the journal in; set XDG_STATE_HOME".to_owned())
        })
}

/// The journal that was named, or the usual one.
pub fn journal_path(typed: Option<&Path>) -> Result<PathBuf, Error> {
    match typed {
        Some(path) => Ok(path.to_owned()),
        None => Ok(state_folder()?.join("journal.sqlite3")),
    }
}

/// The report folder that was named, or the usual one.
#[must_use]
pub fn report_dir(typed: Option<&Path>) -> PathBuf {
    match (typed, systemd_state()) {
        (Some(path), _) => path.to_owned(),
        (None, Some(state)) => state.join("reports"),
        (None, None) => PathBuf::from("deskload-reports"),
    }
}

/// The first of the folders that systemd made for the service; it separates several by colons.
fn systemd_state() -> Option<PathBuf> {
    let folders = env::var_os("STATE_DIRECTORY")?;
    env::split_paths(&folders).next().filter(|folder| !folder.as_os_str().is_empty())
}
