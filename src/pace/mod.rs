//! When the next request may leave: the rates that were asked for, and the pauses that the desk asks for.
//!
//! | File | Its one job |
//! |---|---|
//! | `rate` | so many in so much time, as people write it |
//! | `bucket` | requests leave evenly; the only user of governor |
//! | `window` | never more than so many within a time |
//! | `tickets` | the same for each ticket |
//! | `slowdown` | half the pace after a refusal, and the way back |
//! | [`ledger`] | what the journal remembers of it |
//! | [`uptime`] | the clock by which it is remembered |
//!
//! Everything is spent at the moment of sending, after the intent's commit, so that the desk never sees more than
//! was asked for, not even after a commit that stalled: that time is lost, not made up for in a burst. To ask for
//! intents in good time, [`Pace::due`] says when a request may leave without spending anything.
//!
//! **What holds.** Of `100/min` there are never more than 100 in any minute, whatever the burst, and whichever
//! process sent them. Of a rate by the second the bucket's depth comes on top: in any second at most the rate and
//! the burst. Retries are requests, and count.

mod bucket;
pub mod ledger;
mod rate;
mod slowdown;
mod tickets;
pub mod uptime;
mod window;

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::journal::transitions::Told;
use crate::ticket::TicketId;
use bucket::Bucket;
use ledger::{Entry, Ledger, PAUSE_MAX, Pause, Remembered, Slowed};
pub use rate::Rate;
use slowdown::Slowdown;
use tickets::Tickets;
use uptime::Uptime;
use window::Window;

/// How long before a cell is due its intent may be asked for; also how much may wait between the intent and
/// the wire, as a share of the rate.
pub const LEAD: Duration = Duration::from_millis(20);

/// The same where the journal keeps the pace: its answer is a round trip away.
const SHARED_LEAD: Duration = Duration::from_millis(50);

/// Where the journal says when a request may leave, one that is later than this does not: others leave at their turns,
/// and the desk would see more of them in a second than the rate allows. Between two requests of a slow rate there is
/// room for more.
const LATE: Duration = Duration::from_millis(20);
const LATE_MAX: Duration = Duration::from_millis(100);

/// A wait for a window that is shorter than this is nothing to tell a person of.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// What keeps one rate.
struct Limit {
    bucket: Bucket,
    window: Window,
}

/// The pace of one account.
pub struct Pace {
    limits: Vec<Limit>,
    tickets: Option<Tickets>,
    slowdown: Option<Slowdown>,
    ledger: Option<Ledger>,
    /// How much may wait between the intent and the wire, as a share of the rate.
    lead: Duration,
    /// Before then the journal, which keeps the pace, has nothing to give.
    ask_from: Option<Instant>,
    /// Requests a second of the slowest rate; `None` when there is no limit.
    per_second: Option<f64>,
    /// The longest of the windows.
    longest: Option<Duration>,
    paused_until: Option<Instant>,
    paused_from: Instant,
    paused_before: Duration,
    /// The pause is not in the journal yet.
    pause_is_news: bool,
    /// The slower pace, as the journal has it.
    slowed_written: Option<f64>,
}

impl Pace {
    /// Sets up a bucket and a window for each rate; none means no limit. It remembers nothing.
    pub fn new(rates: &[Rate], burst: Option<NonZeroU32>) -> Result<Self, Error> {
        let limit = |rate: &Rate| {
            let window = Window::new(rate.most(burst), rate.window());
            Ok(Limit { bucket: Bucket::new(*rate, burst)?, window })
        };
        let per_second = rates.iter().map(Rate::per_second).min_by(f64::total_cmp);
        Ok(Self {
            limits: rates.iter().map(limit).collect::<Result<_, Error>>()?,
            tickets: None,
            slowdown: per_second.map(Slowdown::new),
            ledger: None,
            lead: LEAD,
            ask_from: None,
            per_second,
            longest: rates.iter().map(Rate::window).max(),
            paused_until: None,
            paused_from: Instant::now(),
            paused_before: Duration::ZERO,
            pause_is_news: false,
            slowed_written: None,
        })
    }

