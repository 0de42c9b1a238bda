//! The promise under simulated time: the real pipeline, verdicts, lanes, pace, breaker and journal, against a
//! scripted desk and a scripted disk, killed anywhere, thousands of times.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`plan`] | what a seed stands for: settings and moods |
//! | [`input`] | the rows |
//! | [`desk`] | the scripted desk: what it does with a request |
//! | [`disk`] | the scripted disk under the real journal |
//! | [`world`] | the truth, apart from the program: what reached the desk, what it applied, who said what |
//! | [`meter`] | how much the desk may see at most |
//! | [`invariants`] | what must be true of the journal's file after each commit |
//! | [`end`] | how a session ends before its time |
//! | [`life`] | one seed from its input to its last row |
//! | [`seeds`] | many of them |
//! | [`week`] | a week of nights, each start and its summary |
//! | [`tally`], [`trace`] | counts of what happened, and the story |
//!
//! The numbers before a breach are those of the invariants:
//! 1 no second request for a row unless the first is proven not applied or a person said so, none for the same
//! update while it is in doubt, none without an intent on disk; 2 rows of one ticket in file order, one at a time;
//! 3 the journal says of each row what the desk knows; 4 counters add up; 5 a crash leaves at most twice the
//! concurrency in doubt; 6 pace and pauses are kept; 7 every row below the cursor has an entry; 8 it comes to an
//! end, and only when nothing is left that could go; 9 with `--only-changed` or without, a ticket ends as the last row
//! asks that was not refused, unless a person took something upon themselves.
//!
//! `DESKLOAD_SIM_SEED=n cargo test --test simulation` tells one seed's life; `DESKLOAD_SIM_SEEDS=100000` lives more.

#![expect(clippy::unwrap_used, reason = "a test's way to fail; clippy knows them by their attribute alone")]

mod desk;
mod disk;
mod end;
mod input;
mod invariants;
mod life;
mod meter;
mod plan;
mod seeds;
mod tally;
mod trace;
mod week;
mod world;

use life::Intents;

/// Lives in an ordinary `cargo test`: some 20 s of one core without optimisation.
const SEEDS: u64 = 2_000;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

#[test]
fn no_update_is_repeated_or_lost_whatever_happens() {
    if let Some(seed) = number("DESKLOAD_SIM_SEED") {
        let lived = seeds::one(seed, Intents::Kept, true);
        assert_eq!(lived.breach, None, "seed {seed}");
        return;
    }
    let count = number("DESKLOAD_SIM_SEEDS").unwrap_or(SEEDS);
    let began = std::time::Instant::now();
    let lives = seeds::run(0..count, Intents::Kept, 10);
    println!("{count} seeds in {:.1} s: {:?}", began.elapsed().as_secs_f64(), lives.tally);
    let breaches: Vec<String> = lives
        .breaches
        .iter()
        .map(|breach| format!("DESKLOAD_SIM_SEED={}: {}", breach.seed, breach.what))
        .collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn the_lives_are_eventful_enough_to_prove_something() {
    let tally = seeds::run(0..300, Intents::Kept, usize::MAX).tally;
    assert!(tally.crashes > 150 && tally.recovered > 100, "{tally:?}");
    assert!(tally.in_doubt > 300 && tally.resent > 100 && tally.unchanged > 100, "{tally:?}");
    assert_eq!(tally.fates.len(), 22, "a fate that never comes tests nothing: {:?}", tally.fates);
}

#[test]
fn a_seed_lives_the_same_life_again() {
    for seed in 0..40 {
        let lives = [(); 2].map(|()| seeds::one(seed, Intents::Kept, false));
        assert_eq!(lives[0].hash, lives[1].hash, "seed {seed}");
    }
}

/// The control: without intents that outlive a crash, the same lives must show repeated updates.
#[test]
fn without_intents_updates_are_repeated() {
    let lives = seeds::run(0..300, Intents::Forgotten, 20);
    let repeated = lives.breaches.iter().filter(|breach| breach.what.starts_with("1: ")).count();
    assert!(repeated >= 10, "only {repeated} of 300 lives show a repeat, so the simulation proves nothing");
}
