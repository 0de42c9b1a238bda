//! Every row is applied once, in the order of the file for each ticket, one at a time.

use std::collections::HashMap;
use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::options::Latency;
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, csv};

/// How many rows the whole way is tried with; see the head of this binary.
fn many() -> u64 {
    let usual = if cfg!(debug_assertions) { 5_000 } else { 20_000 };
    std::env::var("DESKLOAD_TEST_ROWS").map_or(usual, |rows| rows.parse().unwrap())
}

/// Tickets of which every fourth or so occurs again, near and far.
fn tickets(rows: u64) -> Vec<u64> {
    let mut dice = fastrand::Rng::with_seed(11);
    (0..rows).map(|row| 1_000 + if dice.u8(..4) == 0 { dice.u64(0..=row) } else { row }).collect()
}

#[test]
fn f60_same_ticket_in_file_order() {
    let bench = Bench::new();
    let tickets = tickets(many());
    bench.rows(tickets.iter().copied());
    bench.run(&["run", "rows.csv", "--rate", "unlimited", "--concurrency", "32"]).code(EXIT_DONE);

    let mut expected: HashMap<u64, Vec<Box<str>>> = HashMap::new();
    for (ticket, row) in tickets.iter().zip(1..) {
        expected.entry(*ticket).or_default().push(format!(r#"{{"subject":"row {row}"}}"#).into());
    }
    assert!(expected.len() < tickets.len(), "some tickets occur again");
    let judge = bench.judge();
    assert_eq!((judge.requests, judge.applied, judge.applied_twice), (many(), many(), 0));
    for (ticket, changes) in expected {
        assert_eq!(judge.order(ticket), changes, "ticket {ticket}");
    }
    assert_eq!(bench.counts(1), [many(), 0, 0, 0, 0, 0]);
}

#[test]
fn f60_same_ticket_one_at_a_time() {
    // The desk notes a request when it arrives, and answers 30 ms later: whoever waits for the answer before
    // the ticket's next row cannot be sooner.
    let wait = Duration::from_millis(30);
    let bench = Bench::with(|options| options.latency = Latency { min: wait, max: wait });
    bench.rows((0..60).map(|row| 1_000 + row % 4));
    bench.run(&["run", "rows.csv", "--concurrency", "16"]).code(EXIT_DONE);
    let mut last = HashMap::new();
    for seen in bench.seen() {
        if let Some(before) = last.insert(seen.ticket, seen.at) {
            assert!(
                seen.at - before >= wait.as_secs_f64(),
                "ticket {}: {before} then {}",
                seen.ticket,
                seen.at
            );
        }
    }
    assert_eq!(last.len(), 4);
}

#[test]
fn a_row_that_is_asked_to_come_back_is_not_overtaken() {
    let busy = Reply::status(429).header("retry-after", "0");
    let bench = Bench::scripted([Fate::new(When::Ticket(1_001), busy).times(3)]);
    bench.rows([1_001, 1_001, 1_002, 1_001]);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let order: Vec<_> =
        bench.seen().into_iter().filter(|seen| seen.ticket == 1_001).map(|seen| seen.subject).collect();
    assert_eq!(order, ["row 1", "row 1", "row 1", "row 1", "row 2", "row 4"]);
    assert_eq!(bench.summary(1)["throttled"], 3);
}

#[test]
fn a_row_in_doubt_holds_its_ticket_back_and_no_other() {
    let bench = Bench::scripted([Fate::new(When::Ticket(1_002), Reply::status(500)).applied()]);
    bench.rows([1_001, 1_002, 1_003, 1_002, 1_001]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("1 waiting behind rows in doubt");
    assert_eq!(bench.counts(1), [3, 0, 0, 1, 0, 1]);
    // Not in this invocation, and not in the next.
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [3, 0, 0, 1, 0, 1]);
    assert_eq!(bench.seen().iter().filter(|seen| seen.ticket == 1_002).count(), 1);
}

#[test]
fn a_failed_row_holds_nothing_back() {
    let bench = Bench::scripted([Fate::new(When::Ticket(1_002), Reply::status(422))]);
    bench.rows([1_002, 1_002]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [1, 1, 0, 0, 0, 0]);
    assert_eq!(bench.judge().order(1_002), [r#"{"subject":"row 2"}"#.into()]);
}

#[test]
fn identical_rows_are_both_sent_with_a_warning() {
    let bench = Bench::new();
    bench.file("rows.csv", "ticket_id,subject\n7,same\n7,same\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).says("equal to an earlier row: 1 row; each is sent");
    assert_eq!(bench.judge().order(7).len(), 2);
}

#[test]
fn the_summary_has_every_key_of_its_contract() {
    let bench = Bench::scripted([
        Fate::new(When::Ticket(1_002), Reply::error(404, "Ticket 1002 not found")),
        Fate::new(When::Ticket(1_003), Reply::error(404, "Ticket 1003 not found")),
    ]);
    bench.file("rows.csv", csv([1_001, 1_002, 1_003]) + "0,row 4\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let summary = bench.summary(1);
    let keys =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&summary),
        "attempts counts desk exit_code finished_at input reasons run schema started_at throttled"
    );
    assert_eq!(keys(&summary["input"]), "path rows sha256");
    assert_eq!(keys(&summary["desk"]), "account_email url");
    assert_eq!(keys(&summary["counts"]), "applied failed in_doubt invalid pending rows skipped");
    assert_eq!(bench.counts(1), [1, 2, 1, 0, 0, 0]);
    assert_eq!(
        (&summary["schema"], &summary["run"], &summary["attempts"]),
        (&1.into(), &1.into(), &3.into())
    );
    assert_eq!(summary["exit_code"], EXIT_ATTENTION);
    assert_eq!(summary["desk"]["url"], bench.url());
    assert_eq!(summary["desk"]["account_email"], crate::support::EMAIL);
    assert_eq!(summary["input"]["path"], bench.path("rows.csv").to_str().unwrap());
    assert_eq!(summary["input"]["sha256"].as_str().unwrap().len(), 64);
    for moment in ["started_at", "finished_at"] {
        assert!(summary[moment].as_str().unwrap().ends_with('Z'), "{summary}");
    }
    let first = &summary["reasons"][0];
    assert_eq!(keys(first), "count message outcome reason");
    assert_eq!(
        (&first["outcome"], &first["message"], &first["count"]),
        (&"failed".into(), &"Ticket # not found".into(), &2.into()),
        "digits are folded"
    );
}
