//! A row's way, killed at each of its steps.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Fate, PATH, Reply, When};
use rustix::process::{Resource, Signal};

use crate::support::ledger::{self, SENDING, rows_in, states};
use crate::support::{Bench, Strace, csv, files};

#[test]
fn f01_killed_before_the_intent_commits() {
    let Some(strace) = Strace::find() else { return };
    let mut bench = Bench::new();
    let (mut not_sent, rows) = (0, 6);
    // From the first write to the write-ahead log that is not one of the main thread's, over some commits. At this
    // pace an intent is committed long after the outcome before it, and by itself.
    for write in 44..64 {
        bench.move_to(format!("write-{write}"));
        let tickets = write * 100..write * 100 + rows;
        bench.rows(tickets.clone());
        let run = ["run", "rows.csv", "--concurrency", "1", "--rate", "20/s"];
        let before = bench.desk().requests;
        let wal = bench.path("deskload/journal.sqlite3-wal");
        let fault = format!("pwrite64:signal=KILL:when={write}");
        strace.run(&bench, &fault, Some(&wal), &run).output.code_none();
        let entered = states(&bench.journal());
        let sending = rows_in(&bench.journal(), SENDING).len() as u64;
        assert!(bench.desk().requests - before <= entered.len() as u64, "write {write}: nothing goes first");
        let again = bench.run(&["run", "rows.csv"]);
        assert_eq!(bench.counts(1), [rows - sending, 0, 0, sending, 0, 0], "write {write}");
        again.code(if sending == 0 { EXIT_DONE } else { EXIT_ATTENTION });
        // Nothing was on its way, so it was an intent that did not get through: its row is not in doubt.
        not_sent += u64::from(sending == 0 && (entered.len() as u64) < rows);
    }
    assert!(not_sent >= 4, "only {not_sent} of the kills met an intent");
    assert_eq!(bench.judge().applied_twice, 0, "{:?}", bench.judge().examples);
}

/// The connection comes before the intent, so that a kill while it is being made leaves nothing on its way.
#[test]
fn f02_killed_while_connecting() {
    let Some(strace) = Strace::find() else { return };
    let bench = Bench::new();
    bench.rows(1..=3);
    let run = ["run", "rows.csv", "--concurrency", "1"];
    strace.run(&bench, "connect:signal=KILL:when=1", None, &run).output.code_none();
    assert!(rows_in(&bench.journal(), SENDING).is_empty());
    assert_eq!(bench.desk().requests, 0);
    bench.run(&run).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
}

#[test]
fn f02_killed_after_the_intent_before_the_first_byte() {
    let Some(strace) = Strace::find() else { return };
    let bench = Bench::new();
    bench.rows(1..=3);
    let run = ["run", "rows.csv", "--concurrency", "1"];
    strace.run(&bench, "writev:signal=KILL:when=1", None, &run).output.code_none();
    assert_eq!(rows_in(&bench.journal(), SENDING), [1]);
    assert_eq!(bench.desk().requests, 0);
    bench.run(&run).code(EXIT_ATTENTION).says("ended with 1 row on the way: in doubt");
    assert_eq!(bench.counts(1), [2, 0, 0, 1, 0, 0]);
    assert_eq!(bench.judge().order(1).len(), 0, "nobody can know that it never left");
}

/// A desk that takes one connection and does no more than it is told.
struct OneVisit(TcpListener);

impl OneVisit {
    fn open() -> (Self, Bench) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        (Self(listener), Bench::new().set("DESKLOAD_URL", &url))
    }

    /// The connection, and the bytes of the head with whatever came along.
    fn head(&self) -> (TcpStream, Vec<u8>) {
        let (mut visit, _) = self.0.accept().unwrap();
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            let count = visit.read(&mut buffer).unwrap();
            assert!(count > 0, "the client has left");
            bytes.extend_from_slice(&buffer[..count]);
        }
        (visit, bytes)
    }

    /// The connection, once the whole request is there.
    fn request(&self) -> TcpStream {
        let (mut visit, bytes) = self.head();
        let (length, body) = length(&bytes);
        visit.read_exact(&mut vec![0; length - body]).unwrap();
        visit
    }

    /// Nobody has connected since the last visit. A row that is sent again ends in doubt here, too, so that its outcome
    /// alone does not tell.
    #[track_caller]
    fn is_left_alone(&self) {
        self.0.set_nonblocking(true).unwrap();
        assert!(self.0.accept().is_err(), "it connects again");
    }
}

