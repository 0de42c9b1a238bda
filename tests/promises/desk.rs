//! What the desk answers, from one end to the other: a row's outcome, its reason, and what follows for the rest.

use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_USAGE};
use deskload::sandbox::{Fate, Options, Reply, When};

use crate::support::Bench;

/// Rows for tickets 1, 2, 3, 2; ticket 2's first gets this reply.
fn reply(fate: Fate) -> Bench {
    let bench = Bench::scripted([fate]);
    bench.rows([1, 2, 3, 2]);
    bench.run(&["run", "rows.csv", "--timeout", "1s"]).code(EXIT_ATTENTION);
    bench
}

fn doubt(reply_given: &Reply, reason: &str) {
    for fate in [
        Fate::new(When::Ticket(2), reply_given.clone()),
        Fate::new(When::Ticket(2), reply_given.clone()).applied(),
    ] {
        let bench = reply(fate);
        assert_eq!(bench.counts(1), [2, 0, 0, 1, 0, 1], "{reply_given:?}");
        let told = &bench.summary(1)["reasons"][0];
        assert_eq!(
            (&told["outcome"], &told["reason"]),
            (&"in_doubt".into(), &reason.into()),
            "{reply_given:?}"
        );
        let sent = bench.seen().iter().filter(|seen| seen.ticket == 2).count();
        assert_eq!(sent, 1, "neither repeated nor overtaken: {reply_given:?}");
    }
}

fn failure(reply_given: &Reply, words: &str) {
    let bench = reply(Fate::new(When::Ticket(2), reply_given.clone()));
    assert_eq!(bench.counts(1), [3, 1, 0, 0, 0, 0], "{reply_given:?}");
    let told = &bench.summary(1)["reasons"][0];
    assert_eq!((&told["outcome"], &told["message"]), (&"failed".into(), &words.into()), "{reply_given:?}");
}

#[test]
fn a_status_that_proves_nothing_is_in_doubt() {
    for status in [408, 418, 500, 502, 503, 504] {
        doubt(&Reply::status(status), "server error");
    }
}

#[test]
fn an_answer_that_does_not_come_is_in_doubt() {
    doubt(&Reply::silence(), "timeout");
    doubt(&Reply::drip(Duration::from_millis(400)), "timeout");
}

#[test]
fn a_connection_that_breaks_is_in_doubt() {
    for reply in [Reply::close(), Reply::reset(), Reply::half_head(), Reply::half_body()] {
        doubt(&reply, "connection lost");
    }
}

