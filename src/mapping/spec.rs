//! The mapping as people say it: `--map`, `--set`, `--ignore`, before any header was seen.
//!
//! It is kept with the run and compared when the run goes on, so it has one form for one meaning: sorted, the
//! columns in lower case without outer blanks. What can be refused without the input is refused here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::draft::Draft;
use super::lookup::{Blank, Lookup, NO_RULES, parse_blank};
use super::{Target, short};
use crate::text::closest;

/// What was said about columns and fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingSpec {
    /// `--map FIELD=COLUMN`.
    pub map: BTreeMap<Target, String>,
    /// `--set FIELD=VALUE`: the same value in every row.
    pub set: BTreeMap<Target, String>,
    /// `--ignore COLUMN`.
    pub ignore: BTreeSet<String>,
    /// `--ignore-unknown`.
    pub ignore_unknown: bool,
    /// `--encoding`, by its own name; `None` is UTF-8, or what a byte order mark says.
    pub encoding: Option<String>,
    /// `--sheet`; `None` is the first, or no spreadsheet.
    pub sheet: Option<String>,
    /// `[profile.NAME.lookup.FIELD]`: the tables' contents, so that the run needs neither profile nor file again.
    pub lookup: BTreeMap<Target, Lookup>,
    /// `--blank FIELD=clear|error`; a field that is kept is left out.
    pub blank: BTreeMap<Target, Blank>,
}

impl MappingSpec {
    /// Takes `--map FIELD=COLUMN`.
    pub fn add_map(&mut self, typed: &str) -> Result<(), String> {
        let (target, column) = parse_map(typed)?;
        add(&mut self.map, target, column, "--map")
    }

    /// Takes `--set FIELD=VALUE`.
    pub fn add_set(&mut self, typed: &str) -> Result<(), String> {
        let (target, value) = parse_set(typed)?;
        add(&mut self.set, target, value, "--set")
    }

    /// Takes `--ignore COLUMN`.
    pub fn add_ignore(&mut self, typed: &str) {
        self.ignore.insert(normal(typed).into_owned());
    }

    /// Takes `--blank FIELD=keep|clear|error`.
    pub fn add_blank(&mut self, typed: &str) -> Result<(), String> {
        let (target, blank) = parse_blank(typed)?;
        if self.blank.keys().any(|known| known.same_field(&target)) {
            return Err(format!("--blank names {target} twice; leave one out"));
        }
        self.blank.extend(blank.map(|blank| (target, blank)));
        Ok(())
    }

    /// Takes a table; each of its ids has to be a value that the field can have.
    pub fn add_lookup(&mut self, target: Target, table: Lookup) -> Result<(), String> {
        if self.lookup.keys().any(|known| known.same_field(&target)) {
            return Err(format!("there are two tables for {target}; leave one out"));
        }
        self.lookup.insert(target, table);
        Ok(())
    }

    /// Whether a column's name means something: a field, or what `--map` and `--ignore` name.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let plain = normal(name);
        Target::parse(name).is_some()
            || self.ignore.contains(plain.as_ref())
            || self.map.values().any(|column| *column == plain)
    }

    /// What this one says otherwise than `other`, the mapping of an earlier run, in words for a person.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("--map", &self.map, &other.map, &mut found);
        compare("--set", &self.set, &other.set, &mut found);
        let only = |one: &Self, other: &Self, word: &str| -> Vec<String> {
            one.ignore
                .difference(&other.ignore)
                .map(|name| format!("--ignore {}{word}", short(name)))
                .collect()
        };
        found.extend(only(self, other, NEW));
        found.extend(only(other, self, MISSING));
        match (self.ignore_unknown, other.ignore_unknown) {
            (true, false) => found.push(format!("--ignore-unknown{NEW}")),
            (false, true) => found.push(format!("--ignore-unknown{MISSING}")),
            _ => {}
        }
        for target in
            self.lookup.keys().chain(other.lookup.keys().filter(|key| !self.lookup.contains_key(*key)))
        {
            let none = Lookup::default();
            let (now, then) = (self.lookup.get(target), other.lookup.get(target));
            now.unwrap_or(&none).differences(then.unwrap_or(&none), target, &mut found);
        }
        let words = |spec: &Self| -> BTreeMap<Target, String> {
            let word = |blank: &Blank| if *blank == Blank::Clear { "clear" } else { "error" }.to_owned();
            spec.blank.iter().map(|(target, blank)| (target.clone(), word(blank))).collect()
        };
        compare("--blank", &words(self), &words(other), &mut found);
        if self.encoding != other.encoding {
            let name = |spec: &Self| spec.encoding.clone().unwrap_or_else(|| "UTF-8".to_owned());
            found.push(format!("--encoding {} was {} when the run was started", name(self), name(other)));
        }
        let sheet = |spec: &Self| spec.sheet.as_deref().map(|name| name.trim().to_lowercase());
        if sheet(self) != sheet(other) {
            let name = |spec: &Self| {
                spec.sheet
                    .as_deref()
                    .map_or_else(|| "the first sheet".to_owned(), |name| format!("--sheet {}", short(name)))
            };
            found.push(format!("{} was {} when the run was started", name(self), name(other)));
        }
        found
    }
}

