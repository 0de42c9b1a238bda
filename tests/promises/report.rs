//! What a run leaves behind: files that are valid inputs again, private, and the same whenever they are written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, closing_time, files, one_at_a_time};

const FAILURES: &str = "deskload-reports/run-1/failures.csv";
const IN_DOUBT: &str = "deskload-reports/run-1/in-doubt.csv";

fn troubled() -> Bench {
    Bench::scripted([
        Fate::new(When::Ticket(2), Reply::error(404, "=cmd() not found")),
        Fate::new(When::Ticket(3), Reply::status(500)),
    ])
}

#[test]
fn a_failures_file_is_a_valid_input_once_it_is_corrected() {
    let bench = troubled();
    bench.file(
        "rows.csv",
        "Ticket_ID;Subject;Priority\n1;\"=a;b\";high\n2;\"say \"\"x\"\"\";low\n4;c;urgent\n5;d\n",
    );
    bench.run(&["run", "rows.csv", "--delimiter", ";"]).code(EXIT_ATTENTION).says(FAILURES);
    assert_eq!(bench.counts(1), [1, 1, 2, 0, 0, 0]);
    let report = bench.read(FAILURES);
    let mut lines = report.lines();
    assert_eq!(
        lines.next().unwrap(),
        "Ticket_ID;Subject;Priority;_deskload_run;_deskload_row;_deskload_outcome;_deskload_reason;\
         _deskload_message;_deskload_http_status;_deskload_attempts"
    );
    assert_eq!(lines.next().unwrap(), "2;\"say \"\"x\"\"\";low;1;2;failed;refused;'=cmd() not found;404;1");
    assert!(lines.next().unwrap().starts_with("4;c;urgent;1;3;invalid;invalid;"), "{report}");
    assert!(lines.next().unwrap().starts_with("5;d;;1;4;invalid;invalid;"), "{report}");
    fs::write(bench.path(FAILURES), report.replace("urgent", "high").replace("5;d;;", "5;d;low;")).unwrap();
    bench.run(&["run", FAILURES, "--delimiter", ";"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [3, 0, 0, 0, 0, 0]);
    assert_eq!(bench.judge().order(2), [r#"{"subject":"say \"x\"","priority":"low"}"#.into()]);
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn jsonl_gives_jsonl_that_is_a_valid_input_too() {
    let bench = troubled();
    let rows = "{\"ticket_id\":2,\"staff\":\"a\"}\n{\"ticket_id\":3,\"staff\":\"a\"}\n{\"ticket_id\":4,\"staff\":7}\nnonsense\n";
    bench.file("rows.jsonl", rows);
    bench.run(&["run", "rows.jsonl"]).code(EXIT_ATTENTION);
    let failures = bench.read("deskload-reports/run-1/failures.jsonl");
    assert_eq!(
        failures.lines().next().unwrap(),
        concat!(
            r#"{"ticket_id":2,"staff":"a","_deskload_run":1,"_deskload_row":1,"_deskload_outcome":"failed","#,
            r#""_deskload_reason":"refused","_deskload_message":"=cmd() not found","_deskload_http_status":404,"#,
            r#""_deskload_attempts":1}"#
        )
    );
    assert!(
        bench.read("deskload-reports/run-1/in-doubt.jsonl").contains(r#""_deskload_outcome":"in_doubt""#)
    );
    let [.., invalid, _, _, _] = bench.counts(1);
    let kept: String = failures.lines().filter(|line| line.contains("\"staff\":\"a\"")).collect();
    bench.file("again.jsonl", kept);
    bench.run(&["run", "again.jsonl"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(2), [r#"{"staff":"a"}"#.into()]);
    assert!(invalid >= 1);
}

#[test]
fn report_writes_the_same_files_again() {
    let bench = troubled();
    bench.rows(1..=5);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let all =
        || [FAILURES, IN_DOUBT, "deskload-reports/run-1/summary.json"].map(|name| (name, bench.read(name)));
    let before = all();
    fs::remove_dir_all(bench.path("deskload-reports")).unwrap();
    fs::remove_file(bench.path("rows.csv")).unwrap();
    bench.run(&["report", "1"]).code(EXIT_DONE).says(FAILURES).says(IN_DOUBT).says("summary.json");
    assert_eq!(all(), before);
    bench.run(&["report", "--report-dir", "elsewhere", "-q"]).code(EXIT_DONE);
    assert_eq!(bench.read("elsewhere/run-1/failures.csv"), before[0].1);
    bench.run(&["report", "4"]).code(EXIT_USAGE).says("there is no run 4");
}

#[test]
fn files_that_have_nothing_to_tell_are_not_there() {
    let bench = troubled();
    bench.rows([3, 4]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).never_says("failures.csv");
    assert!(bench.path(IN_DOUBT).exists() && !bench.path(FAILURES).exists());
    bench.run(&["resolve", "--resend", "-q"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert!(!bench.path(IN_DOUBT).exists(), "what an earlier invocation wrote and is no longer true is gone");
}

#[test]
fn an_invocation_that_stops_early_writes_its_reports() {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(404)), closing_time(3)]);
    bench.rows(1..=5);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    assert_eq!(bench.counts(1), [1, 1, 0, 0, 0, 3]);
    assert_eq!(bench.read(FAILURES).lines().count(), 2);
}

#[test]
fn a_folder_of_another_journal_s_reports_is_refused() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let before = bench.read("deskload-reports/run-1/summary.json");
    let other = ["run", "rows.csv", "--journal", "other.sqlite3", "--account-email", "two@example.com"];
    bench.run(&other).code(EXIT_USAGE).says("another journal").says("--report-dir");
    assert_eq!(bench.desk().requests, 3, "nothing was sent");
    assert_eq!(bench.read("deskload-reports/run-1/summary.json"), before);
    bench.run(&["report", "--journal", "other.sqlite3"]).code(EXIT_USAGE).says("another journal");
    bench.run(&[&other[..], &["--report-dir", "mine"]].concat()).code(EXIT_DONE);
}

/// Every file and folder that the program made is its owner's alone.
fn all_private(bench: &Bench, folders: &[&str]) -> usize {
    let mut count = 0;
    for folder in folders {
        for path in files(&bench.path(folder))
            .iter()
            .map(std::path::PathBuf::as_path)
            .chain([Path::new(&bench.path(folder))])
        {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
            count += 1;
        }
    }
    count
}

#[test]
fn files_are_private_whatever_the_umask() {
    let bench = Bench::scripted([
        Fate::new(When::Request(1), Reply::status(404)),
        Fate::new(When::Request(2), Reply::status(500)),
        closing_time(4),
    ]);
    bench.rows(1..=5);
    let run = "umask 0; \"$DESKLOAD\" run rows.csv --concurrency 1 --max-wait 990ms";
    bench.shell(run, None).code(EXIT_EARLY);
    assert!(
        fs::read_dir(bench.path("deskload/journal.sqlite3.spool")).unwrap().count() > 0,
        "a spool is there"
    );
    all_private(&bench, &["deskload", "deskload-reports"]);
    bench.shell(run, None).code(EXIT_ATTENTION);
    assert!(all_private(&bench, &["deskload", "deskload-reports"]) >= 8);
    bench
        .shell(
            "umask 0; \"$DESKLOAD\" sandbox --log box.jsonl & sleep_pid=$!; \
        while ! [ -f box.jsonl ]; do :; done; kill $sleep_pid; wait $sleep_pid",
            None,
        )
        .code(EXIT_DONE);
    assert_eq!(fs::metadata(bench.path("box.jsonl")).unwrap().permissions().mode() & 0o077, 0);
}

#[test]
fn a_journal_that_others_could_read_is_closed_to_them() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    fs::set_permissions(bench.journal(), fs::Permissions::from_mode(0o644)).unwrap();
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(fs::metadata(bench.journal()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn rows_are_not_kept_longer_than_reports_need_them() {
    let spools = |bench: &Bench| files(&bench.path("deskload/journal.sqlite3.spool"));
    let bench = Bench::scripted([
        Fate::new(When::Ticket(2), Reply::status(404)),
        Fate::new(When::Ticket(4), Reply::status(500)),
    ]);
    bench.file("done.csv", "ticket_id,subject\n9,gone\n");
    bench.run(&["run", "done.csv"]).code(EXIT_DONE);
    assert_eq!(spools(&bench), Vec::<std::path::PathBuf>::new(), "nothing to tell: no copy");
    bench.rows(1..=5);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let left = spools(&bench);
    assert_eq!(left.len(), 1);
    assert_eq!(fs::read_to_string(&left[0]).unwrap(), "ticket_id,subject\n2,row 2\n4,row 4\n");
}
