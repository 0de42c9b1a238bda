//! One request in; one decision, one line in the log and one count out.
//!
//! Everything about a request is settled here at once, under one lock, in the order of arrival: number, time,
//! dice, throttle, log. What the network then makes of the reply changes nothing about it. If the line cannot
//! be written there is no reply and the desk is over.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;

use super::faults::{Fate, Reply};
use super::log::{Entry, Log, Word};
use super::options::{Latency, Options};
use super::request::Body;
use super::rules::{self, Ruling};
use super::throttle::Bucket;
use crate::error::Error;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Everything that arrived whole, to whatever address.
    pub requests: u64,
    /// Changes that took effect, whatever was replied.
    pub applied: u64,
    /// Requests that were understood and refused, for their content or for the ticket.
    pub refused: u64,
    /// Answered 429 for the rate; scripted ones are not among them.
    pub throttled: u64,
    /// Applied and then closed without a reply.
    pub dropped: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    applied: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        // `requests` is read last, so that no part is ever seen to be larger than the whole.
        let (applied, refused) = (self.applied.load(Relaxed), self.refused.load(Relaxed));
        let (throttled, dropped) = (self.throttled.load(Relaxed), self.dropped.load(Relaxed));
        Counts { requests: self.requests.load(Relaxed), applied, refused, throttled, dropped }
    }
}

/// What arrived.
pub(super) enum Arrival<'a> {
    /// At another address; this is what it gets.
    Misdirected(Reply),
    /// At the endpoint, with a body over the limit.
    TooLarge,
    /// At the endpoint, whole.
    Whole(&'a HeaderMap, &'a [u8]),
}

/// What goes back, and how long it takes.
pub(super) struct Answer {
    /// Never [`Reply::AsRuled`] or [`Reply::OtherTicket`]: those are resolved by now.
    pub(super) reply: Reply,
    pub(super) wait: Duration,
}

pub(super) struct Desk {
    options: Options,
    counters: Arc<Counters>,
    started: Instant,
    started_unix: Duration,
    state: Mutex<State>,
}

struct State {
    seq: u64,
    dice: fastrand::Rng,
    bucket: Option<Bucket>,
    /// The turns that each of the fates has left.
    turns: Vec<u32>,
    log: Option<Log>,
    /// A line could not be written. Nothing is settled after that: half a line may stand at the log's end.
    broken: bool,
}

/// A request that was looked at, and not yet decided.
struct Case<'a> {
    misdirected: Option<Reply>,
    body: Result<Body<'a>, &'static str>,
    ticket: Option<u64>,
}

struct Decision {
    word: Word,
    reply: Reply,
    applied: bool,
}

impl Decision {
    const fn refusal(word: Word, reply: Reply) -> Self {
        Self { word, reply, applied: false }
    }
}

impl Desk {
    pub(super) fn new(options: Options) -> Result<Self, Error> {
        for fate in &options.fates {
            if !super::server::can_be_sent(&fate.reply) {
                return Err(Error::Usage(format!(
                    "failed to start the sandbox: the reply scripted for {:?} is no HTTP; use Reply::raw for it",
                    fate.when
                )));
            }
        }
        let log = match &options.log {
            None => None,
            Some(path) => Some(
                Log::open(path, &options.token).map_err(|error| Error::file("open the log", path, &error))?,
            ),
        };
        let started = Instant::now();
        let state = State {
            seq: 0,
            dice: fastrand::Rng::with_seed(options.seed),
            bucket: options.rate.map(|rate| Bucket::new(rate, started)),
            turns: options.fates.iter().map(|fate| fate.times).collect(),
            log,
            broken: false,
        };
        Ok(Self {
            options,
            counters: Arc::default(),
            started,
            // A clock before 1970 is no reason not to serve.
            started_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            state: Mutex::new(state),
        })
    }

