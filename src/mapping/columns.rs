//! What each name of an input means, and the complaint where it means nothing.
//!
//! The order is fixed: `--map`, `--ignore`, our own columns, the fields, `--ignore-unknown`. A name that means
//! nothing is an error and never a guess: a column that is left out by mistake would be noticed too late.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::spec::{normal, the_fields};
use super::{MappingSpec, Target, letters, short};
use crate::error::Error;
use crate::input::Header;
use crate::text::{closest, listed};
use crate::ticket::TicketId;

/// How our own columns begin, in every file that we write.
pub(crate) const OWN_PREFIX: &str = "_deskload_";
pub(crate) const OWN_RUN: &str = "_deskload_run";
pub(crate) const OWN_ROW: &str = "_deskload_row";

/// Whether a column or key is one of those that we add to result files.
pub(crate) fn is_own(name: &str) -> bool {
    normal(name).starts_with(OWN_PREFIX)
}

/// Columns that other help desks' exports have, and that this endpoint cannot change.
const NOT_OFFERED: [&str; 16] = [
    "status",
    "state",
    "tag",
    "tags",
    "comment",
    "comments",
    "reply",
    "replies",
    "note",
    "notes",
    "close",
    "closed",
    "resolve",
    "resolved",
    "solution",
    "resolution",
];

/// How many columns that mean nothing are named besides the first.
const OTHERS_NAMED: usize = 8;

/// What a column or a key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Ignored,
    /// `_deskload_run`.
    Run,
    /// `_deskload_row`.
    Row,
    Field(Target),
}

/// The rules by which names are read.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Column, in lower case, and the field it is mapped to.
    map: Vec<(String, Target)>,
    ignore: BTreeSet<String>,
    ignore_unknown: bool,
    set: Vec<Target>,
}

impl Names {
    /// Refuses what contradicts itself.
    pub(super) fn new(spec: &MappingSpec) -> Result<Self, Error> {
        let ignore = spec.ignore.iter().map(|name| normal(name).into_owned()).collect::<BTreeSet<_>>();
        let mut map: Vec<(String, Target)> = Vec::with_capacity(spec.map.len());
        for (target, column) in &spec.map {
            let column = normal(column).into_owned();
            let written = short(&column);
            if let Some((_, other)) = map.iter().find(|(known, _)| *known == column) {
                return Err(Error::Usage(format!(
                    "--map gives the column \"{written}\" to both {other} and {target}; leave one out"
                )));
            }
            if ignore.contains(&column) {
                return Err(Error::Usage(format!(
                    "the column \"{written}\" is both in --map and in --ignore; leave one out"
                )));
            }
            map.push((column, target.clone()));
        }
        Ok(Self { map, ignore, ignore_unknown: spec.ignore_unknown, set: spec.set.keys().cloned().collect() })
    }

    fn meaning(&self, name: &str) -> Option<Use> {
        let plain = normal(name);
        if let Some((_, target)) = self.map.iter().find(|(column, _)| *column == plain) {
            return Some(Use::Field(target.clone()));
        }
        if self.ignore.contains(plain.as_ref()) {
            return Some(Use::Ignored);
        }
        if plain.starts_with(OWN_PREFIX) {
            return Some(match plain.as_ref() {
                OWN_RUN => Use::Run,
                OWN_ROW => Use::Row,
                _ => Use::Ignored,
            });
        }
        Target::parse(name).map(Use::Field).or_else(|| self.ignore_unknown.then_some(Use::Ignored))
    }

    /// What a JSONL key means. The error is a fragment without the place.
    pub(super) fn key(&self, name: &str) -> Result<Use, String> {
        self.meaning(name).ok_or_else(|| self.unknown(name, "key"))
    }

    /// What each column of a CSV means.
    pub(super) fn columns(&self, header: &Header) -> Result<Vec<(Use, String)>, Error> {
        let names = header.names();
        let line = header.line();
        let meanings: Vec<Option<Use>> = names.iter().map(|name| self.meaning(name)).collect();
        if meanings.iter().all(Option::is_none) && names.iter().any(|name| TicketId::parse(name).is_ok()) {
            return Err(Error::Input(format!(
                "line {line}: this looks like a row, not like a header; put a line before it that names the \
                 columns, for instance ticket_id,priority"
            )));
        }
        if let ([name], [None]) = (names, &meanings[..])
            && let Some(other) = delimiter_in(name)
        {
            return Err(Error::Input(format!(
                "line {line}: the header is a single cell that holds {other}; if that stands between the cells, \
                 say so with --delimiter {other}"
            )));
        }
        self.check_map(names, line)?;
        let mut columns: Vec<(Use, String)> = Vec::with_capacity(names.len());
        for (index, (meaning, name)) in meanings.into_iter().zip(names).enumerate() {
            let at = if header.is_sheet() {
                format!("cell {}{line}", letters(index + 1))
            } else {
                format!("line {line}, column {}", index + 1)
            };
            let Some(meaning) = meaning else {
                let others: Vec<String> = self.other_unknown(names, index).collect();
                return Err(Error::Input(format!(
                    "{at}: {}{}",
                    self.unknown(name, "column"),
                    others.concat()
                )));
            };
            self.check_column(&meaning, name, &columns)
                .map_err(|trouble| Error::Input(format!("{at}: {trouble}")))?;
            columns.push((meaning, name.clone()));
        }
        if !columns.iter().any(|(meaning, _)| *meaning == Use::Field(Target::Ticket)) {
            return Err(Error::Input(format!(
                "line {line}: no column is ticket_id; name one so, or say which it is with --map ticket_id=COLUMN"
            )));
        }
        Ok(columns)
    }

