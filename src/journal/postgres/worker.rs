//! The pipeline's batches: outcomes in, permits out, one statement each.
//!
//! A batch whose answer does not come is given again under the next number, with its outcomes and unused permits, which
//! are fenced by the numbers of their permits and so count once; the rows that it marked are given back, because
//! nobody has seen their permits. That goes on for as long as `--patience` says; then the machine has failed, and what
//! is on its way is found in doubt by whoever takes over.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::clock::{Clock, Sample};
use super::session::{Failure, Session};
use super::{Leases, Place, TERM, to_i64, unit_of};
use crate::error::Error;
use crate::journal::minutes::{Latencies, Meanwhile};
use crate::journal::runs::{Counts, Run, RunKey};
use crate::journal::state::{Ending, Intent, Outcome, Permit, Reason};
use crate::journal::transitions::{Batch, Committed, Refusal, Refused, Told};
use crate::journal::writer::Commits;
use crate::pace::Rate;
use crate::shutdown::Shutdown;

/// Between two tries to reach the database, at first and at most.
const TRY_AGAIN_MIN: Duration = Duration::from_millis(100);
const TRY_AGAIN_MAX: Duration = Duration::from_secs(2);

/// Once somebody has asked to stop, the database gets so long to come back.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// How far ahead of its turn a permit is given.
const AHEAD: Duration = Duration::from_millis(50);

/// What was spent is remembered for at least so long, whatever the rates.
const KEPT_MIN: Duration = Duration::from_hours(1);

/// Of the longest window there are at most so many slots.
const SLOTS_MAX: u64 = 3_600;

/// On what terms a worker works.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The account's rates.
    pub rates: Vec<Rate>,
    /// What each ticket takes.
    pub rate_per_ticket: Option<Rate>,
    /// `--burst`
    pub burst: Option<NonZeroU32>,
    /// Whether rows in doubt are sent again, because a person said so beforehand.
    pub resends: bool,
    /// How long a database that is away is waited for.
    pub patience: Duration,
    /// Who may ask to stop.
    pub shutdown: Shutdown,
}

/// A worker on one run of an account.
#[derive(Debug)]
pub struct Worker {
    session: Session,
    id: i64,
    leases: Arc<Leases>,
    terms: Terms,
    clock: Clock,
    /// The numbers of the last batch, and of the last one that was answered.
    batch: u64,
    answered: u64,
    /// The numbers of the permits that are out, by row.
    permits: HashMap<u64, i32>,
    counts: Counts,
    rates: Value,
    each_ticket: Option<Value>,
    slot_us: i64,
    kept_us: i64,
}

/// What the database answers.
#[derive(Deserialize)]
struct Answer {
    now: i64,
    known: bool,
    /// Row, number, attempt, when to send.
    permits: Vec<(u64, i32, u32, i64)>,
    /// Row, why, until when its ticket rests.
    refused: Vec<(u64, String, Option<i64>)>,
    ask: Option<i64>,
    paused: i64,
    counts: Counts,
}

impl Worker {
    /// Joins those who work for the run's account.
    pub fn join(place: &Place, account: i64, run: &Run, terms: Terms) -> Result<Self, Error> {
        let mut session = Session::new(place)?;
        let name = format!("process {}", std::process::id());
        let rows = session
            .query(
                "SELECT deskload.join_in($1, $2, $3)",
                &[(&account, Type::INT8), (&name, Type::TEXT), (&terms.resends, Type::BOOL)],
            )
            .map_err(Failure::into_error)?;
        let id = rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(odd)?;
        let longest =
            terms.rates.iter().filter_map(|rate| rate.terms(terms.burst).window).max().unwrap_or_default();
        let slot = longest.as_secs().div_ceil(SLOTS_MAX).max(1);
        let rates = terms.rates.iter().map(|rate| {
            let terms = rate.terms(terms.burst);
            json!({
                "period_us": micros(terms.period).max(1), "depth_us": micros(terms.depth), "count": terms.count,
                "window_us": terms.window.map_or(0, micros),
            })
        });
        let each_ticket =
            |rate: Rate| json!({ "count": rate.terms(None).count, "window_us": micros(rate.window()) });
        Ok(Self {
            rates: rates.collect(),
            each_ticket: terms.rate_per_ticket.map(each_ticket),
            slot_us: micros(Duration::from_secs(slot)),
            kept_us: micros(longest.max(KEPT_MIN)),
            session,
            id,
            leases: Arc::default(),
            terms,
            clock: Clock::new(),
            batch: 0,
            answered: 0,
            permits: HashMap::new(),
            counts: run.counts,
        })
    }

