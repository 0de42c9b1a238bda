//! The journal in a database: one for each case, on a server that cases at the same time share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deskload::error::Error;
use deskload::journal::archive::Archive;
use deskload::journal::postgres::{Keeper, Place, Shared, Terms, Worker, setup};
use deskload::journal::runs::Run;
use deskload::shutdown::Shutdown;
use deskload::todo::Source;

use super::{Engine, Input};
use crate::support::postgres::{Held, Postgres};

/// Starting a server takes a second or two, and a case some milliseconds.
static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Nobody has been heard of for longer than a lease lasts.
pub(super) const LEASES_END: &str = "UPDATE deskload.unit SET until = 1; UPDATE deskload.worker SET seen = 1";

pub(in crate::journals) struct Database {
    journal: Shared,
    name: String,
    /// Who renews the worker's leases, and where its rows would come from.
    at_work: Option<(Keeper, Source)>,
    /// Whether a person said that workers send rows in doubt again.
    pub(super) resends: bool,
    server: Arc<Postgres>,
}

fn server() -> Option<Arc<Postgres>> {
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Postgres::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// A database that is empty.
pub(super) fn made() -> Option<(Arc<Postgres>, String)> {
    let server = server()?;
    let name = format!("case{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.ask(&format!("CREATE DATABASE {name}"));
    Some((server, name))
}

impl Database {
    /// Asks the database of this case.
    pub(super) fn ask(&self, sql: &str) -> String {
        self.server.ask_in(&self.name, sql)
    }

    /// Opens a run of an input of which this was the newest run when it was looked for.
    pub(super) fn open_again(&mut self, text: &str, newest: Option<u64>) -> Result<Run, Error> {
        let input = Input::new(text);
        let found = input.read(self, None);
        input.open(self, &found, newest)
    }

    /// Opens the journal once more, as another machine does.
    pub(super) fn open_another(&self) -> Result<Shared, Error> {
        Shared::open(&Place::parse(&self.server.url_of(&self.name)).unwrap())
    }

    /// Somebody's transaction in it, which keeps what it has locked until this is dropped.
    pub(super) fn hold(&self, sql: &str) -> Held {
        self.server.hold_in(&self.name, sql)
    }

    /// Sets what whoever connects to it from now on finds set.
    pub(super) fn set(&self, setting: &str) {
        self.ask(&format!("ALTER DATABASE {} SET {setting}", self.name));
    }

    /// The account's workers are to work on this run.
    pub(super) fn activate(&mut self, run: &Run) -> Result<(), Error> {
        self.journal.activate(run)
    }

    /// How many sessions of the program are in it.
    pub(super) fn sessions(&self) -> u64 {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'deskload'",
            self.name
        );
        self.ask(&sql).parse().unwrap()
    }
}

impl Engine for Database {
    type Worker = Worker;

    fn open() -> Option<Self> {
        let (server, name) = made()?;
        let place = Place::parse(&server.url_of(&name)).unwrap();
        setup::init(&place).unwrap();
        Some(Self { journal: Shared::open(&place).unwrap(), name, at_work: None, resends: false, server })
    }

    fn archive(&mut self) -> &mut dyn Archive {
        &mut self.journal
    }

    fn worker(&mut self, run: &Run) -> Worker {
        self.journal.activate(run).unwrap();
        let terms = Terms {
            rates: Vec::new(),
            rate_per_ticket: None,
            burst: None,
            resends: self.resends,
            patience: Duration::from_secs(30),
            shutdown: Shutdown::default(),
        };
        let (worker, source, keeper) = self.journal.join(run, terms).unwrap();
        let Source::Shared(mut rows, in_hand) = source else {
            panic!("a worker's rows come from the database")
        };
        // Rows are handed out once there are leases.
        rows.blocking_recv().unwrap().unwrap();
        self.at_work = Some((keeper, Source::Shared(rows, in_hand)));
        worker
    }

    fn leave(&mut self, worker: Worker) {
        let (keeper, _source) = self.at_work.take().unwrap();
        keeper.end();
        worker.leave().unwrap();
    }

    fn found_after(&mut self, killed: Worker, run: &Run) -> u64 {
        let (keeper, _source) = self.at_work.take().unwrap();
        keeper.end();
        drop(killed);
        self.ask(LEASES_END);
        let before = self.journal.run(run.key.id).unwrap().unwrap().counts.in_doubt;
        let next = self.worker(run);
        let found = self.journal.run(run.key.id).unwrap().unwrap().counts.in_doubt - before;
        self.leave(next);
        found
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some((keeper, _source)) = self.at_work.take() {
            keeper.end();
        }
    }
}
