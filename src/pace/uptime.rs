//! The clock by which a spent budget is remembered: time since the machine was started, and which start that was.
//!
//! The clock on the wall may be set forth and back, and grants budget when it jumps forth. The kernel's time since boot
//! cannot be set, counts while the machine sleeps, and is the same for every process. After another boot nobody knows
//! for sure how long ago something was; but it was before this boot, and so at least as long ago as the machine is up.

use std::time::Duration;

use uuid::Uuid;

/// Where Linux says which boot this is; a new one for each.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment on a machine's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which start of the machine.
    pub boot: Uuid,
    /// Milliseconds since then.
    pub ms: u64,
}

impl Moment {
    /// How long ago this was at least, seen from `now`.
    #[must_use]
    pub fn ago_at_least(self, now: Self) -> Duration {
        let since = if self.boot == now.boot { self.ms } else { 0 };
        Duration::from_millis(now.ms.saturating_sub(since))
    }
}

/// The clock.
pub struct Uptime {
    boot: Uuid,
    since_boot: Box<dyn Fn() -> Duration>,
}

impl Uptime {
    /// This machine's clock. Where the kernel does not say which boot this is, the process counts as one of its own:
    /// what was before it is then as long ago as the process is old, which errs to the safe side.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let boot = std::fs::read_to_string(BOOT_ID).ok().and_then(|text| text.trim().parse().ok());
        if let Some(boot) = boot {
            return Self::new(boot, since_boot);
        }
        let began = std::time::Instant::now();
        Self::new(Uuid::new_v4(), move || began.elapsed())
    }

    /// A clock of one's own, for simulations.
    #[must_use]
    pub fn new(boot: Uuid, since_boot: impl Fn() -> Duration + 'static) -> Self {
        Self { boot, since_boot: Box::new(since_boot) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        let ms = u64::try_from((self.since_boot)().as_millis()).unwrap_or(u64::MAX);
        Moment { boot: self.boot, ms }
    }
}

impl std::fmt::Debug for Uptime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uptime").field("now", &self.now()).finish()
    }
}

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // It is never negative, and its nanoseconds are below a second.
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago_is_known_within_a_boot_and_a_lower_bound_after_another() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sent = Moment { boot: one, ms: 50_000 };
        let ago = |boot, ms| sent.ago_at_least(Moment { boot, ms }).as_millis();
        assert_eq!(ago(one, 53_000), 3_000);
        assert_eq!(ago(one, 49_000), 0, "what lies ahead is now");
        assert_eq!(ago(other, 7_000), 7_000, "it was before the boot");
        assert_eq!(ago(other, 90_000), 90_000);
    }

    #[test]
    fn this_machine_s_clock_goes_on_and_its_boot_stays() {
        let (one, other) = (Uptime::of_this_machine().now(), Uptime::of_this_machine().now());
        assert_eq!(one.boot, other.boot);
        assert!(one.ms <= other.ms && one.ms > 0, "{one:?} {other:?}");
    }
}
