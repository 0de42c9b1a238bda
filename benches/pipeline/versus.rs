//! The whole program and its sending alone beside a bare reqwest loop and a bare hyper loop: the same bodies, the same
//! desk, 64 connections each. They take turns in one invocation, and a ratio is taken within a round, so that a machine
//! that grows slower hurts all alike.

use std::path::Path;

use crate::clients::{self, Ran, watched};
use crate::machine::{Cpu, Others, cpu_of};
use crate::program::{CONCURRENCY, Home};
use crate::sending::Order;
use crate::server::Desk;
use crate::{Result, machine, median, number, per, rows};

const ROUNDS: usize = 5;

/// Who takes part, in the order of their turns.
const CONTENDERS: [&str; 4] = ["bare hyper", "bare reqwest", "deskload's sending", "deskload run"];

/// The one that ratios are taken against.
const AGAINST: usize = 1;

/// What a contender came to in one round.
#[derive(Clone, Copy)]
struct Turn {
    ran: Ran,
    desk: Cpu,
    others: Others,
}

/// `versus [ROWS] [LATENCY_MS]`; without words, a desk that takes no time and one that takes 5 ms.
pub(crate) fn main(words: &[&str]) -> Result<()> {
    if words.is_empty() {
        measure(100_000, 0)?;
        return measure(20_000, 5);
    }
    measure(number(words, 0, 100_000)?, number(words, 1, 0)?)
}

fn measure(rows: u64, latency_ms: u64) -> Result<()> {
    let desk = Desk::start(latency_ms, 0)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("rows.csv");
    rows::write(&input, rows)?;
    let mut turns: [Vec<Turn>; CONTENDERS.len()] = Default::default();
    let mut bytes = None;
    for round in 0..ROUNDS {
        for (index, turns) in turns.iter_mut().enumerate() {
            let place = folder.path().join(format!("{round}-{index}"));
            let before = cpu_of(desk.pid())?;
            let (ran, others) = watched(desk.pid(), || contend(index, &desk.url, &input, &place, rows))?;
            let count = desk.each_once(rows, CONTENDERS[index])?;
            if *bytes.get_or_insert(count.bytes) != count.bytes {
                return Err(format!("{} sends other bodies", CONTENDERS[index]).into());
            }
            turns.push(Turn { ran, desk: cpu_of(desk.pid())?.since(before), others });
        }
    }
    let others: Vec<Others> = turns.iter().flatten().map(|turn| turn.others).collect();
    println!(
        "{rows} rows, a desk that takes {latency_ms} ms, {CONCURRENCY} connections, medians of {ROUNDS}; {}",
        machine::verdict(&others)
    );
    table(rows, &turns);
    Ok(())
}

fn contend(index: usize, url: &str, input: &Path, place: &Path, rows: u64) -> Result<Ran> {
    let (count, concurrency) = (rows.to_string(), CONCURRENCY.to_string());
    match index {
        0 => clients::start(&["hyper", url, &count, &concurrency]),
        1 => clients::start(&["reqwest", url, &count, &concurrency]),
        2 => Order { place, input, url, concurrency: CONCURRENCY, marked_max: 2 * CONCURRENCY }.start(),
        _ => {
            let home = Home::new(place.to_owned())?;
            let (status, spent) = home.send(url, &["run", "--yes"], Some(input))?;
            home.require(status, &[0], "deskload run")?;
            Ok(Ran { seconds: spent.seconds, cpu: spent.cpu })
        }
    }
}

fn table(rows: u64, turns: &[Vec<Turn>]) {
    let against = turns.get(AGAINST).map(Vec::as_slice).unwrap_or_default();
    println!(
        "                        rows/s   of reqwest   CPU µs/row: user + system   the desk's CPU µs/row"
    );
    for (name, turns) in CONTENDERS.iter().zip(turns) {
        let each = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
        let ratios = turns.iter().zip(against).map(|(turn, against)| against.ran.seconds / turn.ran.seconds);
        let micros = |seconds: f64| 1e6 / per(rows, seconds);
        println!(
            "{name:<20} {:>9.0} {:>12.2} {:>18.1} + {:<6.1} {:>22.1}",
            per(rows, each(|turn| turn.ran.seconds)),
            median(ratios.collect()),
            micros(each(|turn| turn.ran.cpu.user)),
            micros(each(|turn| turn.ran.cpu.system)),
            micros(each(|turn| turn.desk.sum())),
        );
    }
}
