//! The kill torture: deskload is killed at any moment, again and again, and the desk's own log is the judge.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`plan`] | what a seed stands for: rows, desk, kills |
//! | [`round`] | one input from its first kill to its finished run |
//! | [`child`] | the program under way, killed at a moment of the plan |
//! | [`evidence`] | what the desk wrote down |
//! | [`account`] | what deskload wrote down, read from a copy of its journal |
//! | [`rules`], [`report`] | what the two, a person's words and the reports must say of each other |
//! | [`control`] | the deskload that must be caught |
//! | [`tally`], [`breach`] | what happened; what must not |
//!
//! ```text
//! cargo test --release --test torture -- --seconds 30          (as .ci/run does)
//! cargo test --release --test torture -- --rounds 10000 --seed 7
//! cargo test --release --test torture -- --control
//! ```
//!
//! It is a test without cargo's harness, because it has options and prints while it works. In a plain `cargo test` it
//! lives a few rounds, so that it stays whole; a name of another test among the words leaves it out. A round takes a
//! seed of its own, the one before plus one: a breach names the seed that plans its round again, and keeps its folder.
//! It ends with exit code 1 on any breach; `--control` does so if no repeat is found.

#![expect(clippy::unwrap_used, reason = "a test's way to fail; clippy knows them by their attribute alone")]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod account;
mod breach;
mod child;
mod control;
mod evidence;
mod plan;
mod report;
mod round;
mod rules;
mod tally;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use breach::Breach;
use clap::Parser;
use tally::{Tally, When};

/// Kills deskload in a loop and lets the desk's own log judge.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Asked {
    /// Rounds; each is an input that is killed some ten times before it is let finish
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Begin no round after so many seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The first round's seed: the same seed, the same plan
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Build a deskload whose intents leave no mark, and fail unless it is caught repeating updates
    #[arg(long)]
    control: bool,
}

/// Rounds in a plain `cargo test`.
const FEW: u64 = 3;

/// The control has so long to be caught, and so often.
const CONTROL_MAX: Duration = Duration::from_secs(60);
const CONTROL_REPEATS: u64 = 5;

/// After so many kills each part of a life must have been hit, or the plan is no good.
const KILLS_EVERYWHERE: u64 = 500;

fn main() -> ExitCode {
    let Some(asked) = asked() else { return ExitCode::SUCCESS };
    let well = if asked.control { is_control_caught(&asked) } else { withstands(&asked) };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What was asked for; `None` if another test was. `cargo test` hands its words to every test, and those are for a
/// harness that this one does not have.
fn asked() -> Option<Asked> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ours = ["--rounds", "--seconds", "--seed", "--control", "--help"];
    let is_ours = |word: &String| ours.iter().any(|flag| word.split('=').next() == Some(flag));
    if words.iter().any(is_ours) {
        return Some(Asked::parse());
    }
    let mut names = words.iter().filter(|word| !word.starts_with('-')).peekable();
    let is_meant = names.peek().is_none() || names.any(|name| "torture".contains(name.as_str()));
    (is_meant && !words.iter().any(|word| word == "--list")).then_some(Asked {
        rounds: Some(FEW),
        seconds: None,
        seed: 1,
        control: false,
    })
}

/// Lives rounds until as many, or as long, as were asked for.
fn withstands(asked: &Asked) -> bool {
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("torture of the {build} build, from seed {}", asked.seed);
    let (began, mut tally) = (Instant::now(), Tally::new());
    let rounds = asked.rounds.unwrap_or(if asked.seconds.is_some() { u64::MAX } else { FEW });
    let mut kept = None;
    for seed in (asked.seed..).take(usize::try_from(rounds).unwrap_or(usize::MAX)) {
        if asked.seconds.is_some_and(|seconds| began.elapsed() >= Duration::from_secs(seconds)) {
            break;
        }
        if let Some((breach, folder)) = round(seed, Path::new(env!("CARGO_BIN_EXE_deskload")), &mut tally) {
            println!("\nBREACH with --seed {seed} --rounds 1: {}\n  kept: {}", breach.what, folder.display());
            kept = Some(folder);
            break;
        }
        tally.tell_now_and_then();
    }
    println!("\n{}", tally.summary());
    let missed = When::EVERY.into_iter().find(|when| !tally.kills.contains_key(when));
    if let Some(missed) = missed.filter(|_| tally.all_kills() >= KILLS_EVERYWHERE) {
        println!("no kill was {missed:?}: the plan proves less than it says");
        return false;
    }
    kept.is_none()
}

fn is_control_caught(asked: &Asked) -> bool {
    println!("control: a deskload whose intents leave no mark, from seed {}", asked.seed);
    let program = match control::build() {
        Ok(program) => program,
        Err(why) => {
            println!("{why}");
            return false;
        }
    };
    let (began, mut tally) = (Instant::now(), Tally::new());
    for seed in asked.seed.. {
        if tally.repeats() >= CONTROL_REPEATS || began.elapsed() >= CONTROL_MAX {
            break;
        }
        if let Some((_, folder)) = round(seed, &program, &mut tally) {
            // It is expected, and nobody looks at it.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    println!("{}", tally.line());
    let caught = tally.repeats() >= CONTROL_REPEATS;
    println!("{}", if caught { "caught, as it must be" } else { "NOT CAUGHT: the torture proves nothing" });
    caught
}

/// A round in a folder of its own, which is kept if a promise was broken.
fn round(seed: u64, program: &Path, tally: &mut Tally) -> Option<(Breach, PathBuf)> {
    let folder = tempfile::Builder::new().prefix("deskload-torture-").tempdir().unwrap();
    let breach = round::live(seed, program, folder.path(), tally).err()?;
    tally.breached(breach.kind);
    let folder = folder.keep();
    // It tells what the desk knew; the rest is deskload's own.
    std::fs::write(folder.join("breach.txt"), &breach.what).unwrap();
    Some((breach, folder))
}
