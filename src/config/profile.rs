//! One profile: the settings that are flags, too, as text for clap; and what no flag can say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Source;
use super::layers::{is_setting, takes_path};
use crate::desk::verdict::{Meaning, ReplyRule, Rules};
use crate::error::Error;
use crate::journal::postgres::Place;
use crate::mapping::Target;
use crate::mapping::lookup::parse_lookup_field;
use crate::text::clean_whole;

/// Settings of a profile that no flag has.
const OWN: [&str; 7] =
    ["token_file", "token_command", "check_reply_id", "trust_503", "reply", "lookup", "custom_fields_as"];

/// What a profile says. The default says nothing.
#[derive(Debug, Default)]
pub struct Profile {
    /// The settings that are flags, too, by the flag's name with underscores.
    pub(super) settings: BTreeMap<String, Setting>,
    /// `token_file`
    pub token_file: Option<PathBuf>,
    /// `token_command`
    pub token_command: Option<String>,
    /// `check_reply_id`, `trust_503` and `[[profile.NAME.reply]]`
    pub rules: Rules,
    /// `[profile.NAME.lookup.FIELD]`
    pub lookup: Vec<LookupSetting>,
    /// `custom_fields_as = "string"`: the array of custom fields is sent as a string that holds it.
    pub custom_fields_as_string: bool,
}

/// A table from words to ids, as the profile names it; a file is read when a run is started.
#[derive(Debug)]
pub struct LookupSetting {
    /// The field.
    pub target: Target,
    /// Its place, for a person.
    pub place: String,
    /// Where the entries are.
    pub from: LookupFrom,
}

/// Where a table's entries are.
#[derive(Debug)]
pub enum LookupFrom {
    /// In the profile: word and id.
    Inline(Vec<(String, String)>),
    /// In a CSV file.
    File {
        /// The file.
        path: PathBuf,
        /// The column of the words.
        from: String,
        /// The column of the ids.
        to: String,
    },
}

/// A setting that is a flag, too.
#[derive(Debug)]
pub(super) struct Setting {
    /// As clap will read it.
    pub(super) values: Vec<OsString>,
    /// Its place, for a person.
    pub(super) place: String,
}

impl Profile {
    /// Reads the profile that was named, else the file's `default_profile`; the default without either.
    pub(super) fn read(source: &Source, named: Option<&str>, command: &Command) -> Result<Self, Error> {
        let tables = source.tables()?;
        let known = ["default_profile", "profile"];
        if let Some((key, _)) = tables.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            return Err(source.unknown(key, known.into_iter()));
        }
        let profiles = profiles(source, &tables)?;
        let mut chosen = Self::default();
        let default =
            tables.get("default_profile").map(|value| Ok((value, source.text("default_profile", value)?)));
        let default = default.transpose()?;
        let mut is_found = false;
        // All of them are read: a slip in another one should not wait for the night in which it is used.
        for (name, value) in profiles.into_iter().flatten() {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(source.wrong(value.span().start, "a profile has to be written as [profile.NAME]"));
            };
            let profile = Self::of(source, table, command)?;
            if Some(name.get_ref().as_ref()) == named.or(default.as_ref().map(|(_, name)| name.as_str())) {
                chosen = profile;
                is_found = true;
            }
        }
        match (named, default) {
            _ if is_found => Ok(chosen),
            (Some(named), _) => Err(Error::Usage(format!(
                "there is no profile {named} in {}; {}",
                source.path.display(),
                those_there(profiles)
            ))),
            (None, Some((value, default))) => Err(source.wrong(
                value.span().start,
                format_args!("default_profile is {default}, which is no profile; {}", those_there(profiles)),
            )),
            (None, None) => Ok(chosen),
        }
    }

    fn of(source: &Source, table: &DeTable<'_>, command: &Command) -> Result<Self, Error> {
        let mut profile = Self::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match name {
                "token_file" => profile.token_file = Some(source.path(name, value)?),
                "token_command" => profile.token_command = Some(source.text(name, value)?),
                "check_reply_id" => profile.rules.check_reply_id = source.flag(name, value)?,
                "trust_503" => profile.rules.trust_503 = source.flag(name, value)?,
                "lookup" => profile.lookup = lookups(source, value)?,
                "custom_fields_as" => {
                    profile.custom_fields_as_string = match source.text(name, value)?.as_str() {
                        "array" => false,
                        "string" => true,
                        _ => {
                            return Err(source
                                .wrong(value.span().start, "custom_fields_as has to be array or string"));
                        }
                    }
                }
                "reply" => profile.rules.replies = replies(source, value)?,
                "token" => {
                    return Err(source.wrong(
                        key.span().start,
                        "the token does not belong here, where backups and colleagues read it; put it into a file of \
                         mode 0600 and name that with token_file",
                    ));
                }
                _ => {
                    let arg = command.get_arguments().find(|arg| is_setting(arg) && arg.get_id() == name);
                    let Some(arg) = arg else {
                        let flags = command.get_arguments().filter(|arg| is_setting(arg));
                        let known = flags.map(|arg| arg.get_id().as_str()).chain(OWN);
                        return Err(source.unknown(key, known));
                    };
                    let values = values(source, arg, value)?;
                    check(arg, &values)
                        .map_err(|why| source.wrong(value.span().start, format_args!("{name}: {why}")))?;
                    let place = format!("{}, line {}", source.path.display(), source.line(key.span().start));
                    profile.settings.insert(name.to_owned(), Setting { values, place });
                }
            }
        }
        if profile.token_file.is_some() && profile.token_command.is_some() {
            let start = table.get("token_command").map_or(0, |value| value.span().start);
            return Err(source.wrong(start, "token_file and token_command are both given; leave one out"));
        }
        Ok(profile)
    }
}

