//! 42 and 61: the token is refused, or comes back in the desk's words.

use deskload::error::{EXIT_ATTENTION, EXIT_CREDENTIALS, EXIT_DONE};
use deskload::sandbox::{Fate, Reply, Then, When};

use crate::secrets::nowhere;
use crate::support::{Bench, TOKEN};

const REFUSED: &str = "Unable to authenticate request using account email and token";

#[test]
fn f42_authentication_text_at_the_start() {
    let bench = Bench::new().set("DESKLOAD_TOKEN", "wrong");
    bench.rows(1..=200);
    let refused = bench.run(&["run", "rows.csv", "--concurrency", "4"]).code(EXIT_CREDENTIALS);
    refused.says("Unable to authenticate").says("no row was marked failed");
    assert!(bench.desk().requests <= 4, "{:?}", bench.desk());
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 200]);
    let bench = bench.set("DESKLOAD_TOKEN", TOKEN);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [200, 0, 0, 0, 0, 0]);
}

#[test]
fn f42_authentication_text_in_any_status_among_successes() {
    let statuses = [200, 201, 302, 400, 401, 403, 404, 500];
    let fates = statuses.into_iter().zip(1..);
    let fate =
        |(status, request): (u16, u64)| Fate::new(When::Request(2 * request), Reply::error(status, REFUSED));
    let bench = Bench::scripted(fates.map(fate).collect::<Vec<_>>());
    bench.rows(1..=20);
    for applied in 1..=statuses.len() as u64 {
        // Each time one row goes through, and the next one meets the refusal.
        bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_CREDENTIALS).says(REFUSED);
        assert_eq!(bench.counts(1), [applied, 0, 0, 0, 0, 20 - applied]);
        assert_eq!(bench.desk().requests, 2 * applied);
    }
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (20, 0));
}

#[test]
fn f42_401_and_403_at_the_start() {
    let bench = Bench::scripted([
        Fate::new(When::Request(1), Reply::error(401, "No entry")),
        Fate::new(When::Request(2), Reply::error(403, "No entry")),
    ]);
    bench.rows(1..=5);
    for requests in [1, 2] {
        bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_CREDENTIALS).says("No entry");
        assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 5]);
        assert_eq!(bench.desk().requests, requests);
    }
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
}

#[test]
fn f42_one_403_among_successes() {
    let bench = Bench::scripted([Fate::new(When::Request(10), Reply::error(403, "Not your inbox"))]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [19, 1, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["reasons"][0]["reason"], "forbidden");
    assert_eq!(bench.summary(1)["reasons"][0]["message"], "Not your inbox");
}

#[test]
fn f42_three_in_a_row() {
    let bench = Bench::scripted([
        Fate::new(When::Request(11), Reply::status(401)),
        Fate::new(When::From(10), Reply::status(403)).times(Fate::FOREVER),
    ]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_CREDENTIALS);
    assert_eq!(bench.counts(1), [9, 2, 0, 0, 0, 9]);
    assert_eq!(bench.desk().requests, 12);
}

/// Replies that echo the token, for tickets 101, 102, and so on.
fn echoes(echo: &str) -> Vec<Fate> {
    let raw = format!("HTTP/1.1 {echo}\r\n\r\n");
    [
        Reply::json(404, format!(r#"{{"status":"error","description":"bad token {echo}"}}"#)),
        Reply::json(200, format!(r#"{{"status":"error","description":"{}{echo}"}}"#, "x".repeat(290))),
        Reply::json(200, format!(r#"{{"status":"error","description":{{"token":"{echo}"}}}}"#)),
        Reply::json(500, format!(r#"{{"status":"error","description":"{echo}"}}"#)),
        Reply::json(200, format!(r#"{{"status":"success","ticket_id":"{echo}"}}"#)),
        Reply::status(400).body(echo),
        Reply::status(302).header("location", "https://example.com/?token=x").body(echo),
        Reply::raw(raw, Then::Close),
    ]
    .into_iter()
    .zip(101..)
    .map(|(reply, ticket)| Fate::new(When::Ticket(ticket), reply))
    .collect()
}

#[test]
fn f61_token_echoed() {
    let bench = Bench::scripted(echoes(TOKEN));
    bench.rows(1..=120);
    let args = ["run", "rows.csv", "-vv", "--concurrency", "1", "--max-failures", "100%"];
    let said = bench.run(&args).code(EXIT_ATTENTION);
    assert!(bench.read("deskload-reports/run-1/failures.csv").contains("bad token [token]"));
    nowhere(&bench, &said, &[TOKEN, &TOKEN[..16]]);
    let said = bench.run(&["status"]).code(EXIT_DONE);
    nowhere(&bench, &said, &[TOKEN]);
    let said = bench.run(&["run", "rows.csv", "-vv", "--help"]).code(EXIT_DONE);
    nowhere(&bench, &said, &[TOKEN]);
}

#[test]
fn f61_token_echoed_in_another_spelling() {
    let token = "canary/\"8f3a\\61é+c2";
    let echo = r#"canary\/\"8f3a\\61\u00e9+c2"#;
    let bench = Bench::with(|options| {
        options.token = token.to_owned();
        options.fates = echoes(echo);
    });
    bench.rows(1..=120);
    let args = ["run", "rows.csv", "-vv", "--concurrency", "1", "--max-failures", "100%"];
    let said = bench.run(&args).code(EXIT_ATTENTION);
    nowhere(&bench, &said, &[token, echo, "8f3a", "canary/"]);
}

#[test]
fn f61_token_echoed_in_a_refusal_of_the_token() {
    for reply in [
        Reply::error(401, &format!("{TOKEN} is unknown")),
        Reply::error(429, &format!("{TOKEN} is too busy")).header("retry-after", "3600"),
        Reply::status(302).header("location", &format!("/login?token={TOKEN}")),
    ] {
        let bench = Bench::scripted([Fate::new(When::Request(1), reply)]);
        bench.rows(1..=3);
        let said = bench.run(&["run", "rows.csv", "-vv", "--concurrency", "1", "--max-wait", "1m"]);
        assert_eq!(bench.desk().requests, 1, "it stopped there:\n{}", said.stderr);
        nowhere(&bench, &said, &[TOKEN, &TOKEN[..16]]);
    }
}
