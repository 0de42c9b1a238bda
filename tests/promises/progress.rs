//! What a person sees: a bar on a terminal, plain lines elsewhere, nothing if so asked.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, Output};

#[test]
fn plain_lines_come_now_and_then_where_there_is_no_terminal() {
    let later = Reply::status(429).header("retry-after", "11");
    let bench = Bench::scripted([Fate::new(When::Request(31), later)]);
    bench.rows(1..=40);
    let said = bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_DONE);
    let said = said.says("Z 30 of 40 applied, ").says("paused").says("by the desk");
    assert!(!said.stderr.contains(['\r', '\u{1b}']), "{:?}", said.stderr);
    assert_eq!(said.stdout, "");
}

#[test]
fn quiet_says_nothing_unless_something_is_wrong() {
    let bench = Bench::scripted([Fate::new(When::Ticket(45), Reply::status(404))]);
    bench.rows(1..=40);
    for args in [["run", "rows.csv", "-q"], ["run", "rows.csv", "--quiet"]] {
        let said = bench.run(&args).code(EXIT_DONE);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    }
    bench.file("bad.csv", "ticket_id,subject\n45,a\n");
    bench.run(&["run", "bad.csv", "-q"]).code(EXIT_ATTENTION).says("1 failed").says("failures.csv");
}

#[test]
fn the_end_says_how_the_rows_stand_and_what_comes_next() {
    let bench = Bench::scripted([
        Fate::new(When::Ticket(2), Reply::error(404, "No such ticket 2")),
        Fate::new(When::Ticket(3), Reply::status(500)),
    ]);
    bench.rows(1..=1_200);
    let said = bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    for line in [
        "1,198",
        "1 failed: No such ticket 2",
        "deskload run deskload-reports/run-1/failures.csv",
        "deskload resolve 1",
    ] {
        assert!(said.stderr.contains(line), "{line:?} is not in:\n{}", said.stderr);
    }
    assert_eq!(said.stdout, "");
}

/// Runs a command on a terminal of its own; its streams come back as one. `None`: this machine has no `script`.
#[expect(clippy::print_stderr, reason = "a test that was skipped should say so")]
fn on_a_terminal(bench: &Bench, command: &str, typed: &str) -> Option<Output> {
    let there = bench.shell("script --version", None).code == Some(0);
    if !there {
        eprintln!("skipped: util-linux's script is not on this machine");
        return None;
    }
    Some(bench.shell(&format!("TERM=xterm script -qec '\"$DESKLOAD\" {command}' /dev/null"), Some(typed)))
}

#[test]
fn a_bar_is_drawn_on_a_terminal() {
    let bench = Bench::new();
    bench.rows(1..=60);
    let Some(said) = on_a_terminal(&bench, "run rows.csv --rate 40/s --yes", "") else { return };
    let said = said.code(EXIT_DONE);
    assert!(said.stdout.contains(" of 60 applied, ") && said.stdout.contains("/s"), "{}", said.stdout);
    assert!(said.stdout.contains('█') || said.stdout.contains("\u{1b}["), "{:?}", said.stdout);
    assert!(said.stdout.contains('%') && said.stdout.contains(" left"), "{:?}", said.stdout);
}

#[test]
fn a_person_is_asked_before_a_new_run_and_may_say_no() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let Some(said) = on_a_terminal(&bench, "run rows.csv", "n\n") else { return };
    let said = said.code(EXIT_DONE);
    assert!(said.stdout.contains("3 rows will be sent to"), "{}", said.stdout);
    assert!(said.stdout.contains("nothing was sent"), "{}", said.stdout);
    assert_eq!(bench.desk().requests, 0);
    on_a_terminal(&bench, "run rows.csv", "y\n").unwrap().code(EXIT_DONE);
    assert_eq!(bench.desk().applied, 3);
}

#[test]
fn a_run_that_goes_on_is_not_asked_about() {
    let bench = Bench::scripted([crate::support::closing_time(2)]);
    bench.rows(1..=3);
    bench.run(&crate::support::one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    let Some(said) = on_a_terminal(&bench, "run rows.csv", "") else { return };
    said.code(EXIT_DONE);
    assert_eq!(bench.judge().applied, 3);
}