/// The length that a request announces, and how much of its body is here.
fn length(bytes: &[u8]) -> (usize, usize) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    (length.parse().unwrap(), bytes.len() - end)
}

#[test]
fn f03_killed_while_writing_the_request() {
    let (desk, bench) = OneVisit::open();
    // Each of these bytes takes six in JSON: more than any socket takes in while nobody reads.
    let long = "\u{1}".repeat(1_000_000);
    bench.file("rows.csv", format!("ticket_id,description\n1,{long}\n"));
    let program = bench.start(&["run", "rows.csv"]);
    let (mut visit, mut bytes) = desk.head();
    program.signal(Signal::KILL);
    program.finish().code_none();
    let _ = visit.read_to_end(&mut bytes);
    let (length, body) = length(&bytes);
    assert!(body < length, "it was killed too late: all {length} bytes are here");
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("ended with 1 row on the way: in doubt");
    assert_eq!(bench.counts(1), [0, 0, 0, 1, 0, 0]);
    desk.is_left_alone();
}

#[test]
fn f04_killed_while_waiting_for_the_answer() {
    let bench = Bench::scripted([Fate::new(When::Request(3), Reply::silence())]);
    bench.rows(1..=3);
    let mut program = bench.start(&["run", "rows.csv", "--concurrency", "1", "--timeout", "10m"]);
    bench.await_requests(&mut program, 3);
    program.signal(Signal::KILL);
    program.finish().code_none();
    assert!(!bench.path("deskload-reports/run-1/summary.json").exists());
    let next = bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    next.says("run-1/in-doubt.csv").says("run-1/summary.json").says("deskload resolve 1 --applied");
    // The answer before the last may have been on its way to the disk.
    let [applied, 0, 0, in_doubt, 0, 0] = bench.counts(1) else { panic!("{:?}", bench.counts(1)) };
    assert!(in_doubt >= 1 && applied + in_doubt == 3);
    assert_eq!(bench.read("deskload-reports/run-1/in-doubt.csv").lines().count() as u64, 1 + in_doubt);
    let summary = bench.summary(1);
    assert_eq!(summary["exit_code"], EXIT_ATTENTION);
    assert!(summary["finished_at"].is_string(), "{summary}");
    let spools = files(&bench.path("deskload/journal.sqlite3.spool"));
    assert_eq!(spools.len(), 1);
    assert!(!std::fs::read_to_string(&spools[0]).unwrap().contains("row 1\n"), "cut down");
    assert_eq!(bench.desk().requests, 3, "nothing was sent again");
}

#[test]
fn f05_killed_after_the_answer_before_the_outcome_commits() {
    let (desk, bench) = OneVisit::open();
    bench.rows([1]);
    let mut program = bench.start(&["run", "rows.csv", "-vv"]);
    let mut visit = desk.request();
    // Whoever holds this lock keeps the outcome from the disk.
    let lock = ledger::lock(&bench.journal());
    let body = r#"{"status":"success","ticket_id":"1"}"#;
    write!(visit, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    program.await_stderr("verdict=\"applied\"");
    program.signal(Signal::KILL);
    program.finish().code_none().says("verdict=\"applied\"");
    drop(lock);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("ended with 1 row on the way: in doubt");
    assert_eq!(bench.counts(1), [0, 0, 0, 1, 0, 0]);
    desk.is_left_alone();
}

#[test]
fn f55_killed_for_memory() {
    let (desk, bench) = OneVisit::open();
    // Large pieces come from the system each time, not from what was given back before or a thread has in reserve.
    let bench = bench.set("MALLOC_MMAP_THRESHOLD_", "65536").set("MALLOC_ARENA_MAX", "1");
    bench.file("rows.csv", csv([1, 1, 1]));
    let program = bench.start(&["run", "rows.csv", "--concurrency", "1"]);
    let mut visit = desk.request();
    // From now on it gets no more memory, and the answer is large.
    program.limit(Resource::As, 1);
    let large = " ".repeat(900_000);
    let _ = write!(visit, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}", large.len());
    program.finish().code_none();
    assert_eq!(rows_in(&bench.journal(), SENDING), [1]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("ended with 1 row on the way: in doubt");
    assert_eq!(bench.counts(1), [0, 0, 0, 1, 0, 2], "the later rows of its ticket wait");
    desk.is_left_alone();
}
