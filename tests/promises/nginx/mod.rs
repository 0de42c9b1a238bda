//! A real peer: nginx between the program and the desk, with TLS, limits, short keep-alive, reloads and time-outs.
//!
//! Judged by two logs that the program has no part in: nginx's access log and the desk's own. What nginx sent on
//! must be what the desk saw, no row may be in either twice unless nginx refused it (429), and each row in
//! doubt must have its cause in the access log. Without nginx and openssl these say that they were not run.

mod front;

use std::collections::BTreeMap;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_TOO_MANY_FAILURES};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::{Bench, Output, Started};
use front::{Access, Front, Lines};

/// As many tries as a small machine needs: some rows are refused over and over while others go through.
const PATIENT: [&str; 4] = ["--retries", "50", "--concurrency", "16"];

/// A bench whose desk is behind nginx.
struct Behind {
    bench: Bench,
    front: Front,
}

impl Behind {
    /// `None` where nginx or openssl is missing, which has been said.
    fn new(bench: Bench, lines: Lines) -> Option<Self> {
        let front = Front::start(&bench, lines)?;
        Some(Self { bench: bench.set("DESKLOAD_URL", &front.url()), front })
    }

    fn start(&self, more: &[&str]) -> Started {
        let authority = self.front.authority();
        let args = [&["run", "rows.csv", "--ca-file", &authority][..], more].concat();
        self.bench.start(&args)
    }

    fn run(&self, more: &[&str]) -> Output {
        self.start(more).finish()
    }
}

/// The rows of a result file: number, reason, HTTP status.
fn told(bench: &Bench, file: &str) -> BTreeMap<u64, (String, String)> {
    let path = bench.path(&format!("deskload-reports/run-1/{file}"));
    let Ok(mut file) = ::csv::Reader::from_path(path) else { return BTreeMap::new() };
    let header = file.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns = ["_deskload_row", "_deskload_reason", "_deskload_http_status"].map(at);
    let row = |record: ::csv::StringRecord| {
        let [row, reason, status] = columns.map(|column| record[column].to_owned());
        (row.parse().unwrap(), (reason, status))
    };
    file.records().map(|record| row(record.unwrap())).collect()
}

/// The rows that took effect at the desk, by number, with how often each did.
fn applied(bench: &Bench) -> BTreeMap<u64, u32> {
    let mut rows = BTreeMap::new();
    for seen in bench.seen().iter().filter(|seen| seen.applied) {
        *rows.entry(number(&seen.subject)).or_default() += 1;
    }
    rows
}

fn number(subject: &str) -> u64 {
    subject.strip_prefix("row ").unwrap().parse().unwrap()
}

/// The rows of each ticket took effect in file order.
fn assert_order(bench: &Bench) {
    let mut last = BTreeMap::new();
    for seen in bench.seen().iter().filter(|seen| seen.applied) {
        let row = number(&seen.subject);
        let before = last.insert(seen.ticket, row).unwrap_or(0);
        assert!(before < row, "ticket {}: row {row} after row {before}", seen.ticket);
    }
}

/// Both logs, and what the program says of the only run: every request and every row is accounted for.
fn assert_accounts(bench: &Bench, access: &[Access]) {
    assert_accounts_but_for(0, bench, access);
}

/// The same, where nginx was stopped at once: so many answers may have left it whose line it did not write any more.
fn assert_accounts_but_for(cut_off: u64, bench: &Bench, access: &[Access]) {
    let of_row = |row: u64| {
        let entries: Vec<&Access> =
            access.iter().filter(|entry| entry.row == row.to_string() && entry.status != 429).collect();
        assert!(entries.len() <= 1, "row {row} went twice: {entries:?}");
        entries.first().copied()
    };
    let count = |status: u16| access.iter().filter(|entry| entry.status == status).count() as u64;
    let [applied_rows, failed, _, in_doubt, ..] = bench.counts(1);
    let summary = bench.summary(1);
    let unlogged = applied_rows - count(200);
    assert!(unlogged <= cut_off, "{unlogged} answers are not in the access log");
    assert_eq!(count(429), summary["throttled"]);

    let mut unseen = 0;
    let doubts = told(bench, "in-doubt.csv");
    assert_eq!(doubts.len() as u64, in_doubt);
    for (row, (reason, status)) in &doubts {
        match (reason.as_str(), of_row(*row)) {
            ("server error", Some(entry)) if entry.status >= 500 => {
                assert_eq!(*status, entry.status.to_string(), "row {row}");
            }
            // Its connection ended under it: nginx closed it as idle, or was stopped at once.
            ("connection lost", None) => unseen += 1,
            ("connection lost" | "timeout", Some(entry)) => assert_eq!(entry.status, 499, "row {row}"),
            other => panic!("row {row} is in doubt without a cause in the access log: {other:?}"),
        }
    }
    let refused = told(bench, "failures.csv");
    assert_eq!(refused.len() as u64, failed);
    assert!(refused.values().all(|(reason, status)| reason == "rejected" && status == "413"), "{refused:?}");
    assert_eq!(count(413), failed);

    assert_eq!(summary["attempts"], access.len() as u64 + unseen + unlogged, "each attempt is one request");
    let mut beside = 0;
    for (row, times) in applied(bench) {
        assert_eq!(times, 1, "row {row} took effect {times} times");
        // What is under way when nginx is stopped at once never gets into its log.
        beside += u64::from(of_row(row).is_none() && !doubts.contains_key(&row));
    }
    assert_eq!(beside, unlogged, "the others passed nginx");
    // A desk that is stopped may be asked and not have heard: what it heard is never more than it was asked.
    let answered = access.iter().filter(|entry| entry.upstream == "200").count() as u64;
    let asked = access.iter().filter(|entry| !entry.upstream.is_empty()).count() as u64;
    let heard = bench.seen().len() as u64;
    assert!(
        answered <= heard && heard <= asked + unseen + unlogged,
        "{answered} answered, {heard} heard, {asked} asked"
    );
    assert_eq!(bench.judge().applied_twice, 0);
}

