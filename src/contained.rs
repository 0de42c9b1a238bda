//! Other people's code that may panic on what comes from outside, at the one place where that means the input.
//!
//! A panic of ours is a bug and ends the program ([`crate::commands::guarded`]); one of a library that reads a damaged
//! file says that the file is damaged. It must be used for such readers alone: whatever they had half done is thrown away.

use std::cell::Cell;
#[cfg(feature = "xlsx")]
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Does it, for spreadsheets alone so far; `None` if it panicked, of which nobody is told.
#[cfg(feature = "xlsx")]
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    AT_WORK.set(true);
    // What the work had borrowed is not looked at after a panic: the caller throws it away.
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    AT_WORK.set(false);
    done
}

/// Whether a panic of this thread is expected just now, so that the hook keeps silent.
pub(crate) fn is_at_work() -> bool {
    AT_WORK.get()
}
