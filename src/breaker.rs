//! What a verdict means for the run: settle the row, try it again, let its ticket rest, or stop.
//!
//! [`crate::desk::verdict`] looks at one reply; this looks at what came before it in this invocation. It counts
//! here alone, so that a resumed run is not stopped by what an earlier night met. It sends nothing, waits for
//! nothing and writes nothing; time is tokio's, so that tests can pause it.

mod max_failures;

use std::time::Duration;

use tokio::time::Instant;

use crate::desk::verdict::Verdict;
use crate::error::Error;
use crate::journal::state::{Ending, Note};
use crate::pace::Pace;
use crate::todo::Row;
pub use max_failures::MaxFailures;

/// After so many in a row, a 403 or a redirect is no longer one ticket's own trouble.
const IN_A_ROW_MAX: u32 = 3;

/// A desk that is away gets so many probes that end in doubt: each is a row that a person must look at.
const PROBES_IN_DOUBT_MAX: u32 = 5;

/// Our own backoff: full jitter below this, doubled each time, up to the second.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// Announced pauses with nothing going through between them may add up to so many times `--max-wait`.
const PAUSES_MAX: u32 = 4;

/// So many rows that went through for each refusal of another row show that a refusal is one ticket's own.
const OTHERS_PASSED: u64 = 4;

/// How much trouble a run bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Refusals of one row, while others go through, before its ticket rests.
    pub retries: u32,
    /// Whether a person said that rows in doubt are sent again, as often as `retries` allows.
    pub resends: bool,
    /// How long to wait for a desk that is away.
    pub patience: Duration,
    /// The longest pause that is waited for.
    pub max_wait: Duration,
    /// How many bad rows are too many.
    pub max_failures: MaxFailures,
}

/// What to do with the row.
#[derive(Debug)]
pub enum Decision {
    /// It has its outcome.
    Settle(Ending),
    /// Not applied: it goes again in its turn.
    Again(Note),
    /// Not applied: it goes again after those that are ready.
    Later(Note),
    /// Not applied, and it is this ticket alone that the desk refuses: it rests for so long.
    Park(Note, Duration),
    /// In doubt, and a person said beforehand to send such rows again.
    Resend(Note),
    /// Not applied, and refused too often: its ticket rests for this invocation.
    Rest(Note),
    /// Not applied; a new token may help. If there is none to be had, stop.
    Renew(Note, Error),
    /// Not applied; nothing more is sent.
    Stop(Note, Error),
}

/// A desk that does not answer.
#[derive(Debug)]
struct Away {
    since: Instant,
    /// When the next probe may leave.
    probe_at: Instant,
    probes: u32,
    in_doubt: u32,
}

/// What this invocation has met so far.
#[derive(Debug)]
pub struct Breaker {
    limits: Limits,
    rng: fastrand::Rng,
    applied: u64,
    settled: u64,
    bad: u64,
    /// Rows that went through, for better or worse.
    passed: u64,
    /// Answers that asked to come back later.
    refused: u64,
    forbidden_in_a_row: u32,
    redirected_in_a_row: u32,
    unannounced_pauses: u32,
    away: Option<Away>,
    /// How long it was away before.
    away_before: Duration,
    /// When trouble began after the last row that went through; announced pauses push it on.
    troubled_since: Option<Instant>,
    paused_at_progress: Duration,
}

impl Breaker {
    /// Begins an invocation. `rng` is for the jitter; `invalid` rows were found by this invocation's first pass.
    #[must_use]
    pub const fn new(limits: Limits, rng: fastrand::Rng, invalid: u64) -> Self {
        Self {
            limits,
            rng,
            applied: 0,
            settled: invalid,
            bad: invalid,
            passed: 0,
            refused: 0,
            forbidden_in_a_row: 0,
            redirected_in_a_row: 0,
            unannounced_pauses: 0,
            away: None,
            away_before: Duration::ZERO,
            troubled_since: None,
            paused_at_progress: Duration::ZERO,
        }
    }

