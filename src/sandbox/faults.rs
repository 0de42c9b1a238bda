//! Scripted replies: what a desk, or the network before it, does to one request on a bad day.
//!
//! A [`Fate`] names the requests it is for, the reply they get, and whether the change takes effect all the
//! same. It replaces the reply alone: `applied` never applies what the rules refuse. Scripts are for tests and
//! are checked at the start; one that is no HTTP ends the sandbox before it listens.

use std::time::Duration;

use super::rules;

/// One scripted fault.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Which requests.
    pub when: When,
    /// What they get.
    pub reply: Reply,
    /// Whether the change takes effect, provided that the rules allow it.
    pub applied: bool,
    /// How many requests; [`Fate::FOREVER`] is all of them.
    pub times: u32,
}

/// Which requests a fate is for. Those to a wrong address are never meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Every one.
    Always,
    /// The request with this number, which is the log's `seq` and counts from 1.
    Request(u64),
    /// The request with this number and all that follow.
    From(u64),
    /// Those for this ticket.
    Ticket(u64),
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What the rules say, as if nothing were scripted; with [`Fate::applied`] false, success is a lie.
    AsRuled,
    /// Success, as documented, for the ticket after the one that was asked for.
    OtherTicket,
    /// A complete response; the connection stays open. The server adds the length and the date.
    Http {
        /// The status, 200 to 999.
        status: u16,
        /// Names and values, verbatim.
        headers: Vec<(String, String)>,
        /// The body, verbatim.
        body: String,
    },
    /// Bytes on the wire instead of a response.
    Raw {
        /// What is written, and nothing else.
        bytes: Vec<u8>,
        /// Between one byte and the next; zero writes them at once.
        drip: Duration,
        /// After the last byte.
        then: Then,
    },
    /// A complete 200 whose JSON body is padded with this many spaces.
    Flood(u64),
}

/// What becomes of a connection after raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Closed in good order (FIN).
    Close,
    /// Reset (RST).
    Reset,
    /// Kept open without another word until the client or the sandbox ends. What the client sends is thrown
    /// away and neither counted nor logged.
    Hold,
}

impl Fate {
    /// For `times`: all the requests that fit.
    pub const FOREVER: u32 = u32::MAX;

    /// A fault that happens once and whose change takes no effect.
    #[must_use]
    pub const fn new(when: When, reply: Reply) -> Self {
        Self { when, reply, applied: false, times: 1 }
    }

    /// The same, and the change takes effect.
    #[must_use]
    pub const fn applied(mut self) -> Self {
        self.applied = true;
        self
    }

    /// The same, for so many requests.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

impl When {
    pub(super) fn fits(self, request: u64, ticket: Option<u64>) -> bool {
        match self {
            Self::Always => true,
            Self::Request(number) => request == number,
            Self::From(number) => request >= number,
            Self::Ticket(number) => ticket == Some(number),
        }
    }
}

impl Reply {
    /// The status of a whole response; `None` where there is none.
    pub(super) const fn status_code(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            Self::AsRuled | Self::OtherTicket | Self::Flood(_) => Some(200),
            Self::Raw { .. } => None,
        }
    }

    /// A response with this status and no body.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Http { status, headers: Vec::new(), body: String::new() }
    }

    /// A response with this status and a JSON body, verbatim.
    #[must_use]
    pub fn json(status: u16, body: impl Into<String>) -> Self {
        Self::status(status).header("content-type", "application/json").body(body)
    }

    /// A response with this status and the documented form of an error.
    #[must_use]
    pub fn error(status: u16, description: &str) -> Self {
        Self::json(status, rules::error_body(description))
    }

    /// The same response with one header more. Only [`Reply::Http`] has headers.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The same response with this body. Only [`Reply::Http`] has one.
    #[must_use]
    pub fn body(mut self, text: impl Into<String>) -> Self {
        if let Self::Http { body, .. } = &mut self {
            *body = text.into();
        }
        self
    }

    /// A login page: 200, HTML.
    #[must_use]
    pub fn html() -> Self {
        Self::status(200)
            .header("content-type", "text/html; charset=utf-8")
            .body("<!doctype html><title>Sign in</title><h1>Sign in</h1>")
    }

    /// These bytes and nothing else.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self::Raw { bytes: bytes.into(), drip: Duration::ZERO, then }
    }

    /// The connection is closed without a word.
    #[must_use]
    pub fn close() -> Self {
        Self::raw([], Then::Close)
    }

    /// The connection is reset without a word.
    #[must_use]
    pub fn reset() -> Self {
        Self::raw([], Then::Reset)
    }

    /// No answer ever comes.
    #[must_use]
    pub fn silence() -> Self {
        Self::raw([], Then::Hold)
    }

    /// The connection is closed in the middle of the response's head.
    #[must_use]
    pub fn half_head() -> Self {
        Self::raw(*b"HTTP/1.1 200 OK\r\ncontent-ty", Then::Close)
    }

    /// The connection is closed in the middle of a 200's body.
    #[must_use]
    pub fn half_body() -> Self {
        Self::raw(HALF_BODY, Then::Close)
    }

    /// A 200 whose body comes byte by byte, so long apart, and never ends.
    #[must_use]
    pub fn drip(apart: Duration) -> Self {
        Self::Raw { bytes: HALF_BODY.to_vec(), drip: apart, then: Then::Hold }
    }
}

const HALF_BODY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 42\r\n\r\n{\"status\":\"success\",\"tick";
