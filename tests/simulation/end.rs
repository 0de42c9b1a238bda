//! How a session ends before its time: killed at an event or a moment, or asked to stop.

use std::time::Duration;

use fastrand::Rng;

/// How a session is made to end early, if it is.
pub(crate) struct End {
    pub(crate) dies_in: Option<u32>,
    pub(crate) dies_after: Option<Duration>,
    pub(crate) asked_after: Option<Duration>,
}

impl End {
    pub(crate) const fn of_its_own() -> Self {
        Self { dies_in: None, dies_after: None, asked_after: None }
    }

    pub(crate) fn draw(rng: &mut Rng, crashes_left: u32) -> Self {
        let sometime = |rng: &mut Rng| {
            let most = 1 << rng.u32(..18);
            Duration::from_millis(rng.u64(..=most))
        };
        let mut end = Self::of_its_own();
        if crashes_left > 0 && rng.u8(..4) > 0 {
            if rng.bool() {
                end.dies_in = Some(rng.u32(1..=60));
            } else {
                end.dies_after = Some(sometime(rng));
            }
        }
        if rng.u8(..6) == 0 {
            end.asked_after = Some(sometime(rng));
        }
        end
    }
}