/// The table of profiles, if there is one.
fn profiles<'a, 'i>(source: &Source, tables: &'a DeTable<'i>) -> Result<Option<&'a DeTable<'i>>, Error> {
    match tables.get("profile").map(|value| (value.get_ref(), value.span().start)) {
        None => Ok(None),
        Some((DeValue::Table(profiles), _)) => Ok(Some(profiles)),
        Some((_, start)) => Err(source.wrong(start, "profile has to be written as [profile.NAME]")),
    }
}

fn those_there(profiles: Option<&DeTable<'_>>) -> String {
    let names: Vec<&str> = profiles.into_iter().flatten().map(|(name, _)| name.get_ref().as_ref()).collect();
    match names.as_slice() {
        [] => "there is none".to_owned(),
        [one] => format!("there is {}", clean_whole(one)),
        names => format!("there are {}", clean_whole(&names.join(", "))),
    }
}

impl Profile {
    /// What it says that no flag can say, for a person.
    pub(crate) fn rules_as_text(&self) -> Vec<(&'static str, String)> {
        let rules = &self.rules;
        let usual = Rules::default();
        let mut lines = Vec::new();
        if rules.check_reply_id != usual.check_reply_id {
            lines.push(("check_reply_id", rules.check_reply_id.to_string()));
        }
        if rules.trust_503 != usual.trust_503 {
            lines.push(("trust_503", rules.trust_503.to_string()));
        }
        if self.custom_fields_as_string {
            lines.push(("custom_fields_as", "string".to_owned()));
        }
        lines.extend(self.lookup.iter().map(|lookup| {
            let from = match &lookup.from {
                LookupFrom::Inline(pairs) => format!("{} entries", pairs.len()),
                LookupFrom::File { path, .. } => path.display().to_string(),
            };
            ("lookup", format!("{}: {from}", lookup.target))
        }));
        lines.extend(
            rules
                .replies
                .iter()
                .map(|rule| ("reply", format!("\"{}\" means {}", rule.text, rule.meaning.word()))),
        );
        lines
    }
}

/// A value as clap will read it.
fn values(source: &Source, arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<OsString>, Error> {
    let name = arg.get_id().as_str();
    let one = |value: &Spanned<DeValue<'_>>| {
        Ok(match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            _ => {
                return Err(
                    source.wrong(value.span().start, format_args!("{name} has to be a text or a number"))
                );
            }
        })
    };
    match (arg.get_action(), value.get_ref()) {
        (ArgAction::SetTrue, _) => Ok(vec![source.flag(name, value)?.to_string().into()]),
        (ArgAction::Append, DeValue::Array(values)) => {
            values.iter().map(|value| Ok(one(value)?.into())).collect()
        }
        // map, set and blank read better as FIELD = "COLUMN".
        (ArgAction::Append, DeValue::Table(pairs)) => {
            pairs.iter().map(|(key, value)| Ok(format!("{}={}", key.get_ref(), one(value)?).into())).collect()
        }
        // A journal may be a database, whose URL is no path.
        _ if takes_path(arg) && !one(value).is_ok_and(|text| Place::is_meant(&text)) => {
            Ok(vec![source.path(name, value)?.into()])
        }
        _ => Ok(vec![one(value)?.into()]),
    }
}

