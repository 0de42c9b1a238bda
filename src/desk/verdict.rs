//! What came back → what it means for the row.
//!
//! Architecture invariant: pure. No I/O, no clock but the one handed in, no memory of other rows; what depends
//! on the run (a 403 among successes) is decided by the breaker. Everything that is not surely applied and not
//! surely refused is in doubt: a doubt costs a person a look, a repeat costs a customer.
//!
//! The order of the questions is part of the contract: throttling, the authentication text, what a person said of the
//! desk's words, 401/403, 3xx, 408, success, `status: error`, the list of refusals, everything else.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::throttle::WaitHeaders;
use crate::journal::state::{Note, Reason};
use crate::ticket::TicketId;

/// The one error text that the vendor documents.
const AUTHENTICATION_TEXT: &str = "Unable to authenticate request using account email and token";

/// What the vendor leaves open, as a setting.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether a success must name the same ticket. The page shows it so; nobody promises it.
    pub check_reply_id: bool,
    /// Whether a 503 with a Retry-After proves that nothing was applied. Assumed, not documented.
    pub trust_503: bool,
    /// What a person knows of this desk's words; the first that fits counts.
    pub replies: Vec<ReplyRule>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { check_reply_id: true, trust_503: true, replies: Vec::new() }
    }
}

/// What a reply that holds certain words means, by a person's word: the desk's error texts are not documented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRule {
    /// The words, without regard to case; looked for in the desk's own words, or in a body that has none.
    pub text: String,
    /// What they mean.
    pub meaning: Meaning,
}

/// What words of the desk can be said to mean: never that an update was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Not applied, for now: the whole account pauses.
    Throttled,
    /// Refused for good.
    Failed,
    /// The credentials are wrong.
    Credentials,
    /// Nobody knows.
    InDoubt,
}

impl Meaning {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Throttled, Self::Failed, Self::Credentials, Self::InDoubt];

    /// As a profile writes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::Credentials => "credentials",
            Self::InDoubt => "in_doubt",
        }
    }
}

impl ReplyRule {
    /// A success is never said to be anything else, and the page around a redirect is not the desk's.
    fn fits(&self, reply: &Reply, body: &Words<'_>) -> bool {
        if body.says_success() || (300..=399).contains(&reply.status) {
            return false;
        }
        let words = body.description().or_else(|| match &reply.body {
            Body::Whole(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Body::TooLarge | Body::CutShort(_) => None,
        });
        words.is_some_and(|words| words.to_lowercase().contains(&self.text.to_lowercase()))
    }
}

/// An HTTP reply, as far as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// When to come back.
    pub wait: WaitHeaders,
    /// The body.
    pub body: Body,
}

/// A reply's body, as far as it came.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// Over the limit; the rest was not read.
    TooLarge,
    /// The connection broke, or time ran out, before its end.
    CutShort(Trouble),
}

/// What went wrong below HTTP, in the network's words as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection was made, so nothing was sent.
    NotConnected(String),
    /// The connection was closed before the request's first byte, so nothing was sent; it had served before.
    Unused(String),
    /// The desk's certificate is not valid; nothing was sent.
    Certificate(String),
    /// No answer in time, after connecting.
    Timeout,
    /// The connection broke, after connecting.
    Broken(String),
}

/// What it means for the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The desk applied it, and said so in a form that can be believed.
    Applied,
    /// The desk refused this row for good.
    Failed(Note),
    /// Not applied: the whole account pauses for so long, or for our own backoff.
    Throttled(Option<Duration>, Note),
    /// Nothing left. `away`: no connection came about, so that the desk may be away.
    NotSent {
        /// Whether there is no connection, rather than one that was closed while it was idle.
        away: bool,
        /// Why.
        note: Note,
    },
    /// Perhaps applied. `lost`: no answer came, so that the desk may be away.
    InDoubt {
        /// Whether the answer was lost, rather than unclear.
        lost: bool,
        /// Why.
        note: Note,
    },
    /// The documented authentication text: the credentials are wrong.
    Credentials(Note),
    /// 401 or 403: the credentials, or this ticket alone.
    Forbidden(Note),
    /// A redirect, which was not followed.
    Redirected(Note),
    /// The certificate is not valid: nothing left.
    Certificate(Note),
}

