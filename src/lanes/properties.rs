//! Whatever order things happen in: file order for each ticket, one row at a time, each in its turn, a cursor that is
//! right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::todo::tests::row;

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit { has_entry: bool },
    Pass,
    Go,
    Done(usize),
    Again(usize),
    Later(usize),
    Hold(usize),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|has_entry| Step::Admit { has_entry }),
        1 => Just(Step::Pass),
        6 => Just(Step::Go),
        4 => any::<usize>().prop_map(Step::Done),
        2 => any::<usize>().prop_map(Step::Again),
        2 => any::<usize>().prop_map(Step::Later),
        1 => any::<usize>().prop_map(Step::Hold),
        1 => Just(Step::Close),
    ]
}

/// What must come out, kept in the plainest way.
#[derive(Default)]
struct Model {
    /// The rows of each ticket that were taken in and are neither settled nor set aside.
    tickets: BTreeMap<u64, Vec<u64>>,
    /// Those that may go, in their turn.
    ready: VecDeque<u64>,
    under_way: Vec<Row>,
    shut: BTreeSet<u64>,
    with_entry: BTreeSet<u64>,
    last: u64,
}

impl Model {
    fn pick(&mut self, index: usize) -> Option<Row> {
        let count = self.under_way.len();
        (count > 0).then(|| self.under_way.swap_remove(index % count))
    }
}

fn apply(step: Step, ticket: u64, lanes: &mut Lanes, model: &mut Model) {
    match step {
        Step::Admit { has_entry } => {
            model.last += 1;
            let number = model.last;
            match lanes.admit(Row { has_entry, ..row(number, ticket) }) {
                Admitted::Held(held) => {
                    assert!(model.shut.contains(&ticket) && held.number == number);
                    model.with_entry.insert(number);
                }
                Admitted::Queued => {
                    assert!(!model.shut.contains(&ticket));
                    let rows = model.tickets.entry(ticket).or_default();
                    rows.push(number);
                    if rows.len() == 1 {
                        model.ready.push_back(number);
                    }
                    if has_entry {
                        model.with_entry.insert(number);
                    }
                }
            }
        }
        Step::Pass => {
            // It is settled in the batch that is asked for its cursor next.
            model.last += 1;
            model.with_entry.insert(model.last);
            lanes.pass(model.last);
        }
        Step::Go => {
            let Some(row) = lanes.next_ready() else {
                let idle = model.tickets.iter().find(|(ticket, rows)| {
                    !rows.is_empty()
                        && !model.under_way.iter().any(|row| row.update.ticket().get() == **ticket)
                });
                assert_eq!(idle, None, "a ticket with rows and none under way has one ready");
                return;
            };
            assert_eq!(Some(row.number), model.ready.pop_front(), "in its turn");
            let ticket = row.update.ticket().get();
            assert_eq!(model.tickets[&ticket].first(), Some(&row.number), "file order");
            let beside = model.under_way.iter().find(|other| other.update.ticket().get() == ticket);
            assert!(beside.is_none(), "one at a time");
            lanes.entered(row.number);
            model.with_entry.insert(row.number);
            model.under_way.push(row);
        }
        Step::Done(index) => {
            let Some(row) = model.pick(index) else { return };
            let rows = model.tickets.get_mut(&row.update.ticket().get()).unwrap();
            rows.remove(0);
            model.ready.extend(rows.first());
            lanes.done(row.update.ticket());
        }
        Step::Again(index) => {
            let Some(row) = model.pick(index) else { return };
            model.ready.push_front(row.number);
            lanes.again(Row { has_entry: true, ..row });
        }
        Step::Later(index) => {
            let Some(row) = model.pick(index) else { return };
            model.ready.push_back(row.number);
            lanes.later(Row { has_entry: true, ..row });
        }
        Step::Hold(index) => {
            let Some(row) = model.pick(index) else { return };
            let ticket = row.update.ticket();
            let waiting: Vec<u64> = lanes.hold(ticket).into_iter().map(|row| row.number).collect();
            let mut rows = model.tickets.remove(&ticket.get()).unwrap();
            rows.remove(0);
            assert_eq!(waiting, rows, "all that waited, in order");
            model.with_entry.extend(waiting);
            model.shut.insert(ticket.get());
        }
        Step::Close => {
            lanes.close(TicketId::from_journal(ticket.cast_signed()));
            model.shut.insert(ticket);
        }
    }
}

proptest! {
    #[test]
    fn rows_keep_file_order_one_at_a_time_and_the_cursor_is_right(
        steps in prop::collection::vec((step(), 1..4_u64), 1..200)
    ) {
        let mut lanes = Lanes::starting_at(1);
        let mut model = Model::default();
        for (step, ticket) in steps {
            apply(step, ticket, &mut lanes, &mut model);
            let hole = (1..=model.last).find(|number| !model.with_entry.contains(number));
            prop_assert_eq!(lanes.cursor(), hole.unwrap_or(model.last + 1));
            prop_assert_eq!(lanes.ready(), model.ready.len());
            prop_assert_eq!(lanes.is_empty(), model.tickets.values().all(Vec::is_empty));
        }
        // Whatever is left comes out, and leaves nothing behind in the bounds on reading ahead.
        while !model.under_way.is_empty() || lanes.ready() > 0 {
            apply(Step::Go, 1, &mut lanes, &mut model);
            apply(Step::Done(0), 1, &mut lanes, &mut model);
        }
        prop_assert!(lanes.is_empty());
        prop_assert_eq!((lanes.waiting, lanes.bytes), (0, 0));
    }
}
