//! One ticket at a time, in file order.
//!
//! A ticket that has a row under way has a lane, and later rows of it queue there. A ticket that is held (a row
//! of it is in doubt, or rests) lets no more rows through in this invocation; one that is closed lets through
//! those that it has. Nothing here waits, sends or writes; it only says which row may go next.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;

use crate::ticket::TicketId;
use crate::todo::Row;

/// Rows read ahead of the ones being sent: past this many that wait, no more are read.
const ROWS_MAX: usize = 10_000;

/// The same for their text; a record may have a megabyte.
const BYTES_MAX: usize = 4 << 20;

/// The rows between the spool and the desk.
#[derive(Debug, Default)]
pub struct Lanes {
    /// Free to go, in the order in which they became so.
    ready: VecDeque<Row>,
    /// Tickets with a row ready or under way, and what waits behind it.
    busy: HashMap<TicketId, VecDeque<Row>, RandomState>,
    held: HashSet<TicketId, RandomState>,
    /// The journal itself keeps back what waits for a row in doubt, so that nothing is held here for good.
    forgets: bool,
    /// Rows admitted that have no entry in the journal yet.
    without_entry: BTreeSet<u64>,
    /// One past the last row admitted.
    next: u64,
    waiting: usize,
    bytes: usize,
}

/// Where a row went on admission.
#[derive(Debug)]
pub enum Admitted {
    /// It will come out of [`Lanes::next_ready`] in its turn.
    Queued,
    /// Its ticket is held: it stays pending.
    Held(Box<Row>),
}

impl Lanes {
    /// Begins at the first row that has no entry.
    #[must_use]
    pub fn starting_at(cursor: u64) -> Self {
        Self { next: cursor, ..Self::default() }
    }

    /// For a journal that several machines share: it refuses rows whose ticket has to wait, and a doubt may be settled
    /// by others at any time.
    #[must_use]
    pub fn of_a_shared_journal() -> Self {
        Self { next: 1, forgets: true, ..Self::default() }
    }

    /// Whether another row may be read, given how many are wanted ready.
    #[must_use]
    pub fn has_room(&self, ready_wanted: usize) -> bool {
        self.ready.len() < ready_wanted
            && (self.waiting + self.ready.len() == 0 || (self.waiting < ROWS_MAX && self.bytes < BYTES_MAX))
    }

    /// Takes in the next row of the file.
    pub fn admit(&mut self, row: Row) -> Admitted {
        self.next = self.next.max(row.number + 1);
        if self.held.contains(&row.update.ticket()) {
            return Admitted::Held(Box::new(row));
        }
        if !row.has_entry {
            self.without_entry.insert(row.number);
        }
        self.bytes += row.bytes;
        if let Some(queue) = self.busy.get_mut(&row.update.ticket()) {
            queue.push_back(row);
            self.waiting += 1;
        } else {
            self.busy.insert(row.update.ticket(), VecDeque::new());
            self.ready.push_back(row);
        }
        Admitted::Queued
    }

    /// A row that is settled without going through.
    pub fn pass(&mut self, row: u64) {
        self.next = self.next.max(row + 1);
    }

    /// The next row that may go; its ticket stays busy until [`Lanes::done`], [`Lanes::again`], [`Lanes::later`] or
    /// [`Lanes::hold`].
    pub fn next_ready(&mut self) -> Option<Row> {
        let row = self.ready.pop_front()?;
        self.bytes -= row.bytes;
        Some(row)
    }

    /// How many rows may go.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// The row was not applied and goes first when its turn comes again.
    pub fn again(&mut self, row: Row) {
        self.bytes += row.bytes;
        self.ready.push_front(row);
    }

    /// The row was not applied, and lets those that are ready go before it. Later rows of its ticket still wait.
    pub fn later(&mut self, row: Row) {
        self.bytes += row.bytes;
        self.ready.push_back(row);
    }

    /// The row is settled, and the next one of its ticket may go.
    pub fn done(&mut self, ticket: TicketId) {
        let Some(queue) = self.busy.get_mut(&ticket) else { return };
        match queue.pop_front() {
            Some(row) => {
                self.waiting -= 1;
                self.ready.push_back(row);
            }
            None => {
                self.busy.remove(&ticket);
            }
        }
    }

    /// Lets no more rows of this ticket through; gives those that were waiting, which stay pending.
    pub fn hold(&mut self, ticket: TicketId) -> VecDeque<Row> {
        if !self.forgets {
            self.held.insert(ticket);
        }
        self.let_go(ticket)
    }

