//! Where the program keeps its journal, for cases that run all of it.

use std::sync::Arc;

use deskload::error::EXIT_DONE;

use crate::support::Bench;
use crate::support::ledger::dump;
use crate::support::postgres::Postgres;

/// Where the program keeps its journal.
pub(super) trait Home: Sized {
    /// The table of runs.
    const RUNS: &'static str;

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
    /// Does this to the journal's tables by their names.
    fn change(&self, sql: &str);

    /// The run was last worked on so many days ago.
    fn age(&self, run: u64, days: u64) {
        let ms = days * 86_400_000;
        let (table, ago) = (Self::RUNS, format!("ended_ms = ended_ms - {ms}, started_ms = started_ms - {ms}"));
        self.change(&format!("UPDATE {table} SET {ago} WHERE id = {run}"));
    }
}

/// A file below the bench's own folder.
pub(super) struct Folder(Bench);

impl Home for Folder {
    const RUNS: &'static str = "run";

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
}

/// A database of the server that cases share.
pub(super) struct Hosted {
    bench: Bench,
    name: String,
    server: Arc<Postgres>,
}

impl Home for Hosted {
    const RUNS: &'static str = "deskload.run";

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
