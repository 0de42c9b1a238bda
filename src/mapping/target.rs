//! What a column or a key can stand for.
//!
//! The names are the endpoint's own. This knows the names alone: neither where they were typed nor what
//! a cell holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ticket::Field;

/// What a column or `--set` gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    /// Which ticket is meant.
    Ticket,
    /// One of [`Field::STANDARD`].
    Standard(Field<'static>),
    /// A JSON array of custom fields.
    CustomFields,
    /// One custom field, by its id as written.
    Custom(String),
}

const TICKET: &str = "ticket_id";
const CUSTOM_FIELDS: &str = "custom_fields";
const CUSTOM_PREFIX: &str = "custom_fields.";

impl Target {
    /// Reads a name without regard to case and outer blanks; the id of a custom field stays as written.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim();
        if name.eq_ignore_ascii_case(TICKET) {
            return Some(Self::Ticket);
        }
        if name.eq_ignore_ascii_case(CUSTOM_FIELDS) {
            return Some(Self::CustomFields);
        }
        if let Some((prefix, id)) = name.split_at_checked(CUSTOM_PREFIX.len())
            && prefix.eq_ignore_ascii_case(CUSTOM_PREFIX)
        {
            let id = id.trim();
            return (!id.is_empty()).then(|| Self::Custom(id.to_owned()));
        }
        let standard = Field::STANDARD.into_iter().find(|field| name.eq_ignore_ascii_case(field.word()));
        standard.map(Self::Standard)
    }

    /// Whether both mean the same field; ids of custom fields are compared without regard to case, because no
    /// desk would tell them apart by it.
    pub(crate) fn same_field(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(one), Self::Custom(other)) => one.eq_ignore_ascii_case(other),
            _ => self == other,
        }
    }

    /// Every name that has no id in it, for "did you mean".
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        [TICKET].into_iter().chain(Field::STANDARD.into_iter().map(Field::word)).chain([CUSTOM_FIELDS])
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ticket => f.write_str(TICKET),
            Self::Standard(field) => f.write_str(field.word()),
            Self::CustomFields => f.write_str(CUSTOM_FIELDS),
            Self::Custom(id) => write!(f, "{CUSTOM_PREFIX}{id}"),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::parse(&name).ok_or_else(|| super::spec::not_a_field(&name))
    }
}