/// Five thousand rows on fewer tickets; three are larger than nginx lets through.
fn many_rows() -> String {
    let large = "x".repeat(20_000);
    let row = |row: u64| {
        let ticket = 1_000 + if row.is_multiple_of(5) { row / 2 } else { row };
        let description = if row % 2_000 == 1_001 || row == 4_999 { large.as_str() } else { "" };
        format!("{ticket},row {row},{description}\n")
    };
    std::iter::once("ticket_id,subject,description\n".to_owned()).chain((1..=5_000).map(row)).collect()
}

/// Row numbers as `--rows` takes them.
fn list(rows: &[u64]) -> String {
    rows.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn five_thousand_rows_go_through_nginx_once_each_whatever_happens_there() {
    let silent = |request| Fate::new(When::Request(request), Reply::silence());
    let fates = vec![
        silent(300),
        silent(700).applied(),
        Fate::new(When::Request(900), Reply::reset()).applied(),
        Fate::new(When::Request(1_300), Reply::half_head()).applied(),
    ];
    let limit = Lines {
        http: "limit_req_zone $binary_remote_addr zone=account:64k rate=500r/s; limit_req_status 429;
               split_clients $request_id $wait { 50% 1; * \"\"; }",
        location: "limit_req zone=account burst=500 nodelay; add_header Retry-After $wait always;",
    };
    let Some(mut behind) = Behind::new(Bench::scripted(fates), limit) else { return };
    behind.bench.file("rows.csv", many_rows());
    let command = [&PATIENT[..], &["--max-failures", "60"]].concat();

    // The desk goes away behind nginx, which answers 502 for it, until those are too many.
    let mut first = behind.start(&command);
    behind.bench.await_requests(&mut first, 1_000);
    behind.front.reload();
    behind.bench.await_requests(&mut first, 2_000);
    behind.bench.close_desk();
    first.finish().code(EXIT_TOO_MANY_FAILURES);

    behind.bench.open_desk();
    let mut second = behind.start(&command);
    for requests in [500, 1_500] {
        behind.bench.await_requests(&mut second, requests);
        behind.front.reload();
    }
    second.finish().code(EXIT_ATTENTION);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert_order(&behind.bench);
    let [_, failed, invalid, in_doubt, skipped, _] = behind.bench.counts(1);
    assert_eq!((failed, invalid, skipped), (3, 0, 0));
    let of_nginx =
        told(&behind.bench, "in-doubt.csv").values().filter(|told| told.0 == "server error").count();
    // The 60 that were allowed, those that were on their way then, and the fates that came before.
    assert!((50..=60 + 2 * 16 + 4).contains(&of_nginx), "{of_nginx} of {in_doubt}");

    // A person reads the desk's log and says how the rows in doubt stand; then every row is there, once.
    let there = applied(&behind.bench);
    let (have, lack): (Vec<u64>, Vec<u64>) =
        told(&behind.bench, "in-doubt.csv").keys().partition(|row| there.contains_key(row));
    assert!(have.len() >= 3 && !lack.is_empty(), "{have:?}, {lack:?}");
    for (word, rows) in [("--applied", have), ("--resend", lack)] {
        behind.bench.run(&["resolve", "1", word, "--rows", &list(&rows)]).code(EXIT_DONE);
    }
    behind.front.open();
    behind.run(&command).code(EXIT_ATTENTION);
    let there = applied(&behind.bench);
    assert!(there.values().all(|times| *times == 1));
    assert_eq!(there.len(), 4_997);
    assert_order(&behind.bench);
    assert_eq!(behind.bench.counts(1), [4_997, 3, 0, 0, 0, 0]);
}

#[test]
fn a_429_of_nginx_with_a_retry_after_pauses_and_one_without_backs_off() {
    for waits in [true, false] {
        let location = if waits {
            "limit_req zone=account burst=10 nodelay; add_header Retry-After 1 always; keepalive_timeout 1m;"
        } else {
            "limit_req zone=account burst=10 nodelay; keepalive_timeout 1m;"
        };
        let http = "limit_req_zone $binary_remote_addr zone=account:64k rate=20r/s; limit_req_status 429;";
        let lines = Lines { http, location };
        let Some(mut behind) = Behind::new(Bench::new(), lines) else { return };
        behind.bench.rows(1..=40);
        behind.run(&["--concurrency", "1"]).code(EXIT_DONE);
        let access = behind.front.finish();
        assert_accounts(&behind.bench, &access);
        assert_eq!(behind.bench.counts(1), [40, 0, 0, 0, 0, 0]);
        let refused: Vec<usize> = (0..access.len()).filter(|at| access[*at].status == 429).collect();
        assert!(!refused.is_empty(), "the limit was met");
        if waits {
            // nginx counts in milliseconds.
            let early = refused.iter().find(|at| access[**at + 1].at - access[**at].at < 0.999);
            assert_eq!(early, None, "a second is kept: {access:?}");
        }
    }
}

#[test]
fn a_504_and_a_502_of_nginx_are_doubt_whether_or_not_the_desk_has_applied_it() {
    let fates = [
        Fate::new(When::Ticket(2), Reply::silence()),
        Fate::new(When::Ticket(3), Reply::silence()).applied(),
        Fate::new(When::Ticket(4), Reply::close()),
        Fate::new(When::Ticket(5), Reply::close()).applied(),
    ];
    let Some(mut behind) = Behind::new(Bench::scripted(fates), Lines::default()) else { return };
    behind.bench.rows([1, 2, 3, 4, 5, 2, 4, 6]);
    behind.run(&["--max-failures", "100%"]).code(EXIT_ATTENTION);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert_eq!(behind.bench.counts(1), [2, 0, 0, 4, 0, 2], "later rows of their tickets wait");
    let statuses: Vec<String> =
        told(&behind.bench, "in-doubt.csv").into_values().map(|told| told.1).collect();
    assert_eq!(statuses, ["504", "504", "502", "502"]);
}

#[test]
fn a_desk_that_is_down_behind_nginx_is_doubt_although_nothing_arrived() {
    let Some(mut behind) = Behind::new(Bench::new(), Lines::default()) else { return };
    behind.bench.rows(1..=10);
    behind.bench.close_desk();
    behind.run(&["--max-failures", "4", "--concurrency", "1"]).code(EXIT_TOO_MANY_FAILURES);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert_eq!(behind.bench.counts(1), [0, 0, 0, 5, 0, 5], "a 502 does not say whether the desk was asked");
    assert!(behind.bench.seen().is_empty());
}

#[test]
fn a_time_out_of_ours_is_doubt_and_a_499_at_nginx() {
    let fate = Fate::new(When::Ticket(2), Reply::silence()).applied();
    let Some(mut behind) = Behind::new(
        Bench::scripted([fate]),
        Lines { location: "proxy_read_timeout 1h;", ..Lines::default() },
    ) else {
        return;
    };
    behind.bench.rows(1..=4);
    behind.run(&["--timeout", "500ms", "--connect-timeout", "400ms"]).code(EXIT_ATTENTION);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert_eq!(behind.bench.counts(1), [3, 0, 0, 1, 0, 0]);
    assert_eq!(told(&behind.bench, "in-doubt.csv")[&2].0, "timeout");
}

#[test]
fn at_the_usual_pace_no_request_leaves_on_a_connection_that_nginx_is_about_to_close() {
    let Some(mut behind) = Behind::new(Bench::new(), Lines::default()) else { return };
    behind.bench.rows(1..=5);
    // nginx closes after a second without a request, and the next one leaves after a second.
    behind.run(&["--rate", "1/s", "--concurrency", "1"]).code(EXIT_DONE);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert!(access.iter().all(|entry| entry.on_connection == 1), "{access:?}");
}

#[test]
fn connections_that_nginx_closes_after_some_requests_cost_nothing() {
    let Some(mut behind) = Behind::new(Bench::new(), Lines::default()) else { return };
    behind.bench.rows(1..=300);
    behind.run(&["--concurrency", "2"]).code(EXIT_DONE);
    let access = behind.front.finish();
    assert_accounts(&behind.bench, &access);
    assert_eq!(behind.bench.counts(1), [300, 0, 0, 0, 0, 0]);
    assert_eq!(access.iter().map(|entry| entry.on_connection).max(), Some(25), "they were used to their end");
}

#[test]
fn nginx_stopped_and_started_again_loses_and_repeats_nothing() {
    let Some(mut behind) = Behind::new(Bench::new(), Lines::default()) else { return };
    behind.bench.rows(1..=2_000);
    let mut program = behind.start(&["--concurrency", "8", "--max-failures", "100%", "-vv"]);
    behind.bench.await_requests(&mut program, 300);
    behind.front.stop();
    program.await_stderr("verdict=\"not sent\"");
    behind.front.open();
    let ended = program.finish();
    let access = behind.front.finish();
    assert_accounts_but_for(8, &behind.bench, &access);
    let [applied, 0, 0, in_doubt, 0, 0] = behind.bench.counts(1) else { panic!("{ended:?}") };
    assert_eq!(applied + in_doubt, 2_000, "what could not be sent was sent later");
    assert!(in_doubt <= 8, "those that were under way: {in_doubt}");
    ended.code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
}
