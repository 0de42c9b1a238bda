//! A report, killed at each call that writes it.

use std::collections::BTreeMap;
use std::fs;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Fate, Reply, When};

use super::{WRITING, copy};
use crate::support::{Bench, Strace};

const FOLDER: &str = "deskload-reports/run-1";

/// The run's reports, by name; half-written files have names of their own.
fn reports(bench: &Bench) -> BTreeMap<String, String> {
    let names = ["failures.csv", "in-doubt.csv", "report.html", "summary.json"];
    let there = names.into_iter().filter(|name| bench.path(FOLDER).join(name).exists());
    there.map(|name| (name.to_owned(), bench.read(&format!("{FOLDER}/{name}")))).collect()
}

#[test]
fn f09_killed_while_a_report_is_written() {
    let Some(strace) = Strace::find() else { return };
    let failed = |ticket| Fate::new(When::Ticket(ticket), Reply::status(404));
    let doubtful = |ticket| Fate::new(When::Ticket(ticket), Reply::status(500));
    let bench = Bench::scripted([failed(1), doubtful(2), doubtful(3), doubtful(4), failed(5)]);
    bench.rows(1..=6);
    bench.run(&["run", "rows.csv", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    let old = reports(&bench);
    // Each of the files is another one from now on.
    bench.run(&["resolve", "1", "--applied", "--rows", "2-3"]).code(EXIT_DONE);
    assert_eq!(reports(&bench), old, "nobody has written them yet");
    copy(&bench.dir(), &bench.beside("before"));
    bench.run(&["report"]).code(EXIT_DONE);
    let new = reports(&bench);
    assert_eq!((old.len(), new.len()), (4, 4));
    assert!(new["in-doubt.csv"] != old["in-doubt.csv"] && new["summary.json"] != old["summary.json"]);

    let (mut kills, mut mixed) = (0, 0);
    for call in WRITING {
        for nth in 1.. {
            fs::remove_dir_all(bench.dir()).unwrap();
            copy(&bench.beside("before"), &bench.dir());
            let fault = format!("{call}:signal=KILL:when={nth}");
            let killed = strace.run(&bench, &fault, None, &["report"]).was_killed();
            let found = reports(&bench);
            for name in old.keys() {
                let found = found.get(name).unwrap_or_else(|| panic!("{fault}: {name} is gone"));
                assert!(*found == old[name] || *found == new[name], "{fault}: {name} is\n{found}");
            }
            mixed += u64::from(found != old && found != new);
            bench.run(&["report"]).code(EXIT_DONE);
            assert_eq!(reports(&bench), new, "{fault}");
            if !killed {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 30 && mixed >= 3, "{kills} kills, {mixed} of them between two files");
}
