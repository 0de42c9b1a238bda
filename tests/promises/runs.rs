//! The journal's runs, as people and programs see them; nothing of it needs a token, an account or the desk.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use serde_json::Value;

use crate::support::{Bench, closing_time, one_at_a_time};

/// Runs 1 to 3: finished, with a row failed and one in doubt, and stopped; a fourth of another account. Then all that
/// only sending needs is taken away.
fn runs() -> Bench {
    let refused = Fate::new(When::Ticket(2), Reply::error(200, "the ticket is locked"));
    let doubt = Fate::new(When::Ticket(12), Reply::status(500));
    let bench = Bench::scripted([doubt, refused, closing_time(6)]);
    bench.rows([1, 2, 3]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("doubts.csv", "ticket_id,subject\n12,a\n");
    bench.run(&["run", "doubts.csv"]).code(EXIT_ATTENTION);
    bench.file("stopped.csv", "ticket_id,subject\n21,a\n22,b\n23,c\n");
    bench.run(&one_at_a_time("stopped.csv", &[])).code(EXIT_EARLY);
    bench.file("other.csv", "ticket_id,subject\n31,a\n");
    bench.run(&["run", "other.csv", "--account-email", "two@example.com"]).code(EXIT_DONE);
    bench.unset("DESKLOAD_TOKEN").unset("DESKLOAD_ACCOUNT_EMAIL").unset("DESKLOAD_URL")
}

/// What a program is told: one object, and nothing beside it.
fn told(bench: &Bench, args: &[&str]) -> Value {
    let said = bench.run(args).code(EXIT_DONE);
    assert_eq!((said.stderr.as_str(), said.stdout.lines().count()), ("", 1), "{}", said.stdout);
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn the_list_has_a_line_for_each_run_and_its_counts() {
    let bench = runs();
    let list = bench.run(&["runs"]).code(EXIT_DONE).stdout;
    assert_eq!(bench.run(&["runs", "list"]).code(EXIT_DONE).stdout, list);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = list.lines().map(words).collect();
    assert_eq!(lines[0], "run started input account rows applied failed in doubt pending state");
    // Between them stands when it began.
    for (line, begins, ends) in [
        (1, "1 2", "rows.csv ops@example.com at 127.0.0.1 3 2 1 0 0 finished"),
        (2, "2 2", "doubts.csv ops@example.com at 127.0.0.1 1 0 0 1 0 in doubt"),
        (3, "3 2", "stopped.csv ops@example.com at 127.0.0.1 3 1 0 0 2 stopped"),
        (4, "4 2", "other.csv two@example.com at 127.0.0.1 1 1 0 0 0 finished"),
    ] {
        assert!(lines[line].starts_with(begins) && lines[line].ends_with(ends), "{list}");
    }
    assert_eq!(
        bench.run(&["runs", "--quiet"]).code,
        Some(EXIT_USAGE.into()),
        "there is nothing to be quiet about"
    );
}

#[test]
fn a_program_is_told_of_the_runs_what_their_summaries_say() {
    let bench = runs();
    let told_runs = told(&bench, &["runs", "--json"]);
    assert_eq!((&told_runs["event"], &told_runs["schema"]), (&"runs".into(), &1.into()));
    assert_eq!(told_runs["journal"], bench.journal().to_str().unwrap());
    let states: Vec<&str> =
        told_runs["runs"].as_array().unwrap().iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["finished", "in_doubt", "stopped", "finished"]);
    for run in 1..=4 {
        let summary = bench.summary(run);
        let shown = told(&bench, &["status", &run.to_string(), "--json"]);
        let report = told(&bench, &["report", &run.to_string(), "--json"]);
        for key in ["run", "input", "desk", "started_at", "finished_at", "exit_code", "counts", "attempts"] {
            let listed = &told_runs["runs"][usize::try_from(run).unwrap() - 1][key];
            assert_eq!([listed, &shown[key], &report[key]], [&summary[key]; 3], "{key}");
        }
        assert_eq!([&shown["reasons"], &report["reasons"]], [&summary["reasons"]; 2]);
        assert_eq!(shown["state"], states[usize::try_from(run).unwrap() - 1]);
        assert_eq!(report["folder"], format!("deskload-reports/run-{run}"));
        assert_eq!(report["failures"].is_string(), run == 1, "{report}");
        assert_eq!(report["in_doubt"].is_string(), run == 2, "{report}");
    }
    // As every other setting, by the environment.
    let bench = bench.set("DESKLOAD_JSON", "true");
    assert_eq!(told(&bench, &["runs", "list"])["event"], "runs");
}

#[test]
fn a_program_is_told_why_there_is_no_answer() {
    let bench = runs();
    for args in [&["status", "--json"][..], &["status", "9", "--json"], &["report", "9", "--json"]] {
        let said = bench.run(args).code(EXIT_USAGE);
        let event: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((&event["event"], &event["exit_code"]), (&"error".into(), &EXIT_USAGE.into()), "{args:?}");
    }
}

#[test]
fn the_status_tells_what_a_run_waits_for() {
    let bench = runs();
    for (run, says) in [
        ("1", "the ticket is locked"),
        ("2", "then deskload resolve 2"),
        ("3", "stopped; to go on: deskload resume 3 --concurrency 1"),
        ("4", "two@example.com"),
    ] {
        let said = bench.run(&["status", run]).code(EXIT_DONE);
        assert!(said.stdout.contains(says) && said.stdout.contains("requests"), "{}", said.stdout);
    }
}
