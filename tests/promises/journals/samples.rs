//! What is sampled for the report's chart. A journal in a file goes by the worker's clock, one in a database by its own, so
//! that cases look at sums.

use std::time::Duration;

use deskload::journal::minutes::{Latencies, Meanwhile, Minute};
use deskload::journal::state::{Ending, Reason};
use deskload::journal::transitions::Batch;

use super::database::Database;
use super::file::File;
use super::{At, Engine, csv, in_doubt, note, on_both, opened};

on_both!(
    File, Database:
    samples_add_up_over_batches_and_workers,
    a_wait_lies_in_the_minutes_that_it_took,
);

fn minutes<E: Engine>(at: &mut At<E>) -> Vec<Minute> {
    let mut minutes = Vec::new();
    at.engine.archive().each_minute(at.run.key, &mut |minute| minutes.push(minute)).unwrap();
    minutes
}

fn sum(minutes: &[Minute], of: impl Fn(&Minute) -> u64) -> u64 {
    minutes.iter().map(of).sum()
}

fn samples_add_up_over_batches_and_workers<E: Engine>() {
    let mut at = opened!(E, &csv(6));
    let endings = [
        (Ending::Applied, 3),
        (Ending::Applied, 3),
        (Ending::Failed(note(Reason::Rejected, Some(404))), 40),
        (in_doubt(), 40_000),
        (Ending::NotApplied(note(Reason::Throttled, Some(429))), 1),
        (Ending::NotApplied(note(Reason::NotSent, None)), 7),
    ];
    for (row, (ending, took_ms)) in (1..).zip(endings) {
        let permit = at.grant(&[(row, 0)]).remove(0);
        let outcomes = vec![permit.send().settle(ending, Duration::from_millis(took_ms))];
        let meanwhile = Meanwhile { now_ms: 119_000, per_second: Some(2.5), ..Meanwhile::default() };
        at.commit(&Batch { outcomes, meanwhile, ..Batch::default() });
        if row == 3 {
            assert_eq!(at.kill(), 0);
        }
    }
    let minutes = minutes(&mut at);
    let counts = [
        sum(&minutes, |minute| minute.applied),
        sum(&minutes, |minute| minute.failed),
        sum(&minutes, |minute| minute.in_doubt),
        sum(&minutes, |minute| minute.throttled),
    ];
    assert_eq!(counts, [2, 1, 1, 1]);
    assert!(minutes.iter().all(|minute| minute.per_second == Some(2.5)), "{minutes:?}");
    let (mut all, mut expected) = (Latencies::default(), Latencies::default());
    for minute in &minutes {
        all.add(&minute.latencies);
    }
    for (bucket, count) in [(1, 1), (2, 2), (5, 1), (14, 1)] {
        expected.0[bucket] = count;
    }
    assert_eq!(all, expected, "what never left took no time");
}

fn a_wait_lies_in_the_minutes_that_it_took<E: Engine>() {
    let mut at = opened!(E, &csv(1));
    let meanwhile = Meanwhile { now_ms: 190_000, paused_ms: 100_000, away_ms: 5_000, per_second: None };
    at.commit(&Batch { meanwhile, ..Batch::default() });
    let minutes = minutes(&mut at);
    assert_eq!(sum(&minutes, |minute| minute.paused_ms), 100_000);
    assert_eq!(sum(&minutes, |minute| minute.away_ms), 5_000);
    assert!((2..=3).contains(&minutes.len()), "{minutes:?}");
    assert!(minutes.iter().all(|minute| minute.paused_ms <= 60_000), "{minutes:?}");
    assert!(minutes.windows(2).all(|pair| pair[0].minute + 1 == pair[1].minute), "{minutes:?}");
}
