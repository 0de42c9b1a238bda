//! What the bound on rows that a crash puts in doubt costs: rows a second with 1, 2, 4 and 8 rows marked as sending
//! for each connection. The bounds take turns, so that a machine that grows slower hurts all alike.

use crate::clients::watched;
use crate::sending::Order;
use crate::server::Desk;
use crate::{Result, machine, median, number, per, rows};

const ROUNDS: usize = 5;
const BOUNDS: [usize; 4] = [1, 2, 4, 8];

/// `bounds [ROWS] [LATENCY_MS] [CONNECTIONS]`
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let (rows, latency_ms) = (number(words, 0, 20_000)?, number(words, 1, 0)?);
    let concurrency: usize = number(words, 2, 32)?;
    let desk = Desk::start(latency_ms, 0)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("rows.csv");
    rows::write(&input, rows)?;

    let mut took: Vec<Vec<f64>> = vec![Vec::new(); BOUNDS.len()];
    let mut others = Vec::new();
    for round in 0..ROUNDS {
        for (bound, took) in BOUNDS.iter().zip(&mut took) {
            let place = folder.path().join(format!("{round}-{bound}"));
            let order = Order {
                place: &place,
                input: &input,
                url: &desk.url,
                concurrency,
                marked_max: bound * concurrency,
            };
            let (ran, other) = watched(desk.pid(), || order.start())?;
            desk.each_once(rows, "deskload's sending")?;
            took.push(ran.seconds);
            others.push(other);
        }
    }
    println!(
        "{rows} rows, {latency_ms} ms, {concurrency} connections, median of {ROUNDS}; {}",
        machine::verdict(&others)
    );
    println!("marked at most   rows/s");
    for (bound, took) in BOUNDS.iter().zip(took) {
        println!("{bound} × {concurrency:<10} {:>10.0}", per(rows, median(took)));
    }
    Ok(())
}
