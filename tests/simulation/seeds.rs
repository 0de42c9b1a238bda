//! Many seeds, on all cores; and what to do with one that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::life::{Intents, Lived, live};
use crate::tally::Tally;

/// A seed and what was found with it.
#[derive(Debug)]
pub(crate) struct Breach {
    pub(crate) seed: u64,
    pub(crate) what: String,
}

/// What many lives came to.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    pub(crate) breaches: Vec<Breach>,
    pub(crate) tally: Tally,
}

/// Lives these seeds through, until `enough` breaches are found.
pub(crate) fn run(seeds: std::ops::Range<u64>, intents: Intents, enough: usize) -> Lives {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Lives::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || all.lock().unwrap().breaches.len() >= enough {
                        return;
                    }
                    let lived = one(seed, intents, false);
                    let mut all = all.lock().unwrap();
                    all.tally.add(&lived.tally);
                    all.breaches.extend(lived.breach.map(|what| Breach { seed, what }));
                }
            });
        }
    });
    all.into_inner().unwrap()
}

/// Lives one seed through. A panic in the program is a breach, too.
pub(crate) fn one(seed: u64, intents: Intents, verbose: bool) -> Lived {
    let folder = tempfile::tempdir_in(memory()).unwrap();
    let lived = catch_unwind(AssertUnwindSafe(|| live(seed, intents, verbose, folder.path())));
    lived.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
        Lived { breach: Some(what), hash: 0, tally: Tally::default() }
    })
}

/// Where fsync costs nothing: nobody cuts the power here.
fn memory() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}
