//! 49: the client library never sends a request again by itself. Whatever happens to a row's request, on a new
//! connection or a used one, the peer sees one copy of its body.

use deskload::error::EXIT_ATTENTION;

use crate::support::peer::{Visit, last, reply, success};
use crate::support::{Bench, Peer};

/// What becomes of a request once it is there.
#[derive(Clone, Copy)]
enum End {
    Close,
    Reset,
    /// Told this, then closed.
    Say(&'static str),
    /// Answered with this status and nothing more.
    Status(u16),
}

/// All that makes one library or another try again: broken connections, and statuses that ask for it.
const ENDS: [End; 19] = [
    End::Close,
    End::Reset,
    End::Say("HTTP/1.1 200 OK\r\ncontent-"),
    End::Say("HTTP/1.1 100 Continue\r\n\r\n"),
    End::Say("HTTP/1.1 401 X\r\nwww-authenticate: Basic realm=\"desk\"\r\ncontent-length: 0\r\n\r\n"),
    End::Say("HTTP/1.1 407 X\r\nproxy-authenticate: Basic realm=\"desk\"\r\ncontent-length: 0\r\n\r\n"),
    End::Say("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"),
    // HTTP/2: settings, then GOAWAY with the last stream 0 and NO_ERROR, and REFUSED_STREAM.
    End::Say("\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0"),
    End::Say("\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"),
    End::Status(403),
    End::Status(408),
    End::Status(417),
    End::Status(421),
    End::Status(425),
    End::Status(426),
    End::Status(500),
    End::Status(502),
    End::Status(503),
    End::Status(504),
];

impl End {
    /// `true`: the connection can go on.
    fn befall(self, mut visit: Visit) -> Option<Visit> {
        match self {
            Self::Close => {}
            Self::Reset => visit.reset(),
            Self::Say(words) => _ = visit.say(words),
            Self::Status(status) => return visit.say(reply(status, "")).then_some(visit),
        }
        None
    }
}

/// Ticket 4k+1 is answered and keeps its connection for 4k+2, which meets end k; 4k+3 is answered and closes its
/// connection, so that 4k+4 meets end k on a new one.
fn script(mut visit: Visit) {
    while let Some(request) = visit.request() {
        let case = usize::try_from((request.ticket - 1) / 4).unwrap();
        match request.ticket % 4 {
            1 => _ = visit.say(success(request.ticket)),
            3 => {
                visit.say(last(&success(request.ticket)));
                return;
            }
            _ => match ENDS[case].befall(visit) {
                Some(same) => visit = same,
                None => return,
            },
        }
    }
}

#[test]
fn f49_the_desk_sees_one_copy() {
    let peer = Peer::start(script);
    let bench = Bench::at(&peer);
    let count = 4 * ENDS.len() as u64;
    bench.rows(1..=count);
    bench.run(&["run", "rows.csv", "--concurrency", "1", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    for ticket in 1..=count {
        assert_eq!(peer.copies(ticket), 1, "ticket {ticket}");
    }
    let came = peer.requests();
    let on = |ticket: u64| came.iter().find(|request| request.ticket == ticket).unwrap().connection;
    for first in (1..=count).step_by(4) {
        assert_eq!(on(first), on(first + 1), "a used connection");
        assert_ne!(on(first + 2), on(first + 3), "a new connection");
    }
    let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
    // 401 and 403 among successes are those rows' own.
    assert_eq!((applied, failed, in_doubt, pending), (count / 2, 4, count / 2 - 4, 0));
}

#[test]
fn f49_half_a_request_is_not_sent_again() {
    // More than the sockets hold, so that the body is under way when the connection breaks.
    let peer = Peer::start(|mut visit| {
        visit.head();
        visit.reset();
    });
    let bench = Bench::at(&peer);
    let long = "x".repeat(900 << 10);
    bench.file("rows.csv", format!("ticket_id,description\n1,{long}\n2,{long}\n"));
    bench.run(&["run", "rows.csv", "--concurrency", "1", "--max-failures", "100%"]).code(EXIT_ATTENTION);
    assert_eq!(bench.counts(1), [0, 0, 0, 2, 0, 0]);
    assert_eq!(peer.connections(), 2, "one for each row");
}
