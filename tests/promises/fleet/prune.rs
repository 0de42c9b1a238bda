//! Old runs give up their rows beside workers. Which rows, is told in `journals`.

use deskload::error::{EXIT_DONE, EXIT_MACHINE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::Value;

use super::Fleet;
use crate::prune::ALL;
use crate::support::{Bench, csv};

/// Steps of a prune of run 1.
const STEPS: &str = "SELECT deskload.give_up(1, 9223372036854775807, 1);
    SELECT deskload.prune_tickets('{1}', '{1}', -1, 16384, false), deskload.prune_invalid('{1}', false);";

/// A statement of the program waits for somebody else's lock.
const A_STATEMENT_WAITS: &str = "EXISTS (SELECT FROM pg_locks WHERE NOT granted)";

/// Run 1 is over: one of its rows has failed, and one is invalid.
fn night() -> Option<Fleet> {
    let fleet =
        Fleet::new(Bench::scripted([Fate::new(When::Ticket(2), Reply::error(200, "the ticket is locked"))]))?;
    fleet.bench.file("night.csv", csv(1..=20) + "nonsense,row 21\n");
    fleet.bench.run(&["run", "night.csv", "--yes"]).code(3);
    Some(fleet)
}

#[test]
fn with_the_least_rights_old_runs_go_beside_workers_and_what_they_work_on_stays() {
    let Some(fleet) = night() else { return };
    fleet.bench.rows(1..=200);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--rate", "50/s"]);
    fleet.bench.await_requests(&mut run, 20 + 20);
    let work = fleet.bench.start(&["work", "--once", "--rate", "50/s"]);
    let told = fleet.bench.run(&[&ALL[..], &["--json"]].concat()).code(EXIT_DONE).stdout;
    let told: Value = serde_json::from_str(&told).unwrap();
    // Nothing that the run sends later counts yet: rows stay that were the last to set their ticket's subject.
    assert_eq!((&told["runs"], &told["rows"]), (&serde_json::json!([1]), &2.into()), "{told}");
    assert_eq!((&told["kept"]["unfinished"], &told["bytes_given_back"]), (&1.into(), &0.into()), "{told}");
    run.finish().code(EXIT_DONE);
    work.finish().code(EXIT_DONE);
    assert_eq!((fleet.bench.counts(2), fleet.bench.desk().requests), ([200, 0, 0, 0, 0, 0], 220));
    fleet
        .bench
        .run(&ALL)
        .code(EXIT_DONE)
        .says("pruned 1 run, 19 rows; their space is the table's once it is vacuumed");
    assert_eq!(fleet.in_state(1), 200);
}

#[test]
fn a_prune_that_is_under_way_keeps_no_worker_from_its_permits() {
    let Some(fleet) = night() else { return };
    let under_way = fleet.database.hold(STEPS);
    fleet.bench.rows(1..=60);
    fleet.bench.run(&["run", "rows.csv", "--yes", "--rate", "50/s"]).code(EXIT_DONE);
    fleet.bench.run(&["status", "2"]).code(EXIT_DONE);
    under_way.commit();
    assert_eq!((fleet.bench.counts(2), fleet.bench.desk().requests), ([60, 0, 0, 0, 0, 0], 80));
}

#[test]
fn a_way_to_the_database_that_breaks_in_a_prune_is_told_and_the_same_command_goes_on() {
    let Some(mut fleet) = night() else { return };
    let _row = fleet.database.hold("SELECT FROM deskload.rows WHERE run = 1 AND number = 2 FOR UPDATE;");
    let prune = fleet.bench.start(&ALL);
    fleet.database.until(A_STATEMENT_WAITS);
    fleet.database.crash();
    prune.finish().code(EXIT_MACHINE).says("1 run and 0 rows of ops@example.com were pruned by then");
    fleet.database.begin();
    assert_eq!(fleet.bench.run(&["report", "1"]).code(EXIT_USAGE).code, Some(EXIT_USAGE.into()));
    fleet.bench.run(&ALL).code(EXIT_DONE).says("pruned 0 runs, 2 rows");
    assert_eq!(fleet.in_state(1), 19);
}

#[test]
fn failed_rows_that_are_to_be_sent_again_while_they_are_given_up_are_not() {
    let Some(fleet) = night() else { return };
    let under_way = fleet.database.hold(STEPS.split_inclusive(';').take(1).collect::<String>().as_str());
    let retry = fleet.bench.start(&["retry", "1"]);
    fleet.database.until(A_STATEMENT_WAITS);
    under_way.commit();
    retry.finish().code(EXIT_USAGE).says("the rows of run 1 have just been pruned; nothing was sent");
    assert_eq!((fleet.in_state(2), fleet.bench.desk().requests), (0, 20));
}