    /// The pace of an account that several processes share: the journal keeps the rates and says when each request may
    /// leave. Here are the desk's pauses alone, and how far ahead permits are asked for.
    pub fn kept_by_the_journal(rates: &[Rate]) -> Result<Self, Error> {
        Ok(Self {
            per_second: rates.iter().map(Rate::per_second).min_by(f64::total_cmp),
            ledger: Some(Ledger::new(Uptime::of_this_machine(), None, None)),
            lead: SHARED_LEAD,
            ..Self::new(&[], None)?
        })
    }

    /// The journal has told how the shared pace stands.
    pub fn told(&mut self, told: Told) {
        self.ask_from = told.ask_from;
        if let Some(left) = told.paused {
            // It is in the journal already; what this process has heard itself may not be.
            let is_news = self.pause_is_news;
            self.pause(left);
            self.pause_is_news = is_news;
        }
    }

    /// How late after its turn a request may leave: 20 ms, which is 2% of a second's requests; up to 100 ms where the
    /// next turn is that far off.
    #[must_use]
    pub fn late_max(&self) -> Duration {
        let period = self.per_second.map_or(LATE_MAX, |rate| Duration::from_secs_f64(1.0 / rate));
        period.clamp(LATE, LATE_MAX)
    }

    /// When there is a use in asking for permits. In the past or present: now.
    #[must_use]
    pub fn asks_from(&self) -> Instant {
        self.ask_from.map_or_else(|| self.due(), |from| from.max(self.due()))
    }

    /// The same, with a limit for each ticket.
    #[must_use]
    pub fn with_each_ticket(self, rate: Option<Rate>) -> Self {
        Self { tickets: rate.map(Tickets::new), ..self }
    }

    /// The same, going on from what processes before this one have spent and from the pace that they were at, and keeping a
    /// ledger for those after it. Comes last: the ledger counts by the limits.
    #[must_use]
    pub fn remembering(mut self, before: &Remembered, uptime: Uptime) -> Self {
        let now = uptime.now();
        let sent: Vec<(Duration, u64)> =
            before.spent.iter().map(|spent| (spent.until.ago_at_least(now), spent.requests)).collect();
        for limit in &mut self.limits {
            limit.window.remember(&sent);
        }
        if let Some(tickets) = &mut self.tickets {
            tickets.remember(&before.spent_by_ticket, now);
        }
        if let Some((slowdown, per_second)) = self.slowdown.as_mut().zip(before.slowed_to) {
            slowdown.remember(per_second);
            self.slowed_written = before.slowed_to;
        }
        if let Some(left) = before.pause.map(|pause| pause.left(now)).filter(|left| !left.is_zero()) {
            self.pause(left);
            self.pause_is_news = false;
        }
        let each_ticket = self.tickets.as_ref().map(Tickets::window);
        self.ledger = Some(Ledger::new(uptime, self.longest, each_ticket));
        self
    }

