//! Commands of several machines that meet at a bad moment, and databases that are not what they seem.

use std::sync::atomic::Ordering;

use deskload::error::{EXIT_DONE, EXIT_EARLY, EXIT_MACHINE, EXIT_OVERLAP};
use deskload::sandbox::{Fate, Reply, When};

use super::Fleet;
use super::proxy::Proxy;
use crate::support::{Bench, until};

fn fleet(rate: &str, rows: u64) -> Option<Fleet> {
    let fleet = Fleet::new(Bench::new().set("DESKLOAD_RATE", rate))?;
    fleet.bench.rows(1..=rows);
    Some(fleet)
}

impl Fleet {
    /// Has all of this been applied, and each of it once?
    fn assert_each_once(&self, requests: u64) {
        self.assert_kept();
        self.assert_adds_up();
        assert_eq!((self.bench.desk().requests, self.bench.judge().applied), (requests, requests));
    }
}

/// Cron on two machines, so that one of them is up.
#[test]
fn one_file_given_to_two_machines_at_once_is_sent_once() {
    let Some(mut fleet) = fleet("200/s", 40) else { return };
    let proxy = Proxy::stalling_at(fleet.database.socket_path(), "pg_try_advisory_xact_lock");
    let second = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &proxy.url()]);
    // It has looked, and found that nobody has taken the file in.
    until("the second to be held up", || proxy.held.up.load(Ordering::Relaxed));
    fleet.bench.move_to("another");
    fleet.bench.rows(1..=40);
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    proxy.release();
    second.finish().code(EXIT_OVERLAP).says("another machine has just taken in this input");
    assert_eq!(fleet.database.ask("SELECT count(*) FROM deskload.run"), "1");
    fleet.assert_each_once(40);
}

/// While the database was away, say, all leases ran out, and another machine was quicker.
#[test]
fn a_run_that_another_has_taken_the_place_of_ends_and_goes_on_later() {
    let Some(fleet) = fleet("20/s", 100) else { return };
    fleet.bench.file("other.csv", "ticket_id,subject\n1001,row 1001\n1002,row 1002\n");
    let mut first = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut first, 10);
    fleet.bench.run(&["run", "other.csv", "--yes"]).code(EXIT_OVERLAP);
    fleet.database.ask("UPDATE deskload.unit SET until = 1; SELECT deskload.activate(2)");
    first.finish().code(EXIT_EARLY).says("another run");
    fleet.bench.run(&["run", "other.csv", "--yes"]).code(EXIT_DONE);
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    fleet.assert_each_once(102);
}

#[test]
fn a_commit_that_is_held_up_is_not_waited_for_and_opens_its_run_when_it_comes() {
    let Some(fleet) = fleet("200/s", 20) else { return };
    let proxy = Proxy::stalling_at(fleet.database.socket_path(), "COMMIT\0");
    let held_up = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &proxy.url()]);
    held_up.finish().code(EXIT_MACHINE).says("did not answer in time");
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_OVERLAP);
    proxy.release();
    fleet.database.until("EXISTS (SELECT FROM deskload.run)");
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    assert_eq!(fleet.database.ask("SELECT count(*) FROM deskload.run"), "1");
    fleet.assert_each_once(20);
}

/// Its owner's `journal check` does not see what is set for the workers' role alone.
#[test]
fn a_role_whose_commits_may_be_forgotten_sends_nothing() {
    let Some(fleet) = fleet("200/s", 5) else { return };
    fleet.database.ask("ALTER ROLE deskload_worker SET synchronous_commit = off");
    let refused = fleet.bench.run(&["run", "rows.csv", "--yes"]);
    refused.code(EXIT_MACHINE).says("synchronous_commit = off");
    fleet.bench.run(&["work", "--once"]).code(EXIT_MACHINE);
    fleet.database.ask("ALTER ROLE deskload_worker RESET synchronous_commit");
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    fleet.assert_each_once(5);
}

#[test]
fn a_dump_or_a_copy_in_the_place_of_the_journal_gets_nothing_sent() {
    let Some(fleet) = fleet("200/s", 5) else { return };
    let dump = fleet.database.dump("desk");
    fleet.database.ask_in("postgres", "CREATE DATABASE copy TEMPLATE desk");
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    // Neither of them knows of that run.
    let url = fleet.database.url_of("copy").replace("deskload@", "deskload_worker@");
    let refused = fleet.bench.run(&["run", "rows.csv", "--yes", "--journal", &url]);
    refused.code(EXIT_MACHINE).says("deskload journal check --confirm");
    fleet.database.ask("DROP SCHEMA deskload CASCADE");
    fleet.database.put_back("desk", &dump);
    let refused = fleet.bench.run(&["run", "rows.csv", "--yes"]);
    refused.code(EXIT_MACHINE).says("deskload journal check --confirm");
    assert_eq!(fleet.bench.desk().requests, 5);
    let owner = fleet.database.url();
    fleet.bench.run(&["journal", "check", "--confirm", "--journal", &owner]).code(EXIT_DONE);
    fleet.bench.run(&["journal", "check"]).code(EXIT_DONE);
}

/// It fits the journal's calls better than the server's own, which takes anything.
#[test]
fn a_function_that_somebody_has_put_beside_the_journal_is_not_called() {
    let Some(fleet) = fleet("200/s", 5) else { return };
    fleet.database.ask(
        "CREATE FUNCTION public.jsonb_build_array(bigint, integer, integer, bigint) RETURNS jsonb LANGUAGE plpgsql
             AS $$ BEGIN RAISE 'called by %', current_user; END $$",
    );
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_DONE);
    fleet.assert_each_once(5);
}

/// The answer is lost with the way there, and the word is given again, otherwise.
#[test]
fn a_person_s_word_that_is_held_up_is_not_heard_later() {
    let doubts = [1, 2].map(|request| Fate::new(When::Request(request), Reply::status(502)));
    let Some(fleet) = Fleet::new(Bench::scripted(doubts).set("DESKLOAD_RATE", "200/s")) else { return };
    fleet.bench.rows(1..=1);
    fleet.bench.run(&["run", "rows.csv", "--yes"]);
    assert_eq!(fleet.in_state(5), 1);
    let proxy = Proxy::stalling_at(fleet.database.socket_path(), "deskload.resolve(");
    let held_up = fleet.bench.run(&["resolve", "1", "--applied", "--journal", &proxy.url()]);
    held_up.code(EXIT_MACHINE).says("did not answer in time");
    fleet.bench.run(&["resolve", "1", "--resend"]).code(EXIT_DONE);
    fleet.bench.run(&["resume", "1"]);
    assert_eq!(fleet.in_state(5), 1, "the desk gave no answer again");
    proxy.release();
    until("the statement to have come", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'deskload_worker'";
        fleet.database.ask(sql) == "0"
    });
    assert_eq!(fleet.in_state(5), 1);
}

/// Each commit takes a while, and tells of the pause again.
#[test]
fn a_pause_that_is_too_long_ends_a_run_however_far_away_its_database_is() {
    let away = Fate::new(When::Request(1), Reply::status(429).header("retry-after", "7200"));
    let Some(fleet) = Fleet::new(Bench::scripted([away])) else { return };
    fleet.bench.rows(1..=1);
    fleet.database.ask(
        "CREATE OR REPLACE FUNCTION deskload.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS
             'SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM pg_sleep(0.005)'",
    );
    fleet.bench.run(&["run", "rows.csv", "--yes"]).code(EXIT_EARLY).says("--max-wait");
}
