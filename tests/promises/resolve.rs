//! A person's word settles rows in doubt, and nothing else.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::Bench;

/// Rows 1 to 7 for tickets 1, 2, 3, 4, 5, 2, 5; rows 2, 4 and 5 are in doubt, 6 and 7 wait behind them.
fn doubts() -> Bench {
    let doubt = |ticket| Fate::new(When::Ticket(ticket), Reply::status(500));
    let bench = Bench::scripted([doubt(2), doubt(4).applied(), doubt(5)]);
    bench.rows([1, 2, 3, 4, 5, 2, 5]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION).says("deskload resolve 1 --applied");
    assert_eq!(bench.counts(1), [2, 0, 0, 3, 0, 2]);
    bench
}

fn settled(bench: &Bench) -> [u64; 6] {
    bench.run(&["report", "-q"]).code(EXIT_DONE);
    bench.counts(1)
}

#[test]
fn each_word_settles_the_rows_that_it_names() {
    let bench = doubts();
    bench.run(&["resolve", "--applied", "--rows", "4"]).code(EXIT_DONE).says("1 row in doubt, now applied");
    assert_eq!(settled(&bench), [3, 0, 0, 2, 0, 2]);
    bench.run(&["resolve", "1", "--skip", "--rows", "2"]).code(EXIT_DONE).says("1 row in doubt, now skipped");
    assert_eq!(settled(&bench), [3, 0, 0, 1, 1, 2]);
    bench.run(&["resolve", "--resend"]).code(EXIT_DONE).says("now pending").says("deskload resume 1");
    assert_eq!(settled(&bench), [3, 0, 0, 0, 1, 3]);
    assert_eq!(bench.desk().requests, 5, "a word sends nothing");
    bench.run(&["resume"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [6, 0, 0, 0, 1, 0]);
    let subjects = |ticket| -> Vec<String> {
        bench.seen().into_iter().filter(|seen| seen.ticket == ticket).map(|seen| seen.subject).collect()
    };
    assert_eq!(subjects(2), ["row 2", "row 6"], "skipped: the later row goes");
    assert_eq!(subjects(4), ["row 4"], "applied: never again");
    assert_eq!(subjects(5), ["row 5", "row 5", "row 7"], "resent, and before the later row");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).says("nothing left to do");
}

#[test]
fn a_run_that_finds_every_doubt_settled_says_so_in_its_summary() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    let finished_at = bench.summary(1)["finished_at"].clone();
    bench.run(&["resolve", "--applied"]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE).says("nothing left to do");
    let summary = bench.summary(1);
    assert_eq!(summary["exit_code"], EXIT_DONE, "as the command that wrote it: {summary}");
    assert_eq!(summary["finished_at"], finished_at, "nothing was sent since");
}

#[test]
fn without_rows_it_settles_all_that_are_in_doubt() {
    let bench = doubts();
    bench.run(&["resolve", "--skip"]).code(EXIT_DONE).says("3 rows in doubt, now skipped");
    assert_eq!(settled(&bench), [2, 0, 0, 0, 3, 2]);
    assert!(!bench.path("deskload-reports/run-1/in-doubt.csv").exists());
    bench.run(&["resolve", "--skip"]).code(EXIT_USAGE).says("no run has rows in doubt");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [4, 0, 0, 0, 3, 0]);
}

#[test]
fn rows_that_are_not_in_doubt_are_refused_and_nothing_is_settled() {
    let bench = doubts();
    for (rows, odd) in [("1", 1), ("2,3", 3), ("4-6", 6), ("2,99", 99)] {
        let refused = bench.run(&["resolve", "--applied", "--rows", rows]).code(EXIT_USAGE);
        refused.says(&format!("row {odd} of run 1 is not in doubt"));
        assert_eq!(settled(&bench), [2, 0, 0, 3, 0, 2], "{rows}");
    }
    bench.run(&["resolve", "--applied", "--rows", "2,4-5"]).code(EXIT_DONE);
    assert_eq!(settled(&bench), [5, 0, 0, 0, 0, 2]);
}

