//! What kills and accidents leave behind is swept up, or brought back.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_MACHINE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, closing_time, one_at_a_time};

const SPOOLS: &str = "deskload/journal.sqlite3.spool";

/// A file that was last written so long ago.
fn aged(bench: &Bench, name: &str, age: Duration) -> File {
    bench.file(name, "personal data");
    let file = File::open(bench.path(name)).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
    file
}

fn names(bench: &Bench, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(bench.path(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn spools_that_no_run_needs_are_swept_up_by_the_next_start() {
    let bench = Bench::scripted([closing_time(2)]);
    bench.rows(1..=3);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    assert_eq!(names(&bench, SPOOLS), ["run-1.spool"]);
    let old = Duration::from_secs(3600);
    for name in ["run-2.spool", "run-1.spool.cut1", ".spool-old", ".spool-new", ".spool-held"] {
        aged(&bench, &format!("{SPOOLS}/{name}"), if name == ".spool-new" { Duration::ZERO } else { old });
    }
    let held = File::open(bench.path(&format!("{SPOOLS}/.spool-held"))).unwrap();
    held.lock().unwrap();
    bench.run(&["run", "rows.csv", "--account-email", "two@example.com"]).code(EXIT_DONE);
    assert_eq!(names(&bench, SPOOLS), [".spool-held", ".spool-new", "run-1.spool"], "used, or perhaps so");
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (6, 3));
}

#[test]
fn half_written_reports_are_swept_up_by_the_next_one() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(404))]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    aged(&bench, "deskload-reports/run-1/.tmpOLD", Duration::from_secs(2 * 3600));
    aged(&bench, "deskload-reports/run-1/.tmpNEW", Duration::from_secs(60));
    bench.run(&["report"]).code(EXIT_DONE);
    let left = names(&bench, "deskload-reports/run-1");
    assert_eq!(left, [".journal", ".tmpNEW", "failures.csv", "report.html", "summary.json"]);
}

#[test]
fn the_original_file_brings_back_a_spool_that_is_gone() {
    let bench = Bench::scripted([closing_time(3)]);
    bench.rows(1..=6);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    fs::remove_file(bench.path(SPOOLS).join("run-1.spool")).unwrap();
    bench.run(&["resume"]).code(EXIT_MACHINE).says("is gone").says("deskload run FILE");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [6, 0, 0, 0, 0, 0]);
    let judge = bench.judge();
    assert_eq!((judge.applied, judge.applied_twice, judge.requests), (6, 0, 7));
}
