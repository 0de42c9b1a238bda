//! What the desk answers, beyond the numbers of the catalogue: a row's outcome, and what follows for the rest.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Fate, Reply, When};

use crate::faults::reply::doubts;
use crate::support::Bench;

#[test]
fn a_status_that_nobody_explained_is_in_doubt() {
    doubts([402, 408, 418, 451, 505, 999].map(|status| (Reply::status(status), "server error")));
}

#[test]
fn a_success_that_cannot_be_believed_is_in_doubt() {
    let success = r#"{"status":"success","ticket_id":"TICKET"}"#;
    let replies = [
        Reply::OtherTicket,
        Reply::Flood(2 << 20),
        Reply::json(200, r#"{"status":"success"}"#),
        Reply::json(200, r#"{"status":"success","ticket_id":"TICKET.0"}"#),
        Reply::json(404, success),
    ];
    doubts(replies.map(|reply| (reply, "unreadable reply")));
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
    assert_eq!(bench.counts(3), [2, 0, 0, 0, 1, 0], "the same update is not sent once more");
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
