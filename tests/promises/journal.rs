//! The journal's file, when it is not what it should be: refused with the reason, and left as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use deskload::error::{EXIT_DONE, EXIT_EARLY, EXIT_MACHINE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};
use rusqlite::Connection;

use crate::support::{Bench, Strace, files};

/// SQLite's own unit.
const PAGE: usize = 4096;

#[test]
fn f22_journal_is_noise() {
    let bench = Bench::new();
    bench.rows(1..=3);
    let noise = "this is no database, ".repeat(100);
    bench.file("noise", &noise);
    bench.run(&["run", "rows.csv", "--journal", "noise"]).code(EXIT_MACHINE).says("left as it is");
    assert_eq!(bench.read("noise"), noise);
    assert_eq!(bench.desk().requests, 0);
}

#[test]
fn f22_journal_corrupt() {
    let bench = Bench::scripted([Fate::new(When::Request(2), Reply::status(500))]);
    bench.rows(1..=60);
    let limits = ["--rate", "1000/s", "--rate-per-ticket", "1000/s", "--limit", "30"];
    let run = [&["run", "rows.csv", "--concurrency", "1"], &limits[..]].concat();
    bench.run(&run).code(EXIT_EARLY);
    let account = files(&bench.path("deskload/accounts")).remove(0);
    let (good, record) = (fs::read(bench.journal()).unwrap(), fs::read(&account).unwrap());
    let mut requests = bench.desk().requests;
    // What is said of a row, and the samples by the minute: nobody needs them before there is an outcome to tell of.
    let needed_late: Vec<usize> = {
        let journal = Connection::open(bench.journal()).unwrap();
        let sql = "SELECT rootpage - 1 FROM sqlite_master WHERE name IN ('detail', 'minute')";
        let mut pages = journal.prepare(sql).unwrap();
        pages.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let pages = good.len() / PAGE;
    assert!(pages >= 10);
    for page in 0..pages {
        let mut noise = good.clone();
        noise[page * PAGE..][..PAGE].fill(0xA5);
        for (what, bad) in [("noise", &noise[..]), ("nothing", &good[..page * PAGE])] {
            for ending in ["-wal", "-shm"] {
                let _ = fs::remove_file(format!("{}{ending}", bench.journal().display()));
            }
            fs::write(bench.journal(), bad).unwrap();
            fs::write(&account, &record).unwrap();
            let refused = bench.run(&run).code(EXIT_MACHINE);
            if bad.is_empty() {
                // As good as deleted.
                refused.says("--accept-journal");
                continue;
            }
            refused.says("left as it is");
            assert!(fs::read(bench.journal()).unwrap() == bad, "page {page}, {what}: it was changed");
            let now = bench.desk().requests;
            assert!(
                now == requests || needed_late.contains(&page),
                "page {page}, {what}: something was sent"
            );
            requests = now;
        }
    }
}

#[test]
fn f25_journal_of_a_newer_version() {
    let bench = Bench::new();
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let journal = Connection::open(bench.journal()).unwrap();
    journal.pragma_update(None, "user_version", 99).unwrap();
    journal.close().unwrap();
    let before = fs::read(bench.journal()).unwrap();
    bench.file("rows.csv", "ticket_id,subject\n9,new\n");
    for command in
        [&["run", "rows.csv"][..], &["resume", "1"], &["resolve", "1", "--skip"], &["status"], &["report"]]
    {
        bench.run(command).code(EXIT_MACHINE).says("of a newer deskload (schema 99").says("use that version");
    }
    assert!(fs::read(bench.journal()).unwrap() == before, "it is left as it is");
    assert_eq!(bench.desk().requests, 3);
}

#[test]
fn f63_journal_is_a_symlink() {
    let bench = Bench::new();
    bench.rows(1..=3);
    symlink(bench.path("elsewhere"), bench.path("link")).unwrap();
    bench.run(&["run", "rows.csv", "--journal", "link"]).code(EXIT_MACHINE).says("symbolic link");
    assert!(!bench.path("elsewhere").exists());
    // Nor if it leads to a journal.
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    symlink(bench.journal(), bench.path("other")).unwrap();
    for command in [&["run", "rows.csv"][..], &["status"], &["report"], &["resolve", "--applied"]] {
        bench.run(&[command, &["--journal", "other"]].concat()).code(EXIT_MACHINE).says("symbolic link");
    }
    assert_eq!(bench.desk().requests, 3);
}

/// None can be mounted without rights or a server, so strace puts the number of one into what the kernel gives.
#[test]
fn f63_journal_on_a_network_file_system() {
    let Some(strace) = Strace::find() else { return };
    let bench = Bench::new();
    fs::create_dir(bench.path("elsewhere")).unwrap();
    // The number in its order in memory; only on a folder, where one is given; which warnings must come.
    let rounds: [(&str, Option<&Path>, &[&str]); 3] = [
        (
            "69690000",
            None,
            &["the journal is in elsewhere, on a network file system (NFS)", "the account's lock is in"],
        ),
        ("424d53fe", Some(&bench.path("deskload")), &["deskload, on a network file system (SMB)"]),
        ("53ef0000", None, &[]),
    ];
    for (number, on, warnings) in rounds {
        bench.file("rows.csv", format!("ticket_id,subject\n7,{number}\n"));
        let fault = format!("statfs:poke_exit=@arg2={number}");
        let traced = strace.run(&bench, &fault, on, &["run", "rows.csv", "--journal", "elsewhere/journal"]);
        assert!(traced.calls.iter().any(|call| call.contains("(INJECTED")), "{:?}", traced.calls);
        // It is a warning: the run goes on to its end.
        let text = traced.output.code(EXIT_DONE).stderr;
        assert_eq!(text.matches("on a network file system").count(), warnings.len(), "{text}");
        assert!(warnings.iter().all(|warning| text.contains(warning)), "{text}");
    }
    assert_eq!(bench.desk().requests, 3);
}

#[test]
fn what_is_no_journal_keeps_its_mode() {
    let bench = Bench::new();
    bench.rows(1..=3);
    fs::create_dir(bench.path("folder")).unwrap();
    bench.file("noise", "this is no database, ".repeat(100));
    for (name, mode, code) in [("folder", 0o755, EXIT_USAGE), ("noise", 0o644, EXIT_MACHINE)] {
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
        bench.run(&["run", "rows.csv", "--journal", name]).code(code).says("--journal");
        bench.run(&["status", "--journal", name]).code(code).says("--journal");
        assert_eq!(fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
    }
    assert_eq!(bench.desk().requests, 0);
}
