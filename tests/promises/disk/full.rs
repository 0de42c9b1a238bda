//! Real limits: a disk of a few megabytes that fills up, a file size limit, a disk that is mounted read-only.

use std::fs;
use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_MACHINE};
use deskload::sandbox::options::Latency;
use deskload::sandbox::{Fate, Options, Reply, When};
use rustix::process::Resource;

use super::{RUN, goes_on, nothing_twice};
use crate::support::disk::SmallDisk;
use crate::support::ledger::{SENDING, number, rows_in};
use crate::support::{Bench, until};

const MEBIBYTE: u64 = 1 << 20;

/// A bench whose folder is a disk of its own, and the disk.
fn on_a_small_disk(shape: impl FnOnce(&mut Options)) -> Option<(Bench, SmallDisk)> {
    let mut bench = Bench::with(shape);
    // A run wants 32 MiB to begin with.
    let disk = SmallDisk::mount(&bench.beside("disk"), 40 * MEBIBYTE)?;
    bench.move_to_disk(&disk);
    Some((bench, disk))
}

/// A desk that takes so long that the disk can be filled while a request is on its way.
fn slow(options: &mut Options) {
    let wait = Duration::from_millis(400);
    options.latency = Latency { min: wait, max: wait };
}

#[test]
fn f16_disk_full_on_an_intent() {
    // The desk asks for a pause: its end is when an intent is written, and nothing else.
    let pause = Reply::status(429).header("retry-after", "2");
    let busy = Fate::new(When::Request(4), pause);
    let Some((bench, disk)) = on_a_small_disk(|options| options.fates = vec![busy]) else { return };
    bench.rows(1..=10);
    let mut program = bench.start(&RUN);
    until("the pause to be noted", || {
        bench.desk().requests == 4 && number(&bench.journal(), "throttled") == 1 || program.has_ended()
    });
    disk.fill();
    program.finish().code(EXIT_MACHINE).says("the disk is full; make room");
    assert_eq!(bench.desk().requests, 4, "without an intent nothing is sent");
    assert_eq!(rows_in(&bench.journal(), SENDING), [0; 0]);
    bench.run(&RUN).code(EXIT_MACHINE).says("the disk is full; make room");
    disk.make_room();
    bench.run(&RUN).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [10, 0, 0, 0, 0, 0], "no row is in doubt");
    assert_eq!(bench.desk().requests, 11);
    nothing_twice(&bench);
}

#[test]
fn f16_disk_full_before_the_first_row() {
    let Some((bench, disk)) = on_a_small_disk(|_| {}) else { return };
    bench.rows(1..=10);
    disk.fill();
    bench.run(&RUN).code(EXIT_MACHINE);
    assert_eq!(bench.desk().requests, 0);
    disk.make_room();
    assert_eq!(goes_on(&bench, 10), 0);
}

#[test]
fn f17_disk_full_on_an_outcome() {
    let Some((bench, disk)) = on_a_small_disk(slow) else { return };
    bench.rows(1..=8);
    let mut program = bench.start(&RUN);
    bench.await_requests(&mut program, 3);
    disk.fill();
    program.finish().code(EXIT_MACHINE).says("the disk is full; make room");
    let seen = bench.desk().requests;
    assert!(rows_in(&bench.journal(), SENDING).contains(&seen), "the last one was answered for nothing");
    bench.run(&RUN).code(EXIT_MACHINE).says("the disk is full; make room");
    assert_eq!(bench.desk().requests, seen, "nothing is sent meanwhile");
    disk.make_room();
    assert!(goes_on(&bench, 8) >= 1);
    nothing_twice(&bench);
}

#[test]
fn f17_disk_full_on_a_report() {
    let mut bench = Bench::with(|options| {
        slow(options);
        options.fates = vec![Fate::new(When::Ticket(2), Reply::status(404))];
    });
    let Some(disk) = SmallDisk::mount(&bench.beside("disk"), MEBIBYTE) else { return };
    bench.can_see(&disk);
    let (inside, folder) = (disk.mounted().join("reports"), disk.seen().join("reports"));
    let reports = ["--report-dir", inside.to_str().unwrap()];
    bench.rows(1..=3);
    let mut program = bench.start(&[&RUN[..], &reports].concat());
    bench.await_requests(&mut program, 3);
    disk.fill();
    program.finish().code(EXIT_MACHINE).says("failed to write").says("no space left on device");
    assert!(!folder.join("run-1/summary.json").exists());
    bench.run(&[&["report"], &reports[..]].concat()).code(EXIT_MACHINE).says("no space left on device");
    disk.make_room();
    bench.run(&[&["report"], &reports[..]].concat()).code(EXIT_DONE);
    let failures = fs::read_to_string(folder.join("run-1/failures.csv")).unwrap();
    assert_eq!(failures.lines().count(), 2, "{failures}");
    bench.run(&[&RUN[..], &reports].concat()).code(EXIT_ATTENTION).says("nothing left to send");
    assert_eq!(bench.desk().requests, 3);
}

#[test]
fn f18_file_size_limit() {
    let bench = Bench::with(slow);
    bench.rows(1..=8);
    let mut program = bench.start(&RUN);
    bench.await_requests(&mut program, 3);
    let log = fs::metadata(bench.path("deskload/journal.sqlite3-wal")).unwrap().len();
    program.limit(Resource::Fsize, log);
    program.finish().code(EXIT_MACHINE).says("failed to write the journal");
    assert!(goes_on(&bench, 8) >= 1);
    nothing_twice(&bench);
}

#[test]
fn f18_file_size_limit_on_a_report_and_on_a_word() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500))]);
    bench.rows(1..=3);
    bench.run(&RUN).code(EXIT_ATTENTION);
    let before = bench.counts(1);
    for command in ["report", "resolve --applied"] {
        bench
            .shell(&format!("ulimit -f 0; \"$DESKLOAD\" {command}"), None)
            .code(EXIT_MACHINE)
            .says("failed to");
        bench.run(&["report"]).code(EXIT_DONE);
        assert_eq!(bench.counts(1), before);
    }
    bench.run(&["resolve", "--applied"]).code(EXIT_DONE);
    bench.run(&["report"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
}

#[test]
fn f19_file_system_is_read_only() {
    let Some((bench, mut disk)) = on_a_small_disk(|_| {}) else { return };
    bench.rows(1..=3);
    disk.remount("ro");
    bench.run(&RUN).code(EXIT_MACHINE).says("read-only file system");
    disk.remount("rw");
    assert_eq!(goes_on(&bench, 3), 0);
    bench.file("rows.csv", "ticket_id,subject\n7,a\n8,b\n");
    disk.remount("ro");
    bench.run(&RUN).code(EXIT_MACHINE);
    bench.run(&["report"]).code(EXIT_MACHINE);
    assert_eq!(bench.desk().requests, 3, "nothing was sent");
    disk.remount("rw");
    bench.run(&RUN).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [2, 0, 0, 0, 0, 0]);
    nothing_twice(&bench);
}