    /// How many rows may be marked as sending without being on the wire: the rate times [`LEAD`], or 50 ms of it where
    /// the journal keeps the pace; at least one.
    #[must_use]
    pub fn ahead_max(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float to integer cast saturates, and no rate is negative"
        )]
        self.per_second.map_or(usize::MAX, |rate| ((rate * self.lead.as_secs_f64()) as usize).max(1))
    }

    /// When the next request may leave. In the past or present: now.
    #[must_use]
    pub fn due(&self) -> Instant {
        let now = Instant::now();
        let cells = self.limits.iter().map(|limit| limit.bucket.due(now));
        self.held_until(now).into_iter().chain(cells).max().unwrap_or(now)
    }

    /// Until when anything but the buckets holds requests back.
    fn held_until(&self, now: Instant) -> Option<Instant> {
        let windows = self.limits.iter().map(|limit| limit.window.due(now));
        let slowed = self.slowdown.iter().map(|slowdown| slowdown.due(now));
        let tickets = self.tickets.iter().map(|tickets| tickets.due(now));
        self.paused_until.into_iter().chain(windows).chain(slowed).chain(tickets).max()
    }

    /// When the next request of this ticket may leave, if it has to wait for its own limit.
    #[must_use]
    pub fn ticket_due(&self, ticket: TicketId) -> Option<Instant> {
        self.tickets.as_ref()?.due_for(ticket, Instant::now())
    }

    /// Takes the right to send one request for this ticket now, or says when to ask again.
    pub fn take(&mut self, ticket: TicketId) -> Result<(), Instant> {
        let now = Instant::now();
        if let Some(until) = self.held_until(now).filter(|until| *until > now) {
            return Err(until);
        }
        for limit in &mut self.limits {
            limit.bucket.reach()?;
        }
        for limit in &mut self.limits {
            limit.bucket.spend();
            limit.window.spend(now);
        }
        if let Some(slowdown) = &mut self.slowdown {
            slowdown.spend(now);
        }
        if let Some(tickets) = &mut self.tickets {
            tickets.spend(ticket, now);
        }
        Ok(())
    }

    /// Sends nothing for so long. A longer pause that is under way stays.
    pub fn pause(&mut self, wait: Duration) {
        let now = Instant::now();
        // A wait beyond what the clock can count is as good as a year; `--max-wait` has stopped it long before.
        let until = now.checked_add(wait).unwrap_or(now + Duration::from_hours(24 * 365));
        if self.paused_until.is_none_or(|paused| paused <= now) {
            self.paused_before = self.paused_total();
            self.paused_from = now;
        }
        self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
        self.pause_is_news = true;
        if let Some(slowdown) = &mut self.slowdown {
            slowdown.wait_until(until);
        }
    }

    /// The desk said "later": half the pace from now on, until rows go through again.
    pub fn slow_down(&mut self) {
        if let Some(slowdown) = &mut self.slowdown {
            slowdown.halve();
        }
    }

    /// A row went through.
    pub fn went_through(&mut self) {
        if let Some(slowdown) = &mut self.slowdown {
            slowdown.passed();
        }
    }

    /// Requests a second while they are fewer than asked for, because the desk said "later".
    #[must_use]
    pub fn slowed_to(&self) -> Option<f64> {
        self.slowdown.as_ref().and_then(Slowdown::slowed)
    }

    /// Requests a second as they may leave now; `None`: there is no limit.
    #[must_use]
    pub fn in_force(&self) -> Option<f64> {
        self.slowed_to().or(self.per_second)
    }

    /// Until when nothing is sent, while a pause is under way.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// Until when nothing is sent because the budget of a window is spent, if that is worth telling.
    #[must_use]
    pub fn spent_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.limits.iter().map(|limit| limit.window.due(now)).max();
        due.filter(|due| *due > now + WORTH_TELLING)
    }

    /// How long all pauses so far have taken.
    #[must_use]
    pub fn paused_total(&self) -> Duration {
        let current = self.paused_until.map_or(Duration::ZERO, |until| {
            until.min(Instant::now()).saturating_duration_since(self.paused_from)
        });
        self.paused_before + current
    }

    /// What the batch about to be committed writes down, and until when its permits may be used. `None`: there is
    /// no limit, or nobody keeps a ledger.
    #[must_use]
    pub fn entry(&self) -> Option<(Entry, Instant)> {
        self.ledger.as_ref()?.entry()
    }

    /// The pause under way, if it is to be written down; once.
    pub fn pause_to_write(&mut self) -> Option<Pause> {
        let left = self.paused_until()?.saturating_duration_since(Instant::now()).min(PAUSE_MAX);
        let ledger = self.ledger.as_ref()?;
        let wait_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        std::mem::take(&mut self.pause_is_news).then(|| Pause { from: ledger.uptime.now(), wait_ms })
    }

    /// The slower pace, or that it is over, if that is to be written down; once.
    pub fn slowed_to_write(&mut self) -> Option<Slowed> {
        let per_second = self.slowed_to();
        if self.ledger.is_none() || per_second == self.slowed_written {
            return None;
        }
        self.slowed_written = per_second;
        Some(Slowed { per_second })
    }

    /// A commit took so long.
    pub fn committed(&mut self, took: Duration) {
        if let Some(ledger) = &mut self.ledger {
            ledger.committed(took);
        }
    }
}

#[cfg(test)]
mod tests;
