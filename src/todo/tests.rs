//! What is left of a run, and in which order it comes.

use super::*;
use crate::journal::state::Ending;
use crate::journal::tests::{csv, end, in_doubt, intent, opened};
use crate::journal::transitions::Batch;
use crate::ticket::{Changes, TicketId};

/// A row for the tests of whatever comes after the spool.
pub(crate) fn row(number: u64, ticket: u64) -> Row {
    let changes = Changes { staff: Some(format!("ST{number}")), ..Changes::default() };
    let fingerprint = Fingerprint::of(&changes, &FieldBits::default()).unwrap();
    let ticket = TicketId::parse(&ticket.to_string()).unwrap();
    Row::new(number, 20, TicketUpdate::new(ticket, changes).unwrap(), fingerprint)
}

fn todo(journal: &Journal, run: &Run) -> Todo {
    let run = journal.run(run.key.id).unwrap().unwrap();
    let spooled = Spooled::open(journal, &run).unwrap().unwrap();
    let mapping = Mapping::resolve(&run.mapping, spooled.header()).unwrap();
    Todo::new(journal.open_again().unwrap(), &run, spooled, mapping, false).unwrap()
}

/// Numbers, and whether the journal knew them.
fn left(journal: &Journal, run: &Run) -> Vec<(u64, bool)> {
    let mut todo = todo(journal, run);
    std::iter::from_fn(|| todo.next_row().unwrap())
        .map(|row| {
            assert_eq!(
                row.update.changes().staff,
                Some(format!("ST{}", row.number)),
                "the row of that number"
            );
            (row.number, row.has_entry)
        })
        .collect()
}

#[test]
fn a_new_run_has_every_valid_row_left() {
    let (_folder, journal, run) = opened("ticket_id,staff\n1,ST1\n#2,ST2\n3,ST3\n4,\n\n5,ST5\n");
    assert_eq!(left(&journal, &run), [(1, false), (3, false), (5, false)]);
}

#[test]
fn pending_rows_below_the_cursor_come_first_and_settled_ones_above_it_are_passed_over() {
    let (_folder, mut journal, run) = opened(&csv(9));
    end(&mut journal, &run, &[1, 3], &Ending::Applied);
    let set_aside = vec![intent(2), intent(4)];
    journal.commit(run.key, &Batch { set_aside, cursor: 5, ..Batch::default() }).unwrap();
    // Beyond the cursor: admitted ahead of row 5, which has no entry.
    let permits = journal
        .commit(run.key, &Batch { wanted: vec![intent(6)], set_aside: vec![intent(8)], ..Batch::default() })
        .unwrap()
        .permits;
    let outcomes =
        permits.into_iter().map(|permit| permit.send().settle(Ending::Applied, std::time::Duration::ZERO));
    journal.commit(run.key, &Batch { outcomes: outcomes.collect(), ..Batch::default() }).unwrap();
    assert_eq!(journal.run(run.key.id).unwrap().unwrap().cursor, 5);
    assert_eq!(left(&journal, &run), [(2, true), (4, true), (5, false), (7, false), (8, true), (9, false)]);
}

#[test]
fn rows_in_doubt_are_not_left() {
    let (_folder, mut journal, run) = opened(&csv(3));
    end(&mut journal, &run, &[1, 2], &in_doubt());
    assert_eq!(left(&journal, &run), [(3, false)]);
}

#[test]
fn what_is_committed_while_reading_does_not_change_what_is_left() {
    let (_folder, mut journal, run) = opened(&csv(200));
    let mut todo = todo(&journal, &run);
    let mut seen = Vec::new();
    while let Some(row) = todo.next_row().unwrap() {
        seen.push(row.number);
        if row.number % 3 == 0 {
            end(&mut journal, &run, &[row.number], &Ending::Applied);
        }
    }
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_spool_that_was_changed_stops_before_anything_is_sent() {
    let (_folder, journal, run) = opened(&csv(2));
    let path = journal.spool_folder().join(run.spool.as_deref().unwrap());
    std::fs::write(&path, "ticket_id,staff\n1,ST1\nx,ST2\n").unwrap();
    let mut changed = todo(&journal, &run);
    assert!(changed.next_row().unwrap().is_some());
    assert!(matches!(changed.next_row(), Err(Error::Machine(why)) if why.contains("is not any more")));
    std::fs::write(&path, "ticket_id,staff\n1,ST1\n").unwrap();
    let mut changed = todo(&journal, &run);
    assert!(changed.next_row().unwrap().is_some());
    assert!(matches!(changed.next_row(), Err(Error::Machine(why)) if why.contains("not in the spool")));
}
