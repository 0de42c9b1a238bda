//! What a seed stands for: settings of the program, moods of the desk, of the disk, and of whoever pulls the plug.
//!
//! Each seed has its own few kinds of trouble in fashion, so that streaks occur that an even mixture would
//! hardly ever give. Everything is drawn from the seed, and nothing from anywhere else.

use std::num::NonZeroU32;
use std::time::Duration;

use deskload::breaker::{Limits, MaxFailures};
use deskload::pace::Rate;
use fastrand::Rng;

/// A thing that the desk may do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    Applied,
    ReplyLost,
    RequestLost,
    LateArrival,
    TimedOut,
    Throttled,
    ThrottledLong,
    ThrottledBare,
    Unavailable,
    ConnectionRefused,
    IdleClosed,
    Rejected,
    ErrorBody,
    ServerError,
    Unreadable,
    OtherTicket,
    CutShort,
    Forbidden,
    AuthenticationText,
    Redirected,
    Certificate,
    Bug,
}

/// All but `Applied`, with how often each may come into fashion.
const TROUBLES: [(Fate, u32); 21] = [
    (Fate::ReplyLost, 10),
    (Fate::RequestLost, 10),
    (Fate::LateArrival, 10),
    (Fate::TimedOut, 10),
    (Fate::Throttled, 10),
    (Fate::ThrottledLong, 2),
    (Fate::ThrottledBare, 10),
    (Fate::Unavailable, 10),
    (Fate::ConnectionRefused, 10),
    (Fate::IdleClosed, 10),
    (Fate::Rejected, 10),
    (Fate::ErrorBody, 5),
    (Fate::ServerError, 10),
    (Fate::Unreadable, 5),
    (Fate::OtherTicket, 5),
    (Fate::CutShort, 5),
    (Fate::Forbidden, 6),
    (Fate::AuthenticationText, 3),
    (Fate::Redirected, 4),
    (Fate::Certificate, 1),
    (Fate::Bug, 1),
];

/// A time in which the whole desk does the same thing with every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) fate: Fate,
}

/// How long commits take, and how they fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DiskMood {
    /// Each takes up to so long, before it is durable and again after.
    pub(crate) latency_ms: u64,
    /// Of 1,000 commits, how many stall for 0.1 to 2 s.
    pub(crate) stalls: u32,
    /// Of 1,000 commits, how many end in an I/O error, durable or not.
    pub(crate) errors: u32,
}

/// All that a seed decides before the first request.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) concurrency: usize,
    pub(crate) rates: Vec<Rate>,
    pub(crate) burst: Option<NonZeroU32>,
    pub(crate) timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) weights: Vec<(Fate, u32)>,
    pub(crate) latency_ms: u64,
    /// A connection takes up to so long.
    pub(crate) connect_ms: u64,
    pub(crate) outages: Vec<Outage>,
    pub(crate) disk: DiskMood,
    pub(crate) crashes: u32,
    pub(crate) can_renew: bool,
    pub(crate) inputs: usize,
    /// Whether inputs after the first are begun with `--only-changed`.
    pub(crate) only_changed: bool,
    /// In how many of its first sessions the desk may misbehave.
    pub(crate) sessions: usize,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let rates = [
            "unlimited",
            "unlimited",
            "1/s",
            "20/s",
            "100/min",
            "5/s,60/min",
            "300/s",
            "2000/s",
            "9/10s",
            "20/s,40/30s",
        ];
        Self {
            concurrency: [1, 2, 3, 8][rng.usize(..4)],
            rates: Rate::parse_all(rates[rng.usize(..rates.len())]).unwrap(),
            burst: (rng.u8(..3) == 0).then(|| NonZeroU32::new(rng.u32(1..=20)).unwrap()),
            timeout: Duration::from_secs([2, 30][rng.usize(..2)]),
            limits: Limits {
                retries: rng.u32(..=5),
                resends: false,
                patience: Duration::from_secs([30, 600][rng.usize(..2)]),
                max_wait: Duration::from_secs([60, 900][rng.usize(..2)]),
                max_failures: [
                    MaxFailures::Percent(25.0),
                    MaxFailures::Percent(100.0),
                    MaxFailures::Percent(100.0),
                    MaxFailures::Rows(5),
                ][rng.usize(..4)],
            },
            weights: weights(rng),
            latency_ms: [1, 20, 200, 5_000][rng.usize(..4)],
            connect_ms: [0, 20, 500, 5_000][rng.usize(..4)],
            outages: (0..rng.usize(..3)).map(|_| outage(rng)).collect(),
            disk: DiskMood {
                latency_ms: [0, 1, 20, 100][rng.usize(..4)],
                stalls: [0, 0, 20, 200][rng.usize(..4)],
                errors: [0, 0, 0, 15][rng.usize(..4)],
            },
            crashes: [1, 2, 3, 5][rng.usize(..4)],
            can_renew: rng.bool(),
            inputs: [1, 1, 2, 3][rng.usize(..4)],
            only_changed: rng.bool(),
            sessions: [1, 2, 3, 8][rng.usize(..4)],
        }
    }

    /// What happens to the next request, `since` the beginning.
    pub(crate) fn fate(&self, since: Duration, rng: &mut Rng) -> Fate {
        // Nine of ten, because even a desk that is away answers now and then.
        let out = self.outages.iter().find(|outage| outage.from <= since && since < outage.to);
        if let Some(outage) = out.filter(|_| rng.u8(..10) != 0) {
            return outage.fate;
        }
        let all: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = rng.u32(..all);
        for (fate, weight) in &self.weights {
            if at < *weight {
                return *fate;
            }
            at -= weight;
        }
        Fate::Applied
    }
}

fn weights(rng: &mut Rng) -> Vec<(Fate, u32)> {
    let mut weights = vec![(Fate::Applied, [20, 60, 200, 600][rng.usize(..4)])];
    for _ in 0..rng.usize(..6) {
        let (fate, usual) = TROUBLES[rng.usize(..TROUBLES.len())];
        weights.push((fate, rng.u32(1..=usual)));
    }
    weights
}

fn outage(rng: &mut Rng) -> Outage {
    let fates = [
        Fate::ConnectionRefused,
        Fate::ConnectionRefused,
        Fate::TimedOut,
        Fate::ReplyLost,
        Fate::RequestLost,
        Fate::Throttled,
        Fate::ThrottledBare,
        Fate::ServerError,
        Fate::Unavailable,
        Fate::Forbidden,
    ];
    let from = Duration::from_millis(rng.u64(..60_000));
    let to = from + Duration::from_millis(1 << rng.u32(4..=20));
    Outage { from, to, fate: fates[rng.usize(..fates.len())] }
}
