//! One script, two journals: what a person sees is the same, whether a file keeps the journal or a database.

use deskload::error::EXIT_ATTENTION;
use deskload::sandbox::{Fate, Reply, When};

use super::Fleet;
use crate::support::{Bench, csv};

/// What a run that met everything looks like from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    counts: Vec<[u64; 6]>,
    failures: String,
    in_doubt: String,
    desk: Vec<String>,
    attempts: u64,
}

fn fates() -> [Fate; 3] {
    [
        Fate::new(When::Request(3), Reply::status(404)),
        Fate::new(When::Request(5), Reply::status(502)),
        Fate::new(When::Request(8), Reply::status(429).header("retry-after", "0")),
    ]
}

/// Rows that are refused, in doubt, throttled, invalid, and behind a doubt; a person's words; a second try.
fn live(bench: &Bench) -> Seen {
    // Row 5 is in doubt, and row 9 is of its ticket.
    bench.file("rows.csv", csv([1, 2, 3, 4, 5, 6, 7, 8, 5]) + "nonsense,row 10\n");
    bench.run(&["run", "rows.csv", "--yes", "--concurrency", "1"]).code(EXIT_ATTENTION);
    let mut counts = vec![bench.counts(1)];
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    let in_doubt = bench.read("deskload-reports/run-1/in-doubt.csv");
    bench.run(&["resolve", "1", "--applied", "--rows", "4"]).code(2).says("row 4 of run 1 is not in doubt");
    bench.run(&["resolve", "1", "--applied", "--rows", "5"]).code(0);
    bench.run(&["resume", "1"]).code(EXIT_ATTENTION);
    counts.push(bench.counts(1));
    bench.run(&["retry", "1"]).code(EXIT_ATTENTION);
    counts.push(bench.counts(1));
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("nothing left to send");
    bench.run(&["report", "1"]).code(0);
    counts.push(bench.counts(1));
    let desk = bench.seen().iter().map(|seen| format!("{} {}", seen.ticket, seen.subject)).collect();
    Seen { counts, failures, in_doubt, desk, attempts: bench.summary(1)["attempts"].as_u64().unwrap() }
}

#[test]
fn a_run_looks_the_same_whichever_journal_keeps_it() {
    let Some(fleet) = Fleet::new(Bench::scripted(fates())) else { return };
    let in_database = live(&fleet.bench);
    fleet.assert_adds_up();
    drop(fleet);
    let in_file = live(&Bench::scripted(fates()).set("DESKLOAD_MAX_FAILURES", "100%"));
    assert_eq!(in_database, in_file);
    assert_eq!(in_file.counts.last(), Some(&[9, 0, 1, 0, 0, 0]));
}
