//! A test for each way to decide, and for each way to give up.

use super::*;
use crate::journal::state::Reason;
use crate::todo::tests::row;

const LIMITS: Limits = Limits {
    retries: 2,
    resends: false,
    patience: Duration::from_secs(600),
    max_wait: Duration::from_secs(60),
    max_failures: MaxFailures::Percent(100.0),
};

struct Bench {
    breaker: Breaker,
    pace: Pace,
    row: Row,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let breaker = Breaker::new(limits, fastrand::Rng::with_seed(7), 0);
        Self { breaker, pace: Pace::new(&[], None).unwrap(), row: row(1, 7) }
    }

    /// One that has applied a row, so that the desk is known to be there.
    fn warm() -> Self {
        let mut bench = Self::new(LIMITS);
        bench.pass();
        bench.breaker.committed(1);
        bench
    }

    fn decide(&mut self, verdict: Verdict) -> Decision {
        self.breaker.decide(verdict, &mut self.row, false, &mut self.pace)
    }

    fn probe(&mut self, verdict: Verdict) -> Decision {
        self.breaker.decide(verdict, &mut self.row, true, &mut self.pace)
    }

    fn pass(&mut self) {
        assert!(matches!(self.decide(Verdict::Applied), Decision::Settle(Ending::Applied)));
    }

    fn exit_code(&self) -> Option<u8> {
        self.breaker.gives_up().map(|error| error.exit_code())
    }
}

fn note(reason: Reason) -> Note {
    Note { reason, message: "why".to_owned(), http_status: None }
}

fn lost() -> Verdict {
    Verdict::InDoubt { lost: true, note: note(Reason::Timeout) }
}

fn unclear() -> Verdict {
    Verdict::InDoubt { lost: false, note: note(Reason::ServerError) }
}

fn not_sent() -> Verdict {
    Verdict::NotSent { away: true, note: note(Reason::NotSent) }
}

fn throttled(seconds: impl Into<Option<u64>>) -> Verdict {
    Verdict::Throttled(seconds.into().map(Duration::from_secs), note(Reason::Throttled))
}

fn forbidden() -> Verdict {
    Verdict::Forbidden(note(Reason::Forbidden))
}

fn redirected() -> Verdict {
    Verdict::Redirected(note(Reason::Redirected))
}

fn is_failed(decision: &Decision) -> bool {
    matches!(decision, Decision::Settle(Ending::Failed(_)))
}

fn stops_with(decision: &Decision) -> Option<u8> {
    match decision {
        Decision::Stop(_, error) | Decision::Renew(_, error) => Some(error.exit_code()),
        _ => None,
    }
}