    /// How many requests may be on their way at once, of `concurrency`.
    #[must_use]
    pub fn allowed(&self, concurrency: usize) -> usize {
        match &self.away {
            None => concurrency,
            Some(away) if away.probe_at <= Instant::now() => 1,
            Some(_) => 0,
        }
    }

    /// When the next probe of a desk that is away may leave.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        self.away.as_ref().map(|away| away.probe_at)
    }

    /// Whether requests leave one at a time, to see if the desk is back.
    #[must_use]
    pub const fn is_probing(&self) -> bool {
        self.away.is_some()
    }

    /// Applied rows count once they are committed.
    pub const fn committed(&mut self, applied: u64) {
        self.applied += applied;
    }

    /// How long the desk has been away so far, all in all.
    #[must_use]
    pub fn away_total(&self) -> Duration {
        self.away_before + self.away.as_ref().map_or(Duration::ZERO, |away| away.since.elapsed())
    }

    /// Decides. `probe`: the request left while the desk was away.
    pub fn decide(&mut self, verdict: Verdict, row: &mut Row, probe: bool, pace: &mut Pace) -> Decision {
        let (forbidden, redirected) = (self.forbidden_in_a_row, self.redirected_in_a_row);
        if !matches!(verdict, Verdict::NotSent { .. }) {
            (self.forbidden_in_a_row, self.redirected_in_a_row) = (0, 0);
        }
        match verdict {
            Verdict::Applied => {
                self.went_through(pace);
                self.settle(Ending::Applied)
            }
            Verdict::Failed(note) => {
                self.went_through(pace);
                self.settle(Ending::Failed(note))
            }
            Verdict::InDoubt { lost, note } => self.in_doubt(lost, note, row, probe, pace),
            Verdict::Throttled(wait, note) => self.throttled(wait, note, row, pace),
            Verdict::NotSent { away, note } => {
                if away {
                    self.step_back(probe, false, pace);
                }
                Decision::Again(note)
            }
            Verdict::Credentials(note) => {
                let stop = credentials_refused(&note);
                Decision::Renew(note, stop)
            }
            Verdict::Forbidden(note) => {
                self.forbidden_in_a_row = forbidden + 1;
                if self.applied == 0 || self.forbidden_in_a_row >= IN_A_ROW_MAX {
                    let stop = credentials_refused(&note);
                    return Decision::Renew(note, stop);
                }
                self.went_through(pace);
                self.settle(Ending::Failed(note))
            }
            Verdict::Redirected(note) => {
                self.redirected_in_a_row = redirected + 1;
                if self.applied == 0 || self.redirected_in_a_row >= IN_A_ROW_MAX {
                    let stop = Error::Usage(format!("{}; check --url", note.message));
                    return Decision::Stop(note, stop);
                }
                self.went_through(pace);
                self.settle(Ending::Failed(note))
            }
            Verdict::Certificate(note) => {
                let stop = certificate_not_valid(&note);
                Decision::Stop(note, stop)
            }
        }
    }

    /// No connection came about. The error: none ever will that may be used. `probe`: the desk was away before.
    pub fn no_connection(&mut self, verdict: &Verdict, probe: bool, pace: &Pace) -> Result<(), Error> {
        if let Verdict::Certificate(note) = verdict {
            return Err(certificate_not_valid(note));
        }
        self.step_back(probe, false, pace);
        Ok(())
    }

    /// Whether so many rows are bad that going on would do harm.
    #[must_use]
    pub fn too_many_failures(&self) -> Option<Error> {
        self.limits.max_failures.is_reached(self.bad, self.settled).then(|| {
            Error::TooManyFailures(format!(
                "{} of the {} rows settled now are failed, invalid or in doubt, more than --max-failures {} allows; \
                 read the report, then give the same command again",
                self.bad, self.settled, self.limits.max_failures
            ))
        })
    }

    fn settle(&mut self, ending: Ending) -> Decision {
        self.settled += 1;
        if matches!(ending, Ending::Failed(_) | Ending::InDoubt(_)) {
            self.bad += 1;
        }
        Decision::Settle(ending)
    }

    /// The desk is there and answers.
    fn went_through(&mut self, pace: &mut Pace) {
        self.passed += 1;
        pace.went_through();
        self.away_before = self.away_total();
        self.away = None;
        self.troubled_since = None;
        self.unannounced_pauses = 0;
        self.paused_at_progress = pace.paused_total();
    }

    fn in_doubt(&mut self, lost: bool, note: Note, row: &mut Row, probe: bool, pace: &Pace) -> Decision {
        if lost || probe {
            self.step_back(probe, true, pace);
        }
        if self.limits.resends && row.doubts < self.limits.retries {
            row.doubts += 1;
            return Decision::Resend(note);
        }
        self.settle(Ending::InDoubt(note))
    }

    /// When trouble began. A pause that is under way is not held against the desk's time.
    fn troubled(&mut self, pace: &Pace) -> Instant {
        *self.troubled_since.get_or_insert_with(|| pace.paused_until().unwrap_or_else(Instant::now))
    }

    /// Whether to stop waiting for the desk, and what to say then.
    #[must_use]
    pub fn gives_up(&self) -> Option<Error> {
        self.is_hopeless().then(|| {
            let why = if self.away.is_some() { "does not answer" } else { "keeps asking to come back later" };
            Error::Early(format!(
                "the desk {why}; nothing is lost, and the same command goes on another time"
            ))
        })
    }

    fn is_hopeless(&self) -> bool {
        self.away.as_ref().is_some_and(|away| away.in_doubt >= PROBES_IN_DOUBT_MAX)
            || self.troubled_since.is_some_and(|since| since.elapsed() >= self.limits.patience)
    }

    /// From now on one request at a time, with growing waits. What was lost at once counts once: only a probe,
    /// or the first trouble, moves this.
    fn step_back(&mut self, probe: bool, in_doubt: bool, pace: &Pace) {
        let since = self.troubled(pace);
        if self.away.is_some() && !probe {
            return;
        }
        let probes = self.away.as_ref().map_or(0, |away| away.probes + 1);
        let doubts = self.away.as_ref().map_or(0, |away| away.in_doubt) + u32::from(probe && in_doubt);
        let wait = self.backoff(probes);
        // The last probe leaves when patience ends, not long before.
        let probe_at = (Instant::now() + wait).min(since + self.limits.patience);
        let away_since = self.away.as_ref().map_or_else(Instant::now, |away| away.since);
        self.away = Some(Away { since: away_since, probe_at, probes, in_doubt: doubts });
    }

    /// Full jitter: anything from nothing to the bound, which doubles. It spreads those who wait for one desk.
    fn backoff(&mut self, times: u32) -> Duration {
        let bound = BACKOFF_MIN.saturating_mul(1 << times.min(10)).min(BACKOFF_MAX);
        bound.mul_f64(self.rng.f64())
    }

    /// The desk said "later". Nobody knows whether it means the account or this one ticket; so the whole account pauses,
    /// and the row lets others go first. If it is refused again although, since its last refusal, rows of other tickets went
    /// through, at least [`OTHERS_PASSED`] and as many for each other refusal, it is the ticket's own limit: that ticket
    /// alone is parked, and the account goes on.
    fn throttled(&mut self, wait: Option<Duration>, note: Note, row: &mut Row, pace: &mut Pace) -> Decision {
        let others_passed = self.passed - row.refused_at;
        let others_refused = self.refused - row.refusals_seen;
        let is_its_own = row.refusals > 0 && others_passed >= OTHERS_PASSED * others_refused.max(1);
        self.refused += 1;
        // A refusal counts against the row only if others went through since its last one.
        if others_passed > 0 || row.refusals == 0 {
            row.refusals += 1;
        }
        (row.refused_at, row.refusals_seen) = (self.passed, self.refused);
        let is_too_often = row.refusals > self.limits.retries;
        if is_its_own {
            let wait = wait.filter(|wait| !wait.is_zero()).unwrap_or_else(|| self.backoff(row.refusals));
            let rests = is_too_often || wait > self.limits.max_wait;
            return if rests { Decision::Rest(note) } else { Decision::Park(note, wait) };
        }
        if pace.paused_until().is_none() {
            pace.slow_down();
        }
        match self.pause_account(wait, pace) {
            Err(stop) => Decision::Stop(note, stop),
            Ok(()) if is_too_often => Decision::Rest(note),
            Ok(()) => Decision::Later(note),
        }
    }

    /// Pauses for as long as the desk says, else for as long as our own backoff does. The error: it is too long.
    fn pause_account(&mut self, wait: Option<Duration>, pace: &mut Pace) -> Result<(), Error> {
        // A desk that was away stays so until something goes through: a 429 between two losses proves little.
        // "Now" is believed once; to who says so again while nothing goes through, our own backoff is kinder.
        let wait = wait.filter(|wait| !wait.is_zero() || self.troubled_since.is_none());
        let Some(wait) = wait else {
            if pace.paused_until().is_none() {
                self.troubled(pace);
                let wait = self.backoff(self.unannounced_pauses);
                self.unannounced_pauses += 1;
                pace.pause(wait);
            }
            return Ok(());
        };
        let until = |pace: &Pace| pace.paused_until().unwrap_or_else(Instant::now);
        let before = until(pace);
        // Too long or not, the journal remembers it for the next start.
        pace.pause(wait);
        if wait > self.limits.max_wait {
            return Err(come_back(wait, self.limits.max_wait));
        }
        // Announced pauses do not count toward patience, and those that overlap are waited for once; what
        // passes between them does.
        match &mut self.troubled_since {
            Some(since) => *since += until(pace).saturating_duration_since(before),
            None => _ = self.troubled(pace),
        }
        let paused = pace.paused_total().saturating_sub(self.paused_at_progress);
        if paused + wait > self.limits.max_wait * PAUSES_MAX {
            return Err(Error::Early(format!(
                "the desk has asked for pause after pause for {} and let nothing through; \
                 give the same command again later",
                crate::text::duration(paused)
            )));
        }
        Ok(())
    }

    /// A pause from before this invocation that is too long to be waited for.
    #[must_use]
    pub fn waits_too_long(&self, pace: &Pace) -> Option<Error> {
        let left = pace.paused_until()?.saturating_duration_since(Instant::now());
        (left > self.limits.max_wait).then(|| come_back(left, self.limits.max_wait))
    }
}

fn credentials_refused(note: &Note) -> Error {
    Error::Credentials(format!(
        "the desk refused the credentials ({}); no row was marked failed; check --account-email and the token, \
         then give the same command again",
        note.message
    ))
}

fn certificate_not_valid(note: &Note) -> Error {
    Error::Usage(format!(
        "the desk's certificate is not valid: {}; check --url, or name the authority with --ca-file",
        note.message
    ))
}

fn come_back(wait: Duration, max_wait: Duration) -> Error {
    let zone = jiff::tz::TimeZone::system();
    let when = jiff::SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| jiff::Timestamp::now().checked_add(wait).ok())
        .map_or_else(
            || "later than can be counted".to_owned(),
            |then| then.to_zoned_datetime(zone).strftime("at %Y-%m-%d %H:%M:%S %Z").to_string(),
        );
    Error::Early(format!(
        "the desk asks to come back in {}, and --max-wait is {}; give the same command again {when}",
        crate::text::duration(wait),
        crate::text::duration(max_wait)
    ))
}

#[cfg(test)]
mod tests;
