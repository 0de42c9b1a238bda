//! 47, and the environment's proxies: the body, and the token in it, go to the desk's address and to no other.

use std::sync::{Arc, Mutex};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::peer::tls_file;
use crate::support::{Bench, Peer, TOKEN};

#[test]
fn f47_redirect_at_the_start() {
    let elsewhere = Peer::nobody();
    let away = |status| Reply::status(status).header("location", &elsewhere.url());
    let statuses = [300, 301, 302, 303, 304, 305, 307, 308, 399];
    let fates = statuses.into_iter().zip(1..);
    let fates = fates.map(|(status, request)| Fate::new(When::Request(request), away(status)));
    let bench = Bench::scripted(fates.collect::<Vec<_>>());
    bench.rows(1..=5);
    for (status, requests) in statuses.into_iter().zip(1..) {
        let ended = bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_USAGE);
        ended.says("redirect").says("--url").says("to go on: deskload run rows.csv");
        assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 5], "{status}");
        assert_eq!(bench.desk().requests, requests, "{status}");
    }
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn f47_one_redirect_among_successes() {
    let elsewhere = Peer::nobody();
    let away = |status, to| Reply::status(status).header("location", to);
    let bench = Bench::scripted([
        Fate::new(When::Request(6), away(307, &elsewhere.url())),
        Fate::new(When::Request(12), away(308, "/login")),
        Fate::new(When::Request(13), away(302, &elsewhere.url())),
    ]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_ATTENTION);
    assert_eq!(bench.told(1, "failures"), [6, 12, 13].map(|ticket| (ticket, "redirected".to_owned())));
    assert_eq!(bench.counts(1), [17, 3, 0, 0, 0, 0]);
    assert_eq!((bench.desk().requests, elsewhere.connections()), (20, 0));
}

#[test]
fn f47_three_redirects_in_a_row() {
    let away = Reply::status(301).header("location", "/login");
    let bench = Bench::scripted([Fate::new(When::From(4), away).times(3)]);
    bench.rows(1..=20);
    bench.run(&["run", "rows.csv", "--concurrency", "1"]).code(EXIT_USAGE);
    assert_eq!(bench.counts(1), [3, 2, 0, 0, 0, 15]);
    assert_eq!(bench.desk().requests, 6);
}

/// The same bench with an environment in which everything goes through this proxy.
fn behind(bench: Bench, proxy: &Peer) -> Bench {
    let proxy = proxy.url();
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .into_iter()
        .fold(bench, |bench, name| bench.set(name, &proxy))
}

#[test]
fn the_environment_s_proxies_see_no_byte() {
    let proxy = Peer::nobody();
    let bench = behind(Bench::new(), &proxy);
    bench.rows(1..=3);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((bench.desk().applied, proxy.connections()), (3, 0));

    let desk = Peer::start(|visit| visit.tls("desk").unwrap().serve());
    let bench = bench.set("DESKLOAD_URL", &desk.https_url());
    let authority = tls_file("authority.pem");
    let args = ["run", "rows.csv", "--rate", "unlimited", "--ca-file", authority.to_str().unwrap()];
    bench.run(&args).code(EXIT_DONE);
    assert_eq!((desk.requests().len(), proxy.connections()), (3, 0));
}

/// A proxy is asked for a way to the desk, with the credentials of its own address; what goes through is TLS with the desk,
/// whose certificate is looked at. The peer is both: proxy until the tunnel is there, then the desk in it.
#[test]
fn a_proxy_sees_neither_token_nor_ticket() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let proxy = Peer::start(move |mut visit| {
        let Some(head) = visit.head() else { return };
        seen.lock().unwrap().push(head);
        visit.say("HTTP/1.1 200 Connection established\r\n\r\n");
        // Whatever is not TLS from here on ends it.
        if let Some(desk) = visit.tls("desk") {
            desk.serve();
        }
    });
    // Nobody listens at the desk's address: there is no other way.
    let bench = Bench::new().set("DESKLOAD_URL", "https://127.0.0.1:1/app/api/v1/update/ticket/");
    bench.rows(1..=3);
    let address = proxy.url().replacen("http://", "http://ops:hunt%3Aer2@", 1);
    let authority = tls_file("authority.pem");
    let args = ["run", "rows.csv", "--rate", "unlimited", "--concurrency", "1", "--proxy", &address, "-vv"];
    let untrusting = bench.run(&args).code(EXIT_USAGE);
    untrusting.says("the desk's certificate is not valid").never_says("hunt");
    assert!(proxy.requests().is_empty());
    let args = [&args[..], &["--ca-file", authority.to_str().unwrap()]].concat();
    bench.run(&args).code(EXIT_DONE).never_says("hunt").never_says(TOKEN);
    assert_eq!([1, 2, 3].map(|ticket| proxy.copies(ticket)), [1; 3]);
    let expected = "CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\
                    Proxy-Authorization: Basic b3BzOmh1bnQ6ZXIy\r\n\r\n";
    assert_eq!(*heads.lock().unwrap(), [expected, expected], "one for each run, and nothing behind it");
}

#[test]
fn a_proxy_that_refuses_is_no_desk() {
    let proxy = Peer::start(|mut visit| {
        visit.head();
        visit.say("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    });
    let bench = Bench::new().set("DESKLOAD_URL", "https://127.0.0.1:1/app/api/v1/update/ticket/");
    bench.rows(1..=3);
    let address = proxy.url();
    let args = ["run", "rows.csv", "--rate", "unlimited", "--patience", "2s", "--proxy", &address];
    bench.run(&args).code(EXIT_EARLY).says("the desk does not answer");
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 3]);
    assert_eq!(bench.summary(1)["attempts"], 0, "no byte left");
}
