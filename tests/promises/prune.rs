//! Old runs give up their rows and nothing else: no promise depends on when somebody tidies up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_OVERLAP, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use rusqlite::Connection;
use serde_json::Value;

use crate::support::ledger::dump;
use crate::support::{Bench, closing_time, one_at_a_time};

/// A day, in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// A desk that refuses ticket 2 once.
fn refusing() -> Bench {
    Bench::scripted([Fate::new(When::Ticket(2), Reply::error(200, "the ticket is locked"))])
}

/// Runs 1 and 2, nights of the same tickets; a row of the first has failed.
fn two_nights() -> Bench {
    let bench = refusing();
    bench.file("a.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    bench.file("b.csv", "ticket_id,staff\n1,B\n2,B\n");
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
    bench
}

/// The run was last worked on so many days ago.
fn age(bench: &Bench, run: u64, days: i64) {
    let journal = Connection::open(bench.journal()).unwrap();
    let ago = "UPDATE run SET ended_ms = ended_ms - ?2, started_ms = started_ms - ?2 WHERE id = ?1";
    journal.execute(ago, [run.cast_signed(), days * DAY_MS]).unwrap();
}

fn rows(bench: &Bench) -> usize {
    dump(&bench.journal(), &["row"]).len()
}

fn spools(bench: &Bench) -> usize {
    fs::read_dir(bench.path("deskload/journal.sqlite3.spool")).unwrap().count()
}

/// What the desk has applied to a ticket, in its order.
fn applied(bench: &Bench, ticket: u64) -> Vec<String> {
    bench.judge().order(ticket).iter().map(ToString::to_string).collect()
}

const ALL: [&str; 4] = ["runs", "prune", "--older-than", "0d"];

#[test]
fn only_what_is_old_enough_goes_and_ninety_days_are_usual() {
    let bench = two_nights();
    bench
        .run(&["runs", "prune"])
        .code(EXIT_DONE)
        .says("pruned 0 runs, 0 rows")
        .says("kept 2 worked on in the last 90 days");
    age(&bench, 1, 89);
    bench.run(&["runs", "prune"]).code(EXIT_DONE).says("pruned 0 runs");
    age(&bench, 1, 1);
    bench
        .run(&["runs", "prune", "--dry-run"])
        .code(EXIT_DONE)
        .says("would prune 1 run, 2 rows; nothing was changed");
    assert_eq!((rows(&bench), spools(&bench)), (5, 1));
    // Row 3 was the last to set the owner of its ticket; row 1 was not, and row 2 had failed.
    bench.run(&["runs", "prune"]).code(EXIT_DONE).says("pruned 1 run, 2 rows").says("kept 1 worked on");
    assert_eq!((rows(&bench), spools(&bench)), (3, 0), "the copy of the input goes with them");
    let quiet = bench.run(&["runs", "prune", "-q", "--older-than", "12w"]).code(EXIT_DONE);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "cron sends no mail");
    bench.run(&["runs", "prune", "--older-than", "soon"]).code(EXIT_USAGE).says("such as 90d");
    assert_eq!(bench.desk().requests, 5);
}

#[test]
fn the_counts_stay_right_and_the_number_is_never_used_again() {
    let bench = two_nights();
    let before: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    bench.run(&ALL).code(EXIT_DONE);
    let after: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    for run in 0..2 {
        assert_eq!(after["runs"][run]["counts"], before["runs"][run]["counts"]);
        assert_eq!(after["runs"][run]["state"], "pruned");
        assert!(after["runs"][run]["pruned_at"].is_string());
    }
    let status = bench.run(&["status", "1"]).code(EXIT_DONE);
    assert!(status.stdout.contains("its rows were pruned on 20"), "{}", status.stdout);
    bench.rows([9]);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.summary(3)["run"], 3);
}

#[test]
fn the_rows_of_a_pruned_run_are_asked_for_in_vain_with_a_way_on() {
    let bench = two_nights();
    let failures = bench.read("deskload-reports/run-1/failures.csv");
    bench.run(&ALL).code(EXIT_DONE);
    for args in [&["report", "1"][..], &["retry", "1"], &["resume", "1"]] {
        bench.run(args).code(EXIT_USAGE).says("the rows of run 1 were pruned on 20").says("run FILE --again");
    }
    bench.run(&["retry"]).code(EXIT_USAGE).says("no run has failed rows");
    assert_eq!(bench.read("deskload-reports/run-1/failures.csv"), failures, "what was written stays");
    assert_eq!(bench.desk().requests, 5);
}

