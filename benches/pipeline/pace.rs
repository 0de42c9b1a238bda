//! What the journal adds to a request at ten a second: how far from their due time requests arrive, beside a bare
//! reqwest loop that sleeps in between.

use std::time::Duration;

use crate::program::Home;
use crate::server::Desk;
use crate::{Result, median, number, per, rows};

/// Between two requests, in microseconds.
const EVERY_US: u64 = 100_000;

/// `pace [ROWS]`
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let rows: u64 = number(words, 0, 100)?;
    let desk = Desk::start(0, 0)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("rows.csv");
    rows::write(&input, rows)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bare(&desk.url, rows))?;
    let bare = late(&desk.each_once(rows, "bare reqwest")?.times_us);
    let home = Home::new(folder.path().join("home"))?;
    let (status, _) =
        home.send(&desk.url, &["run", "--yes", "--rate", "10/s", "--burst", "1"], Some(&input))?;
    home.require(status, &[0], "deskload run")?;
    let ours = late(&desk.each_once(rows, "deskload run")?.times_us);
    println!("{rows} rows at 10 a second: between two arrivals, the median distance from 100 ms");
    println!("bare reqwest {bare:>8.3} ms\ndeskload run {ours:>8.3} ms");
    Ok(())
}

/// How much more or less than it should lies between two arrivals, in milliseconds.
fn late(times_us: &[u64]) -> f64 {
    let gaps = times_us.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?));
    median(gaps.map(|gap| per(gap.abs_diff(EVERY_US), 1_000.0)).collect())
}

async fn bare(url: &str, rows: u64) -> Result<()> {
    let client = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([]).build()?;
    let mut ticks = tokio::time::interval(Duration::from_micros(EVERY_US));
    for row in 1..=rows {
        ticks.tick().await;
        client.post(url).body(rows::body(row)).send().await?.bytes().await?;
    }
    Ok(())
}