#[test]
fn an_answer_that_cannot_be_believed_is_in_doubt() {
    let twice = r#"{"status":"error","status":"success","ticket_id":"00002"}"#;
    for reply in [
        Reply::html(),
        Reply::OtherTicket,
        Reply::Flood(2 << 20),
        Reply::json(200, twice),
        Reply::json(200, r#"{"status":"success"}"#),
        Reply::json(200, r#"{"status":"Success","ticket_id":"00002"}"#),
        Reply::json(200, ""),
        Reply::json(404, r#"{"status":"success","ticket_id":"00002"}"#),
    ] {
        doubt(&reply, "unreadable reply");
    }
}

#[test]
fn a_refusal_is_a_failed_row_with_the_desk_s_words() {
    for status in [400, 404, 405, 409, 410, 413, 415, 422] {
        failure(&Reply::status(status), "the desk answered #");
    }
    failure(&Reply::error(200, "Staff is not on this team"), "Staff is not on this team");
    failure(&Reply::error(404, "No such \u{1b}[31mticket\r\n"), "No such [#mticket");
    failure(&Reply::error(429 - 1, "Odd"), "Odd");
}

#[test]
fn a_success_may_be_any_2xx_and_the_number_plain() {
    let bench = Bench::scripted([
        Fate::new(When::Ticket(1), Reply::json(201, r#"{"status":"success","ticket_id":1}"#)).applied(),
        Fate::new(
            When::Ticket(2),
            Reply::json(200, r#" {"ticket_id":"0000000002","x":[1],"status":"success"} "#),
        )
        .applied(),
    ]);
    bench.rows(1..=2);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
}

#[test]
fn a_redirect_is_never_followed() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let elsewhere =
        deskload::sandbox::spawn(Options { log: Some(log.path().to_owned()), ..Options::default() }).unwrap();
    for status in [301, 302, 307, 308] {
        let away = Reply::status(status).header("location", elsewhere.url());
        let bench = Bench::scripted([Fate::new(When::Request(1), away)]);
        bench.rows(1..=5);
        bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_USAGE).says("redirect").says("--url");
        assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 5]);
        assert_eq!((bench.desk().requests, elsewhere.counts().requests), (1, 0));
        bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    }
}

#[test]
fn one_redirect_among_successes_is_that_row_s_own() {
    let bench =
        Bench::scripted([Fate::new(When::Request(10), Reply::status(302).header("location", "/login"))]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [19, 1, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["reasons"][0]["reason"], "redirected");
}

#[test]
fn the_same_update_in_another_file_waits_with_the_one_in_doubt() {
    let bench = Bench::scripted([Fate::new(When::Ticket(2), Reply::status(500)).applied()]);
    bench.rows([1, 2]);
    bench.run(&["run", "rows.csv"]).code(EXIT_ATTENTION);
    // The in-doubt file itself, and the update among others, in another order of columns.
    bench.run(&["run", "deskload-reports/run-1/in-doubt.csv"]).code(EXIT_ATTENTION);
    bench.file("other.csv", "subject,ticket_id\nnew,3\nrow 2,00002\nlater,2\n");
    bench.run(&["run", "other.csv"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(2), [0, 0, 0, 0, 0, 1]);
    assert_eq!(bench.counts(3), [1, 0, 0, 0, 0, 2], "and what comes behind it in its file");
    assert_eq!(bench.judge().order(2).len(), 1);
    bench.run(&["resolve", "1", "--applied"]).code(EXIT_DONE);
    bench.run(&["resume", "3"]).code(EXIT_DONE);
    assert_eq!(bench.counts(3), [3, 0, 0, 0, 0, 0]);
}

#[test]
fn the_request_is_the_documented_one() {
    let bench = Bench::with(|options| options.account_email = Some("OPS@example.com".to_owned()));
    bench.file(
        "rows.csv",
        "ticket_id,email,name,phone,subject,description,staff,priority,inbox,custom_fields.CF007-07\n\
         00700,a@example.com,A,1,s,d,ST007-009,HIGH,IB238-436,Micro\n",
    );
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let seen = &bench.seen()[0];
    assert_eq!(seen.ticket, 700);
    assert_eq!(
        seen.change,
        serde_json::json!({
            "email": "a@example.com", "name": "A", "phone": "1", "subject": "s", "description": "d",
            "staff": "ST007-009", "priority": "high", "inbox": "IB238-436",
            "custom_fields": [{"id": "CF007-07", "value": "Micro"}],
        })
    );
}

#[test]
fn a_desk_that_loses_answer_after_answer_is_given_up_with_few_rows_in_doubt() {
    let bench = Bench::scripted([Fate::new(When::From(21), Reply::close()).applied().times(Fate::FOREVER)]);
    bench.rows(1..=200);
    let args = ["run", "rows.csv", "--concurrency", "4", "--patience", "3s", "--max-failures", "100%"];
    bench.run(&args).code(deskload::error::EXIT_EARLY).says("the desk does not answer");
    let [_, _, _, in_doubt, _, pending] = bench.counts(1);
    assert!((1..=9).contains(&in_doubt), "four at once, then one probe after the other: {in_doubt}");
    assert!(pending > 150);
    assert_eq!(bench.judge().applied_twice, 0);
}