    /// A mapped column that is not there is a slip of the pen.
    fn check_map(&self, names: &[String], line: u64) -> Result<(), Error> {
        for (column, target) in &self.map {
            if names.iter().any(|name| normal(name) == *column) {
                continue;
            }
            let hint = match closest(column, names.iter().map(String::as_str)) {
                Some(close) => format!("did you mean --map {target}={}?", argument(close)),
                None => format!(
                    "--map takes FIELD=COLUMN, and the columns are {}",
                    listed(names.iter().map(String::as_str))
                ),
            };
            return Err(Error::Input(format!(
                "line {line}: there is no column \"{}\", which --map gives to {target}; {hint}",
                short(column)
            )));
        }
        Ok(())
    }

    fn check_column(&self, meaning: &Use, name: &str, before: &[(Use, String)]) -> Result<(), String> {
        if let Some(index) = before.iter().position(|(other, _)| same(meaning, other)) {
            return Err(format!(
                "\"{}\" means the same field as column {}; take one out, or rename one and --ignore it",
                short(name),
                index + 1
            ));
        }
        self.check_set(meaning).map_or(Ok(()), Err)
    }

    fn check_set(&self, meaning: &Use) -> Option<String> {
        let Use::Field(target) = meaning else { return None };
        let set = self.set.iter().any(|set| set.same_field(target));
        set.then(|| {
            format!("{target} is given here and by --set, so it is not clear which is meant; leave one out")
        })
    }

    /// In a JSONL row: a key that is there twice, two keys for one field, or a key for a field of `--set`.
    pub(super) fn clash<'a>(&self, used: &[(Use, &'a str, &RawValue)]) -> Option<(&'a str, String)> {
        const TWICE: &str = "is there twice; leave one out";
        let mut keys: Vec<&str> = used.iter().map(|(_, key, _)| *key).collect();
        keys.sort_unstable();
        if let Some(key) = keys.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        }) {
            return Some((key, format!("the key {TWICE}")));
        }
        // Few, because only custom fields can be many, and those are compared once they are all known.
        let mut seen: Vec<&Use> = Vec::new();
        for (meaning, key, _) in used {
            if let Some(trouble) = self.check_set(meaning) {
                return Some((key, trouble));
            }
            if matches!(meaning, Use::Ignored | Use::Field(Target::Custom(_))) {
                continue;
            }
            if seen.contains(&meaning) {
                return Some((key, format!("the field {TWICE}, under different names")));
            }
            seen.push(meaning);
        }
        None
    }

    /// The columns after this one that mean nothing, so that all can be mended at once; each a line, the last for
    /// those that are too many to name.
    fn other_unknown(&self, names: &[String], index: usize) -> impl Iterator<Item = String> {
        let others = names.iter().zip(1..).skip(index + 1).filter(|(name, _)| self.meaning(name).is_none());
        others.zip(0..=OTHERS_NAMED).map(|((name, column), nth)| match self.nearest(name) {
            _ if nth == OTHERS_NAMED => "\n  and others further right".to_owned(),
            Some(close) => {
                format!("\n  nor is column {column}, \"{}\"; did you mean {close}?", short(name))
            }
            None => format!("\n  nor is column {column}, \"{}\"", short(name)),
        })
    }

    /// The field that a name may be meant for, if it has no column or value yet.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        let free = |name: &&str| Target::parse(name).is_some_and(|target| !self.is_given(&target));
        closest(name, Target::names().filter(free))
    }

    fn unknown(&self, name: &str, thing: &str) -> String {
        let written = short(name);
        let word = argument(name);
        if name.trim().is_empty() {
            return format!("the {thing} has no name; give it one, or leave it out with --ignore-unknown");
        }
        if name.contains('\u{FFFD}') {
            return "the name is not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\"), or name its encoding, in \
                    most cases --encoding windows-1252"
                .to_owned();
        }
        if NOT_OFFERED.contains(&normal(name).as_ref()) {
            return format!(
                "\"{written}\": closing, tagging and replying are not offered by this endpoint; \
                 take the {thing} out, or leave it out with --ignore {word}"
            );
        }
        match self.nearest(name) {
            Some(close) => format!(
                "\"{written}\" is not a field; did you mean {close}? take it as that with --map {close}={word}, \
                 leave it out with --ignore {word}, or all such with --ignore-unknown"
            ),
            None => format!(
                "\"{written}\" is not a field; {}; say which it is with --map FIELD={word}, \
                 leave it out with --ignore {word}, or all such with --ignore-unknown",
                the_fields()
            ),
        }
    }

    /// Whether a field has its column or value already, so that it is no use to propose it.
    fn is_given(&self, target: &Target) -> bool {
        self.map.iter().any(|(_, known)| known == target) || self.set.contains(target)
    }
}

/// The delimiter, as it is typed, that a header read with another one seems to have.
fn delimiter_in(name: &str) -> Option<&'static str> {
    [(';', "';'"), ('\t', "tab"), ('|', "'|'"), (',', "','")]
        .into_iter()
        .find_map(|(delimiter, typed)| name.contains(delimiter).then_some(typed))
}

/// Whether two columns give the same thing.
fn same(one: &Use, other: &Use) -> bool {
    match (one, other) {
        (Use::Ignored, _) | (_, Use::Ignored) => false,
        (Use::Field(one), Use::Field(other)) => one.same_field(other),
        _ => one == other,
    }
}

/// A name as it would be typed in a shell.
fn argument(name: &str) -> String {
    let name = short(name);
    let plain = |char: char| char.is_alphanumeric() || "_-.:/".contains(char);
    if !name.is_empty() && name.chars().all(plain) {
        return name;
    }
    format!("'{}'", name.replace('\'', "'\\''"))
}
