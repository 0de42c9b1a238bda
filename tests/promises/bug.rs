//! A bug: the code that sends a row panics.
//!
//! Nothing from outside can make it panic, so this binary starts itself as a program with the real journal, account,
//! pipeline and last words, and a desk that has the bug.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, SystemTime};

use deskload::breaker::{Breaker, Limits, MaxFailures};
use deskload::commands::drive::waiting_for_a_word;
use deskload::commands::guarded;
use deskload::desk::throttle::WaitHeaders;
use deskload::desk::verdict::{self, Body, Reply as Came, Rules, Verdict};
use deskload::desk::{Answer, Desk, Line};
use deskload::error::{EXIT_ATTENTION, EXIT_EARLY, EXIT_MACHINE, Error};
use deskload::journal::Journal;
use deskload::journal::account::AccountLock;
use deskload::journal::invocations::Beginning;
use deskload::journal::state::Permit;
use deskload::journal::writer::Writer;
use deskload::mapping::Mapping;
use deskload::pace::Pace;
use deskload::pipeline::{Parts, Pipeline};
use deskload::progress::Progress;
use deskload::shutdown::Shutdown;
use deskload::spooled::Spooled;
use deskload::ticket::TicketUpdate;
use deskload::todo::{Source, Todo};
use deskload::until::{Bounds, Until};
use deskload::voice;

use crate::secrets::nowhere;
use crate::support::ledger::{SENDING, rows_in};
use crate::support::{Bench, TOKEN, closing_time, one_at_a_time};

/// What the panic says, beside the token: a row's text, for instance.
const CANARY: &str = "canary-of-a-panic-51c0";

#[test]
fn f54_panic_in_a_task() {
    let bench = Bench::scripted([closing_time(2)]).set("RUST_BACKTRACE", "full");
    bench.rows(1..=6);
    bench.run(&one_at_a_time("rows.csv", &[])).code(EXIT_EARLY);
    let this = std::env::current_exe().unwrap();
    let program = "bug::the_program_of_f54_panic_in_a_task --exact --ignored --nocapture --quiet";
    let said = bench.shell(&format!("exec '{}' {program}", this.display()), None).code(EXIT_MACHINE);
    let said = said
        .says("deskload: a bug in deskload at tests/promises/bug.rs:")
        .says("sending row 3 ended in a bug; it is in doubt, and nothing more was sent");
    nowhere(&bench, &said, &[CANARY, &CANARY[..16], TOKEN, &TOKEN[..16]]);
    assert_eq!(rows_in(&bench.journal(), SENDING), [3], "what was under way beside it has its outcome");
    let said = bench.run(&["run", "rows.csv", "-vv"]).code(EXIT_ATTENTION);
    let said = said.says("ended with 1 row on the way: in doubt");
    nowhere(&bench, &said, &[CANARY, TOKEN]);
    assert_eq!(bench.counts(1), [5, 0, 0, 1, 0, 0]);
    let tickets: Vec<u64> = bench.seen().iter().map(|seen| seen.ticket).collect();
    assert_eq!(tickets, [1, 2, 4, 5, 6], "2 was put off at first, and neither it nor 3 is sent once more");
}

#[test]
#[ignore = "a program of its own, which f54_panic_in_a_task starts"]
#[expect(clippy::exit, reason = "the exit code is what is looked at")]
fn the_program_of_f54_panic_in_a_task() {
    let done = guarded(go_on);
    voice::end(done.as_ref().err());
    std::process::exit(done.err().map_or(0, |error| error.exit_code().into()));
}

/// Goes on with run 1 in the current folder as `run` does.
fn go_on() -> Result<(), Error> {
    let state = Path::new("deskload");
    let mut journal = Journal::open(&state.join("journal.sqlite3"))?;
    let run = journal.run(1)?.unwrap();
    let mut account = AccountLock::acquire(state, &run.desk)?;
    account.confirm(&mut journal, &run.desk, false)?;
    journal.begin_invocation(run.key, &Beginning::default())?;
    let (lanes, doubts) = waiting_for_a_word(&journal, &run, false)?;
    let spooled = Spooled::open(&journal, &run)?.unwrap();
    let mapping = Mapping::resolve(&run.mapping, spooled.header())?;
    let todo = Todo::new(journal.open_again()?, &run, spooled, mapping, false)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let context = runtime.enter();
    let limits = Limits {
        retries: 5,
        resends: false,
        patience: Duration::from_secs(600),
        max_wait: Duration::from_secs(900),
        max_failures: MaxFailures::Rows(9),
    };
    let desk = DeskWithABug::default();
    let parts = Parts {
        desk: &desk,
        source: Source::spawn(todo)?,
        writer: Writer::spawn(journal, run.key)?,
        lanes,
        pace: Pace::new(&[], None)?,
        breaker: Breaker::new(limits, fastrand::Rng::new(), 0),
        doubts,
        concurrency: 2,
        marked_max: 4,
        counts: run.counts,
        progress: Progress::None,
        until: Until::new(Bounds::default(), jiff::Timestamp::now),
        shutdown: Shutdown::default(),
    };
    let driven = runtime.block_on(Pipeline::new(parts).run());
    drop(context);
    drop(driven.writer.close()?);
    driven.ended.stopped.map_or(Ok(()), Err)
}

/// It answers each row with success once row 3 has come to it, and then has no answer for row 3.
#[derive(Default)]
struct DeskWithABug {
    has_failed: Cell<bool>,
}

struct Wire;

impl Line for Wire {
    fn is_open(&self) -> bool {
        true
    }
}

impl Desk for DeskWithABug {
    type Line = Wire;

    async fn connect(&self) -> Result<Wire, Verdict> {
        Ok(Wire)
    }

    async fn send(&self, permit: Permit, line: Wire, update: &TicketUpdate) -> Answer<Wire> {
        if permit.row() == 3 {
            self.has_failed.set(true);
            panic!("{CANARY} {TOKEN}");
        }
        while !self.has_failed.get() {
            tokio::task::yield_now().await;
        }
        let body = format!(r#"{{"status":"success","ticket_id":"{}"}}"#, update.ticket().get());
        let came = Came { status: 200, wait: WaitHeaders::default(), body: Body::Whole(body.into_bytes()) };
        let verdict = verdict::read(&Ok(came), update.ticket(), &Rules::default(), SystemTime::UNIX_EPOCH);
        Answer { sent: permit.send(), verdict, latency: Duration::ZERO, line: Some(line) }
    }

    async fn renew_credentials(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
