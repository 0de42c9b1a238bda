//! 30, aimed at: a desk that closes an idle connection at the very moment when it is used again.
//!
//! Each connection is one try. Its first request is answered; then it is closed, as near to the arrival of the next
//! request as the peer can aim. Who was first is up to the machine, and either is right: not sent, so the row goes on
//! a new connection, or perhaps sent, so it is in doubt. Wrong would be both.

use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deskload::error::{EXIT_ATTENTION, EXIT_DONE};

use crate::support::peer::{Visit, success};
use crate::support::{Bench, Peer, Started};

/// Processes at once, each with an account and a peer of its own.
const LANES: u64 = 8;

/// The rows of one invocation. A lost answer makes it wait, so that with many it would take long.
const ROWS: u64 = 40;

/// At least two hundred; `DESKLOAD_TEST_STALE=3000` tries more often.
fn tries() -> u64 {
    std::env::var("DESKLOAD_TEST_STALE").map_or(200, |tries| tries.parse().unwrap())
}

/// When to close, after the answer: later if the peer was too early last time, earlier if it was too late.
struct Aim {
    after: Duration,
    dice: fastrand::Rng,
}

impl Aim {
    /// The pace below, for a start.
    fn new(seed: u64) -> Self {
        Self { after: Duration::from_millis(9), dice: fastrand::Rng::with_seed(seed) }
    }

    const STEP: Duration = Duration::from_micros(60);

    fn next(&mut self) -> Duration {
        // A little to both sides, so that not every try is at the same distance.
        (self.after + Duration::from_micros(self.dice.u64(0..120))).saturating_sub(Self::STEP)
    }

    fn was(&mut self, too_late: bool) {
        self.after = if too_late { self.after.saturating_sub(Self::STEP) } else { self.after + Self::STEP };
    }
}

/// Answers one request, then closes: in good order and reading on, so that all that ever arrives is seen, or hard.
fn one_try(mut visit: Visit, aim: &Mutex<Aim>) {
    let Some(request) = visit.request() else { return };
    visit.say(success(request.ticket));
    let answered = Instant::now();
    let after = aim.lock().unwrap().next();
    std::thread::sleep(after.saturating_sub(Duration::from_micros(300)));
    while answered.elapsed() < after {
        std::hint::spin_loop();
    }
    visit.plain().set_nonblocking(true).unwrap();
    let too_late = visit.await_bytes();
    if visit.connection.is_multiple_of(2) {
        visit.reset();
    } else {
        visit.plain().shutdown(Shutdown::Write).unwrap();
        visit.plain().set_nonblocking(false).unwrap();
        visit.request();
    }
    aim.lock().unwrap().was(too_late);
}

/// One account, its peer, and its run.
struct Lane {
    name: String,
    peer: Peer,
    program: Started,
}

impl Lane {
    fn start(bench: &Bench, round: u64, lane: u64, aim: &Arc<Mutex<Aim>>) -> Self {
        let aim = Arc::clone(aim);
        let peer = Peer::start(move |visit| one_try(visit, &aim));
        let name = format!("{round}-{lane}");
        let (url, journal) = (peer.url(), format!("{name}.sqlite3"));
        let program = bench.start(
            &[
                ["run", "rows.csv", "--url", &url, "--journal", &journal, "--report-dir", &name].as_slice(),
                &["--rate", "100/s", "--burst", "1", "--concurrency", "1", "--max-failures", "100%", "-vv"],
            ]
            .concat(),
        );
        Self { name, peer, program }
    }

    fn finish(self, bench: &Bench, total: &mut Total) {
        let Self { name, peer, program } = self;
        let ended = program.finish();
        let summary: serde_json::Value =
            serde_json::from_str(&bench.read(&format!("{name}/run-1/summary.json"))).unwrap();
        let count = |word: &str| summary["counts"][word].as_u64().unwrap();
        let in_doubt = count("in_doubt");
        assert_eq!(count("applied") + in_doubt, ROWS, "{summary}");
        let not_sent = ended.stderr.matches(r#"verdict="not sent""#).count() as u64;
        ended.code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
        let copies: Vec<usize> = (1..=ROWS).map(|ticket| peer.copies(ticket)).collect();
        // The last connection has no next request to be closed under.
        total.tries += peer.connections() - 1;
        total.in_doubt += in_doubt;
        total.in_doubt_unseen += copies.iter().filter(|copies| **copies == 0).count() as u64;
        total.not_sent += not_sent;
        total.twice += copies.iter().filter(|copies| **copies > 1).count() as u64;
    }
}

/// What came of all tries.
#[derive(Debug, Default)]
struct Total {
    tries: u64,
    /// Requests that lost the race.
    in_doubt: u64,
    /// Of these: no complete body was seen by the peer, because its system threw it away.
    in_doubt_unseen: u64,
    /// Requests that the program itself called not sent.
    not_sent: u64,
    /// Rows of which two complete bodies were seen.
    twice: u64,
}

#[test]
fn f30_connection_closed_at_the_moment_of_its_reuse() {
    let bench = Bench::new();
    bench.rows(1..=ROWS);
    let aims: Vec<_> = (1..=LANES).map(|lane| Arc::new(Mutex::new(Aim::new(lane)))).collect();
    let mut total = Total::default();
    for round in 1.. {
        let lanes: Vec<_> =
            aims.iter().zip(1..).map(|(aim, lane)| Lane::start(&bench, round, lane, aim)).collect();
        for lane in lanes {
            lane.finish(&bench, &mut total);
        }
        if total.tries >= tries() {
            break;
        }
    }
    println!("{total:?}");
    assert_eq!(total.twice, 0, "{total:?}");
    assert!(total.in_doubt > 0 && total.in_doubt < total.tries, "both sides of the race were met: {total:?}");
}
