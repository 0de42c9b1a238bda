//! The journal on PostgreSQL: several machines, one account.
//!
//! The states, and the ways between them, are those of [`super`]; what differs is who may take them. A ticket's rows are
//! in one of [`UNITS`] units, and a worker leases units for [`TERM`]. A permit is given by one statement that checks the
//! lease, takes from the account's budget, marks the row and says when to send, so that no clock but the database's
//! counts. A unit that is taken over from a worker that was not heard of has its `sending` rows called in doubt in the
//! same transaction: nobody ever sends them again. Outcomes are fenced by the number of the row's permit, so that a
//! worker that wakes up late settles its own doubt, and nobody else's row.
//!
//! | Module | Its one job |
//! |---|---|
//! | `schema/*.sql` | the tables, and each step of the protocol as one function |
//! | [`place`], `tls`, `session` | where the database is; the encrypted way to it; one statement at a time |
//! | `clock` | the database's clock on this machine's monotonic one |
//! | `worker` | the pipeline's batches: outcomes in, permits out |
//! | `leases` | which units are ours, and the rows in them |
//! | `stage` | opens a run with its rows |
//! | `compare` | which rows of a new input need not be sent |
//! | `shared`, `reading` | runs and rows for commands and reports |
//! | `prune` | gives up the rows of old runs |
//! | [`setup`] | makes the schema, and judges the database |
//!
//! **What may fail.** The way to the database may break at any byte. Statements are whole transactions, so each took
//! effect or did not; a worker gives its batch again under the next number, and the database refuses an older number
//! from then on. Rows that were marked by a batch whose answer was lost are given back: nobody has seen their permits.
//! **What must not be done.** No lock is held while the desk is asked. Nothing is kept in a session: no advisory locks,
//! no LISTEN, no statement that is prepared for longer than its transaction.

mod clock;
mod compare;
mod leases;
pub mod place;
mod prune;
mod reading;
mod session;
pub mod setup;
mod shared;
mod stage;
mod tls;
mod worker;

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::ticket::TicketId;
pub use leases::{Keeper, Leases};
pub use place::Place;
pub use shared::Shared;
pub use worker::{Terms, Worker};

/// Parts of an account's tickets that are leased on their own.
pub const UNITS: u8 = 32;

/// How long a lease lasts that is not renewed; it is renewed each quarter of that.
pub const TERM: Duration = Duration::from_secs(15);

/// The unit of a ticket. It is written down when a row is staged and must never come out otherwise.
fn unit_of(ticket: TicketId) -> u8 {
    let digest = Sha256::digest(ticket.get().to_string());
    digest.first().copied().unwrap_or_default() % UNITS
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_stays_in_its_unit_from_version_to_version() {
        let unit = |ticket: &str| unit_of(TicketId::parse(ticket).unwrap());
        assert_eq!(["1", "2", "1001", "9223372036854775807"].map(unit), [11, 20, 30, 19]);
    }

    #[test]
    fn tickets_spread_over_all_units() {
        let mut counts = [0; UNITS as usize];
        for ticket in 1..=3_200 {
            counts[usize::from(unit_of(TicketId::from_journal(ticket)))] += 1;
        }
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
    }
}
