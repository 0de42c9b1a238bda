//! The desk's own account: one JSON object a line, written before the reply, read again by the judge.
//!
//! A line is one `write` to a file opened for appending, so that a killed process leaves whole lines and several
//! desks may share a file. The account's e-mail and token never get here: only the fields that the page lists
//! are written, never a body, and a field that holds the token is written without it. A line that cannot be
//! written is an error for the desk, which then ends.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;

use super::request::{Body, FIELDS};

/// What became of a request, in the log's word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The change took effect and success was replied.
    Applied,
    /// A complete request that the desk refused.
    Refused,
    /// 429.
    Throttled,
    /// Wrong credentials.
    Unauthenticated,
    /// The change took effect and the connection was closed without a reply.
    Dropped,
    /// Not the JSON object, or the headers, that the page asks for.
    Malformed,
    /// Another path or method.
    Misdirected,
    /// A scripted reply; whether the change took effect, `applied` says.
    Scripted,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Unauthenticated => "unauthenticated",
            Self::Dropped => "dropped",
            Self::Malformed => "malformed",
            Self::Misdirected => "misdirected",
            Self::Scripted => "scripted",
        }
    }
}

/// One request, as it is written.
pub(super) struct Entry<'a> {
    pub(super) seq: u64,
    /// Of its arrival, since 1970.
    pub(super) at: Duration,
    pub(super) ticket: Option<u64>,
    pub(super) body: Option<&'a Body<'a>>,
    /// `None` where no whole response is sent.
    pub(super) status: Option<u16>,
    pub(super) applied: bool,
    pub(super) word: Word,
}

/// One request, as it is read; what the judge does not need is passed over.
#[derive(serde::Deserialize)]
pub(super) struct Line<'a> {
    pub(super) at: f64,
    pub(super) ticket: Option<u64>,
    #[serde(borrow)]
    pub(super) change: &'a RawValue,
    pub(super) applied: bool,
    #[serde(rename = "fate")]
    pub(super) word: Word,
}

pub(super) struct Log {
    file: File,
    line: Vec<u8>,
    /// The token as it would stand inside a JSON string; empty for an account without one.
    token: String,
}

impl Log {
    /// Opens the file for appending, readable by its owner alone.
    pub(super) fn open(path: &Path, token: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        // A file that was there may be wider; a device or a pipe is left as it is.
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        let token = serde_json::Value::from(token).to_string().trim_matches('"').to_owned();
        Ok(Self { file, line: Vec::with_capacity(1_024), token })
    }

    pub(super) fn append(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.line.clear();
        let (seconds, micros) = (entry.at.as_secs(), entry.at.subsec_micros());
        write!(self.line, r#"{{"seq":{},"at":{seconds}.{micros:06},"ticket":"#, entry.seq)?;
        match entry.ticket {
            Some(ticket) => write!(self.line, "{ticket}")?,
            None => self.line.extend_from_slice(b"null"),
        }
        self.line.extend_from_slice(b",\"change\":{");
        self.change(entry.body);
        self.line.extend_from_slice(b"},\"status\":");
        match entry.status {
            Some(status) => write!(self.line, "{status}")?,
            None => self.line.extend_from_slice(b"null"),
        }
        writeln!(self.line, r#","applied":{},"fate":"{}"}}"#, entry.applied, entry.word.as_str())?;
        self.file.write_all(&self.line)
    }

    /// The fields as received, in one order, so that equal changes have equal texts.
    fn change(&mut self, body: Option<&Body<'_>>) {
        let fields = body.into_iter().flat_map(|body| {
            FIELDS.into_iter().filter_map(|(key, name)| body.raw(key).map(|raw| (name, raw)))
        });
        for (index, (name, raw)) in fields.enumerate() {
            let comma = if index == 0 { "" } else { "," };
            for piece in [comma, "\"", name, "\":"] {
                self.line.extend_from_slice(piece.as_bytes());
            }
            if !self.token.is_empty() && raw.contains(&self.token) {
                self.line.extend_from_slice(b"\"[token]\"");
                continue;
            }
            // Outside strings JSON may be broken over lines; inside them it cannot.
            self.line.extend(raw.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        }
    }
}
