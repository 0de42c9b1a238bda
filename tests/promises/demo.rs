//! Two commands that need no account: a desk to try things on, and the tour.

use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::Judgement;
use rustix::process::Signal;

use crate::support::Bench;

const SANDBOX_TOKEN: &str = "sandbox-token";

#[test]
fn the_sandbox_says_its_address_first_serves_and_ends_when_asked() {
    for signal in [Signal::TERM, Signal::INT] {
        let bench = Bench::new().set("DESKLOAD_TOKEN", SANDBOX_TOKEN);
        bench.rows(1..=300);
        let args = [
            "sandbox",
            "--rate",
            "200",
            "--fail",
            "10%",
            "--drop",
            "3%",
            "--latency",
            "1..3",
            "--seed",
            "7",
            "--log",
            "box.jsonl",
        ];
        let mut sandbox = bench.start(&args);
        let url = sandbox.first_line();
        assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/app/api/v1/update/ticket/"), "{url}");
        let run = ["run", "rows.csv", "--url", &url, "--max-failures", "100%", "--concurrency", "2"];
        bench.run(&run).code(EXIT_ATTENTION);
        sandbox.signal(signal);
        let said = sandbox.finish().code(EXIT_DONE).says(" applied");
        assert_eq!(said.stdout.lines().count(), 1);

        let log = fs::read_to_string(bench.path("box.jsonl")).unwrap();
        assert!(!log.contains(SANDBOX_TOKEN) && !log.contains("ops@example.com"));
        let judge = Judgement::read(&bench.path("box.jsonl")).unwrap();
        let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
        assert_eq!((pending, judge.applied_twice), (0, 0));
        assert!(failed > 10 && in_doubt > 0, "{failed} refused, {in_doubt} dropped");
        assert_eq!(judge.applied, applied + in_doubt, "dropped after they were applied");
        assert_eq!(bench.desk().requests, 0);
    }
}

#[test]
fn the_sandbox_refuses_a_port_that_is_taken() {
    let bench = Bench::new();
    let port = bench.url().split(':').nth(2).unwrap().split('/').next().unwrap().to_owned();
    let taken = bench.run(&["sandbox", "--port", &port]).code(deskload::error::EXIT_USAGE);
    taken.says("choose another port");
}

#[test]
fn the_demo_shows_the_whole_way_and_nothing_twice() {
    let bench = Bench::new().unset("DESKLOAD_TOKEN").unset("DESKLOAD_URL").unset("DESKLOAD_ACCOUNT_EMAIL");
    let said = bench.run(&["demo", "--dir", "tour"]).code(EXIT_DONE);
    for text in [
        "applied twice: 0",
        "told to come back later",
        "Ctrl-C",
        "deskload status",
        "failures.csv",
        "deskload run --help",
    ] {
        assert!(said.stderr.contains(text), "{text:?} is not in:\n{}", said.stderr);
    }
    let judge = Judgement::read(&bench.path("tour/desk.jsonl")).unwrap();
    assert_eq!(judge.applied_twice, 0);
    assert!(judge.count(deskload::sandbox::judge::Word::Throttled) > 0, "real 429s");
    assert!(bench.path("tour/deskload/journal.sqlite3").exists(), "the state is where the tour says");
    let summary = bench.read("tour/reports/run-1/summary.json");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let counts = &summary["counts"];
    assert_eq!(
        (&counts["rows"], &counts["invalid"], &counts["in_doubt"]),
        (&300.into(), &3.into(), &1.into())
    );
    assert!(counts["failed"].as_u64().unwrap() > 0, "some tickets are refused");
    bench.run(&["demo", "--dir", "tour"]).code(deskload::error::EXIT_USAGE).says("--dir");
}
