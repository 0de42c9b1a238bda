//! Puts a profile under the command line: flag > environment > profile > default.
//!
//! A profile's values become the defaults of clap's own arguments, so each is read by the parser of its flag, and
//! there is one order and not two. The command line is read twice: the first time to learn which profile it names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::file::Source;
use super::profile::Profile;
use crate::cli::Cli;
use crate::error::Error;

/// Flags that are for one invocation and no setting, or that say which settings count.
const NO_SETTINGS: [&str; 9] = [
    "again",
    "yes",
    "dry_run",
    "accept_journal",
    "config",
    "profile",
    "help",
    // Settings, but with a rule of their own for where they are looked for.
    "token_file",
    "token_command",
];

/// What was typed, and what stands under it.
#[derive(Debug)]
pub struct Layered {
    /// The command.
    pub cli: Cli,
    /// The profile.
    pub profile: Profile,
    matches: ArgMatches,
}

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Variable,
    /// The profile: file and line.
    Profile(String),
    /// Nobody said anything.
    Default,
}

/// Reads the command line, the environment and the profile that they name. Ends the process for `--help`, and for
/// what clap does not understand.
pub fn parse() -> Result<Layered, Error> {
    parse_from(std::env::args_os(), &Source::find).unwrap_or_else(|error| error.exit())
}

type Parsed<T> = Result<T, clap::Error>;

/// Finds the configuration file, which may have been named.
type Find<'a> = &'a dyn Fn(Option<&Path>) -> Result<Option<Source>, Error>;

pub(super) fn parse_from(
    words: impl IntoIterator<Item = OsString>,
    find: Find<'_>,
) -> Parsed<Result<Layered, Error>> {
    let words: Vec<OsString> = words.into_iter().collect();
    let command = Cli::command();
    let mut first = command.clone().try_get_matches_from(&words)?;
    let deepest = deepest(&first);
    // Commands without --profile have no settings.
    if deepest.try_contains_id("profile").is_err() {
        return Ok(Ok(Layered {
            cli: Cli::from_arg_matches_mut(&mut first)?,
            profile: Profile::default(),
            matches: first,
        }));
    }
    let named = deepest.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let name = deepest.get_one::<String>("profile").map(String::as_str);
    let profile = match read(find, named, name) {
        Ok(profile) => profile,
        Err(error) => return Ok(Err(error)),
    };
    let command = with_defaults(command, &profile);
    let matches = command.try_get_matches_from(&words)?;
    Ok(Ok(Layered { cli: Cli::from_arg_matches(&matches)?, profile, matches }))
}

fn read(find: Find<'_>, named: Option<&Path>, name: Option<&str>) -> Result<Profile, Error> {
    match (find(named)?, name) {
        (Some(source), name) => Profile::read(&source, name, &settings()),
        (None, None) => Ok(Profile::default()),
        (None, Some(name)) => Err(Error::Usage(format!(
            "there is no configuration file for the profile {name}; deskload init writes one"
        ))),
    }
}

/// Reads a text as if it were the file at `path`, which is not looked at.
pub fn check_text(path: &Path, text: &str, profile: Option<&str>) -> Result<Profile, Error> {
    Profile::read(&Source::new(path, text), profile, &settings())
}

/// The arguments of the subcommand at the end of the line.
fn deepest(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| deepest(inner))
}

/// The command with all settings, whatever was typed.
fn settings() -> Command {
    let mut command = Cli::command();
    // Without this, what is made on demand is not there yet.
    command.build();
    let show = command.find_subcommand("config").and_then(|config| config.find_subcommand("show"));
    show.cloned().unwrap_or(command)
}

/// The settings by their names, in the order of the help, with the flag's value if nobody says anything.
#[must_use]
pub fn setting_names() -> Vec<String> {
    settings().get_arguments().filter(|arg| is_setting(arg)).map(|arg| arg.get_id().to_string()).collect()
}

/// Whether a flag is a key of the profile, too.
pub(super) fn is_setting(arg: &Arg) -> bool {
    arg.get_long().is_some() && !NO_SETTINGS.contains(&arg.get_id().as_str())
}

pub(super) fn takes_path(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>()
}

fn with_defaults(command: Command, profile: &Profile) -> Command {
    let of = |arg: Arg| match profile.settings.get(arg.get_id().as_str()) {
        Some(setting) if is_setting(&arg) => {
            arg.default_values(setting.values.iter().map(|value| clap::builder::OsStr::from(value.clone())))
        }
        _ => arg,
    };
    let command = command.mut_args(of);
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |inner| with_defaults(inner, profile)))
}

impl Layered {
    /// A setting's value as it was written, and where it comes from. Several values: of a list.
    #[must_use]
    pub fn setting(&self, name: &str) -> (Vec<String>, Origin) {
        let matches = deepest(&self.matches);
        let raw = matches.try_get_raw(name).ok().flatten();
        let values = raw
            .map(|raw| raw.map(|value| value.to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        let origin = match matches.try_contains_id(name).ok().and_then(|_| matches.value_source(name)) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Variable,
            _ => match self.profile.settings.get(name) {
                Some(setting) => Origin::Profile(setting.place.clone()),
                None => Origin::Default,
            },
        };
        (values, origin)
    }
}
