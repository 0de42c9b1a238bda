//! 20 and 57: for a while there is no desk, or no descriptor to call it with. Rows stay pending; it goes on.

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY};

use crate::support::Bench;

#[test]
fn f20_no_file_descriptors_left() {
    let bench = Bench::new();
    bench.rows(1..=100);
    let mut held_back = 0;
    // From too few to begin with to more than are needed; what each step needs is not this test's business.
    for limit in 4..=32 {
        let run = format!("ulimit -n {limit}; exec \"$DESKLOAD\" run rows.csv -vv --again --patience 1s");
        let ended = bench.shell(&run, None);
        let applied_before = bench.judge().applied;
        assert_eq!(bench.judge().applied_twice, 0, "{limit}");
        println!("{limit}: {:?} {applied_before}\n{}", ended.code, ended.stderr);
        if ended.code == Some(EXIT_EARLY.into()) {
            held_back += 1;
        }
    }
    assert!(held_back > 0);
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
