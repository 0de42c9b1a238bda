//! 20 and 57: for a while there is no desk, or no descriptor to call it with. Rows stay pending; it goes on.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_MACHINE};

use crate::support::peer::{last, success};
use crate::support::{Bench, Peer, csv, until};

#[test]
fn f20_no_file_descriptors_left() {
    // Each answer ends its connection, so that each row needs a new one.
    let peer = Peer::start(|mut visit| {
        if let Some(request) = visit.request() {
            visit.say(last(&success(request.ticket)));
        }
    });
    let bench = Bench::at(&peer);
    bench.rows(1..=400);
    let mut program = bench.start(&["run", "rows.csv", "-vv", "--rate", "200/s", "--patience", "2m"]);
    until("some rows", || peer.requests().len() >= 20 || program.has_ended());
    program.limit_descriptors(Some(3));
    program.await_stderr(r#"verdict="not sent""#);
    program.limit_descriptors(None);
    program.finish().code(EXIT_DONE);
    assert_eq!(bench.counts(1), [400, 0, 0, 0, 0, 0]);
    assert_eq!(bench.summary(1)["attempts"], 400, "what was never sent is no attempt");
    assert!((1..=400).all(|ticket| peer.copies(ticket) == 1));
}

#[test]
fn f20_few_file_descriptors() {
    let bench = Bench::new();
    let mut held_back = 0;
    // From too few to begin with to more than are needed; what each step needs is not this test's business.
    for limit in 4..=30 {
        let tickets = 100 * limit + 1..=100 * limit + 20;
        bench.file("rows.csv", csv(tickets));
        let run = format!(
            "\"$DESKLOAD\" run rows.csv -vv --journal {limit} --report-dir {limit}.d \
                           --account-email {limit}@example.com"
        );
        let ended = bench.shell(&format!("ulimit -n {limit}; {run}"), None);
        assert!(
            [EXIT_DONE, EXIT_MACHINE].map(|code| Some(code.into())).contains(&ended.code),
            "{limit}: {ended:?}"
        );
        held_back += usize::from(ended.stderr.contains(r#"verdict="not sent""#));
        bench.shell(&run, None).code(EXIT_DONE);
    }
    assert!(held_back > 0, "with some of the limits there were too few for the connections");
    assert_eq!((bench.judge().applied, bench.judge().applied_twice), (27 * 20, 0));
}

#[test]
fn f57_desk_away_for_longer_than_patience() {
    let mut bench = Bench::new();
    bench.rows(1..=2_000);
    let command = ["run", "rows.csv", "--rate", "500/s", "--patience", "2s"];
    let mut program = bench.start(&command);
    bench.await_requests(&mut program, 100);
    bench.close_desk();
    let ended = program.finish().code(EXIT_EARLY).says("the desk does not answer");
    ended.says("to go on: deskload run rows.csv --rate 500/s --patience 2s");
    let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
    assert_eq!((applied + in_doubt + pending, failed), (2_000, 0));
    assert!(in_doubt <= 8, "{in_doubt} were on their way when the desk went");
    assert!(pending > 0);
    bench.open_desk();
    bench.run(&command).code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
    assert_eq!(bench.counts(1), [2_000 - in_doubt, 0, 0, in_doubt, 0, 0]);
    assert_eq!(bench.judge().applied_twice, 0);
}

#[test]
fn f57_desk_back_within_patience() {
    let mut bench = Bench::new();
    bench.rows(1..=2_000);
    let mut program = bench.start(&["run", "rows.csv", "-vv", "--rate", "500/s", "--patience", "2m"]);
    bench.await_requests(&mut program, 100);
    bench.close_desk();
    // It has been there and found nobody.
    program.await_stderr(r#"verdict="not sent""#);
    bench.open_desk();
    let ended = program.finish();
    let [applied, failed, _, in_doubt, _, pending] = bench.counts(1);
    assert_eq!((applied + in_doubt, failed, pending), (2_000, 0, 0));
    assert!(in_doubt <= 8, "{in_doubt} were on their way when the desk went");
    ended.code(if in_doubt == 0 { EXIT_DONE } else { EXIT_ATTENTION });
    assert_eq!(bench.judge().applied_twice, 0);
}