/// Whether the flag would take the values; the error is what clap says of them.
fn check(arg: &Arg, values: &[OsString]) -> Result<(), String> {
    if !arg.get_action().takes_values() {
        return Ok(());
    }
    let long = arg.get_long().unwrap_or_default();
    let words = values.iter().map(|value| {
        let mut word = OsString::from(format!("--{long}="));
        word.push(value);
        word
    });
    let alone = Command::new("deskload").no_binary_name(true).arg(arg.clone());
    match alone.try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            Err(why.unwrap_or_else(|| {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                line.strip_prefix("error: ").unwrap_or(line).to_owned()
            }))
        }
    }
}

/// `[profile.NAME.lookup.FIELD]`: tables from words to ids.
fn lookups(source: &Source, value: &Spanned<DeValue<'_>>) -> Result<Vec<LookupSetting>, Error> {
    let shape = |start| source.wrong(start, "lookup has to be written as [profile.NAME.lookup.FIELD]");
    let DeValue::Table(fields) = value.get_ref() else { return Err(shape(value.span().start)) };
    let mut found = Vec::with_capacity(fields.len());
    for (field, table) in fields {
        let start = field.span().start;
        // Without quotes, a dot begins another table; so custom_fields.ID needs them.
        let target = parse_lookup_field(field.get_ref()).map_err(|why| source.wrong(start, why))?;
        let DeValue::Table(keys) = table.get_ref() else { return Err(shape(table.span().start)) };
        let from = match keys.get("file") {
            Some(file) => lookup_file(source, start, keys, file)?,
            None => LookupFrom::Inline(
                keys.iter()
                    .map(|(word, id)| Ok((word.get_ref().to_string(), source.text(word.get_ref(), id)?)))
                    .collect::<Result<_, Error>>()?,
            ),
        };
        let place = format!("{}, line {}", source.path.display(), source.line(start));
        found.push(LookupSetting { target, place, from });
    }
    Ok(found)
}

fn lookup_file(
    source: &Source,
    start: usize,
    keys: &DeTable<'_>,
    file: &Spanned<DeValue<'_>>,
) -> Result<LookupFrom, Error> {
    let known = ["file", "from", "to"];
    if let Some((key, _)) = keys.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
        return Err(source.unknown(key, known.into_iter()));
    }
    let (Some(from), Some(to)) = (keys.get("from"), keys.get("to")) else {
        return Err(
            source.wrong(start, "a lookup file needs from and to, the columns of the words and of the ids")
        );
    };
    Ok(LookupFrom::File {
        path: source.path_beside("file", file)?,
        from: source.text("from", from)?,
        to: source.text("to", to)?,
    })
}

/// `[[profile.NAME.reply]]`: what words of the desk mean.
fn replies(source: &Source, value: &Spanned<DeValue<'_>>) -> Result<Vec<ReplyRule>, Error> {
    let shape = || source.wrong(value.span().start, "reply has to be written as [[profile.NAME.reply]]");
    let DeValue::Array(tables) = value.get_ref() else { return Err(shape()) };
    let mut rules = Vec::with_capacity(tables.len());
    for table in tables {
        let DeValue::Table(keys) = table.get_ref() else { return Err(shape()) };
        let known = ["text", "verdict"];
        if let Some((key, _)) = keys.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            return Err(source.unknown(key, known.into_iter()));
        }
        let (Some(text), Some(verdict)) = (keys.get("text"), keys.get("verdict")) else {
            return Err(source.wrong(table.span().start, "a reply needs both text and verdict"));
        };
        let words = source.text("text", text)?;
        if words.trim().is_empty() {
            return Err(source.wrong(text.span().start, "a blank text would fit every answer"));
        }
        let written = source.text("verdict", verdict)?;
        let Some(meaning) = Meaning::ALL.into_iter().find(|meaning| meaning.word() == written) else {
            return Err(source.wrong(
                verdict.span().start,
                "verdict has to be throttled, failed, credentials or in_doubt; no text can mean applied",
            ));
        };
        rules.push(ReplyRule { text: words, meaning });
    }
    Ok(rules)
}