async fn pass_time(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_ask_for_new_ones_and_fail_no_row() {
    let decision = Bench::warm().decide(Verdict::Credentials(note(Reason::Credentials)));
    assert!(matches!(&decision, Decision::Renew(_, error) if error.exit_code() == 4), "{decision:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_certificate_stops() {
    let decision = Bench::warm().decide(Verdict::Certificate(note(Reason::Certificate)));
    assert!(matches!(&decision, Decision::Stop(_, error) if error.exit_code() == 2), "{decision:?}");
}

#[tokio::test(start_paused = true)]
async fn a_403_before_anything_was_applied_is_about_the_credentials() {
    assert_eq!(stops_with(&Bench::new(LIMITS).decide(forbidden())), Some(4));
    let mut bench = Bench::new(LIMITS);
    bench.pass();
    assert_eq!(stops_with(&bench.decide(forbidden())), Some(4), "an outcome counts once it is committed");
}

#[tokio::test(start_paused = true)]
async fn one_403_among_successes_is_that_rows_own() {
    let mut bench = Bench::warm();
    for _ in 0..4 {
        assert!(is_failed(&bench.decide(forbidden())));
        assert!(is_failed(&bench.decide(forbidden())));
        bench.pass();
    }
}

#[tokio::test(start_paused = true)]
async fn the_third_403_in_a_row_is_about_the_credentials() {
    let mut bench = Bench::warm();
    bench.decide(forbidden());
    bench.decide(not_sent());
    bench.decide(forbidden());
    assert_eq!(stops_with(&bench.decide(forbidden())), Some(4), "no connection says nothing of the 403s");
}

#[tokio::test(start_paused = true)]
async fn redirects_are_weighed_as_403s_are() {
    assert_eq!(stops_with(&Bench::new(LIMITS).decide(redirected())), Some(2));
    let mut bench = Bench::warm();
    assert!(is_failed(&bench.decide(redirected())));
    assert!(is_failed(&bench.decide(redirected())));
    assert_eq!(stops_with(&bench.decide(redirected())), Some(2));
    let mut bench = Bench::warm();
    bench.decide(redirected());
    bench.decide(redirected());
    assert!(is_failed(&bench.decide(forbidden())), "each kind is counted by itself");
    assert!(is_failed(&bench.decide(redirected())));
}

#[tokio::test(start_paused = true)]
async fn our_own_backoff_grows_and_its_jitter_is_bounded() {
    let mut longest = [Duration::ZERO; 9];
    for seed in 0..300 {
        let mut bench = Bench::new(LIMITS);
        bench.breaker.rng = fastrand::Rng::with_seed(seed);
        for (times, longest) in longest.iter_mut().enumerate() {
            bench.decide(throttled(None));
            let wait = bench.pace.paused_until().map_or(Duration::ZERO, |until| until - Instant::now());
            let bound = Duration::from_secs(1 << times).min(BACKOFF_MAX);
            assert!(wait <= bound, "{wait:?} after {times} refusals");
            *longest = wait.max(*longest);
            tokio::time::advance(wait).await;
        }
    }
    for (times, longest) in longest.into_iter().enumerate() {
        let bound = Duration::from_secs(1 << times).min(BACKOFF_MAX);
        assert!(longest > bound.mul_f64(0.9), "{longest:?} of {bound:?}: the jitter is full");
    }
}

#[tokio::test(start_paused = true)]
async fn bare_429s_that_come_at_once_back_off_once() {
    let mut bench = Bench::new(LIMITS);
    bench.decide(throttled(None));
    bench.decide(throttled(None));
    assert_eq!(bench.breaker.unannounced_pauses, 1);
    bench.pass();
    assert_eq!(bench.breaker.unannounced_pauses, 0, "what goes through starts anew");
}

#[tokio::test(start_paused = true)]
async fn an_announced_pause_is_kept_and_one_beyond_max_wait_stops() {
    let mut bench = Bench::new(LIMITS);
    assert!(matches!(bench.decide(throttled(60)), Decision::Later(_)));
    assert_eq!(bench.pace.paused_until(), Some(Instant::now() + Duration::from_secs(60)));
    let decision = bench.decide(throttled(61));
    assert!(matches!(&decision, Decision::Stop(_, error)
        if error.exit_code() == 5 && error.to_string().contains("come back in")));
    assert_eq!(stops_with(&bench.decide(throttled(u64::MAX))), Some(5), "later than can be counted");
}

#[tokio::test(start_paused = true)]
async fn pauses_that_let_nothing_through_may_add_up_to_four_times_max_wait() {
    let mut bench = Bench::new(Limits { retries: u32::MAX, ..LIMITS });
    for _ in 0..4 {
        assert!(matches!(bench.decide(throttled(60)), Decision::Later(_)));
        pass_time(60).await;
    }
    assert_eq!(stops_with(&bench.decide(throttled(60))), Some(5));
    let mut bench = Bench::new(LIMITS);
    for _ in 0..20 {
        assert!(matches!(bench.decide(throttled(60)), Decision::Later(_)));
        pass_time(60).await;
        bench.pass();
        bench.row = row(1, 7);
    }
}

#[tokio::test(start_paused = true)]
async fn losses_at_once_count_once() {
    let mut bench = Bench::warm();
    assert_eq!(bench.breaker.allowed(8), 8);
    for _ in 0..8 {
        assert!(matches!(bench.decide(lost()), Decision::Settle(Ending::InDoubt(_))));
    }
    assert!(bench.breaker.is_probing());
    assert_eq!(bench.exit_code(), None, "eight losses at once are one trouble");
    tokio::time::advance(BACKOFF_MIN).await;
    assert_eq!(bench.breaker.allowed(8), 1, "one request at a time");
    bench.pass();
    assert_eq!(bench.breaker.allowed(8), 8);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_the_probe_is_due() {
    let mut bench = Bench::warm();
    bench.decide(not_sent());
    let due = bench.breaker.probe_at().unwrap();
    assert!(due > Instant::now() && due <= Instant::now() + BACKOFF_MIN);
    assert_eq!(bench.breaker.allowed(8), 0);
}

#[tokio::test(start_paused = true)]
async fn five_probes_in_doubt_stop() {
    let mut bench = Bench::warm();
    bench.decide(lost());
    for verdict in [lost(), unclear(), lost(), unclear()] {
        bench.probe(verdict);
        assert_eq!(bench.exit_code(), None);
    }
    bench.probe(lost());
    assert_eq!(bench.exit_code(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn an_unclear_answer_is_no_sign_that_the_desk_is_away() {
    let mut bench = Bench::warm();
    assert!(matches!(bench.decide(unclear()), Decision::Settle(Ending::InDoubt(_))));
    assert!(!bench.breaker.is_probing());
}

#[tokio::test(start_paused = true)]
async fn a_desk_that_cannot_be_reached_is_probed_until_patience_ends() {
    let mut bench = Bench::warm();
    bench.decide(not_sent());
    let began = Instant::now();
    let mut probes = 0;
    while bench.exit_code().is_none() {
        tokio::time::sleep_until(bench.breaker.probe_at().unwrap()).await;
        assert!(matches!(bench.probe(not_sent()), Decision::Again(_)));
        probes += 1;
    }
    // tokio's timer counts whole milliseconds.
    let over = began.elapsed().checked_sub(LIMITS.patience);
    assert!(
        over.is_some_and(|over| over < Duration::from_millis(2)),
        "the last probe leaves when patience ends"
    );
    assert!((15..60).contains(&probes), "{probes} probes in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn announced_pauses_are_not_held_against_patience() {
    let mut bench = Bench::new(Limits { max_wait: Duration::from_secs(900), retries: 9, ..LIMITS });
    bench.decide(not_sent());
    for _ in 0..8 {
        bench.decide(throttled(300));
    }
    pass_time(599).await;
    bench.probe(not_sent());
    assert_eq!(bench.exit_code(), None, "299 s without the pause");
    pass_time(301).await;
    assert_eq!(bench.exit_code(), Some(5), "eight pauses at once are waited for once");
}

#[tokio::test(start_paused = true)]
async fn trouble_in_a_pause_begins_when_the_pause_ends() {
    let mut bench = Bench::new(Limits { max_wait: Duration::from_secs(900), ..LIMITS });
    bench.decide(throttled(900));
    bench.decide(lost());
    pass_time(1_499).await;
    assert_eq!(bench.exit_code(), None);
    pass_time(1).await;
    assert_eq!(bench.exit_code(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_row_rests_after_its_retries_only_while_others_go_through() {
    let mut bench = Bench::new(LIMITS);
    for _ in 0..10 {
        assert!(matches!(bench.decide(throttled(0)), Decision::Later(_)), "nobody gets through");
    }
    let mut bench = Bench::new(LIMITS);
    for _ in 0..LIMITS.retries {
        assert!(matches!(bench.decide(throttled(0)), Decision::Later(_)));
        bench.pass();
    }
    assert!(matches!(bench.decide(throttled(0)), Decision::Rest(_)));
}

/// One row of a ticket is refused, others pass or are refused, and it is refused again: what then?
fn refused_again(passes: u32, others_refused: u32, wait: u64) -> (Decision, Bench) {
    let mut bench = Bench::new(LIMITS);
    assert!(matches!(bench.decide(throttled(0)), Decision::Later(_)));
    let own = bench.row.clone();
    for _ in 0..others_refused {
        bench.row = row(2, 8);
        bench.decide(throttled(0));
    }
    for _ in 0..passes {
        bench.pass();
    }
    bench.row = own;
    (bench.decide(throttled(wait)), bench)
}

#[tokio::test(start_paused = true)]
async fn a_ticket_s_own_refusal_parks_it_alone_once_others_went_through() {
    let (decision, bench) = refused_again(4, 0, 7);
    assert!(matches!(decision, Decision::Park(_, wait) if wait == Duration::from_secs(7)), "{decision:?}");
    assert_eq!(bench.pace.paused_until(), None, "the account goes on");
    assert!(matches!(refused_again(8, 2, 7).0, Decision::Park(..)));
    // Beyond --max-wait it is the ticket that rests, and not the run that stops.
    assert!(matches!(refused_again(4, 0, 61).0, Decision::Rest(_)));
}

#[tokio::test(start_paused = true)]
async fn without_enough_others_a_refusal_is_the_account_s() {
    for (passes, refused) in [(0, 0), (3, 0), (7, 2)] {
        let (decision, bench) = refused_again(passes, refused, 7);
        assert!(matches!(decision, Decision::Later(_)), "{passes} {refused}: {decision:?}");
        assert_eq!(bench.pace.paused_until(), Some(Instant::now() + Duration::from_secs(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_from_before_is_kept_or_stops_if_it_is_too_long() {
    for (left, code) in [(60, None), (61, Some(5))] {
        let mut bench = Bench::new(LIMITS);
        bench.pace.pause(Duration::from_secs(left));
        let stop = bench.breaker.waits_too_long(&bench.pace);
        assert_eq!(stop.map(|error| error.exit_code()), code);
    }
}

#[tokio::test(start_paused = true)]
async fn max_failures_as_a_share_counts_after_forty_rows() {
    let mut bench = Bench::new(Limits { max_failures: MaxFailures::Percent(25.0), ..LIMITS });
    for _ in 0..10 {
        bench.decide(unclear());
    }
    for _ in 0..29 {
        bench.pass();
    }
    assert!(bench.breaker.too_many_failures().is_none(), "10 of 39");
    bench.pass();
    assert!(bench.breaker.too_many_failures().is_none(), "10 of 40 are 25%, not more");
    bench.decide(Verdict::Failed(note(Reason::Rejected)));
    assert_eq!(bench.breaker.too_many_failures().map(|error| error.exit_code()), Some(8), "11 of 41");
}

#[tokio::test(start_paused = true)]
async fn max_failures_as_a_number_counts_at_once() {
    let mut bench = Bench::new(Limits { max_failures: MaxFailures::Rows(1), ..LIMITS });
    bench.decide(Verdict::Failed(note(Reason::Rejected)));
    assert!(bench.breaker.too_many_failures().is_none());
    bench.decide(unclear());
    assert!(bench.breaker.too_many_failures().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_desk_is_away_from_the_first_loss_until_something_goes_through() {
    let mut bench = Bench::warm();
    for total in [40, 80] {
        bench.decide(not_sent());
        tokio::time::advance(Duration::from_secs(10)).await;
        bench.probe(not_sent());
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(bench.breaker.away_total(), Duration::from_secs(total));
        bench.pass();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(bench.breaker.away_total(), Duration::from_secs(total));
    }
}