    /// Its number among the account's workers.
    #[must_use]
    pub const fn id(&self) -> i64 {
        self.id
    }

    /// Which units are its own; kept up to date by whoever renews them.
    #[must_use]
    pub fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.leases)
    }

    /// Leaves, with nothing on its way: its units are free at once.
    pub fn leave(mut self) -> Result<(), Error> {
        self.session
            .query("SELECT deskload.leave($1)", &[(&self.id, Type::INT8)])
            .map(|_| ())
            .map_err(Failure::into_error)
    }

    fn exchange(&mut self, run: RunKey, batch: &Batch) -> Result<Committed, Error> {
        let (mut wanted, mut lost): (&[Intent], &[Intent]) = (&batch.wanted, &[]);
        let mut sample = Some(&batch.meanwhile);
        let (mut wait, mut troubled_since) = (TRY_AGAIN_MIN, None);
        loop {
            let failure = match self.give(run, batch, (wanted, lost), sample) {
                Ok((answer, sample)) => return Ok(self.take(batch, &answer, sample)),
                Err(failure) => failure,
            };
            match failure {
                Failure::Conflict(error) => tracing::debug!("{error}; again"),
                Failure::Final(error) => return Err(error),
                Failure::Lost(error) => {
                    // It may have taken effect, or may yet: its permits will never be used.
                    (wanted, lost, sample) = (&[], &batch.wanted, None);
                    let since = *troubled_since.get_or_insert_with(Instant::now);
                    let most = match self.terms.shutdown.check() {
                        Ok(()) => self.terms.patience,
                        Err(_) => self.terms.patience.min(FAREWELL_MAX),
                    };
                    if since.elapsed() >= most {
                        return Err(error);
                    }
                    tracing::info!("{error}; trying again");
                    std::thread::sleep(wait);
                    wait = (wait * 2).min(TRY_AGAIN_MAX);
                }
            }
        }
    }

    fn give(
        &mut self,
        run: RunKey,
        batch: &Batch,
        (wanted, lost): (&[Intent], &[Intent]),
        sample: Option<&Meanwhile>,
    ) -> Result<(Answer, Sample), Failure> {
        self.batch += 1;
        let back = batch.given_back.iter().filter_map(|permit| {
            let (row, number) = self.fence(permit.row())?;
            Some(json!({ "n": row, "p": number, "s": permit.unsettled().code() }))
        });
        let request = json!({
            "run": run.id, "worker": self.id, "batch": self.batch, "answered": self.answered,
            "outcomes": batch.outcomes.iter().filter_map(|outcome| self.outcome(outcome)).collect::<Value>(),
            "back": back.collect::<Value>(),
            "lost": lost.iter().map(|intent| json!([intent.row, intent.unsettled().code()])).collect::<Value>(),
            "wanted": wanted.iter().map(|intent| self.wanted(intent)).collect::<Value>(),
            "each_ticket": self.each_ticket, "rates": self.rates, "slot_us": self.slot_us, "kept_us": self.kept_us,
            "reply_us": self.clock.reply_us(), "ahead_us": micros(AHEAD),
            "sample": sample.map(|meanwhile| json!({
                "paused_ms": meanwhile.paused_ms, "away_ms": meanwhile.away_ms, "per_second": meanwhile.per_second,
                "latencies": Latencies::of(&batch.outcomes).0,
            })),
            "pause_us": batch.pause.map_or(0, |pause| to_i64(pause.wait_ms).saturating_mul(1_000)),
        })
        .to_string();
        let asked = Instant::now();
        let rows =
            self.session.query("SELECT deskload.take_in($1::jsonb)::text", &[(&request, Type::TEXT)])?;
        let answered = Instant::now();
        let text: Option<&str> = rows.first().and_then(|row| row.try_get(0).ok());
        let answer: Answer =
            text.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| Failure::Final(odd()))?;
        let sample = Sample { asked, answered, said: answer.now };
        Ok((answer, sample))
    }

    fn take(&mut self, batch: &Batch, answer: &Answer, sample: Sample) -> Committed {
        let settled = batch.outcomes.iter().map(Outcome::row).chain(batch.given_back.iter().map(Permit::row));
        for row in settled {
            self.permits.remove(&row);
        }
        self.answered = self.batch;
        self.counts = answer.counts;
        let here = self.clock.heard(sample);
        let given: HashMap<u64, (i32, u32, i64)> = answer
            .permits
            .iter()
            .map(|(row, permit, attempt, due)| (*row, (*permit, *attempt, *due)))
            .collect();
        let why = |row: u64| match answer.refused.iter().find(|(refused, ..)| *refused == row) {
            Some((.., Some(rests))) => Refusal::Rests(here(*rests)),
            Some((_, why, None)) if why != "spent" => Refusal::NotOurs,
            // Of a batch that was given again nobody has a permit, and everybody asks again.
            _ => Refusal::Spent,
        };
        let (mut permits, mut refused) = (Vec::with_capacity(given.len()), Vec::new());
        for intent in &batch.wanted {
            if let Some((permit, attempt, due)) = given.get(&intent.row) {
                self.permits.insert(intent.row, *permit);
                permits.push(Permit::in_turn(intent, *attempt, here(*due)));
            } else {
                refused.push(Refused { row: intent.row, why: why(intent.row) });
            }
        }
        let pace = Told {
            ask_from: answer.ask.map(here),
            paused: (answer.paused > 0).then(|| Duration::from_micros(answer.paused.cast_unsigned())),
        };
        // Outcomes are taken in all the same: they are what is known.
        let trouble = (!answer.known).then(|| changed(self.session.place()));
        Committed { permits, refused, counts: answer.counts, pace, trouble }
    }

    /// The row, the unit that it is in, the lease under which it is asked for, and whether it may be in doubt.
    fn wanted(&self, intent: &Intent) -> Value {
        let unit = unit_of(intent.ticket);
        json!([intent.row, unit, self.leases.epoch(unit).unwrap_or(-1), intent.resend])
    }

    fn fence(&self, row: u64) -> Option<(u64, i32)> {
        self.permits.get(&row).map(|permit| (row, *permit))
    }

    fn outcome(&self, outcome: &Outcome) -> Option<Value> {
        let (row, permit) = self.fence(outcome.row())?;
        let note = match outcome.ending() {
            Ending::Applied => None,
            Ending::Failed(note) | Ending::InDoubt(note) | Ending::NotApplied(note) => Some(note),
        };
        Some(json!({
            "n": row, "p": permit, "s": outcome.state().code(),
            "r": note.map(|note| note.reason.as_str()), "m": note.map(|note| &note.message),
            "h": note.and_then(|note| note.http_status),
            "gone": i32::from(note.is_some_and(|note| note.reason.never_left())),
            "thr": i32::from(note.is_some_and(|note| note.reason == Reason::Throttled)),
        }))
    }
}

impl Commits for Worker {
    fn commit(&mut self, run: RunKey, batch: &Batch) -> Result<Committed, Error> {
        let has_work = !batch.outcomes.is_empty()
            || !batch.given_back.is_empty()
            || !batch.wanted.is_empty()
            || batch.pause.is_some()
            || batch.meanwhile.has_waited();
        if !has_work {
            // Rows that are set aside stand as they stood.
            let (permits, refused) = (Vec::new(), Vec::new());
            return Ok(Committed {
                permits,
                refused,
                counts: self.counts,
                pace: Told::default(),
                trouble: None,
            });
        }
        self.exchange(run, batch)
    }
}

/// The term of a lease, in the database's microseconds.
pub(super) fn term_us() -> i64 {
    micros(TERM)
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn odd() -> Error {
    Error::Machine("the journal's database gave an answer that this deskload does not understand".to_owned())
}

/// Another server has taken over, or this one was set back.
pub(super) fn changed(place: &Place) -> Error {
    Error::Machine(format!(
        "the journal {place} is not where it was: a standby that was promoted, or a backup or a copy that was put in its \
         place, may have forgotten what was sent last, so nothing more is sent; once you are sure that it has not, say so \
         with deskload journal check --confirm, then give the same command again"
    ))
}
