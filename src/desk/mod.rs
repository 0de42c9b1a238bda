//! The desk that is called.
//!
//! - [`proprofs`]: the documented endpoint: a permit, an update, a verdict
//! - [`body`]: an update as the endpoint's wire format
//! - `exchange`, `pool`, [`connect`]: one request and its reply; idle connections; how a connection is made
//! - [`verdict`]: pure: what came back → what it means for the row
//! - [`throttle`]: pure: how long an answer asks to wait
//!
//! A trait, because two things stand behind it: the real endpoint, and the scripted desk that the simulation
//! drives under a paused clock.

pub mod body;
pub mod connect;
mod exchange;
mod pool;
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
pub struct Answer {
    /// The spent permit.
    pub sent: Sent,
    /// What came back means.
    pub verdict: Verdict,
    /// From the first byte out to the verdict.
    pub latency: Duration,
}

/// Whoever applies updates.
pub trait Desk {
    /// Makes the one request that the permit allows. Never fails: trouble is a verdict, too.
    fn send(&self, permit: Permit, update: &TicketUpdate) -> impl Future<Output = Answer>;

    /// Asks for a new token once the desk has refused the old one. `Ok(false)`: there is nobody to ask.
    fn renew_credentials(&self) -> impl Future<Output = Result<bool, Error>>;
}
