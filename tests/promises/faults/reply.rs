//! 37–39, 43–45: a whole answer, and what it proves.

use deskload::error::EXIT_ATTENTION;
use deskload::sandbox::{Fate, Reply, When};

use super::pause::pauses;
use crate::support::Bench;

/// Each of these replies to a row puts that row in doubt, for this reason, whether the desk has applied it or not:
/// it is not sent again, and the next row of its ticket waits. The rows of other tickets go through.
pub(crate) fn doubts(cases: impl IntoIterator<Item = (Reply, &'static str)>) {
    let (mut fates, mut rows, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for (case, (reply, reason)) in cases.into_iter().enumerate() {
        let ticket = 100 * (case as u64 + 1);
        fates.push(Fate::new(When::Ticket(ticket), meant_for(&reply, ticket)));
        fates.push(Fate::new(When::Ticket(ticket + 10), meant_for(&reply, ticket + 10)).applied());
        rows.extend([ticket, ticket + 1, ticket, ticket + 10, ticket + 11, ticket + 10]);
        expected.extend([(ticket, reason.to_owned()), (ticket + 10, reason.to_owned())]);
    }
    let bench = Bench::scripted(fates);
    let (count, doubts) = (rows.len() as u64, expected.len() as u64);
    bench.rows(rows);
    let args = ["run", "rows.csv", "--concurrency", "1", "--max-failures", "100%", "--timeout", "1s"];
    bench.run(&args).code(EXIT_ATTENTION);
    assert_eq!(bench.told(1, "in-doubt"), expected);
    assert_eq!(bench.counts(1), [count - 2 * doubts, 0, 0, doubts, 0, doubts]);
    for (ticket, _) in expected {
        let seen = bench.seen().iter().filter(|seen| seen.ticket == ticket).count();
        assert_eq!(seen, 1, "ticket {ticket}: neither repeated nor overtaken");
    }
}

/// The same, with the ticket's number for the word TICKET: nothing else is to be wrong with the reply.
fn meant_for(reply: &Reply, ticket: u64) -> Reply {
    match reply.clone() {
        Reply::Http { status, headers, body } => {
            Reply::Http { status, headers, body: body.replace("TICKET", &ticket.to_string()) }
        }
        other => other,
    }
}

/// Each of these replies fails its row and no other, with these words.
fn failures(cases: &[(Reply, &str)]) {
    let fate = |(case, ticket): (&(Reply, &str), u64)| Fate::new(When::Ticket(ticket), case.0.clone());
    let bench = Bench::scripted(cases.iter().zip(1..).map(fate).collect::<Vec<_>>());
    let count = cases.len() as u64;
    bench.rows((1..=count).chain(1..=count));
    bench.run(&["run", "rows.csv", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [count, count, 0, 0, 0, 0], "a failed row holds nothing back");
    assert_eq!(bench.desk().requests, 2 * count, "a refusal is not asked for again");
    let failed = bench.read("deskload-reports/run-1/failures.csv");
    for ((_, words), (line, ticket)) in cases.iter().zip(failed.lines().skip(1).zip(1..)) {
        assert!(line.starts_with(&format!("{ticket},row {ticket},")), "{line}");
        assert!(line.contains(words), "{words:?} is not in {line:?}");
    }
}

#[test]
fn f37_2xx_that_does_not_parse() {
    let bodies = [
        "",
        "success",
        r#"{"status":"success","ticket_id":"TICKET""#,
        r#"{"status":"success","ticket_id":"TICKET"} {}"#,
        r#"["success","TICKET"]"#,
        r#"[{"status":"success","ticket_id":"TICKET"}]"#,
        r#"{"status":"Success","ticket_id":"TICKET"}"#,
        r#"{"status":["success"],"ticket_id":"TICKET"}"#,
        r#"{"result":{"status":"success","ticket_id":"TICKET"}}"#,
        "null",
    ];
    let json = bodies.map(|body| Reply::json(200, body));
    let others = [Reply::html(), Reply::status(204), Reply::json(202, r#"{"status":"accepted"}"#)];
    doubts(json.into_iter().chain(others).map(|reply| (reply, "unreadable reply")));
}

#[test]
fn f38_status_given_twice() {
    let bodies = [
        r#"{"status":"error","status":"success","ticket_id":"TICKET"}"#,
        r#"{"status":"success","status":"error","ticket_id":"TICKET"}"#,
        r#"{"status":"success","status":"success","ticket_id":"TICKET"}"#,
        r#"{"status":"success","ticket_id":"TICKET","ticket_id":"TICKET"}"#,
    ];
    doubts(bodies.map(|body| (Reply::json(200, body), "unreadable reply")));
}

#[test]
fn f39_200_with_the_documented_error() {
    failures(&[
        (Reply::error(200, "Staff is not on this team"), "refused,Staff is not on this team,200"),
        (Reply::error(201, "Inbox unknown"), "refused,Inbox unknown,201"),
        (Reply::error(404, "No such \u{1b}[31mticket\r\n"), "refused,No such [31mticket,404"),
        (Reply::error(428, "Odd"), "refused,Odd,428"),
    ]);
}

#[test]
fn f43_refusals() {
    failures(&[
        (Reply::status(400), "the desk answered 400"),
        (Reply::status(404), "the desk answered 404"),
        (Reply::status(405), "the desk answered 405"),
        (Reply::status(409), "the desk answered 409"),
        (Reply::status(410), "the desk answered 410"),
        (Reply::status(413), "the desk answered 413"),
        (Reply::status(415), "the desk answered 415"),
        (Reply::status(422), "the desk answered 422"),
        (
            Reply::status(404).header("content-type", "text/html").body("<h1>Not Found</h1>"),
            "the desk answered 404",
        ),
    ]);
}

#[test]
fn f44_server_errors() {
    let plain = [500, 502, 504].map(Reply::status);
    // What a server says that has broken down is no refusal, and a wait makes it none.
    let worded = [500, 502, 504].map(|status| Reply::error(status, "Not applied").header("retry-after", "1"));
    doubts(plain.into_iter().chain(worded).map(|reply| (reply, "server error")));
}

#[test]
fn f45_503_without_retry_after() {
    let junk = Reply::status(503).header("retry-after", "soon");
    let other = Reply::status(503).header("x-ratelimit-retry-after", "1");
    doubts([Reply::status(503), junk, other].map(|reply| (reply, "server error")));
}

#[test]
fn f45_503_with_retry_after() {
    pauses(&Reply::status(503).header("retry-after", "2"));
}