impl Verdict {
    /// What it says of itself; nothing is to be said of a success.
    #[must_use]
    pub const fn note(&self) -> Option<&Note> {
        match self {
            Self::Applied => None,
            Self::Failed(note)
            | Self::Throttled(_, note)
            | Self::NotSent { note, .. }
            | Self::InDoubt { note, .. }
            | Self::Credentials(note)
            | Self::Forbidden(note)
            | Self::Redirected(note)
            | Self::Certificate(note) => Some(note),
        }
    }

    /// The same, with its sentence made fit to be shown. Only now: a token that is a common word or a number would
    /// turn a reply that is taken out of it before it is read into another reply.
    #[must_use]
    pub fn tidied(mut self, tidy: impl FnOnce(&str) -> String) -> Self {
        match &mut self {
            Self::Applied => {}
            Self::Failed(note)
            | Self::Throttled(_, note)
            | Self::NotSent { note, .. }
            | Self::InDoubt { note, .. }
            | Self::Credentials(note)
            | Self::Forbidden(note)
            | Self::Redirected(note)
            | Self::Certificate(note) => note.message = tidy(&note.message),
        }
        self
    }

    /// The word for the log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Failed(_) => "failed",
            Self::Throttled(..) => "throttled",
            Self::NotSent { .. } => "not sent",
            Self::InDoubt { .. } => "in doubt",
            Self::Credentials(_) => "credentials refused",
            Self::Forbidden(_) => "forbidden",
            Self::Redirected(_) => "redirected",
            Self::Certificate(_) => "certificate not valid",
        }
    }
}

/// Reads what came back for `ticket`. Its note quotes the desk as it spoke: see [`Verdict::tidied`].
#[must_use]
pub fn read(came: &Result<Reply, Trouble>, ticket: TicketId, rules: &Rules, now: SystemTime) -> Verdict {
    match came {
        Ok(reply) => read_reply(reply, ticket, rules, now),
        Err(trouble) => read_trouble(trouble, None),
    }
}

fn read_trouble(trouble: &Trouble, http_status: Option<u16>) -> Verdict {
    let note = |reason, message: &str| Note { reason, message: message.to_owned(), http_status };
    match trouble {
        Trouble::NotConnected(why) => Verdict::NotSent { away: true, note: note(Reason::NotSent, why) },
        Trouble::Unused(why) => Verdict::NotSent { away: false, note: note(Reason::NotSent, why) },
        Trouble::Certificate(why) => Verdict::Certificate(note(Reason::Certificate, why)),
        Trouble::Timeout => Verdict::InDoubt {
            lost: true,
            note: note(Reason::Timeout, "no complete answer came within the timeout"),
        },
        Trouble::Broken(why) => Verdict::InDoubt { lost: true, note: note(Reason::ConnectionLost, why) },
    }
}

/// What it means that there is no connection.
#[must_use]
pub fn no_connection(trouble: &Trouble) -> Verdict {
    read_trouble(trouble, None)
}

fn read_reply(reply: &Reply, ticket: TicketId, rules: &Rules, now: SystemTime) -> Verdict {
    let status = reply.status;
    let body = Words::of(&reply.body);
    let note = |reason, fallback: &str| Note {
        reason,
        message: body.description().unwrap_or_else(|| fallback.to_owned()),
        http_status: Some(status),
    };

    // Throttling. A Retry-After that cannot be read does not turn a 503 into a promise.
    let announced = reply.wait.wait(now);
    if status == 429 || (status == 503 && rules.trust_503 && reply.wait.retry_after(now).is_some()) {
        return Verdict::Throttled(announced, note(Reason::Throttled, "the desk asked to come back later"));
    }
    if body.says_error() && body.is_authentication_text() {
        return Verdict::Credentials(note(Reason::Credentials, AUTHENTICATION_TEXT));
    }
    if let Some(rule) = rules.replies.iter().find(|rule| rule.fits(reply, &body)) {
        let message = format!("the desk's answer holds \"{}\"", rule.text);
        return match rule.meaning {
            Meaning::Throttled => Verdict::Throttled(announced, note(Reason::Throttled, &message)),
            Meaning::Failed => Verdict::Failed(note(Reason::Refused, &message)),
            Meaning::Credentials => Verdict::Credentials(note(Reason::Credentials, &message)),
            Meaning::InDoubt => unclear(note(Reason::ServerError, &message)),
        };
    }
    match status {
        401 | 403 => Verdict::Forbidden(note(Reason::Forbidden, "the desk forbade this update")),
        300..=399 => Verdict::Redirected(Note {
            // The body of a redirect is a page of the web server's, not the desk's words.
            reason: Reason::Redirected,
            message: "the desk sent a redirect, which is never followed: it would carry the token elsewhere"
                .to_owned(),
            http_status: Some(status),
        }),
        // Sent by servers that lost patience with the request, perhaps after acting on part of it.
        408 => unclear(note(Reason::ServerError, "the desk answered 408, which proves nothing")),
        200..=299 if body.says_success() => read_success(&body, ticket, rules, status),
        200..=299 | 400..=499 if body.says_error() => {
            Verdict::Failed(note(Reason::Refused, "the desk answered with an error without words"))
        }
        // A refusal's status around a success: which of the two is true cannot be known.
        400..=499 if body.says_success() => unclear(note(
            Reason::UnreadableReply,
            "the desk answered with a refusing status and a success in one",
        )),
        400 | 404 | 405 | 409 | 410 | 413 | 415 | 422 => {
            Verdict::Failed(note(Reason::Rejected, &format!("the desk answered {status}")))
        }
        200..=299 => unreadable(&reply.body, status),
        _ => unclear(note(
            Reason::ServerError,
            &format!("the desk answered {status}, which does not tell whether it applied the update"),
        )),
    }
}

