//! A job that nobody watches: metrics for a collector, a command at the end, and two processes for one account.

use std::os::unix::fs::PermissionsExt as _;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_INTERRUPT, EXIT_OVERLAP, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use super::budget::{times, worst};
use crate::support::{Bench, TOKEN, csv, tool, until};

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_tell_how_the_last_run_stands_and_when_one_last_went_well() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows([1, 3, 4]);
    let run = |file: &str, code| {
        bench.run(&["run", file, "--metrics-file", "desk.prom"]).code(code);
        bench.read("desk.prom")
    };
    let good = run("rows.csv", EXIT_DONE);
    let success = metric(&good, "deskload_last_success_time_seconds").unwrap();
    assert_eq!(metric(&good, "deskload_end_time_seconds"), Some(success));
    assert_eq!(metric(&good, r#"deskload_rows{outcome="applied"}"#), Some(3.0));
    let mode = bench.path("desk.prom").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "the collector is another user");
    bench.file("bad.csv", "ticket_id,subject\n1,a\n2,b\n");
    let bad = run("bad.csv", EXIT_ATTENTION);
    assert_eq!(metric(&bad, r#"deskload_rows{outcome="failed"}"#), Some(1.0));
    assert_eq!(metric(&bad, "deskload_exit_code"), Some(3.0));
    assert_eq!(metric(&bad, "deskload_last_success_time_seconds"), Some(success), "it is of the run before");
    // A file that cannot be written is said, and fails nothing.
    bench.rows(5..=6);
    bench.run(&["run", "rows.csv", "--metrics-file", "nowhere/x.prom"]).code(EXIT_DONE).says("metrics file");
}

#[test]
fn a_night_on_which_nothing_changed_went_well_too() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let success = |file: &str, code| {
        bench.run(&["run", file, "--metrics-file", "desk.prom"]).code(code);
        let text = bench.read("desk.prom");
        assert_eq!(metric(&text, "deskload_exit_code"), Some(f64::from(code)));
        let at = |name: &str| metric(&text, name).unwrap();
        (at("deskload_last_success_time_seconds"), at("deskload_end_time_seconds"))
    };
    let (first, _) = success("rows.csv", EXIT_DONE);
    let (second, ended) = success("rows.csv", EXIT_DONE);
    assert!(second > first && (second - ended).abs() < f64::EPSILON, "{first} {second} {ended}");
    assert_eq!(bench.desk().requests, 3, "nothing was left to do");
    // A night that did not go well takes nothing back, and neither does a run that is gone on with.
    bench.file("bad.csv", "ticket_id,subject\n#1,a\n2,b\n");
    let (kept, ended) = success("bad.csv", EXIT_ATTENTION);
    assert!((kept - second).abs() < f64::EPSILON && ended > kept, "{second} {kept} {ended}");
}

#[test]
fn prometheus_accepts_the_metrics() {
    let Some(promtool) = tool("promtool") else { return };
    let bench = Bench::scripted([
        Fate::new(When::Ticket(1), Reply::status(404)),
        Fate::new(When::Ticket(2), Reply::status(500)),
    ]);
    let accepted = |file: &str, code| {
        bench.run(&["run", file, "--metrics-file", "desk.prom", "--max-failures", "100%"]).code(code);
        let line = format!("{} check metrics < desk.prom", promtool.display());
        let said = bench.shell(&line, None).code(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "it finds nothing to complain of");
    };
    // Before a run went well, with every outcome, and after.
    bench.file("bad.csv", "ticket_id,subject\n1,a\n2,b\n2,c\n3,d\nx,e\n");
    accepted("bad.csv", EXIT_ATTENTION);
    bench.rows(4..=5);
    accepted("rows.csv", EXIT_DONE);
    assert!(metric(&bench.read("desk.prom"), "deskload_last_success_time_seconds").is_some());
    // Empty, but a run.
    bench.file("empty.csv", "ticket_id,subject\n");
    accepted("empty.csv", EXIT_DONE);
}

#[test]
fn two_processes_started_at_once_keep_the_account_s_limit_together() {
    for overlap in ["fail", "wait"] {
        let bench = Bench::new();
        bench.file("one.csv", csv(1..=20));
        bench.file("two.csv", csv(101..=120));
        let run = |file: &'static str| {
            ["run", file, "--rate", "20/s,12/2s", "--burst", "6", "--on-overlap", overlap]
        };
        let started = ["one.csv", "two.csv"].map(|file| (file, bench.start(&run(file))));
        // Both have ended before either is tried again.
        for (file, ended) in started.map(|(file, started)| (file, started.finish())) {
            if overlap == "fail" && ended.code == Some(EXIT_OVERLAP.into()) {
                // As cron would another night.
                bench.run(&run(file)).code(EXIT_DONE);
            } else {
                ended.code(EXIT_DONE);
            }
        }
        assert_eq!((bench.judge().applied, bench.judge().applied_twice), (40, 0));
        let times = times(&bench);
        for (seconds, most) in [(1.0, 12), (2.0, 12)] {
            let worst = worst(&times, seconds);
            assert!(worst <= most, "{overlap}: {worst} in {seconds} s: {times:.3?}");
        }
    }
}

#[test]
fn the_command_at_the_end_gets_the_summary_and_the_exit_code_and_never_the_token() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=3);
    let command = "cat > told.json; echo \"$DESKLOAD_EXIT_CODE\" > code; env > env; exit 3";
    let said =
        bench.run(&["run", "rows.csv", "--max-failures", "9", "--on-finish", command]).code(EXIT_ATTENTION);
    said.says("--on-finish failed").never_says("env > env");
    let told: serde_json::Value = serde_json::from_str(&bench.read("told.json")).unwrap();
    assert_eq!(told["counts"], bench.summary(1)["counts"]);
    assert_eq!(bench.read("code"), "3\n");
    assert!(!bench.read("env").contains(TOKEN));
    // What ends before there is a run is told, too.
    bench.run(&["run", "missing.csv", "--on-finish", command]).code(EXIT_USAGE);
    let told: serde_json::Value = serde_json::from_str(&bench.read("told.json")).unwrap();
    assert_eq!(told["exit_code"], 2);
    assert!(told["error"].as_str().unwrap().contains("missing.csv"));
    // One that reads nothing is no trouble.
    bench.run(&["run", "rows.csv", "-q", "--again", "--limit", "1", "--on-finish", "true"]);
}

#[test]
fn a_second_process_for_the_account_fails_or_waits() {
    let bench =
        Bench::with(|options| options.latency = deskload::sandbox::options::parse_latency("20..20").unwrap());
    bench.rows(1..=150);
    bench.file("other.csv", csv(1_001..=1_010));
    let mut first = bench.start(&["run", "rows.csv", "--concurrency", "1"]);
    bench.await_requests(&mut first, 5);
    bench.run(&["run", "other.csv"]).code(EXIT_OVERLAP);
    let mut second = bench.start(&["run", "other.csv", "--on-overlap", "wait"]);
    second.await_stderr("waiting, as --on-overlap wait says");
    let mut third = bench.start(&["run", "other.csv", "--on-overlap", "wait"]);
    third.await_stderr("waiting, as --on-overlap wait says");
    third.signal(rustix::process::Signal::INT);
    third.finish().code(EXIT_INTERRUPT);
    until("the first to end", || first.has_ended());
    first.finish().code(EXIT_DONE);
    second.finish().code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (160, 0));
    let order: Vec<u64> = bench.seen().iter().map(|seen| seen.ticket).collect();
    assert!(order[..150].iter().all(|ticket| *ticket <= 150), "one after the other");
}
