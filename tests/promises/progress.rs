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
    assert!(said.stdout.contains(" of 60 applied") && said.stdout.contains("/s"), "{}", said.stdout);
    assert!(said.stdout.contains('█') || said.stdout.contains("\u{1b}["), "{:?}", said.stdout);
    assert!(said.stdout.contains('%') && said.stdout.contains(" left"), "{:?}", said.stdout);
}

#[test]
fn what_is_told_fits_a_terminal_of_forty_columns() {
    let bench = Bench::new();
    bench.file(
        "rows.csv",
        "ticket_id,staff,custom_fields.CF007-07\n1,ST007-001,a rather long text that goes on\n2.0,ST007-002,b\n",
    );
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let narrow = |command: &str| {
        let line = format!("stty cols 40 rows 50; \"$DESKLOAD\" {command}");
        bench.shell(&format!("TERM=xterm script -qec '{line}' /dev/null"), Some(""))
    };
    if on_a_terminal(&bench, "--version", "").is_none() {
        return;
    }
    for command in ["check rows.csv", "status", "runs", "config show"] {
        let said = narrow(command).code(EXIT_DONE).stdout;
        let wide = said.lines().map(str::trim_end).find(|line| console::measure_text_width(line) > 40);
        assert_eq!(wide, None, "{command}:\n{said}");
        // Nowhere is a word taken apart.
        for word in ["ticket_id", "ST007-001", "finished", "DESKLOAD_ACCOUNT_", "custom_fields.CF007-07"] {
            let letters: String = said.split_whitespace().collect();
            assert!(said.contains(word) || !letters.contains(word), "{word} in {command}:\n{said}");
        }
    }
}

#[test]
fn a_person_is_asked_before_a_new_run_and_may_say_no() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let Some(said) = on_a_terminal(&bench, "run rows.csv", "n\n") else { return };
    let said = said.code(EXIT_DONE);
    assert!(said.stdout.contains("Send 3 updates? [y/N]"), "{}", said.stdout);
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

/// A run with a failed row and one in doubt.
fn troubled() -> Bench {
    let fates = [
        Fate::new(When::Ticket(2), Reply::error(404, "No such ticket 2")),
        Fate::new(When::Ticket(3), Reply::status(500)),
    ];
    let bench = Bench::scripted(fates);
    bench.rows(1..=5);
    bench
}

#[test]
fn a_log_has_a_time_before_each_line_and_ends_with_what_to_do() {
    let bench = troubled();
    let said = bench.run(&["run", "rows.csv", "--max-failures", "9"]).code(EXIT_ATTENTION);
    for line in said.stderr.lines() {
        let (stamp, _) = line.split_once(' ').unwrap();
        assert!(stamp.parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    let last = said.stderr.lines().last().unwrap();
    assert!(
        last.ends_with("then: deskload run deskload-reports/run-1/failures.csv --max-failures 9"),
        "{last}"
    );
    assert!(said.stderr.contains(": 3 applied, 1 failed, 1 in doubt of 5 rows\n"), "{}", said.stderr);
}

#[test]
fn a_program_gets_an_object_a_line_and_the_summary_last() {
    let bench = troubled();
    let said = bench.run(&["run", "rows.csv", "--max-failures", "9", "--json"]).code(EXIT_ATTENTION);
    let events: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&events[0]["event"], &events[0]["counts"]["pending"]), (&"plan".into(), &5.into()));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"summary".into(), &3.into()), "{last}");
    assert_eq!(last["counts"], bench.summary(1)["counts"]);
    assert!(last["error"].as_str().unwrap().contains("1 failed, 1 in doubt"), "{last}");
    let next = last["next"].as_array().unwrap();
    assert!(next[0].as_str().unwrap().contains("deskload resolve 1"), "{last}");
    // People who watch still learn what is wrong.
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    // What never became a run has no summary.
    let said = bench.run(&["run", "missing.csv", "--json"]).code(2);
    let event: serde_json::Value = serde_json::from_str(said.stdout.trim()).unwrap();
    assert_eq!((&event["event"], &event["exit_code"]), (&"error".into(), &2.into()));
}

#[test]
fn a_program_hears_of_progress_and_pauses() {
    let later = Reply::status(429).header("retry-after", "11");
    let bench = Bench::scripted([Fate::new(When::Request(31), later)]);
    bench.rows(1..=40);
    let said = bench.run(&["run", "rows.csv", "--concurrency", "1", "--json"]).code(EXIT_DONE);
    let events = said.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let progress = events.into_iter().find(|event| event["event"] == "progress").unwrap();
    assert_eq!(progress["counts"]["applied"], 30, "{progress}");
    assert!(progress["paused_seconds"].is_u64(), "{progress}");
    assert_eq!(said.stderr, "");
}

#[test]
fn a_log_file_gets_what_is_said_whatever_the_form() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = troubled();
    bench
        .run(&["run", "rows.csv", "--max-failures", "9", "-q", "--log-file", "run.log"])
        .code(EXIT_ATTENTION);
    bench.run(&["run", "rows.csv", "--json", "--log-file", "run.log"]).code(EXIT_ATTENTION);
    let log = bench.read("run.log");
    for text in
        ["begun: deskload run", "run 1: 5 rows of 5 to send", "3 applied, 1 failed", "deskload resolve 1"]
    {
        assert!(log.contains(text), "{text:?} is not in:\n{log}");
    }
    assert!(log.contains("nothing left to send"), "the second command adds to it:\n{log}");
    let mode = bench.path("run.log").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!log.contains(crate::support::TOKEN));
}

#[test]
fn colours_are_for_terminals_and_whoever_asks() {
    const GREEN: &str = "\u{1b}[32m";
    let command = |more: &str| format!("run rows.csv --again --yes {more}");
    let bench = Bench::new();
    bench.rows(1..=3);
    let Some(said) = on_a_terminal(&bench, &command(""), "") else { return };
    assert!(said.stdout.contains(GREEN), "{:?}", said.stdout);
    let said = on_a_terminal(&bench, &command("--color never"), "").unwrap();
    assert!(!said.stdout.contains(GREEN), "{:?}", said.stdout);
    let bench = bench.set("NO_COLOR", "1");
    let said = on_a_terminal(&bench, &command(""), "").unwrap();
    assert!(!said.stdout.contains(GREEN), "{:?}", said.stdout);
    let said = on_a_terminal(&bench, &command("--color always"), "").unwrap();
    assert!(said.stdout.contains(GREEN), "{:?}", said.stdout);
    // A log is plain.
    let said = bench.run(&["run", "rows.csv", "--again"]).code(EXIT_DONE);
    assert!(!said.stderr.contains('\u{1b}'), "{:?}", said.stderr);
}

#[test]
fn diagnostics_do_not_tear_the_bar() {
    let bench = Bench::new();
    bench.rows(1..=60);
    let Some(said) = on_a_terminal(&bench, "run rows.csv --rate 40/s --yes -vv", "") else { return };
    let torn = said.stdout.split("\r\n").find(|line| line.contains(" request ") && line.contains('%'));
    // What was drawn before is wiped before the line is written.
    assert!(torn.is_none_or(|line| line.contains("\u{1b}[2K")), "{torn:?}");
}
