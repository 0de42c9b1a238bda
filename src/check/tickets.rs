//! How many tickets an input names, and which has the most rows.
//!
//! Eight bytes a row, sorted at the end, and only so many rows: a table that could hold every ticket would grow with
//! the input. What was not looked at is said by [`Tickets::counted`].

use crate::input::survey::IDENTICAL_AMONG_ROWS;
use crate::ticket::TicketId;

/// The tickets of the first rows.
#[derive(Debug)]
pub struct Tickets {
    seen: Vec<TicketId>,
    rows: u64,
}

/// What they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Different tickets.
    pub tickets: u64,
    /// Tickets with more than one row.
    pub with_several_rows: u64,
    /// The ticket with the most rows, and how many; the first of equals. None without rows.
    pub most: Option<(TicketId, u64)>,
    /// Whether every row was looked at; if not, each figure is a lower bound.
    pub is_complete: bool,
}

impl Default for Tickets {
    fn default() -> Self {
        // As much as there may be at once: what is not written to costs nothing, and growing leaves holes behind.
        Self { seen: Vec::with_capacity(IDENTICAL_AMONG_ROWS), rows: 0 }
    }
}

impl Tickets {
    /// One more row of this ticket.
    pub fn add(&mut self, ticket: TicketId) {
        self.rows += 1;
        if self.seen.len() < IDENTICAL_AMONG_ROWS {
            self.seen.push(ticket);
        }
    }

    /// Counts them.
    #[must_use]
    pub fn counted(&mut self) -> Counted {
        self.seen.sort_unstable();
        let is_complete = self.seen.len() as u64 == self.rows;
        let mut counted = Counted { tickets: 0, with_several_rows: 0, most: None, is_complete };
        for rows in self.seen.chunk_by(|one, other| one == other) {
            let count = rows.len() as u64;
            counted.tickets += 1;
            counted.with_several_rows += u64::from(count > 1);
            if let [ticket, ..] = rows
                && counted.most.is_none_or(|(_, most)| count > most)
            {
                counted.most = Some((*ticket, count));
            }
        }
        counted
    }
}
