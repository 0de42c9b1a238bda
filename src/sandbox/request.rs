//! The JSON body of a request, read by the vendor's page and nothing else.
//!
//! One flat object. The same key twice, or an unknown one, is refused: a desk that picks one of two values would
//! hide a bug of the client. Nothing here may put a value into an error text, because the token is among them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The keys of the page's table, and `email`, whose name the table leaves blank and the create page gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
pub(super) enum Key {
    AccountEmail,
    Token,
    TicketId,
    Email,
    Name,
    Phone,
    Subject,
    Description,
    Staff,
    Priority,
    Inbox,
    CustomFields,
    #[serde(other)]
    Unknown,
}

/// What can change, in the order in which the log lists it, whatever the order of the request: so that equal
/// changes have equal texts.
pub(super) const FIELDS: [(Key, &str); 9] = [
    (Key::Email, "email"),
    (Key::Name, "name"),
    (Key::Phone, "phone"),
    (Key::Subject, "subject"),
    (Key::Description, "description"),
    (Key::Staff, "staff"),
    (Key::Priority, "priority"),
    (Key::Inbox, "inbox"),
    (Key::CustomFields, "custom_fields"),
];

/// A body that is one JSON object without a key given twice. Its values are not looked at yet.
#[derive(Default)]
pub(super) struct Body<'a> {
    slots: [Option<&'a RawValue>; 12],
    /// Whether there was a key that the page does not list.
    pub(super) unknown: bool,
}

impl<'a> Body<'a> {
    /// Reads a body; the error is the desk's word to the client.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let body = json.deserialize_map(Object).map_err(|error| {
            if error.is_data() && error.to_string().starts_with(TWICE) { TWICE } else { "Invalid JSON" }
        })?;
        json.end().map_err(|_| "Invalid JSON")?;
        Ok(body)
    }

    /// A value as it stands in the body.
    pub(super) fn raw(&self, key: Key) -> Option<&'a str> {
        self.slots.get(key as usize).copied().flatten().map(RawValue::get)
    }

    /// A value that is a JSON string; `None` if it is missing or anything else.
    pub(super) fn text(&self, key: Key) -> Option<Cow<'a, str>> {
        self.raw(key).and_then(text)
    }

    /// The ticket, if it is a JSON number that a ticket can have.
    pub(super) fn ticket(&self) -> Option<u64> {
        self.raw(Key::TicketId).and_then(|raw| raw.parse().ok()).filter(|ticket| *ticket > 0)
    }
}

/// One element of `custom_fields`, as the create page shows it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CustomField<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "value")]
    _value: &'a RawValue,
}

/// Whether this is an array of `id` and `value` objects, or, as both tables of the vendor have it, a string that
/// holds one.
pub(super) fn is_custom_fields(raw: &str) -> bool {
    let well_formed = |array: &str| {
        serde_json::from_str::<Vec<CustomField<'_>>>(array)
            .is_ok_and(|fields| fields.iter().all(|field| !field.id.is_empty()))
    };
    well_formed(raw) || text(raw).is_some_and(|held| well_formed(&held))
}

fn text(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

const TWICE: &str = "A parameter is given twice";

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut body = Body::default();
        while let Some(key) = map.next_key::<Key>()? {
            let value = map.next_value::<&RawValue>()?;
            match body.slots.get_mut(key as usize) {
                None => body.unknown = true,
                Some(slot) if slot.is_some() => return Err(A::Error::custom(TWICE)),
                Some(slot) => *slot = Some(value),
            }
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_given_twice_is_refused_however_it_is_escaped() {
        assert_eq!(Body::parse(br#"{"staff":"a","st\u0061ff":"b"}"#).err(), Some(TWICE));
        assert_eq!(Body::parse(br#"{"token":"a","token":"a"}"#).err(), Some(TWICE));
    }

    #[test]
    fn a_body_is_one_object_in_utf_8() {
        for bytes in [
            &b""[..],
            b"[]",
            b"null",
            b"{\"staff\":}",
            b"{} {}",
            b"{\"staff\":\"\xff\"}",
            b"{\"staff\":\"x\"",
        ] {
            assert_eq!(Body::parse(bytes).err(), Some("Invalid JSON"), "{bytes:?}");
        }
    }

    #[test]
    fn a_ticket_is_a_whole_json_number() {
        let ticket =
            |value: &str| Body::parse(format!("{{\"ticket_id\": {value} }}").as_bytes()).unwrap().ticket();
        assert_eq!(ticket("1001"), Some(1001));
        for value in ["\"1001\"", "0", "-1", "1001.0", "1e3", "null", "18446744073709551616"] {
            assert_eq!(ticket(value), None, "{value}");
        }
    }

    #[test]
    fn custom_fields_are_an_array_or_a_string_that_holds_one() {
        for good in [
            "[]",
            r#"[{"id":"CF007-07","value":"Micro"},{"value":7,"id":"CF1"}]"#,
            r#""[{\"id\":\"CF007-07\",\"value\":\"Micro\"}]""#,
        ] {
            assert!(is_custom_fields(good), "{good}");
        }
        for bad in [
            "{}",
            "null",
            "\"\"",
            "[{\"id\":\"\",\"value\":1}]",
            "[{\"id\":\"a\"}]",
            "[{\"id\":\"a\",\"value\":1,\"x\":2}]",
        ] {
            assert!(!is_custom_fields(bad), "{bad}");
        }
    }
}
