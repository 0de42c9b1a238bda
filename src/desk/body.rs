//! The body of a request: an update as the vendor's page shows it.
//!
//! The token is inside every body, so a body is never logged, and no error holds a word of one.

use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use crate::ticket::{CustomField, CustomValue, Priority, TicketUpdate};

/// The body of a request, as the vendor's page shows it.
#[derive(Serialize)]
struct RequestBody<'a> {
    account_email: &'a str,
    token: &'a str,
    /// A JSON number, as the page says; the reply has it as a string.
    ticket_id: u64,
    /// The page leaves this name blank; `email` is what the create page calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staff: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<&'a str>,
    /// Both tables of the vendor call it a String; the create page sends an array, and so do we.
    #[serde(skip_serializing_if = "CustomFields::is_empty")]
    custom_fields: CustomFields<'a>,
}

#[derive(Clone, Copy)]
struct CustomFields<'a> {
    fields: &'a [CustomField],
    as_string: bool,
}

impl CustomFields<'_> {
    fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Serialize for CustomFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.as_string {
            return array(self.fields, serializer);
        }
        let inner = CustomFields { as_string: false, ..*self };
        let text = serde_json::to_string(&inner).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

fn array<S: Serializer>(fields: &[CustomField], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Element<'a, T> {
        id: &'a str,
        value: T,
    }
    let mut array = serializer.serialize_seq(Some(fields.len()))?;
    for field in fields {
        match &field.value {
            CustomValue::Text(value) => array.serialize_element(&Element { id: &field.id, value })?,
            CustomValue::Json(value) => array.serialize_element(&Element { id: &field.id, value })?,
        }
    }
    array.end()
}

/// What all requests have in common, but for the token.
#[derive(Clone, Copy)]
pub struct Common<'a> {
    /// The account.
    pub account_email: &'a str,
    /// See [`Connection::custom_fields_as_string`](super::proprofs::Connection::custom_fields_as_string).
    pub custom_fields_as_string: bool,
}

/// Room for a body of some short fields, so that its memory is got once.
const USUAL_BYTES: usize = 512;

/// Writes the body. The error holds no word of it.
pub(super) fn render(common: Common<'_>, token: &str, update: &TicketUpdate) -> Result<Vec<u8>, String> {
    let Common { account_email, custom_fields_as_string } = common;
    let changes = update.changes();
    let body = RequestBody {
        account_email,
        token,
        ticket_id: update.ticket().get(),
        email: changes.email.as_deref(),
        name: changes.name.as_deref(),
        phone: changes.phone.as_deref(),
        subject: changes.subject.as_deref(),
        description: changes.description.as_deref(),
        staff: changes.staff.as_deref(),
        priority: changes.priority.map(Priority::as_str),
        inbox: changes.inbox.as_deref(),
        custom_fields: CustomFields { fields: &changes.custom_fields, as_string: custom_fields_as_string },
    };
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut bytes, &body)
        .map_err(|_| "the row could not be written as JSON".to_owned())?;
    Ok(bytes)
}

/// What stands for the token where a request is shown.
const HIDDEN_TOKEN: &str = "(hidden)";

/// The body that would be sent for an update, with something in the token's place: for people to look at.
pub fn sample(common: Common<'_>, update: &TicketUpdate) -> Result<String, String> {
    let body = render(common, HIDDEN_TOKEN, update)?;
    String::from_utf8(body).map_err(|_| "the row could not be written as JSON".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ticket::{Changes, TicketId};

    fn common(account_email: &str) -> Common<'_> {
        Common { account_email, custom_fields_as_string: false }
    }

    #[test]
    fn the_body_is_the_one_of_the_vendors_page() {
        let changes =
            Changes { staff: Some("ST007-009".into()), priority: Some(Priority::High), ..Changes::default() };
        let update = TicketUpdate::new(TicketId::parse("1001").unwrap(), changes).unwrap();
        let body = render(common("john@proprofs.com"), "secret", &update).unwrap();
        assert_eq!(
            String::from_utf8(body).unwrap(),
            r#"{"account_email":"john@proprofs.com","token":"secret","ticket_id":1001,"staff":"ST007-009","priority":"high"}"#
        );
    }

    #[test]
    fn custom_fields_are_an_array_and_numbers_keep_their_digits() {
        let number = serde_json::value::RawValue::from_string("12345678901234567890.10".into()).unwrap();
        let changes = Changes {
            custom_fields: vec![
                CustomField { id: "CF007-07".into(), value: CustomValue::Text("Micro".into()) },
                CustomField { id: "CF007-08".into(), value: CustomValue::Json(number) },
            ],
            ..Changes::default()
        };
        let update = TicketUpdate::new(TicketId::parse("7").unwrap(), changes).unwrap();
        let body = String::from_utf8(render(common("a@example.com"), "t", &update).unwrap()).unwrap();
        assert!(body.ends_with(
            r#""custom_fields":[{"id":"CF007-07","value":"Micro"},{"id":"CF007-08","value":12345678901234567890.10}]}"#
        ));
    }
}