fn read_success(body: &Words<'_>, ticket: TicketId, rules: &Rules, status: u16) -> Verdict {
    if !rules.check_reply_id || body.ticket() == Some(ticket.get()) {
        return Verdict::Applied;
    }
    unclear(Note {
        reason: Reason::UnreadableReply,
        message: format!("the desk reported a success, but not for ticket {ticket}"),
        http_status: Some(status),
    })
}

fn unreadable(body: &Body, status: u16) -> Verdict {
    let note =
        |reason, message: &str| Note { reason, message: message.to_owned(), http_status: Some(status) };
    match body {
        Body::CutShort(trouble) => match read_trouble(trouble, Some(status)) {
            // Once a status has come, the request had left, whatever the trouble calls itself.
            Verdict::NotSent { note, .. } | Verdict::Certificate(note) => {
                Verdict::InDoubt { lost: true, note: Note { reason: Reason::ConnectionLost, ..note } }
            }
            verdict => verdict,
        },
        Body::TooLarge => unclear(note(Reason::UnreadableReply, "the desk's answer is over 1 MiB")),
        Body::Whole(_) => unclear(note(
            Reason::UnreadableReply,
            "the desk's answer is neither the documented success nor the documented error",
        )),
    }
}

const fn unclear(note: Note) -> Verdict {
    Verdict::InDoubt { lost: false, note }
}

/// The documented words of a body; all blank if it is not JSON of that shape, or says one of them twice.
#[derive(Debug, Default, Deserialize)]
struct Words<'a> {
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    ticket_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    description: Option<&'a RawValue>,
}

impl<'a> Words<'a> {
    fn of(body: &'a Body) -> Self {
        match body {
            // A derived struct would take a list of its values, too; the page shows an object.
            Body::Whole(bytes) if bytes.trim_ascii_start().starts_with(b"{") => {
                // From text, because from bytes the members that mean nothing here would not have to be UTF-8.
                let text = str::from_utf8(bytes).unwrap_or_default();
                serde_json::from_str(text).unwrap_or_default()
            }
            Body::Whole(_) | Body::TooLarge | Body::CutShort(_) => Self::default(),
        }
    }

    fn says_success(&self) -> bool {
        text(self.status).as_deref() == Some("success")
    }

    fn says_error(&self) -> bool {
        text(self.status).as_deref() == Some("error")
    }

    fn is_authentication_text(&self) -> bool {
        text(self.description).is_some_and(|words| words.trim().eq_ignore_ascii_case(AUTHENTICATION_TEXT))
    }

    /// The desk's own words, whatever JSON they are in, as they came.
    fn description(&self) -> Option<String> {
        let words = text(self.description).or_else(|| self.description.map(|raw| raw.get().into()))?;
        (!crate::text::clean(&words).is_empty()).then(|| words.into_owned())
    }

    /// The ticket's number: the page shows a string with leading zeros, a plain number would do, too.
    fn ticket(&self) -> Option<u64> {
        let digits = text(self.ticket_id).or_else(|| self.ticket_id.map(|raw| raw.get().into()))?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }
}

/// The text that a JSON value is, if it is one. Without an escape it stands there as it is.
fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests;
