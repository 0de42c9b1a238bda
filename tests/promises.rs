//! One binary, a module a promise.
//!
//! The tests drive the built program against a sandbox desk inside the test process, and believe the desk's own
//! log alone. Each has a folder, a state and an environment of its own, so they run side by side; where time is
//! the promise, the desk's clock is read, and nobody waits by sleeping. See `support` for the bench.
//!
//! `DESKLOAD_TEST_ROWS=20000` sets how many rows the whole way is tried with (5,000 in debug builds, 20,000 in
//! release). The pace of 1,000 a second is tried in release alone: `cargo test --release --test promises`.
#![expect(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

mod support;

#[path = "promises/account.rs"]
mod account;
#[path = "promises/bounds.rs"]
mod bounds;
#[path = "promises/budget.rs"]
mod budget;
#[path = "promises/bug.rs"]
mod bug;
#[path = "promises/check.rs"]
mod check;
#[path = "promises/cli.rs"]
mod cli;
#[path = "promises/config.rs"]
mod config;
#[path = "promises/crash.rs"]
mod crash;
#[path = "promises/demo.rs"]
mod demo;
#[path = "promises/desk.rs"]
mod desk;
#[path = "promises/disk/mod.rs"]
mod disk;
#[path = "promises/exit.rs"]
mod exit;
#[path = "promises/faults/mod.rs"]
mod faults;
#[path = "promises/fixtures.rs"]
mod fixtures;
#[path = "promises/fleet/mod.rs"]
mod fleet;
#[path = "promises/fuzz.rs"]
mod fuzz;
#[path = "promises/guide.rs"]
mod guide;
#[path = "promises/harmless.rs"]
mod harmless;
#[path = "promises/input.rs"]
mod input;
#[path = "promises/installed.rs"]
mod installed;
#[path = "promises/journal.rs"]
mod journal;
#[path = "promises/journals/mod.rs"]
mod journals;
#[path = "promises/killed/mod.rs"]
mod killed;
#[path = "promises/known.rs"]
mod known;
#[path = "promises/leftovers.rs"]
mod leftovers;
#[path = "promises/mapping.rs"]
mod mapping;
// Its snapshots are those of a build that reads spreadsheets.
#[cfg(feature = "xlsx")]
#[path = "promises/messages.rs"]
mod messages;
#[path = "promises/nginx/mod.rs"]
mod nginx;
#[path = "promises/nights.rs"]
mod nights;
#[path = "promises/old_journal.rs"]
mod old_journal;
#[path = "promises/order.rs"]
mod order;
#[path = "promises/pause.rs"]
mod pause;
#[path = "promises/progress.rs"]
mod progress;
#[path = "promises/prune.rs"]
mod prune;
#[path = "promises/rate.rs"]
mod rate;
#[path = "promises/report.rs"]
mod report;
#[path = "promises/report_format.rs"]
mod report_format;
#[path = "promises/report_html.rs"]
mod report_html;
#[path = "promises/resolve.rs"]
mod resolve;
#[path = "promises/runs.rs"]
mod runs;
#[path = "promises/secrets.rs"]
mod secrets;
#[path = "promises/sheets.rs"]
mod sheets;
#[path = "promises/signals.rs"]
mod signals;
#[cfg(feature = "xlsx")]
#[path = "promises/spreadsheets.rs"]
mod spreadsheets;
#[path = "promises/token.rs"]
mod token;
#[path = "promises/told.rs"]
mod told;
#[path = "promises/watched.rs"]
mod watched;
