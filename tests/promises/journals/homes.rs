//! Where the program keeps its journal, for cases that run all of it.

use std::sync::Arc;

use deskload::error::EXIT_DONE;
use deskload::journal::minutes::{Latencies, Minute};

use crate::support::Bench;
use crate::support::ledger::dump;
use crate::support::postgres::Postgres;

/// Where the program keeps its journal.
pub(super) trait Home: Sized {
    /// What comes before the name of a table.
    const TABLES: &'static str;

    /// `None` where the engine is missing, which has been said.
    fn of(bench: Bench) -> Option<Self>;
    fn bench(&self) -> &Bench;
    /// Whether the journal knows of a pause that the desk has asked for.
    fn knows_a_pause(&self) -> bool;
    /// Whoever was killed has not been heard of for so long that others may go on.
    fn forget_the_dead(&self);
    /// How many rows the journal has an entry of.
    fn rows(&self) -> usize;
    /// How many texts of rows are kept: whole inputs, or single rows.
    fn texts(&self) -> usize;
    /// Does this to the journal's tables.
    fn change(&self, sql: &str);
    /// How the journal keeps latencies, as a column and its value.
    fn latencies(latencies: &Latencies) -> (&'static str, String);

    /// The run was last worked on so many days ago.
    fn age(&self, run: u64, days: u64) {
        let ms = days * 86_400_000;
        self.change(&format!(
            "UPDATE {}run SET ended_ms = ended_ms - {ms}, started_ms = started_ms - {ms} WHERE id = {run}",
            Self::TABLES
        ));
    }

    /// Run 1 has this sample.
    fn sample(&self, minute: &Minute) {
        let Minute {
            minute,
            applied,
            failed,
            in_doubt,
            throttled,
            paused_ms,
            away_ms,
            per_second,
            latencies,
        } = minute;
        let (column, latencies) = Self::latencies(latencies);
        let per_second = per_second.map_or_else(|| "NULL".to_owned(), |rate| rate.to_string());
        self.change(&format!(
            "INSERT INTO {}minute (run, minute, applied, failed, in_doubt, throttled, paused_ms, away_ms, per_second, {column})
             VALUES (1, {minute}, {applied}, {failed}, {in_doubt}, {throttled}, {paused_ms}, {away_ms}, {per_second}, {latencies})",
            Self::TABLES
        ));
    }
}

/// A file below the bench's own folder.
pub(super) struct Folder(Bench);

impl Home for Folder {
    const TABLES: &'static str = "";

    fn of(bench: Bench) -> Option<Self> {
        Some(Self(bench.set("DESKLOAD_MAX_FAILURES", "100%")))
    }

    fn bench(&self) -> &Bench {
        &self.0
    }

    fn knows_a_pause(&self) -> bool {
        let journal = rusqlite::Connection::open(self.0.journal()).unwrap();
        journal.query_row("SELECT count(*) FROM pause", [], |row| row.get::<_, i64>(0)).unwrap() == 1
    }

    /// Its lock has died with it.
    fn forget_the_dead(&self) {}

    fn rows(&self) -> usize {
        dump(&self.0.journal(), &["row"]).len()
    }

    fn texts(&self) -> usize {
        std::fs::read_dir(self.0.path("deskload/journal.sqlite3.spool")).unwrap().count()
    }

    fn change(&self, sql: &str) {
        rusqlite::Connection::open(self.0.journal()).unwrap().execute(sql, []).unwrap();
    }

    fn latencies(latencies: &Latencies) -> (&'static str, String) {
        let bytes = latencies.0.iter().flat_map(|count| u32::try_from(*count).unwrap().to_le_bytes());
        let hex = bytes.fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        // Requests that never left are told nowhere any more, and have a column still.
        ("not_sent, latency", format!("0, x'{hex}'"))
    }
}

/// A database of the server that cases share.
pub(super) struct Hosted {
    bench: Bench,
    name: String,
    server: Arc<Postgres>,
}

impl Home for Hosted {
    const TABLES: &'static str = "deskload.";

    fn of(bench: Bench) -> Option<Self> {
        let (server, name) = super::database::made()?;
        let bench = bench.set("DESKLOAD_JOURNAL", &server.url_of(&name)).set("DESKLOAD_MAX_FAILURES", "100%");
        bench.run(&["journal", "init"]).code(EXIT_DONE);
        Some(Self { bench, name, server })
    }

    fn bench(&self) -> &Bench {
        &self.bench
    }

    fn knows_a_pause(&self) -> bool {
        self.server.ask_in(&self.name, "SELECT max(paused_until) > 0 FROM deskload.account") == "t"
    }

    fn forget_the_dead(&self) {
        self.server.ask_in(&self.name, super::database::LEASES_END);
    }

    fn rows(&self) -> usize {
        self.server.ask_in(&self.name, "SELECT count(*) FROM deskload.rows").parse().unwrap()
    }

    fn texts(&self) -> usize {
        self.server.ask_in(&self.name, "SELECT count(body) FROM deskload.rows").parse().unwrap()
    }

    fn change(&self, sql: &str) {
        self.server.ask_in(&self.name, sql);
    }

    fn latencies(latencies: &Latencies) -> (&'static str, String) {
        ("latencies", format!("ARRAY{:?}::bigint[]", latencies.0))
    }
}

/// A home for this bench, or the case's end.
macro_rules! home {
    ($home:ty, $bench:expr) => {
        match <$home>::of($bench) {
            Some(home) => home,
            None => return,
        }
    };
}
pub(super) use home;