#[test]
fn it_wants_one_word_and_rows_that_are_numbers() {
    let bench = doubts();
    bench.run(&["resolve"]).code(EXIT_USAGE).says("--applied");
    bench.run(&["resolve", "--applied", "--skip"]).code(EXIT_USAGE).says("cannot be used with");
    bench.run(&["resolve", "--skip", "--rows", "2-x"]).code(EXIT_USAGE).says("such as 5,9-12");
    bench.run(&["resolve", "9", "--skip"]).code(EXIT_USAGE).says("there is no run 9");
}

#[test]
fn a_word_reaches_the_rows_of_a_run_that_was_killed() {
    let bench = Bench::scripted([Fate::new(When::Request(2), Reply::silence()).applied()]);
    bench.rows(1..=3);
    let mut program = bench.start(&["run", "rows.csv", "--concurrency", "1"]);
    bench.await_requests(&mut program, 2);
    program.signal(rustix::process::Signal::KILL);
    program.finish().code_none();
    // One is on its way for sure; the answer before it, or the intent behind it, may be on its way to the disk.
    bench.run(&["resolve", "--skip"]).code(EXIT_DONE).says(" in doubt, now skipped");
    bench.run(&["resolve", "--skip"]).code(EXIT_USAGE).says("no run has rows in doubt");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let requests = bench.desk().requests;
    assert!((2..=3).contains(&requests), "the one without an answer was not sent again");
    assert_eq!(bench.judge().applied_twice, 0);
    bench.run(&["resume", "1"]).code(EXIT_DONE);
    assert_eq!(bench.desk().requests, requests);
}

/// Run 1, whose only row is in doubt, and run 2, whose second row waits for it, with one behind it.
fn twins() -> Bench {
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::status(500)).applied()]);
    bench.file("first.csv", "ticket_id,staff\n7,A\n");
    bench.file("second.csv", "ticket_id,staff\n8,Q\n7,A\n7,Z\n");
    bench.run(&["run", "first.csv"]).code(EXIT_ATTENTION);
    bench.run(&["run", "second.csv"]).code(EXIT_ATTENTION).says("2 waiting behind rows in doubt");
    bench
}

#[test]
fn a_twin_of_a_row_that_the_desk_has_is_skipped() {
    let bench = twins();
    let said = bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    said.says("1 row in doubt, now applied")
        .says("run 2: 1 row that waited for the same update, now skipped");
    bench.run(&["run", "second.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(2), [2, 0, 0, 0, 1, 0]);
    let seen: Vec<_> = bench
        .seen()
        .iter()
        .filter(|seen| seen.ticket == 7)
        .map(|seen| seen.change["staff"].clone())
        .collect();
    assert_eq!(seen, ["A", "Z"], "sent once, and what came behind it afterwards");
    assert!(
        bench
            .read("deskload-reports/run-2/report.html")
            .contains("the desk has the same update of another run")
    );
}

#[test]
fn a_twin_goes_when_nobody_says_that_the_desk_has_it() {
    for word in ["--resend", "--skip"] {
        let bench = twins();
        bench.run(&["resolve", "1", word]).code(EXIT_DONE).never_says("run 2");
        if word == "--resend" {
            bench.run(&["resume", "1"]).code(EXIT_DONE);
        }
        bench.run(&["resume", "2"]).code(EXIT_DONE);
        assert_eq!(bench.counts(2), [3, 0, 0, 0, 0, 0], "{word}");
    }
}

#[test]
fn rows_beyond_the_run_s_own_are_another_run_s_and_refused() {
    let doubt = Fate::new(When::Ticket(2), Reply::status(500)).times(Fate::FOREVER);
    let bench = Bench::scripted([doubt]);
    bench.rows([1, 2, 3]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    bench.file("other.csv", "ticket_id,subject\n2,other\n5,other\n");
    bench.run(&["run", "other.csv", "--account-email", "two@example.com"]).code(EXIT_ATTENTION);
    for rows in ["4", "2,4", "4-18446744073709551615"] {
        let refused = bench.run(&["resolve", "1", "--applied", "--rows", rows]).code(EXIT_USAGE);
        refused.says("row 4 of run 1 is not in doubt");
    }
    for (run, counts) in [("1", [2, 0, 0, 1, 0, 0]), ("2", [1, 0, 0, 1, 0, 0])] {
        bench.run(&["report", run, "-q"]).code(EXIT_DONE);
        assert_eq!(bench.counts(run.parse().unwrap()), counts);
    }
}
