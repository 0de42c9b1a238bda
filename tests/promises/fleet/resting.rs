//! Rows that the desk keeps refusing, and what comes behind them.

use deskload::error::EXIT_DONE;
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use super::Fleet;
use crate::support::{Bench, csv};

/// More than a worker looks at a time.
const RESTING: u64 = 70;

/// The desk's fates for three more tickets.
const IN_DOUBT: u64 = 2_001;
const SILENT: u64 = 2_002;

#[test]
fn rows_that_rest_do_not_hide_one_behind_them_that_has_become_free() {
    let later = Reply::status(429).header("retry-after", "0");
    let mut fates: Vec<Fate> =
        (1..=RESTING).map(|ticket| Fate::new(When::Ticket(ticket), later.clone())).collect();
    fates.push(Fate::new(When::Ticket(IN_DOUBT), Reply::status(500)));
    // Something is under way until the end, so that the worker goes on to look.
    fates.push(Fate::new(When::Ticket(SILENT), Reply::silence()));
    let Some(fleet) = Fleet::new(Bench::scripted(fates)) else { return };
    // Between two that are refused one goes through, so that it is their tickets alone that the desk means.
    let resting = (1..=RESTING).flat_map(|ticket| [1_000 + ticket, ticket]);
    fleet.bench.file("rows.csv", csv(resting.chain([SILENT, IN_DOUBT, IN_DOUBT])));
    let (doubt, behind) = (2 * RESTING + 2, 2 * RESTING + 3);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--retries", "0", "--timeout", "10m"]);
    fleet.bench.await_requests(&mut run, doubt);
    fleet.database.until(&format!(
        "(SELECT count(*) FROM deskload.rows WHERE state = 2 AND attempts = 1) = {RESTING}
             AND (SELECT state FROM deskload.rows WHERE number = {doubt}) = 5"
    ));
    fleet.bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    fleet.bench.await_requests(&mut run, behind);
    assert_eq!(fleet.bench.seen().last().unwrap().subject, format!("row {behind}"));
    run.signal(Signal::KILL);
    run.finish().code_none();
}