#[test]
fn the_file_of_a_pruned_night_is_known_again() {
    let bench = refusing();
    bench.file("a.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    let (failures, summary) = (bench.read("deskload-reports/run-1/failures.csv"), bench.summary(1));
    bench.run(&ALL).code(EXIT_DONE);
    let again = bench.run(&["run", "a.csv"]).code(EXIT_ATTENTION);
    again.says("nothing left to send").says("1 failed").says("--again sends the whole file anew");
    assert_eq!((bench.read("deskload-reports/run-1/failures.csv"), bench.summary(1)), (failures, summary));
    assert_eq!(bench.desk().requests, 2);
    // Nights A, B, A: the desk has changed since, so it is a new run.
    bench.file("b.csv", "ticket_id,staff\n1,B\n");
    bench.run(&["run", "b.csv"]).code(EXIT_DONE);
    bench.run(&ALL).code(EXIT_DONE);
    bench.run(&["run", "a.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [2, 0, 0, 0, 0, 0]);
}

#[test]
fn a_failures_file_of_a_pruned_night_never_overwrites_newer_data() {
    let bench = two_nights();
    bench.file("back.csv", bench.read("deskload-reports/run-1/failures.csv").replace("2,A", "2,C"));
    bench.run(&ALL).code(EXIT_DONE);
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [0, 0, 0, 0, 1, 0]);
    assert_eq!(applied(&bench, 2), [r#"{"staff":"B"}"#]);
}

#[test]
fn an_older_run_that_goes_on_after_a_prune_never_overwrites_newer_data() {
    let bench = Bench::scripted([closing_time(2)]);
    bench.file("old.csv", "ticket_id,staff\n1,A\n2,A\n3,A\n");
    bench.run(&one_at_a_time("old.csv", &[])).code(EXIT_EARLY);
    for owner in ["B", "C"] {
        bench.file("new.csv", format!("ticket_id,staff\n2,{owner}\n"));
        bench.run(&["run", "new.csv"]).code(EXIT_DONE);
    }
    bench.run(&ALL).code(EXIT_DONE).says("pruned 2 runs, 1 row").says("kept 1 unfinished");
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [2, 0, 0, 0, 1, 0]);
    assert_eq!(applied(&bench, 2), [r#"{"staff":"B"}"#, r#"{"staff":"C"}"#]);
}

#[test]
fn a_row_that_a_person_said_to_leave_is_left_after_a_prune() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]);
    bench.file("rows.csv", "ticket_id,staff\n1,A\n2,A\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("back.csv", bench.read("deskload-reports/run-1/in-doubt.csv"));
    bench
        .run(&ALL)
        .code(EXIT_DONE)
        .says("pruned 0 runs")
        .says("kept 1 with rows in doubt (deskload resolve)");
    bench.run(&["resolve", "1", "--skip"]).code(EXIT_DONE);
    bench.run(&ALL).code(EXIT_DONE).says("pruned 1 run, 0 rows");
    bench.run(&["run", "back.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 1, 0]);
    assert_eq!(bench.desk().requests, 2);
}

#[test]
fn an_account_at_work_is_left_alone_and_the_others_are_pruned() {
    let bench = Bench::scripted([Fate::new(When::Ticket(7), Reply::silence())]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv", "--account-email", "two@example.com"]).code(EXIT_DONE);
    bench.file("more.csv", "ticket_id,subject\n7,x\n");
    let mut at_work = bench.start(&["run", "more.csv", "--timeout", "10m"]);
    bench.await_requests(&mut at_work, 7);
    bench.run(&ALL).code(EXIT_OVERLAP).says("pruned 1 run, 0 rows").says("another deskload (process ");
    let runs: Value = serde_json::from_str(&bench.run(&["runs", "--json"]).stdout).unwrap();
    let state = |run: usize| runs["runs"][run]["state"].as_str().unwrap().to_owned();
    assert_eq!([state(0), state(1), state(2)], ["finished", "pruned", "at_work"]);
    let said = bench.run(&[&ALL[..], &["--json"]].concat()).code(EXIT_OVERLAP);
    let events: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!([&events[0]["event"], &events[1]["event"]], ["prune", "error"], "{}", said.stdout);
    bench.run(&[&ALL[..], &["--dry-run"]].concat()).code(EXIT_DONE).says("would prune 1 run");
}

#[test]
fn space_is_given_back_and_the_journal_stays_private() {
    let bench = Bench::new();
    let nights = |owner: &str| -> String {
        let rows = (1..=4_000).map(|ticket| format!("{ticket},{owner}\n"));
        std::iter::once("ticket_id,staff\n".to_owned()).chain(rows).collect()
    };
    for night in ["one", "two", "three", "four"] {
        bench.file("night.csv", nights(night));
        bench.run(&["run", "night.csv", "--concurrency", "64"]).code(EXIT_DONE);
    }
    let size = || fs::metadata(bench.journal()).unwrap().len();
    let before = size();
    let said = bench.run(&[&ALL[..], &["--json"]].concat()).code(EXIT_DONE);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&told["rows"], &told["runs"]), (&12_000.into(), &serde_json::json!([1, 2, 3, 4])));
    assert!(size() < before / 2, "{before} bytes, then {}", size());
    assert_eq!(told["bytes_given_back"], before - size());
    for path in bench.files() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o077;
        let is_ours =
            path.starts_with(bench.path("deskload")) || path.starts_with(bench.path("deskload-reports"));
        assert!(mode == 0 || !is_ours, "{}", path.display());
    }
    bench.file("night.csv", nights("five"));
    bench.run(&["run", "night.csv"]).code(EXIT_DONE);
}
