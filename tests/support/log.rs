//! The desk's own log, request by request, for promises about moments.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A request as the desk saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When it arrived, in UNIX seconds of the desk's clock.
    pub(crate) at: f64,
    pub(crate) ticket: u64,
    pub(crate) subject: String,
    pub(crate) change: Value,
    /// Whether the change took effect.
    pub(crate) applied: bool,
}

pub(super) fn read(log: &Path) -> Vec<Seen> {
    let text = fs::read_to_string(log).unwrap();
    let entry = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        Seen {
            at: line["at"].as_f64().unwrap(),
            ticket: line["ticket"].as_u64().unwrap_or(0),
            subject: line["change"]["subject"].as_str().unwrap_or_default().to_owned(),
            applied: line["applied"].as_bool().unwrap(),
            change: line["change"].clone(),
        }
    };
    text.lines().map(entry).collect()
}
