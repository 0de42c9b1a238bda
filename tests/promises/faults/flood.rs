//! 50: an answer of gigabytes is cut off at a megabyte, and never unpacked.

use std::sync::{Mutex, mpsc};

use deskload::error::EXIT_ATTENTION;

use crate::support::peer::{Visit, success};
use crate::support::{Bench, Peer, until};

/// What each of the floods would come to.
const FLOOD: usize = 4 << 30;

/// The flood that is read to the deadline.
const ENDLESS: u64 = 90;

/// Far above what the program needs (some 15 MB), far below a flood.
const MEMORY_MAX: u64 = 64 << 20;

/// A megabyte of this is 160 of zeros: a gzip head, then one block of fixed codes, the literal 0 and matches of 258
/// bytes at distance 1, eight of which come to thirteen bytes.
fn gzip(length: usize) -> Vec<u8> {
    let mut bits = vec![true, true, false]; // the last block, fixed codes
    bits.extend([false, false, true, true, false, false, false, false]); // the literal 0
    let one = [true, true, false, false, false, true, false, true, false, false, false, false, false];
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    while bytes.len() < length {
        while bits.len() < 8 {
            bits.extend(one);
        }
        bytes.push(bits.drain(..8).enumerate().fold(0, |byte, (at, bit)| byte | (u8::from(bit) << at)));
    }
    bytes
}

/// Says this over and over; gives back how much was taken before the client left.
fn pour(visit: &mut Visit, head: &str, over_and_over: &[u8]) -> usize {
    visit.say(head);
    let mut poured = 0;
    while poured < FLOOD && visit.say(over_and_over) {
        poured += over_and_over.len();
    }
    poured
}

fn flood(visit: &mut Visit, ticket: u64) -> usize {
    let spaces = vec![b' '; 1 << 16];
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let packed = gzip(1_000_000);
    match ticket {
        10 => pour(visit, &format!("HTTP/1.1 200 OK\r\ncontent-length: {FLOOD}\r\n\r\n"), &spaces),
        20 => pour(visit, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &chunk(&spaces)),
        30 => {
            pour(visit, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n", &spaces)
        }
        40 => pour(visit, "HTTP/1.1 200 OK\r\n\r\n", &spaces),
        50 => pour(
            visit,
            "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n",
            &chunk(&packed),
        ),
        // Whole, and under a megabyte as it comes.
        60 => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                packed.len()
            );
            visit.say(head);
            visit.say(&packed);
            packed.len()
        }
        70 => pour(visit, "HTTP/1.1 200 OK\r\n", format!("x-noise: {}\r\n", "x".repeat(1 << 15)).as_bytes()),
        80 => pour(visit, "HTTP/1.1 200 OK\r\n", b"x: y\r\n".repeat(1 << 12).as_slice()),
        // Read to the deadline, because each of these is small and proper.
        ENDLESS => pour(visit, "", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 12).as_slice()),
        _ => panic!("no such flood"),
    }
}

#[test]
fn f50_a_response_of_gigabytes() {
    let (measured, go) = mpsc::channel::<()>();
    let (go, taken) = (Mutex::new(go), std::sync::Arc::new(Mutex::new(Vec::new())));
    let noted = std::sync::Arc::clone(&taken);
    let peer = Peer::start(move |mut visit| {
        while let Some(request) = visit.request() {
            assert!(!request.head.contains("accept-encoding"), "{}", request.head);
            if request.ticket % 10 == 0 {
                let poured = flood(&mut visit, request.ticket);
                noted.lock().unwrap().push((request.ticket, poured));
                continue;
            }
            if request.ticket == ENDLESS + 1 {
                // So that the program is still there to be measured.
                go.lock().unwrap().recv().unwrap();
            }
            visit.say(success(request.ticket));
        }
    });
    let bench = Bench::at(&peer);
    let floods: Vec<u64> = (1..=ENDLESS / 10).map(|flood| 10 * flood).collect();
    bench.rows(floods.iter().flat_map(|ticket| [*ticket, ticket + 1]));
    let mut program =
        bench.start(&["run", "rows.csv", "--concurrency", "1", "--max-failures", "100%", "--timeout", "3s"]);
    until("the last row", || peer.copies(ENDLESS + 1) == 1 || program.has_ended());
    let peak = program.peak_memory();
    measured.send(()).unwrap();
    program.finish().code(EXIT_ATTENTION);
    let taken = taken.lock().unwrap().clone();
    println!("peak {} KiB; taken: {taken:?}", peak >> 10);
    assert!(peak < MEMORY_MAX, "{peak}");
    let tickets: Vec<u64> = bench.told(1, "in-doubt").iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, floods);
    assert_eq!(bench.counts(1), [9, 0, 0, 9, 0, 0]);
    for ticket in floods {
        assert_eq!(peer.copies(ticket), 1, "ticket {ticket}");
    }
    // What is over a megabyte was not read to its end; the sockets' own buffers hold some more.
    assert!(taken.iter().all(|(ticket, poured)| *ticket == ENDLESS || *poured < FLOOD / 16), "{taken:?}");
}
