//! The whole program, measured beside bare client loops in the same invocation.
//!
//! `cargo bench --bench pipeline -- MODE [WORDS]`, without a mode `versus`:
//!
//! | Mode | What it measures |
//! |---|---|
//! | `versus [ROWS] [LATENCY_MS]` | [`versus`]: `deskload run`, its sending alone, a bare reqwest loop and a bare hyper loop, taking turns |
//! | `bounds [ROWS] [LATENCY_MS] [CONNECTIONS]` | [`bounds`]: what the bound on rows that a crash puts in doubt costs |
//! | `check [ROWS]` | [`check`]: `deskload check` beside the csv crate's own reading |
//! | `pace [ROWS]` | [`pace`]: what the journal adds to a request at ten a second |
//! | `growth [csv\|jsonl] ROWS…` | [`growth`]: speed, memory, journal and resume, by the number of rows |
//! | `serve [LATENCY_MS]` | [`server`]: the desk alone, for `benches/peers`; it ends with its standard input |
//!
//! The desk is a process of its own, and so is each client: this program starts itself again, so that what it reads
//! of the kernel's accounts belongs to one of them. The desk counts what arrives; a figure for which not every row
//! arrived exactly once is no figure, and ends the program. What others took of the machine meanwhile is told.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod bounds;
mod check;
mod clients;
mod growth;
mod machine;
mod pace;
mod program;
mod rows;
mod sending;
mod server;
mod versus;

use std::error::Error;

/// Whatever goes wrong ends the program.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // cargo hands `--bench` on.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => versus::main(&[]),
        ["versus", rest @ ..] => versus::main(rest),
        ["bounds", rest @ ..] => bounds::main(rest),
        ["check", rest @ ..] => check::main(rest),
        ["pace", rest @ ..] => pace::main(rest),
        ["growth", rest @ ..] => growth::main(rest),
        ["serve", rest @ ..] => server::main(rest),
        ["client", rest @ ..] => clients::main(rest),
        _ => {
            Err("the modes are versus, bounds, check, pace, growth and serve; see the head of main.rs".into())
        }
    }
}

/// The word at a place as a number, else what is usual.
fn number<T: std::str::FromStr>(words: &[&str], at: usize, usual: T) -> Result<T> {
    match words.get(at) {
        None => Ok(usual),
        Some(word) => word.parse().map_err(|_| format!("\"{word}\" is not a number").into()),
    }
}

/// The middle one; of an even number the upper of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// So many in so many seconds.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
const fn per(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}
