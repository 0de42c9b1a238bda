//! What the desk may see at most: a token bucket for each rate, written apart from the program's own, the windows, which
//! no crash and no other process begins anew, and the pauses that the desk announced.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use deskload::pace::Rate;
use tokio::time::Instant;

/// A process that follows another may hold back so long, beside the longest window, what it may well send: it does not
/// know when exactly the other one sent, and allows for a disk that stalls.
const CAUTION: Duration = Duration::from_secs(15);

/// Counts what the processes of one life send.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    buckets: Vec<Bucket>,
    /// What was sent by whichever process, as far back as any window reaches.
    sent: VecDeque<Instant>,
    /// The process that is at work knows what was sent, and need not be cautious any more.
    cautious_until: Option<Instant>,
    /// From when to when nothing may be sent, and whether the journal knows.
    pauses: Vec<Pause>,
    /// The process at work writes no more.
    loses: bool,
    /// It goes on at this slower pace, since then, and has sent so many.
    slowed: Option<(f64, Instant, u32)>,
}

#[derive(Debug)]
struct Pause {
    from: Instant,
    until: Instant,
    is_durable: bool,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    depth: f64,
    /// Between two requests when they leave evenly: the window, and half a percent of it where it is longer than a second.
    period: f64,
    level: f64,
    last: Option<Instant>,
}

impl Bucket {
    fn new(rate: Rate, burst: Option<NonZeroU32>) -> Self {
        // As documented: what was asked for, or enough to absorb 5 ms of lateness, at most the rate's count.
        let enough = (rate.per_second() * 0.005).ceil().max(2.0);
        let depth = burst.map_or(enough, |burst| f64::from(burst.get())).min(f64::from(rate.count.get()));
        let margin = if rate.per.as_secs() == 1 { 1.0 } else { 1.005 };
        let period = margin / rate.per_second();
        Self { rate, depth, period, level: depth, last: None }
    }

    /// A rate by the second is kept by its bucket alone, and lets the depth through on top.
    fn most(&self) -> usize {
        let on_top = if self.rate.per.as_secs() == 1 { self.depth } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let on_top = on_top as usize;
        usize::try_from(self.rate.count.get()).unwrap() + on_top
    }
}

impl Meter {
    /// Another process begins.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        rates: &[Rate],
        burst: Option<NonZeroU32>,
        slowed_to: Option<f64>,
    ) {
        self.slowed = slowed_to.map(|per_second| (per_second, now, 0));
        self.buckets = rates.iter().map(|rate| Bucket::new(*rate, burst)).collect();
        let longest = rates.iter().map(|rate| rate.per).max();
        if std::mem::take(&mut self.loses) {
            self.crash();
        }
        self.cautious_until =
            longest.filter(|_| !self.sent.is_empty()).map(|longest| now + longest + CAUTION);
    }

    /// A process is dead. Of a pause that was not in the journal yet the next one cannot know.
    pub(crate) fn crash(&mut self) {
        self.pauses.retain(|pause| pause.is_durable);
    }

    /// What is known of pauses is in the journal from now on.
    pub(crate) fn committed(&mut self) {
        for pause in &mut self.pauses {
            pause.is_durable = true;
        }
    }

    /// A commit failed, so the process writes no more and ends: of a pause that is not in the journal by now the next one
    /// cannot know.
    pub(crate) fn commit_failed(&mut self) {
        self.loses = true;
    }

    /// A request leaves now.
    pub(crate) fn sent(&mut self, now: Instant) -> Result<(), String> {
        if let Some(pause) = self.pauses.iter().find(|pause| pause.from < now && now < pause.until) {
            return Err(format!(
                "sent {:?} into a pause of {:?}",
                now - pause.from,
                pause.until - pause.from
            ));
        }
        if let Some((per_second, began, sent)) = &mut self.slowed {
            *sent += 1;
            // It grows in steps of ten seconds; a millisecond's lateness and the timer's are made up for.
            let elapsed = (now - *began).as_secs_f64();
            if elapsed < 10.0 && f64::from(*sent) > *per_second * (elapsed + 0.006) + 1.0 {
                return Err(format!("{sent} in {elapsed} s, and the pace before was {per_second}/s"));
            }
        }
        self.sent.push_back(now);
        // The program keeps windows half a percent longer, and what it keeps is needed for `overdue`.
        let longest =
            self.buckets.iter().map(|bucket| bucket.rate.per.mul_f64(1.01)).max().unwrap_or_default();
        while self.sent.pop_front_if(|at| *at + longest <= now).is_some() {}
        for bucket in &mut self.buckets {
            if let Some(last) = bucket.last {
                let came = (now - last).as_secs_f64() / bucket.period;
                bucket.level = (bucket.level + came).min(bucket.depth);
            }
            bucket.last = Some(now);
            bucket.level -= 1.0;
            if bucket.level < -1e-6 {
                return Err(format!("more than {} with bursts of {}", bucket.rate, bucket.depth));
            }
            let within = self.sent.iter().rev().take_while(|at| now - **at < bucket.rate.per).count();
            if within > bucket.most() {
                return Err(format!(
                    "{within} within {:?}, and the limit is {}",
                    bucket.rate.per,
                    bucket.most()
                ));
            }
        }
        Ok(())
    }

    /// For how long a request could have left already.
    pub(crate) fn overdue(&self, now: Instant) -> Duration {
        let pauses = self.pauses.iter().map(|pause| pause.until);
        let free = self.cautious_until.into_iter().chain(pauses).max();
        let waited = self.buckets.iter().map(|bucket| {
            let Some(last) = bucket.last else { return Duration::MAX };
            let missing = (1.0 - bucket.level).max(0.0) * bucket.period;
            (now - last).saturating_sub(Duration::from_secs_f64(missing))
        });
        let full = self.buckets.iter().filter_map(|bucket| {
            let first = self.sent.iter().rev().nth(bucket.most() - 1)?;
            Some(now.saturating_duration_since(*first + bucket.rate.per.mul_f64(1.005)))
        });
        // It need not grow back as long as too little goes through.
        let slowed = self.slowed.map(|(per_second, began, _)| {
            let last = self.sent.back().map_or(began, |last| began.max(*last));
            (now - last).saturating_sub(Duration::from_secs_f64(per_second.recip()))
        });
        let since_free = free.map(|free| now.saturating_duration_since(free));
        waited.chain(full).chain(slowed).chain(since_free).min().unwrap_or(Duration::MAX)
    }

    /// The desk asks for a pause from now on.
    pub(crate) fn pause(&mut self, now: Instant, wait: Duration) {
        self.pauses.retain(|pause| pause.until > now);
        self.pauses.push(Pause { from: now, until: now + wait, is_durable: false });
    }

    /// How many rows may be marked as sending without being on the wire.
    pub(crate) fn ahead_max(&self) -> usize {
        let slowest = self.buckets.iter().map(|bucket| bucket.rate.per_second()).min_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        slowest.map_or(usize::MAX, |rate| ((rate * 0.02) as usize).max(1))
    }
}
