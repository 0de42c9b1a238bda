//! Where the program keeps its journal, for cases that run all of it.

use std::sync::Arc;

use deskload::error::EXIT_DONE;

use crate::support::Bench;
use crate::support::postgres::Postgres;

/// Where the program keeps its journal.
pub(super) trait Home: Sized {
    /// `None` where the engine is missing, which has been said.
    fn of(bench: Bench) -> Option<Self>;
    fn bench(&self) -> &Bench;
    /// Whether the journal knows of a pause that the desk has asked for.
    fn knows_a_pause(&self) -> bool;
    /// Sets columns of runs, as `column = value WHERE condition`.
    fn update_runs(&self, set: &str);
    /// Whoever was killed has not been heard of for so long that others may go on.
    fn forget_the_dead(&self);
}

/// A file below the bench's own folder.
pub(super) struct Folder(Bench);

impl Home for Folder {
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

    fn update_runs(&self, set: &str) {
        let journal = rusqlite::Connection::open(self.0.journal()).unwrap();
        journal.execute(&format!("UPDATE run SET {set}"), []).unwrap();
    }

    /// Its lock has died with it.
    fn forget_the_dead(&self) {}
}

/// A database of the server that cases share.
pub(super) struct Hosted {
    bench: Bench,
    name: String,
    server: Arc<Postgres>,
}

impl Home for Hosted {
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

    fn update_runs(&self, set: &str) {
        self.server.ask_in(&self.name, &format!("UPDATE deskload.run SET {set}"));
    }

    fn forget_the_dead(&self) {
        self.server.ask_in(&self.name, super::database::LEASES_END);
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
