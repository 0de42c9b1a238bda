//! The domain: a ticket's id, and the update that one row asks for.
//!
//! Everything here is already valid: a [`TicketUpdate`] cannot be built without a ticket and at least one
//! field. This module must not know about files, columns, HTTP or the journal.

use std::fmt;

use serde_json::value::RawValue;

/// The number of a ticket: 1 up to 2^63 - 1, so that it fits the journal's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(u64);

impl TicketId {
    /// Reads digits, leading zeros allowed. The error is a fragment that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("the ticket id is blank; every row needs one".to_owned());
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let hint = match text.strip_prefix('#') {
                Some(rest) if rest.bytes().all(|byte| byte.is_ascii_digit()) => "; leave out the #",
                _ if looks_like_a_spreadsheet_number(text) => {
                    "; the spreadsheet has made a number of it, format the column as text"
                }
                _ => "",
            };
            return Err(format!("{text:?} is not a ticket id, which is digits alone{hint}"));
        }
        match text.parse::<i64>() {
            Ok(0) => Err("0 is not a ticket id, which counts from 1".to_owned()),
            Ok(id) => Ok(Self(id.unsigned_abs())),
            Err(_) => Err(format!("the ticket id {text} is too long: at most {}", i64::MAX)),
        }
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as the journal keeps it.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// Reads a number that the journal kept.
    #[must_use]
    pub const fn from_journal(id: i64) -> Self {
        Self(id.cast_unsigned())
    }
}

/// `1001.0`, `1e3`, `1,001`: what Excel and its like make of an id.
fn looks_like_a_spreadsheet_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".,eE+".contains(&byte))
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The three priorities that the vendor's page lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the three words say it")]
pub enum Priority {
    High,
    Normal,
    Low,
}

impl Priority {
    /// Reads a priority without regard to case. The error is a fragment that lists what is possible.
    pub fn parse(text: &str) -> Result<Self, String> {
        [Self::High, Self::Normal, Self::Low]
            .into_iter()
            .find(|priority| text.eq_ignore_ascii_case(priority.as_str()))
            .ok_or_else(|| format!("{text:?} is not a priority: high, normal or low"))
    }

    /// The word that the desk expects.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// What a custom field is set to.
#[derive(Clone, Debug)]
pub enum CustomValue {
    /// A cell's text, or a JSON string.
    Text(String),
    /// Any other JSON value, kept to the letter: a number must not lose digits on its way.
    Json(Box<RawValue>),
}

impl PartialEq for CustomValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::Json(one), Self::Json(other)) => one.get() == other.get(),
            _ => false,
        }
    }
}

impl Eq for CustomValue {}

/// One element of `custom_fields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomField {
    /// The field's id as the desk lists it, `CF007-07`.
    pub id: String,
    /// Its new value.
    pub value: CustomValue,
}

/// What an update changes; `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the endpoint's own")]
pub struct Changes {
    /// The requester's e-mail. The vendor's update page leaves its name blank; `email` is the create page's.
    pub email: Option<String>,
    pub name: Option<String>,
    pub phone: Option<String>,
    pub subject: Option<String>,
    pub description: Option<String>,
    pub staff: Option<String>,
    pub priority: Option<Priority>,
    pub inbox: Option<String>,
    /// In the order of the input, no id twice.
    pub custom_fields: Vec<CustomField>,
}

impl Changes {
    /// Each field that is set, in a fixed order, custom fields last.
    pub fn iter(&self) -> impl Iterator<Item = (Field<'_>, Value<'_>)> {
        let texts = [
            (Field::Email, self.email.as_deref()),
            (Field::Name, self.name.as_deref()),
            (Field::Phone, self.phone.as_deref()),
            (Field::Subject, self.subject.as_deref()),
            (Field::Description, self.description.as_deref()),
            (Field::Staff, self.staff.as_deref()),
            (Field::Priority, self.priority.map(Priority::as_str)),
            (Field::Inbox, self.inbox.as_deref()),
        ];
        let standard =
            texts.into_iter().filter_map(|(field, text)| text.map(|text| (field, Value::Text(text))));
        let custom = self.custom_fields.iter().map(|field| {
            let value = match &field.value {
                CustomValue::Text(text) => Value::Text(text),
                CustomValue::Json(json) => Value::Json(json.get()),
            };
            (Field::Custom(&field.id), value)
        });
        standard.chain(custom)
    }

