//! What happened in a life: as a number that is equal for equal lives, and on the screen if somebody looks.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// The events of one life.
pub(crate) struct Trace {
    hasher: DefaultHasher,
    is_shown: bool,
}

impl Trace {
    pub(crate) fn new(is_shown: bool) -> Self {
        Self { hasher: DefaultHasher::new(), is_shown }
    }

    /// An event, so long after the beginning.
    #[expect(clippy::print_stdout, reason = "somebody asked for this seed's story")]
    pub(crate) fn note(&mut self, at: Duration, what: std::fmt::Arguments<'_>) {
        let line = what.to_string();
        (at, &line).hash(&mut self.hasher);
        if self.is_shown {
            println!("{:>14.6}  {line}", at.as_secs_f64());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}