const NEW: &str = " was not given when the run was started";
const MISSING: &str = " was given when the run was started, and is missing now";

fn compare(
    flag: &str,
    now: &BTreeMap<Target, String>,
    then: &BTreeMap<Target, String>,
    found: &mut Vec<String>,
) {
    for (target, value) in now {
        match then.get(target) {
            Some(before) if before == value => {}
            Some(before) => found.push(format!(
                "{flag} {target}={} was {target}={} when the run was started",
                short(value),
                short(before)
            )),
            None => found.push(format!("{flag} {target}={}{NEW}", short(value))),
        }
    }
    for (target, value) in then.iter().filter(|(target, _)| !now.contains_key(target)) {
        found.push(format!("{flag} {target}={}{MISSING}", short(value)));
    }
}

fn add(to: &mut BTreeMap<Target, String>, target: Target, text: String, flag: &str) -> Result<(), String> {
    if to.keys().any(|known| known.same_field(&target)) {
        return Err(format!("{flag} names {target} twice; leave one out"));
    }
    to.insert(target, text);
    Ok(())
}

/// Reads `FIELD=COLUMN`. The error is a fragment that says what to write instead.
pub fn parse_map(typed: &str) -> Result<(Target, String), String> {
    let (field, column) = typed
        .split_once('=')
        .ok_or_else(|| format!("\"{}\" is not FIELD=COLUMN, such as staff=Owner", short(typed)))?;
    let column = normal(column).into_owned();
    if column.is_empty() {
        return Err(format!("\"{}\" names no column; write FIELD=COLUMN", short(typed)));
    }
    let target = Target::parse(field).ok_or_else(|| not_a_field(field))?;
    Ok((target, column))
}

/// Reads `FIELD=VALUE`, and refuses a value that the field cannot have.
pub fn parse_set(typed: &str) -> Result<(Target, String), String> {
    let (field, value) = typed
        .split_once('=')
        .ok_or_else(|| format!("\"{}\" is not FIELD=VALUE, such as priority=high", short(typed)))?;
    let target = Target::parse(field).ok_or_else(|| not_a_field(field))?;
    check_set(&target, value)?;
    Ok((target, value.to_owned()))
}

pub(crate) fn check_set(target: &Target, value: &str) -> Result<(), String> {
    if *target == Target::Ticket {
        return Err("ticket_id cannot be set for every row; it comes from a column".to_owned());
    }
    let mut draft = Draft::default();
    draft
        .put_text(Cow::Borrowed(target), Cow::Borrowed(value), &NO_RULES)
        .map_err(|trouble| format!("{target}: {trouble}"))?;
    if draft.is_empty() {
        return Err(format!(
            "{target}: a blank value would leave the field alone; give one, or leave this out"
        ));
    }
    Ok(())
}

/// Says that a name means no field, and which one may be meant.
pub(super) fn not_a_field(name: &str) -> String {
    let written = short(name);
    match closest(name, Target::names()) {
        Some(close) => format!("\"{written}\" is not a field; did you mean {close}?"),
        None => format!("\"{written}\" is not a field; {}", the_fields()),
    }
}

/// The list of fields, as a sentence's part.
pub(super) fn the_fields() -> String {
    let names: Vec<&str> = Target::names().collect();
    format!("the fields are {} and custom_fields.ID", names.join(", "))
}

/// A column's name without regard to case and outer blanks.
pub(super) fn normal(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.to_lowercase())
}