    /// Whether nothing is set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { email, name, phone, subject, description, staff, priority, inbox, custom_fields } = self;
        priority.is_none()
            && email.is_none()
            && name.is_none()
            && phone.is_none()
            && subject.is_none()
            && description.is_none()
            && staff.is_none()
            && inbox.is_none()
            && custom_fields.is_empty()
    }
}

/// The name of a field that can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the endpoint's own")]
pub enum Field<'a> {
    Email,
    Name,
    Phone,
    Subject,
    Description,
    Staff,
    Priority,
    Inbox,
    /// One custom field, by its id.
    Custom(&'a str),
}

impl Field<'static> {
    /// The fields that are no custom fields, in the order of [`Changes::iter`].
    pub const STANDARD: [Self; 8] = [
        Self::Email,
        Self::Name,
        Self::Phone,
        Self::Subject,
        Self::Description,
        Self::Staff,
        Self::Priority,
        Self::Inbox,
    ];
}

impl<'a> Field<'a> {
    /// Its place in [`Field::STANDARD`]; a custom field has none.
    #[must_use]
    pub const fn standard_index(self) -> Option<usize> {
        Some(match self {
            Self::Email => 0,
            Self::Name => 1,
            Self::Phone => 2,
            Self::Subject => 3,
            Self::Description => 4,
            Self::Staff => 5,
            Self::Priority => 6,
            Self::Inbox => 7,
            Self::Custom(_) => return None,
        })
    }

    /// The endpoint's own name; of a custom field, its id alone.
    #[must_use]
    pub const fn word(self) -> &'a str {
        match self {
            Self::Email => "email",
            Self::Name => "name",
            Self::Phone => "phone",
            Self::Subject => "subject",
            Self::Description => "description",
            Self::Staff => "staff",
            Self::Priority => "priority",
            Self::Inbox => "inbox",
            Self::Custom(id) => id,
        }
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(id) => write!(f, "custom_fields.{id}"),
            standard => f.write_str(standard.word()),
        }
    }
}

/// What a field is set to, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text as it stands in the cell.
    Text(&'a str),
    /// A JSON value that is not a string, to the letter.
    Json(&'a str),
}

/// The change that a row asks for: a ticket and at least one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketUpdate {
    ticket: TicketId,
    changes: Changes,
}

impl TicketUpdate {
    /// Joins a ticket and its changes; `None` where nothing would change.
    #[must_use]
    pub fn new(ticket: TicketId, changes: Changes) -> Option<Self> {
        (!changes.is_empty()).then_some(Self { ticket, changes })
    }

    /// Which ticket.
    #[must_use]
    pub const fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// What changes.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_id_is_digits_with_leading_zeros_allowed() {
        assert_eq!(TicketId::parse("00700").unwrap().get(), 700);
        assert_eq!(TicketId::parse("9223372036854775807").unwrap().as_i64(), i64::MAX);
        for (text, hint) in [
            ("", "blank"),
            ("0", "counts from 1"),
            ("1001.0", "format the column as text"),
            ("1e3", "format the column as text"),
            ("#1001", "leave out the #"),
            ("-5", "digits alone"),
            ("١٢", "digits alone"),
            ("9223372036854775808", "too long"),
        ] {
            let complaint = TicketId::parse(text).unwrap_err();
            assert!(complaint.contains(hint), "{text}: {complaint}");
        }
    }

    #[test]
    fn a_priority_is_taken_without_regard_to_case() {
        assert_eq!(Priority::parse("HIGH").unwrap(), Priority::High);
        assert!(Priority::parse("urgent").unwrap_err().contains("high, normal or low"));
    }

    #[test]
    fn a_standard_field_stands_where_it_says() {
        for (index, field) in Field::STANDARD.into_iter().enumerate() {
            assert_eq!(field.standard_index(), Some(index), "{field}");
        }
        assert_eq!(Field::Custom("CF1").standard_index(), None);
    }

    #[test]
    fn an_update_that_changes_nothing_cannot_be_built() {
        let ticket = TicketId::parse("7").unwrap();
        assert!(TicketUpdate::new(ticket, Changes::default()).is_none());
    }
}
