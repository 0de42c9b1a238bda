//! 26–29: no connection comes about, so nothing is sent, and what was not sent is tried again.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deskload::error::{EXIT_DONE, EXIT_EARLY, EXIT_USAGE};
use deskload::sandbox::PATH;

use crate::support::peer::{Visit, tls_file};
use crate::support::{Bench, Output, Peer};

/// How often an attempt ended before anything was sent, by what the program says with `-vv`.
fn times_not_sent(said: &Output) -> usize {
    said.stderr.matches(r#"verdict="not sent""#).count()
}

/// Every row is pending, no attempt counts, and it was tried more than once.
fn never_left(bench: &Bench, ended: Output, rows: u64) {
    let ended =
        ended.code(EXIT_EARLY).says("the desk does not answer").says("to go on: deskload run rows.csv");
    assert!(times_not_sent(&ended) >= 2, "tried again:\n{}", ended.stderr);
    assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, rows]);
    assert_eq!(bench.summary(1)["attempts"], 0, "no byte left");
}

#[test]
fn f26_name_not_found() {
    // No label has 64 letters, so the resolver says no without asking anybody.
    let url = format!("https://{}.invalid{PATH}", "x".repeat(64));
    let bench = Bench::new().set("DESKLOAD_URL", &url);
    bench.rows(1..=5);
    never_left(&bench, bench.run(&["run", "rows.csv", "-vv", "--patience", "2s"]), 5);
}

#[test]
fn f27_connection_refused() {
    let mut bench = Bench::new();
    bench.close_desk();
    bench.rows(1..=5);
    never_left(&bench, bench.run(&["run", "rows.csv", "-vv", "--patience", "2s"]), 5);
    bench.open_desk();
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (5, 0));
}

/// A listener whose queue is full, and the connections that fill it: who comes now gets no answer at all.
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok();
    (listener, std::iter::from_fn(connect).collect())
}

#[test]
fn f28_connect_timeout() {
    let (listener, in_the_queue) = full_listener();
    let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
    let bench = Bench::new().set("DESKLOAD_URL", &url);
    bench.rows(1..=3);
    let args = ["run", "rows.csv", "-vv", "--connect-timeout", "200ms"];
    never_left(&bench, bench.run(&[&args[..], &["--patience", "1s"]].concat()), 3);

    let mut program = bench.start(&[&args[..], &["--patience", "2m"]].concat());
    program.await_stderr(r#"verdict="not sent""#);
    drop(in_the_queue);
    let peer = Peer::listen(listener, Visit::serve);
    program.finish().code(EXIT_DONE);
    assert_eq!(bench.counts(1), [3, 0, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["attempts"], 3, "what was never sent is no attempt");
    assert_eq!([1, 2, 3].map(|ticket| peer.copies(ticket)), [1; 3]);
}

#[test]
fn f29_certificate_not_valid() {
    let certificate = Arc::new(Mutex::new("desk"));
    let shown = Arc::clone(&certificate);
    let peer = Peer::start(move |visit| {
        let certificate = *shown.lock().unwrap();
        if let Some(visit) = visit.tls(certificate) {
            visit.serve();
        }
    });
    let bench = Bench::new().set("DESKLOAD_URL", &peer.https_url());
    bench.rows(1..=3);
    let authority = tls_file("authority.pem");
    let trusting = ["run", "rows.csv", "--rate", "unlimited", "--ca-file", authority.to_str().unwrap()];
    let not_trusting = &trusting[..4];
    for (name, args, why) in [
        ("desk", not_trusting, "UnknownIssuer"),
        ("expired", &trusting, "expired"),
        ("elsewhere", &trusting, "not valid for name"),
    ] {
        *certificate.lock().unwrap() = name;
        let refused = bench.run(args).code(EXIT_USAGE).says("the desk's certificate is not valid");
        refused.says(why).says("--ca-file").says("to go on: deskload run rows.csv");
        assert_eq!(bench.counts(1), [0, 0, 0, 0, 0, 3], "{name}");
        assert_eq!(bench.summary(1)["attempts"], 0, "{name}");
        assert!(peer.requests().is_empty(), "{name}");
    }
    *certificate.lock().unwrap() = "desk";
    bench.run(&trusting).code(EXIT_DONE);
    assert_eq!([1, 2, 3].map(|ticket| peer.copies(ticket)), [1; 3]);
}

#[test]
fn f29_handshake_broken_off() {
    let peer = Peer::start(|mut visit| match visit.connection {
        // Closed, and the alert "handshake failure", once the client has said hello.
        1 => _ = visit.await_bytes(),
        2 => _ = visit.await_bytes() && visit.say(b"\x15\x03\x03\x00\x02\x02\x28"),
        _ => visit.tls("desk").unwrap().serve(),
    });
    let bench = Bench::new().set("DESKLOAD_URL", &peer.https_url());
    bench.rows(1..=3);
    let authority = tls_file("authority.pem");
    let args = ["run", "rows.csv", "-vv", "--rate", "unlimited", "--concurrency", "1", "--ca-file"];
    let said = bench.run(&[&args[..], &[authority.to_str().unwrap()]].concat()).code(EXIT_DONE);
    assert_eq!(times_not_sent(&said), 2);
    assert_eq!(bench.summary(1)["attempts"], 3, "what was never sent is no attempt");
    assert_eq!([1, 2, 3].map(|ticket| peer.copies(ticket)), [1; 3]);
}
