//! A token bucket for one rate. The only user of governor.
//!
//! governor cannot change a quota and cannot look without taking, which explains the shape of [`Bucket`]. A bucket
//! lets requests leave evenly; it cannot keep a window, because its depth comes on top (see [`super::window`]).

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use super::rate::Rate;
use crate::error::Error;

/// tokio's clock for governor, so that paused time drives it in tests.
#[derive(Clone, Debug, Default)]
struct TokioClock;

/// A moment of [`TokioClock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(Instant);

impl std::ops::Add<Nanos> for Moment {
    type Output = Self;
    fn add(self, nanos: Nanos) -> Self {
        Self(self.0 + Duration::from(nanos))
    }
}

impl Reference for Moment {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0.checked_sub(duration.into()).unwrap_or(self.0))
    }
}

impl Clock for TokioClock {
    type Instant = Moment;
    fn now(&self) -> Moment {
        Moment(Instant::now())
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, StateInformationMiddleware>;

/// One rate's bucket.
pub(super) struct Bucket {
    limiter: Limiter,
    /// Cells taken and not spent: another bucket was not ready, or a look took one (see [`Bucket::reach`]).
    in_hand: u32,
    /// When the next cell will be there; `None` if one is there now, as far as is known.
    next: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(rate: Rate, burst: Option<NonZeroU32>) -> Result<Self, Error> {
        let quota = Quota::with_period(rate.period())
            .ok_or_else(|| Error::Usage(format!("the rate {rate} is too fast to be kept; say unlimited")))?
            .allow_burst(rate.burst(burst));
        let limiter =
            RateLimiter::direct_with_clock(quota, TokioClock).with_middleware::<StateInformationMiddleware>();
        Ok(Self { limiter, in_hand: 0, next: None })
    }

    /// When a cell will be there, without taking it.
    pub(super) fn due(&self, now: Instant) -> Instant {
        self.next.filter(|_| self.in_hand == 0).unwrap_or(now)
    }

    /// Gets a cell into the hand, or says when there will be one.
    pub(super) fn reach(&mut self) -> Result<(), Instant> {
        if self.in_hand > 0 {
            return Ok(());
        }
        let remaining = match self.limiter.check() {
            Ok(snapshot) => snapshot.remaining_burst_capacity(),
            Err(not_until) => {
                let next = not_until.earliest_possible().0;
                self.next = Some(next);
                return Err(next);
            }
        };
        self.in_hand += 1;
        self.next = None;
        if remaining == 0 {
            // The bucket is empty, so asking once more takes nothing and tells when the next cell comes. If one
            // has come in the nanoseconds between, it is kept for the next request.
            match self.limiter.check() {
                Ok(_) => self.in_hand += 1,
                Err(not_until) => self.next = Some(not_until.earliest_possible().0),
            }
        }
        Ok(())
    }

    /// Spends the cell in hand, which [`Self::reach`] has got.
    pub(super) fn spend(&mut self) {
        self.in_hand = self.in_hand.saturating_sub(1);
    }
}