    /// Gives up a ticket whose row is not ours to send; gives those that were waiting behind it.
    pub fn let_go(&mut self, ticket: TicketId) -> VecDeque<Row> {
        let waiting = self.busy.remove(&ticket).unwrap_or_default();
        self.waiting -= waiting.len();
        for row in &waiting {
            self.bytes -= row.bytes;
            self.without_entry.remove(&row.number);
        }
        waiting
    }

    /// Lets no later rows of this ticket in; those that are in already come before, and go on.
    pub fn close(&mut self, ticket: TicketId) {
        self.held.insert(ticket);
    }

    /// The row is about to get its entry, in the batch whose cursor is asked for next.
    pub fn entered(&mut self, row: u64) {
        self.without_entry.remove(&row);
    }

    /// The first row that may have no entry.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.without_entry.first().copied().unwrap_or(self.next)
    }

    /// Whether nothing is ready, waiting or under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.busy.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::todo::tests::row;

    fn numbers(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.next_ready()).map(|row| row.number).collect()
    }

    #[test]
    fn rows_of_one_ticket_go_one_at_a_time_in_file_order() {
        let mut lanes = Lanes::starting_at(1);
        for (number, ticket) in [(1, 7), (2, 7), (3, 8), (4, 7)] {
            assert!(matches!(lanes.admit(row(number, ticket)), Admitted::Queued));
        }
        assert_eq!(numbers(&mut lanes), [1, 3]);
        lanes.done(row(1, 7).update.ticket());
        assert_eq!(numbers(&mut lanes), [2]);
        lanes.again(row(2, 7));
        assert_eq!(numbers(&mut lanes), [2], "a retry does not let the next row overtake");
        lanes.done(row(2, 7).update.ticket());
        lanes.done(row(3, 8).update.ticket());
        assert_eq!(numbers(&mut lanes), [4]);
        lanes.done(row(4, 7).update.ticket());
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_held_ticket_lets_nothing_through_any_more() {
        let mut lanes = Lanes::starting_at(1);
        for (number, ticket) in [(1, 7), (2, 7), (3, 7)] {
            lanes.admit(row(number, ticket));
        }
        let first = lanes.next_ready().unwrap();
        let waiting: Vec<u64> = lanes.hold(first.update.ticket()).into_iter().map(|row| row.number).collect();
        assert_eq!(waiting, [2, 3]);
        assert!(matches!(lanes.admit(row(4, 7)), Admitted::Held(row) if row.number == 4));
        assert!(lanes.is_empty());
    }

    #[test]
    fn the_cursor_stays_at_the_first_row_without_an_entry() {
        let mut lanes = Lanes::starting_at(1);
        for (number, ticket) in [(1, 7), (2, 7), (3, 8)] {
            lanes.admit(row(number, ticket));
        }
        assert_eq!(lanes.cursor(), 1);
        lanes.entered(1);
        lanes.entered(3);
        assert_eq!(lanes.cursor(), 2);
        lanes.entered(2);
        assert_eq!(lanes.cursor(), 4);
    }

    #[test]
    fn reading_ahead_is_bounded_by_rows_and_by_bytes() {
        let mut lanes = Lanes::starting_at(1);
        let mut number = 0;
        while lanes.has_room(64) {
            number += 1;
            lanes.admit(row(number, 7));
        }
        assert_eq!(number, 10_001, "one ready, ten thousand waiting");
        lanes.next_ready().unwrap();
        assert!(!lanes.has_room(64), "those that wait behind one under way count all the same");
        let mut lanes = Lanes::starting_at(1);
        let mut number = 0;
        while lanes.has_room(64) {
            number += 1;
            lanes.admit(Row { bytes: 1 << 20, ..row(number, 7) });
        }
        assert_eq!(number, 4);
    }

    #[test]
    fn no_more_rows_are_read_than_are_wanted_ready() {
        let mut lanes = Lanes::starting_at(1);
        for number in 1..=3 {
            assert!(lanes.has_room(3));
            lanes.admit(row(number, number));
        }
        assert!(!lanes.has_room(3) && lanes.has_room(4));
    }

    #[test]
    fn a_closed_ticket_lets_through_what_it_has_and_nothing_more() {
        let mut lanes = Lanes::starting_at(1);
        for (number, ticket) in [(1, 7), (2, 7)] {
            lanes.admit(row(number, ticket));
        }
        let ticket = row(1, 7).update.ticket();
        lanes.close(ticket);
        assert!(matches!(lanes.admit(row(3, 7)), Admitted::Held(_)));
        assert_eq!(numbers(&mut lanes), [1]);
        lanes.done(ticket);
        assert_eq!(numbers(&mut lanes), [2]);
        lanes.done(ticket);
        assert!(lanes.is_empty());
        assert!(matches!(lanes.admit(row(4, 7)), Admitted::Held(_)), "it stays closed");
    }
}

#[cfg(test)]
mod properties;
