//! Words of a sheet to ids of the desk: an agent's e-mail to `ST007-009`; and what a blank cell means.
//!
//! Both are part of the mapping and kept with the run, so that it goes on as it was started, whatever has become of the
//! table since. A word that is not there, or stands for several ids, is never guessed: its row is invalid.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::normal;
use super::{Target, short};
use crate::text::closest;

/// The most entries of one table: it is kept with each run that uses it.
pub const LOOKUP_ENTRIES_MAX: usize = 100_000;

/// How many differences of a table are named.
const NAMED: usize = 5;

/// One table: words without regard to case and outer blanks, each with the ids that it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lookup(BTreeMap<String, Vec<String>>);

impl Lookup {
    /// Adds an entry; the same one twice is one.
    pub fn add(&mut self, word: &str, id: &str) {
        let ids = self.0.entry(normal(word).into_owned()).or_default();
        let id = id.trim();
        if !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The word that is nearest to one that is not there.
    #[must_use]
    pub fn closest(&self, word: &str) -> Option<&str> {
        closest(word, self.0.keys().map(String::as_str))
    }

    /// The id; else what is wrong with the word, without the word.
    pub fn find(&self, word: &str) -> Result<&str, String> {
        match self.0.get(normal(word).as_ref()).map(Vec::as_slice) {
            Some([id]) => Ok(id),
            Some(ids) if !ids.is_empty() => {
                let ids: Vec<String> = ids.iter().map(|id| short(id)).collect();
                Err(format!("stands for several ids ({})", ids.join(", ")))
            }
            _ => Err("is not there".to_owned()),
        }
    }

    /// What this table says otherwise than that of an earlier run, in words for a person.
    pub(super) fn differences(&self, other: &Self, target: &Target, found: &mut Vec<String>) {
        let words: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let changed: Vec<&String> =
            words.into_iter().filter(|word| self.0.get(*word) != other.0.get(*word)).collect();
        let said = |ids: Option<&Vec<String>>| {
            ids.map_or_else(|| "not there".to_owned(), |ids| short(&ids.join(" and ")))
        };
        for word in changed.iter().take(NAMED) {
            let (now, then) = (said(self.0.get(*word)), said(other.0.get(*word)));
            let word = short(word);
            found.push(format!(
                "lookup.{target}: \"{word}\" is {now}, and was {then} when the run was started"
            ));
        }
        if changed.len() > NAMED {
            found.push(format!("lookup.{target}: {} more entries are others", changed.len() - NAMED));
        }
    }
}

/// What a blank cell of a field means; keep, the default, is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blank {
    /// The field is set to an empty text.
    Clear,
    /// The row is invalid.
    Error,
}

/// Reads `FIELD=keep|clear|error`.
pub(super) fn parse_blank(typed: &str) -> Result<(Target, Option<Blank>), String> {
    let shape = || format!("\"{}\" is not FIELD=keep, FIELD=clear or FIELD=error", short(typed));
    let (field, word) = typed.split_once('=').ok_or_else(shape)?;
    let target = Target::parse(field).ok_or_else(|| super::spec::not_a_field(field))?;
    let blank = match word.trim().to_ascii_lowercase().as_str() {
        "keep" => None,
        "clear" => Some(Blank::Clear),
        "error" => Some(Blank::Error),
        _ => return Err(shape()),
    };
    match (&target, blank) {
        (Target::Ticket, _) => Err("ticket_id is never blank; every row needs one".to_owned()),
        (Target::Standard(crate::ticket::Field::Priority) | Target::CustomFields, Some(Blank::Clear)) => {
            Err(format!("{target} cannot be cleared; an empty text is none of its values"))
        }
        _ => Ok((target, blank)),
    }
}

/// Reads the name of a field that can have a table.
pub fn parse_lookup_field(name: &str) -> Result<Target, String> {
    match Target::parse(name).ok_or_else(|| super::spec::not_a_field(name))? {
        Target::Ticket | Target::CustomFields => {
            Err("a lookup is for a text field: staff, inbox, custom_fields.ID and the like".to_owned())
        }
        target => Ok(target),
    }
}

/// Of what is typed: no table, no meaning of blanks.
pub(super) static NO_RULES: Rules = Rules { lookup: BTreeMap::new(), blank: BTreeMap::new() };

/// What is done with a field's text before it is the field's value.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) lookup: BTreeMap<Target, Lookup>,
    pub(super) blank: BTreeMap<Target, Blank>,
}

impl Rules {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.lookup.is_empty() && self.blank.is_empty()
    }

    pub(super) fn table(&self, target: &Target) -> Option<&Lookup> {
        self.lookup.iter().find(|(known, _)| known.same_field(target)).map(|(_, table)| table)
    }

    pub(super) fn blank(&self, target: &Target) -> Option<Blank> {
        self.blank.iter().find(|(known, _)| known.same_field(target)).map(|(_, blank)| *blank)
    }

    /// The text that counts.
    pub(super) fn read<'a>(&'a self, target: &Target, text: Cow<'a, str>) -> Result<Cow<'a, str>, String> {
        let Some(table) = self.table(target) else { return Ok(text) };
        table.find(&text).map(Cow::Borrowed).map_err(|why| {
            format!(
                "\"{}\" {why} in lookup.{target}; mend the cell, or the table in the profile",
                short(&text)
            )
        })
    }
}

/// A text that a table does not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The field.
    pub target: Target,
    /// The text, as it was written.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}
