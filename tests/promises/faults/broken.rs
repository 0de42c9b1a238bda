//! 30–36, 46, 48: the connection breaks, stalls, or says what nobody asked for.

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};
use deskload::sandbox::{Reply, Then};

use super::reply::doubts;
use crate::support::peer::{Visit, last, reply, success};
use crate::support::{Bench, Peer};

const ONE_BY_ONE: [&str; 6] = ["run", "rows.csv", "--concurrency", "1", "--max-failures", "100%"];

#[test]
fn f30_idle_connection_closed_with_a_request_on_it() {
    // Each second request of a connection meets its end.
    let peer = Peer::start(|mut visit| {
        let Some(request) = visit.request() else { return };
        visit.say(success(request.ticket));
        visit.await_bytes();
    });
    let bench = Bench::at(&peer);
    bench.rows(1..=6);
    bench.run(&ONE_BY_ONE).code(EXIT_ATTENTION);
    assert_eq!(bench.told(1, "in-doubt"), [2, 4, 6].map(|ticket| (ticket, "connection lost".to_owned())));
    assert_eq!(bench.counts(1), [3, 0, 0, 3, 0, 0]);
    assert_eq!(peer.connections(), 3, "what was lost did not come again");
}

/// Two connections are used; the first is answered, left idle, and this is done to it. Only then the second is answered
/// and closed, and ticket 2 is called once more, while the first one is all that there is to reuse.
fn meet_idle_connection(spoil: impl Fn(Visit) + Send + Sync + 'static) -> (Bench, Peer) {
    let (both_came, both) = mpsc::channel();
    let (spoilt_now, spoilt) = mpsc::channel();
    let (both, spoilt) = (Mutex::new(both), Mutex::new(spoilt));
    let peer = Peer::start(move |mut visit| {
        let Some(request) = visit.request() else { return };
        if request.ticket == 1 {
            both.lock().unwrap().recv().unwrap();
            visit.say(success(1));
            spoil(visit);
            spoilt_now.send(()).unwrap();
        } else if visit.connection <= 2 {
            both_came.send(()).unwrap();
            spoilt.lock().unwrap().recv().unwrap();
            visit.say(last(&success(2)));
        } else {
            visit.say(reply(404, r#"{"status":"error","description":"asked, and answered"}"#));
        }
    });
    let bench = Bench::at(&peer);
    bench.rows([1, 2, 2]);
    bench.run(&["run", "rows.csv", "--concurrency", "2"]).code(EXIT_ATTENTION);
    (bench, peer)
}

#[test]
fn f30_idle_connection_closed_before_the_request() {
    let (bench, peer) = meet_idle_connection(drop);
    assert_eq!(bench.counts(1), [2, 1, 0, 0, 0, 0], "not sent into nothing, so nothing is in doubt");
    assert_eq!((peer.connections(), peer.requests().len()), (3, 3));
}

#[test]
fn f30_connection_idle_for_long() {
    let peer = Peer::start(Visit::serve);
    let bench = Bench::at(&peer);
    bench.rows(1..=2);
    // The second row goes after three seconds; a desk may well be closing the connection by then.
    bench.run(&["run", "rows.csv", "--rate", "20/min", "--burst", "1"]).code(EXIT_DONE);
    assert_eq!(peer.connections(), 2, "an old connection is not used again");
}

#[test]
fn f31_end_of_stream() {
    doubts([(Reply::close(), "connection lost")]);
}

#[test]
fn f32_reset() {
    doubts([(Reply::reset(), "connection lost")]);
}

#[test]
fn f33_response_timeout() {
    doubts([(Reply::silence(), "timeout")]);
}

#[test]
fn f34_half_a_head() {
    let heads = ["H", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"];
    let raw = heads.map(|head| Reply::raw(head, Then::Close));
    doubts(raw.into_iter().chain([Reply::half_head()]).map(|reply| (reply, "connection lost")));
    doubts([(Reply::raw("HTTP/1.1 200 OK\r\ncontent-", Then::Hold), "timeout")]);
}

#[test]
fn f35_half_a_2xx_body() {
    // Whole to the eye, but for the length or the last chunk that it was announced with.
    let body = r#"{"status":"success","ticket_id":"100"}"#;
    let long = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1);
    let chunk =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    let reset = Reply::raw(long.clone(), Then::Reset);
    let lost =
        [Reply::half_body(), Reply::raw(long.clone(), Then::Close), reset, Reply::raw(chunk, Then::Close)];
    doubts(lost.map(|reply| (reply, "connection lost")));
    doubts([(Reply::raw(long, Then::Hold), "timeout")]);
    // Without a length the end of the stream is the end of the body, and half of it is no JSON.
    let endless = Reply::raw("HTTP/1.1 200 OK\r\n\r\n{\"status\":\"success\",\"tick", Then::Close);
    doubts([(endless, "unreadable reply")]);
}

#[test]
fn f36_dripping_body() {
    let apart = Duration::from_millis(400);
    let head = Reply::Raw { bytes: success(100).into(), drip: apart, then: Then::Hold };
    doubts([(Reply::drip(apart), "timeout"), (head, "timeout")]);
}

#[test]
fn f46_408_on_a_reused_connection() {
    let peer = Peer::start(|mut visit| {
        let Some(first) = visit.request() else { return };
        visit.say(success(first.ticket));
        if visit.request().is_some() {
            visit.say("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let bench = Bench::at(&peer);
    bench.rows(1..=6);
    bench.run(&ONE_BY_ONE).code(EXIT_ATTENTION);
    assert_eq!(bench.told(1, "in-doubt"), [2, 4, 6].map(|ticket| (ticket, "server error".to_owned())));
    assert_eq!(bench.counts(1), [3, 0, 0, 3, 0, 0]);
    let came: Vec<_> = peer.requests().iter().map(|request| (request.ticket, request.connection)).collect();
    assert_eq!(came, [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)], "each once");
}

#[test]
fn f48_response_nobody_asked_for_on_an_idle_connection() {
    for stray in [success(2), reply(408, ""), success(1), "noise".to_owned()] {
        let (bench, peer) = meet_idle_connection(move |mut visit| {
            visit.say(&stray);
            // The connection is dropped for it.
            assert!(!visit.await_bytes());
        });
        assert_eq!(bench.told(1, "failures"), [(2, "refused".to_owned())], "the answer to the question");
        assert_eq!(bench.counts(1), [2, 1, 0, 0, 0, 0]);
        assert_eq!((peer.connections(), peer.requests().len()), (3, 3));
    }
}

#[test]
fn f48_response_nobody_asked_for_behind_the_answer() {
    let peer = Peer::start(|mut visit| match visit.request() {
        Some(request) if request.ticket == 1 => {
            visit.say(success(1) + &success(2));
            assert!(!visit.await_bytes());
        }
        Some(_) => _ = visit.say(reply(404, "")),
        None => {}
    });
    let bench = Bench::at(&peer);
    bench.rows(1..=2);
    bench.run(&ONE_BY_ONE).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [1, 1, 0, 0, 0, 0], "the second row was not taken as applied");
    assert_eq!((peer.connections(), peer.copies(1), peer.copies(2)), (2, 1, 1));
}

/// What comes while a request is under way is taken for its answer; but the answers that come after it reach no other row.
#[test]
fn f48_response_nobody_asked_for_before_the_answer() {
    let peer = Peer::start(|mut visit| {
        let Some(first) = visit.request() else { return };
        if first.ticket != 1 {
            visit.say(reply(404, ""));
            return;
        }
        visit.say(success(1));
        visit.request();
        visit.say(reply(404, ""));
        // The answer to the second row, in time for the third one, which is of the same ticket.
        let third = visit.request();
        visit.say(success(2));
        assert!(third.is_none(), "the connection is not used again");
    });
    let bench = Bench::at(&peer);
    bench.rows([1, 2, 2]);
    bench.run(&ONE_BY_ONE).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [1, 2, 0, 0, 0, 0], "the third row was not taken as applied");
    assert_eq!((peer.connections(), peer.copies(1), peer.copies(2)), (2, 1, 2));
}
