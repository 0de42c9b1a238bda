//! What a person wants to know of an input before it is sent: what would change, and what looks wrong.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`tally`] | how many rows set which field to what |
//! | `values` | the values of one field, each with its count |
//! | [`tickets`] | how many tickets, and which have several rows |
//! | [`mod@pointer`] | the line of an invalid row, with a mark under the cell |
//! | [`shown`] | all of it, for a person and for a program |
//!
//! It watches the first reading ([`crate::input::survey()`]) and changes nothing. Memory does not grow with the input:
//! each table has an end, and what lies behind that is counted as a whole. Nothing here makes an input unusable: what it
//! finds is told, and a person decides.

pub mod pointer;
pub mod shown;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod tickets;
mod values;

use pointer::{Pointed, Pointer};
use tally::Tally;
use tickets::Tickets;

use crate::error::Error;
use crate::input::{Invalid, Seen};
use crate::ticket::TicketUpdate;

/// How many invalid rows are shown; the others are counted.
pub const INVALID_SHOWN: usize = 10;

/// How many requests are shown.
pub const SAMPLES: usize = 3;

/// A row that would be sent, to be shown.
#[derive(Debug)]
pub struct Sample {
    /// Its number, from 1.
    pub row: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// What it asks for.
    pub update: TicketUpdate,
}

/// What was found so far.
#[derive(Debug)]
pub struct Findings {
    /// Fields and values.
    pub tally: Tally,
    /// Tickets.
    pub tickets: Tickets,
    /// The first rows that would be sent.
    pub samples: Vec<Sample>,
    /// The first invalid rows.
    pub invalid: Vec<(Invalid, Pointed)>,
    pointer: Pointer,
}

impl Findings {
    /// Nothing yet. The pointer reads the lines of invalid rows.
    #[must_use]
    pub fn new(pointer: Pointer) -> Self {
        Self {
            tally: Tally::default(),
            tickets: Tickets::default(),
            samples: Vec::new(),
            invalid: Vec::new(),
            pointer,
        }
    }

    /// Takes a row in.
    pub fn see(&mut self, seen: Seen<'_>) -> Result<(), Error> {
        let row = seen.row;
        match seen.result {
            Ok(asks) => {
                self.tally.add(asks.iter(), row.line());
                self.tickets.add(asks.ticket());
                if self.samples.len() < SAMPLES {
                    let sample = |update| Sample { row: row.number(), line: row.line(), update };
                    self.samples.extend(asks.update().map(sample));
                }
            }
            Err(invalid) if self.invalid.len() < INVALID_SHOWN => {
                let pointed = self.pointer.point(row.mark(), &invalid.trouble.at)?;
                self.invalid.push((invalid.clone(), pointed));
            }
            Err(_) => {}
        }
        Ok(())
    }
}
