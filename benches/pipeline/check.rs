//! `deskload check` beside the csv crate alone: how long a first reading takes, and what the crate's own reading of
//! the same bytes would.

use std::path::Path;
use std::time::Instant;

use crate::machine::{Cpu, Watch, own_cpu};
use crate::program::Home;
use crate::{Result, machine, median, number, rows};

const ROUNDS: usize = 5;

/// `check [ROWS]`
pub(crate) fn main(words: &[&str]) -> Result<()> {
    let rows: u64 = number(words, 0, 1_000_000)?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("rows.csv");
    rows::write_wide(&input, rows)?;
    let home = Home::new(folder.path().join("home"))?;
    let (mut alone, mut whole, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut resident_kib = 0;
    for _ in 0..ROUNDS {
        let watch = Watch::begin(None)?;
        alone.push(csv_alone(&input, rows)?);
        let (status, spent) = home.read(&["check"], Some(&input))?;
        home.require(status, &[0], "deskload check")?;
        whole.push((spent.seconds, spent.cpu));
        resident_kib = resident_kib.max(spent.resident_kib);
        others.push(watch.end()?);
    }
    let ratios = whole.iter().zip(&alone).map(|(whole, alone)| whole.0 / alone.0).collect();
    println!("{rows} rows of 6 columns, medians of {ROUNDS}; {}", machine::verdict(&others));
    println!("                 seconds   CPU: user + system");
    for (name, figures) in [("csv crate alone", alone), ("deskload check", whole)] {
        let each = |figure: fn(&(f64, Cpu)) -> f64| median(figures.iter().map(figure).collect());
        let (seconds, user, system) = (each(|one| one.0), each(|one| one.1.user), each(|one| one.1.system));
        println!("{name:<16} {seconds:>7.3} {user:>12.2} + {system:.2}");
    }
    println!("check takes {:.2} times as long; most memory resident {resident_kib} KiB", median(ratios));
    Ok(())
}

/// Reads every record and looks at none.
fn csv_alone(input: &Path, rows: u64) -> Result<(f64, Cpu)> {
    let (began, cpu) = (Instant::now(), own_cpu()?);
    let mut reader = csv::Reader::from_path(input)?;
    let mut record = csv::ByteRecord::new();
    let mut count = 0;
    while reader.read_byte_record(&mut record)? {
        count += 1;
    }
    if count != rows {
        return Err(format!("the csv crate read {count} rows").into());
    }
    Ok((began.elapsed().as_secs_f64(), own_cpu()?.since(cpu)))
}
