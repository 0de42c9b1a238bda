//! 47, and the environment's proxies: the body, and the token in it, go to the desk's address and to no other.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_USAGE};
use deskload::sandbox::{Fate, Reply, When};

use crate::support::peer::tls_file;
use crate::support::{Bench, Peer};

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
