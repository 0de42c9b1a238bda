//! The desk that is called.
//!
//! - [`proprofs`]: the documented endpoint: a permit, an update, a verdict
//! - [`body`]: an update as the endpoint's wire format
//! - [`exchange`], `pool`, [`connect`]: one request and its reply; connections that lie ready; how one is made
//! - [`verdict`]: pure: what came back → what it means for the row
//! - [`throttle`]: pure: how long an answer asks to wait
//!
//! A trait, because two things stand behind it: the real endpoint, and the scripted desk that the simulation
//! drives under a paused clock.

pub mod body;
pub mod connect;
pub mod exchange;
pub(crate) mod pool;
pub mod proprofs;
pub mod throttle;
pub mod verdict;

use std::time::Duration;

use crate::error::Error;
use crate::journal::state::{Permit, Sent};
use crate::ticket::TicketUpdate;
use verdict::Verdict;

/// What became of one attempt.
#[derive(Debug)]
pub struct Answer<L> {
    /// The spent permit.
    pub sent: Sent,
    /// What came back means.
    pub verdict: Verdict,
    /// From the first byte out to the verdict.
    pub latency: Duration,
    /// The connection, if another request may leave on it.
    pub line: Option<L>,
}

/// A connection, on which requests leave one after the other.
pub trait Line {
    /// Whether it can take a request, as far as is known.
    fn is_open(&self) -> bool;
}

/// Whoever applies updates.
///
/// A connection comes before a permit, so that nothing lies between a permit and the request but the wait for its turn:
/// making one may take seconds, and a request that left so late would come on top of those that are due by then.
pub trait Desk {
    /// A connection.
    type Line: Line;

    /// Makes a connection. Nothing is sent, so the verdict on what went wrong says nothing of any row.
    fn connect(&self) -> impl Future<Output = Result<Self::Line, Verdict>>;

    /// Makes the one request that the permit allows, at once. Never fails: trouble is a verdict, too.
    fn send(
        &self,
        permit: Permit,
        line: Self::Line,
        update: &TicketUpdate,
    ) -> impl Future<Output = Answer<Self::Line>>;

    /// Asks for a new token once the desk has refused the old one. `Ok(false)`: there is nobody to ask.
    fn renew_credentials(&self) -> impl Future<Output = Result<bool, Error>>;
}
