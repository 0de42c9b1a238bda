//! What the vendor's page says a request deserves. Pure: no socket, no clock, no dice.
//!
//! Where the page is silent the sandbox is strict, so that a client which passes here has stayed within the
//! page: names, types and the spelling of a priority must be the page's own. Of the error texts only
//! [`AUTHENTICATION`] is documented; the others are this desk's own words and nothing may depend on them.

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use super::faults::Reply;
use super::options::Options;
use super::request::{Body, FIELDS, Key, is_custom_fields};

/// The one error text that the vendor documents.
pub(super) const AUTHENTICATION: &str = "Unable to authenticate request using account email and token";
/// For a ticket that this account does not have.
pub(super) const NOT_FOUND: &str = "Ticket not found";

/// What a request to the right address deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The change to this ticket takes effect.
    Applied(u64),
    /// No change, for this reason.
    Refused(&'static str),
    /// No change: the credentials are not the account's.
    Unauthenticated,
}

/// The reply to a request that cannot be one for this endpoint by its method and path; `None` if it can.
pub(super) fn misdirected(method: &Method, path: &str) -> Option<Reply> {
    if Some(path) == super::PATH.strip_suffix('/') {
        // As PHP desks do, and with it they turn the POST of a careless client into a GET.
        return Some(Reply::status(301).header("location", super::PATH));
    }
    if path != super::PATH {
        return Some(Reply::error(404, "Not found"));
    }
    if method != Method::POST {
        return Some(Reply::error(405, "Method not allowed").header("allow", "POST"));
    }
    None
}

/// What is wrong with the headers, if anything: the page gives both media types as JSON.
pub(super) fn wrong_headers(headers: &HeaderMap) -> Option<&'static str> {
    let media =
        |value: &[u8]| value.split(|byte| b",;".contains(byte)).next().map(<[u8]>::to_ascii_lowercase);
    let content = headers.get(CONTENT_TYPE).and_then(|value| media(value.as_bytes()));
    if content.as_deref() != Some(b"application/json") {
        return Some("Content-Type must be application/json");
    }
    // A request without Accept takes anything (RFC 9110, 12.5.1).
    let accepted = headers.get(ACCEPT).is_none_or(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        value.split(|byte| *byte == b',').any(|range| {
            matches!(
                media(range.trim_ascii()).as_deref(),
                Some(b"application/json" | b"application/*" | b"*/*")
            )
        })
    });
    (!accepted).then_some("Accept must be application/json")
}

/// What a body deserves of an account without faults.
pub(super) fn rule(body: &Body<'_>, options: &Options) -> Ruling {
    let email = body.text(Key::AccountEmail).unwrap_or_default();
    let email_known = match &options.account_email {
        Some(account) => account.eq_ignore_ascii_case(&email),
        None => email.contains('@'),
    };
    if !email_known || body.text(Key::Token).as_deref() != Some(options.token.as_str()) {
        return Ruling::Unauthenticated;
    }
    let Some(id) = body.raw(Key::TicketId) else { return Ruling::Refused("ticket_id is required") };
    if !id.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ruling::Refused("ticket_id must be a number");
    }
    let Some(ticket) = body.ticket() else { return Ruling::Refused(NOT_FOUND) };
    if body.unknown {
        return Ruling::Refused("Unknown parameter");
    }
    for (key, _) in FIELDS {
        if let Some(complaint) = complaint(body, key) {
            return Ruling::Refused(complaint);
        }
    }
    // No field at all is within the page: "all properties are optional".
    Ruling::Applied(ticket)
}

fn complaint(body: &Body<'_>, key: Key) -> Option<&'static str> {
    let raw = body.raw(key)?;
    match key {
        Key::Priority => {
            let known = matches!(body.text(key).as_deref(), Some("high" | "normal" | "low"));
            (!known).then_some("Invalid priority")
        }
        Key::CustomFields => (!is_custom_fields(raw)).then_some("Invalid custom_fields"),
        // The page types them as String, so null is none of theirs.
        _ => body.text(key).is_none().then_some("A parameter that must be a string is not"),
    }
}

/// The documented success, its ticket padded with zeros to at least five digits.
pub(super) fn success_body(ticket: u64) -> String {
    format!(r#"{{"status":"success","ticket_id":"{ticket:05}"}}"#)
}

/// The documented form of an error.
pub(super) fn error_body(description: &str) -> String {
    let description = serde_json::Value::from(description);
    format!(r#"{{"status":"error","description":{description}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruling(rest: &str) -> Ruling {
        let body = format!(r#"{{"account_email":"ops@example.com","token":"sandbox-token",{rest}}}"#);
        rule(&Body::parse(body.as_bytes()).unwrap(), &Options::default())
    }

    #[test]
    fn every_field_of_the_page_is_taken() {
        let all = r#""ticket_id":1001,"email":"a@example.com","name":"A","phone":"1","subject":"s","description":"d",
            "staff":"ST007-009","priority":"high","inbox":"IB238-436","custom_fields":[{"id":"CF007-07","value":"Micro"}]"#;
        assert_eq!(ruling(all), Ruling::Applied(1001));
        assert_eq!(ruling(r#""ticket_id":1"#), Ruling::Applied(1));
    }

    #[test]
    fn what_the_page_does_not_say_is_refused() {
        for (rest, word) in [
            (r#""staff":"x""#, "required"),
            (r#""ticket_id":"1001""#, "must be a number"),
            (r#""ticket_id":null"#, "must be a number"),
            (r#""ticket_id":0"#, "not found"),
            (r#""ticket_id":10.5"#, "not found"),
            (r#""ticket_id":1,"status":"closed""#, "Unknown"),
            (r#""ticket_id":1,"Staff":"x""#, "Unknown"),
            (r#""ticket_id":1,"staff":7"#, "string"),
            (r#""ticket_id":1,"subject":null"#, "string"),
            (r#""ticket_id":1,"priority":"High""#, "priority"),
            (r#""ticket_id":1,"custom_fields":{"id":"a"}"#, "custom_fields"),
        ] {
            match ruling(rest) {
                Ruling::Refused(text) => assert!(text.contains(word), "{rest}: {text}"),
                other => panic!("{rest}: {other:?}"),
            }
        }
    }

    #[test]
    fn credentials_are_both_looked_at_and_first() {
        let mine = Options { account_email: Some("Ops@Example.com".to_owned()), ..Options::default() };
        for (body, expected) in [
            (
                r#"{"account_email":"ops@example.com","token":"sandbox-token","ticket_id":7}"#,
                Ruling::Applied(7),
            ),
            (
                r#"{"account_email":"eve@example.com","token":"sandbox-token","ticket_id":7}"#,
                Ruling::Unauthenticated,
            ),
            (
                r#"{"account_email":"ops@example.com","token":"Sandbox-token","ticket_id":7}"#,
                Ruling::Unauthenticated,
            ),
            (r#"{"account_email":"ops@example.com","token":["sandbox-token"]}"#, Ruling::Unauthenticated),
            (r#"{"ticket_id":"x"}"#, Ruling::Unauthenticated),
        ] {
            assert_eq!(rule(&Body::parse(body.as_bytes()).unwrap(), &mine), expected, "{body}");
        }
    }

    #[test]
    fn a_ticket_is_padded_to_five_digits_and_never_cut() {
        assert_eq!(success_body(700), r#"{"status":"success","ticket_id":"00700"}"#);
        assert_eq!(success_body(1_234_567), r#"{"status":"success","ticket_id":"1234567"}"#);
    }
}
