//! Power cuts under the real journal: the production code over real SQLite, taped write by write; then, of each moment
//! of the tape, disks as a power cut may have left them, opened and recovered by the production code again.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`listen`] | SQLite's own file system, and `fsync`, with an ear to them |
//! | [`tape`] | what was written, synced, named and removed, in order |
//! | [`disk`] | what a cut leaves: any subset of what was not synced, sectors torn |
//! | [`life`], [`session`] | sessions of the production journal, driven by a seed |
//! | [`truth`] | what must be in the journal, and what the desk has seen |
//! | [`judge`] | what must be true after each cut |
//! | [`cuts`] | many of them |
//!
//! `DESKLOAD_POWER_CUTS=50000 cargo test --release -p powercut` makes as many cuts in all. A seed lives the same life
//! again, and is cut off in the same places: `DESKLOAD_POWER_SEED=n` lives that one alone.

mod cuts;
mod disk;
mod judge;
mod life;
mod listen;
mod session;
mod tape;
mod truth;

use cuts::{Found, Place, Plan};
use disk::Syncs;
use judge::What;
use life::Habit;

/// Cuts in an ordinary `cargo test`, shared among the three places.
const CUTS: u64 = 5_000;

/// Lives that a control may need to show what it must.
const CONTROL_CUTS: u64 = 3_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// Cuts the power so often that `share` parts of ten of all cuts are here; nothing may be broken.
fn cut(place: Place, share: u64) -> Found {
    listen::install();
    let cuts = number("DESKLOAD_POWER_CUTS").unwrap_or(CUTS) * share / 10;
    let plan = Plan { place, habit: Habit::Careful, syncs: Syncs::Honoured, cuts, enough: 5 };
    let began = std::time::Instant::now();
    let seed = number("DESKLOAD_POWER_SEED");
    let found = seed.map_or_else(|| cuts::run(plan), |seed| cuts::one(seed, plan));
    println!("{place:?} in {:.1} s: {:?}", began.elapsed().as_secs_f64(), found.tally);
    assert!(found.breaches.is_empty(), "{:#?}", found.samples());
    assert!(seed.is_some() || found.tally.cuts >= cuts, "{:?}", found.tally);
    found
}

/// A control: the same lives, lived wrongly.
fn control(habit: Habit, syncs: Syncs) -> Found {
    listen::install();
    let plan = Plan { place: Place::Commit, habit, syncs, cuts: CONTROL_CUTS, enough: 10 };
    let found = cuts::run(plan);
    println!("{habit:?} {syncs:?}: {:?}", found.tally);
    found
}

#[test]
fn f10_a_power_cut_at_a_commit_keeps_what_was_acknowledged() {
    let tally = cut(Place::Commit, 6).tally;
    if number("DESKLOAD_POWER_SEED").is_none() {
        assert!(tally.unsynced * 4 > tally.cuts && tally.torn_sectors as u64 > tally.cuts / 4, "{tally:?}");
        assert!(tally.unacknowledged > 0 && tally.in_doubt > tally.cuts / 4, "{tally:?}");
        assert!(tally.again > tally.cuts / 4 && tally.unborn > 0, "{tally:?}");
    }
}

#[test]
fn f11_a_power_cut_at_a_checkpoint_changes_nothing() {
    let tally = cut(Place::Checkpoint, 2).tally;
    if number("DESKLOAD_POWER_SEED").is_none() {
        assert!(tally.unsynced_journal * 4 > tally.cuts, "{tally:?}");
        assert!(tally.under_way > 0, "no checkpoint in the midst of sending: {tally:?}");
    }
}

#[test]
fn f12_a_torn_page_in_the_log_is_passed_over() {
    let tally = cut(Place::TornLog, 2).tally;
    assert!(tally.torn_sectors as u64 >= tally.cuts && tally.unacknowledged == 0, "{tally:?}");
}

/// The control of the above: a commit that does not wait for the disk loses what was acknowledged, and what was sent
/// would go out again. The file stays whole.
#[test]
fn f10_with_synchronous_normal_updates_are_repeated() {
    let found = control(Habit::Normal, Syncs::Honoured);
    assert!(found.count(What::Repeated) >= 10 && found.count(What::Lost) >= 10, "{:?}", found.samples());
    for what in [What::Mixed, What::Damaged, What::Invented, What::Counts] {
        assert_eq!(found.count(what), 0, "{:?}", found.samples());
    }
}

/// The control of the intents: a request that leaves before its intent is on disk goes out again.
#[test]
fn f10_without_intents_updates_are_repeated() {
    let found = control(Habit::SendsFirst, Syncs::Honoured);
    assert!(found.count(What::Repeated) >= 10, "{:?}", found.samples());
    assert_eq!(found.breaches.len(), 1, "{:?}", found.samples());
}

/// The stated limit: on a disk that says it has synced and has not, nothing that deskload does can help.
#[test]
fn f13_a_disk_that_lies_about_fsync_repeats_updates() {
    let found = control(Habit::Careful, Syncs::Ignored);
    assert!(found.count(What::Repeated) >= 10, "{:?}", found.samples());
}
