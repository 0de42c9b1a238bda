//! A standby that is promoted once its server is gone, or a copy in its place: it may have forgotten what was sent last.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_MACHINE};
use deskload::sandbox::options::parse_latency;

use super::Fleet;
use crate::support::Bench;
use crate::support::postgres::Postgres;

/// Rows whose requests take a while, so that some are under way at any moment.
fn slow() -> Bench {
    let latency = parse_latency("30..60").unwrap();
    Bench::with(|options| options.latency = latency).set("DESKLOAD_RATE", "50/s")
}

/// What `--journal` takes for whichever of the two may be written to.
fn either(first: &Postgres, second: &Postgres) -> String {
    let hosts = format!("host={}&host={}", first.socket(), second.socket());
    format!("postgres://deskload_worker@/desk?{hosts}&target_session_attrs=read-write")
}

#[test]
fn an_asynchronous_standby_that_is_promoted_gets_nothing_sent_until_a_person_confirms() {
    let Some(mut fleet) = Fleet::new(slow()) else { return };
    fleet.bench.rows(1..=400);
    let mut standby = fleet.database.standby();
    let url = either(&fleet.database, &standby);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &url]);
    fleet.bench.await_requests(&mut run, 20);
    let work = fleet.bench.start(&["work", "--journal", &url]);
    fleet.bench.await_requests(&mut run, 60);
    // From here on it hears nothing, and the desk goes on.
    standby.crash();
    fleet.bench.await_requests(&mut run, 120);
    fleet.database.crash();
    standby.begin();
    standby.promote();
    run.finish().code(EXIT_MACHINE).says("deskload journal check --confirm");
    work.finish().code(EXIT_MACHINE).says("deskload journal check --confirm");

    let sent = fleet.bench.desk().requests;
    for args in [&["run", "rows.csv"][..], &["work", "--once"], &["resume"], &["retry"]] {
        let refused = fleet.bench.run(&[args, &["--journal", &url]].concat());
        refused.code(EXIT_MACHINE).says("--confirm");
    }
    assert_eq!(fleet.bench.desk().requests, sent, "nobody has sent anything");
    // It has forgotten some, and what it claims is true all the same.
    fleet.database = standby;
    assert!(fleet.in_state(1) < sent);
    fleet.assert_kept();
    fleet.assert_adds_up();
}

#[test]
fn a_synchronous_standby_that_is_promoted_has_forgotten_nothing() {
    let Some(mut fleet) = Fleet::new(slow()) else { return };
    fleet.bench.rows(1..=400);
    let standby = fleet.database.standby();
    fleet.database.ask("ALTER SYSTEM SET synchronous_standby_names = '*'");
    fleet.database.ask("SELECT pg_reload_conf()");
    fleet.database.until("EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')");
    let owner = fleet.database.url();
    let checked = fleet.bench.run(&["journal", "check", "--journal", &owner]).code(EXIT_DONE);
    assert!(checked.stdout.contains("a commit waits for a standby"), "{}", checked.stdout);
    let url = either(&fleet.database, &standby);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &url]);
    fleet.bench.await_requests(&mut run, 100);
    fleet.database.crash();
    standby.promote();
    run.finish().code(EXIT_MACHINE).says("deskload journal check --confirm");

    standby.ask("ALTER SYSTEM SET synchronous_standby_names = ''");
    standby.ask("SELECT pg_reload_conf()");
    fleet.bench.run(&["journal", "check", "--confirm", "--journal", &standby.url()]).code(EXIT_DONE);
    let done = fleet.bench.run(&["run", "rows.csv", "--journal", &url]);
    assert!([EXIT_DONE, EXIT_ATTENTION].map(|code| Some(code.into())).contains(&done.code), "{done:?}");
    fleet.database = standby;
    fleet.assert_kept();
    fleet.assert_adds_up();
    assert!(fleet.in_state(5) <= 16, "what one worker may have had on its way");
    assert_eq!(fleet.in_state(1) + fleet.in_state(5), 400);
}

/// It says that it is the same server, on the same timeline.
#[test]
fn a_server_whose_disk_was_set_back_under_a_worker_gets_nothing_sent() {
    let Some(mut fleet) = Fleet::new(slow()) else { return };
    fleet.bench.rows(1..=400);
    let mut set_back = Postgres::elsewhere().unwrap();
    let url = either(&fleet.database, &set_back);
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &url]);
    fleet.bench.await_requests(&mut run, 20);
    set_back.copy(&fleet.database, &[]);
    fleet.bench.await_requests(&mut run, 100);
    fleet.database.crash();
    set_back.begin();
    run.finish().code(EXIT_MACHINE).says("deskload journal check --confirm");
    let sent = fleet.bench.desk().requests;
    fleet.bench.run(&["run", "rows.csv", "--journal", &url]).code(EXIT_MACHINE).says("--confirm");
    assert_eq!(fleet.bench.desk().requests, sent, "nobody has sent anything");
    fleet.database = set_back;
    fleet.assert_kept();
    fleet.assert_adds_up();
}