    pub(super) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Settles one request. The error is the log's, and it ends the desk.
    pub(super) fn receive(&self, arrival: Arrival<'_>) -> Result<Answer, Error> {
        let case = examine(arrival);
        // A panic elsewhere leaves the state as whole as it was: every step of it is one assignment.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.broken {
            return Err(Error::Machine("the sandbox has ended: its log could not be written".to_owned()));
        }
        let now = Instant::now();
        state.seq += 1;
        let seq = state.seq;
        let decision = self.decide(&mut state, &case, now);
        if let Some(log) = &mut state.log {
            let entry = Entry {
                seq,
                at: self.started_unix + now.saturating_duration_since(self.started),
                ticket: case.ticket,
                body: case.body.as_ref().ok(),
                status: decision.reply.status_code(),
                applied: decision.applied,
                word: decision.word,
            };
            if let Err(error) = log.append(&entry) {
                state.broken = true;
                let path = self.options.log.as_deref().unwrap_or_else(|| "".as_ref());
                return Err(Error::file("write the log", path, &error));
            }
        }
        let wait = latency(&mut state.dice, self.options.latency);
        drop(state);
        self.count(&decision);
        Ok(Answer { reply: decision.reply, wait })
    }

    fn decide(&self, state: &mut State, case: &Case<'_>, now: Instant) -> Decision {
        if let Some(reply) = &case.misdirected {
            return Decision::refusal(Word::Misdirected, reply.clone());
        }
        let fate = state.next_fate(&self.options.fates, case.ticket);
        if fate.is_none()
            && let Some(Err(seconds)) = state.bucket.as_mut().map(|bucket| bucket.take(now))
        {
            let reply = Reply::error(429, "Too many requests").header("retry-after", &seconds.to_string());
            return Decision::refusal(Word::Throttled, reply);
        }
        let ruled = self.by_the_rules(case);
        match fate {
            Some(fate) => Decision {
                word: Word::Scripted,
                applied: fate.applied && ruled.applied,
                reply: match &fate.reply {
                    Reply::AsRuled => ruled.reply,
                    Reply::OtherTicket => {
                        let other = case.ticket.map_or(1, |ticket| ticket.wrapping_add(1).max(1));
                        Reply::json(200, rules::success_body(other))
                    }
                    scripted => scripted.clone(),
                },
            },
            None if ruled.applied && chance(&mut state.dice, self.options.drop) => {
                Decision { word: Word::Dropped, reply: Reply::close(), applied: true }
            }
            None => ruled,
        }
    }

    fn by_the_rules(&self, case: &Case<'_>) -> Decision {
        let body = match &case.body {
            Ok(body) => body,
            Err(TOO_LARGE) => return Decision::refusal(Word::Malformed, Reply::error(413, TOO_LARGE)),
            Err(complaint) => return Decision::refusal(Word::Malformed, Reply::error(200, complaint)),
        };
        match rules::rule(body, &self.options) {
            Ruling::Unauthenticated => {
                Decision::refusal(Word::Unauthenticated, Reply::error(200, rules::AUTHENTICATION))
            }
            Ruling::Refused(description) => Decision::refusal(Word::Refused, Reply::error(200, description)),
            Ruling::Applied(ticket) if self.lacks(ticket) => {
                Decision::refusal(Word::Refused, Reply::error(200, rules::NOT_FOUND))
            }
            Ruling::Applied(ticket) => {
                let reply = Reply::json(200, rules::success_body(ticket));
                Decision { word: Word::Applied, reply, applied: true }
            }
        }
    }

    /// Whether the dice have taken this ticket away: by seed and ticket alone, so the answer never changes.
    fn lacks(&self, ticket: u64) -> bool {
        let mut dice = fastrand::Rng::with_seed(self.options.seed);
        let salt = dice.u64(..);
        chance(&mut fastrand::Rng::with_seed(salt ^ ticket), self.options.fail)
    }

    fn count(&self, decision: &Decision) {
        let counters = &self.counters;
        counters.requests.fetch_add(1, Relaxed);
        if decision.applied {
            counters.applied.fetch_add(1, Relaxed);
        }
        match decision.word {
            Word::Refused => counters.refused.fetch_add(1, Relaxed),
            Word::Throttled => counters.throttled.fetch_add(1, Relaxed),
            Word::Dropped => counters.dropped.fetch_add(1, Relaxed),
            Word::Applied | Word::Unauthenticated | Word::Malformed | Word::Misdirected | Word::Scripted => 0,
        };
    }
}

impl State {
    /// The first fate that fits and has turns left; it has one less now.
    fn next_fate<'f>(&mut self, fates: &'f [Fate], ticket: Option<u64>) -> Option<&'f Fate> {
        let seq = self.seq;
        let (fate, turns) = fates
            .iter()
            .zip(&mut self.turns)
            .find(|(fate, turns)| **turns > 0 && fate.when.fits(seq, ticket))?;
        if fate.times != Fate::FOREVER {
            *turns -= 1;
        }
        Some(fate)
    }
}

const TOO_LARGE: &str = "Request is too large";

fn examine(arrival: Arrival<'_>) -> Case<'_> {
    let nothing = |complaint| (None, Err(complaint));
    let (misdirected, body) = match arrival {
        Arrival::Misdirected(reply) => (Some(reply), Err("")),
        Arrival::TooLarge => nothing(TOO_LARGE),
        Arrival::Whole(headers, bytes) => match rules::wrong_headers(headers) {
            Some(complaint) => nothing(complaint),
            None => (None, Body::parse(bytes)),
        },
    };
    let ticket = body.as_ref().ok().and_then(Body::ticket);
    Case { misdirected, body, ticket }
}

fn chance(dice: &mut fastrand::Rng, probability: f64) -> bool {
    probability > 0.0 && dice.f64() < probability
}

fn latency(dice: &mut fastrand::Rng, range: Latency) -> Duration {
    match range.max.saturating_sub(range.min) {
        Duration::ZERO => range.min,
        spread => range.min + spread.mul_f64(dice.f64()),
    }
}
