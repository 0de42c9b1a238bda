//! The limits together, and over processes.

use uuid::Uuid;

use super::ledger::Spent;
use super::uptime::Moment;
use super::*;

fn ticket() -> TicketId {
    TicketId::parse("7").unwrap()
}

fn paced(rate: &str, burst: Option<u32>) -> Pace {
    Pace::new(&Rate::parse_all(rate).unwrap(), burst.and_then(NonZeroU32::new)).unwrap()
}

/// When requests leave in so many seconds.
async fn leave(pace: &mut Pace, seconds: u64) -> Vec<Instant> {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut sent = Vec::new();
    loop {
        match pace.take(ticket()) {
            Ok(()) => sent.push(Instant::now()),
            Err(next) if next >= end => return sent,
            Err(next) => tokio::time::sleep_until(next).await,
        }
    }
}

async fn sent_in(rate: &str, burst: Option<u32>, seconds: u64) -> usize {
    leave(&mut paced(rate, burst), seconds).await.len()
}

/// The most within any such time.
fn worst(sent: &[Instant], per: Duration) -> usize {
    (0..sent.len())
        .map(|first| sent[first..].iter().take_while(|at| **at < sent[first] + per).count())
        .max()
        .unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_from_one_an_hour_to_thousands_a_second() {
    assert_eq!(sent_in("1/s", None, 10).await, 10);
    assert_eq!(sent_in("20/s", None, 10).await, 201);
    assert_eq!(sent_in("100/min", None, 60).await, 100);
    assert_eq!(sent_in("1/h", None, 7_200).await, 2);
    // tokio's timer counts whole milliseconds; the bucket's depth makes up for them.
    assert!((9_990..=10_005).contains(&sent_in("1000/s", None, 10).await));
    assert!((49_950..=50_025).contains(&sent_in("5000/s", None, 10).await));
}

#[tokio::test(start_paused = true)]
async fn several_windows_hold_at_once_whatever_the_burst() {
    for burst in [None, Some(20), Some(1_000)] {
        let mut pace = paced("5/s,100/min,3000/h", burst);
        let sent = leave(&mut pace, 7_000).await;
        assert!(worst(&sent, Duration::from_mins(1)) <= 100, "{burst:?}");
        assert!(worst(&sent, Duration::from_hours(1)) <= 3_000, "{burst:?}");
        assert!(worst(&sent, Duration::from_secs(1)) <= 10, "{burst:?}");
        // 3,000 in the first hour; and then as many as the hour before lets go.
        assert!(sent.len() >= 5_700, "{burst:?}: {}", sent.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_costs_no_more_than_its_margin() {
    for (rate, seconds, most) in [("100/min", 6_000, 10_000), ("40/20s", 2_000, 4_000)] {
        let sent = sent_in(rate, None, seconds).await;
        assert!(sent * 100 >= most * 99 && sent <= most, "{rate}: {sent} of {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_not_made_up_for() {
    let mut pace = paced("100/s", None);
    pace.take(ticket()).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let burst = std::iter::from_fn(|| pace.take(ticket()).ok()).count();
    assert_eq!(burst, 2, "the bucket's depth, not five seconds' worth");
}

/// Paused time is the monotonic clock alone: that of the wall stands still meanwhile, and does not matter.
#[tokio::test(start_paused = true)]
async fn f56_clock_jumps() {
    let mut pace = paced("100/s,100/min", None);
    for jump in [1, 3_600, 7 * 86_400] {
        pace.take(ticket()).unwrap();
        tokio::time::advance(Duration::from_secs(jump)).await;
        let burst = std::iter::from_fn(|| pace.take(ticket()).ok()).count();
        assert!(burst <= 2, "{burst} at once after {jump} s");
        tokio::time::advance(Duration::from_secs(5)).await;
    }
    // What jumps over the end of a pause finds it over, and no more than that.
    pace.pause(Duration::from_secs(60));
    tokio::time::advance(Duration::from_secs(86_400)).await;
    assert_eq!(std::iter::from_fn(|| pace.take(ticket()).ok()).count(), 2);
    assert_eq!(pace.paused_total(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_everything_and_is_counted() {
    let mut pace = paced("unlimited", None);
    assert!(pace.take(ticket()).is_ok());
    pace.pause(Duration::from_secs(3));
    pace.pause(Duration::from_secs(1));
    let until = pace.take(ticket()).unwrap_err();
    assert_eq!(until - Instant::now(), Duration::from_secs(3));
    tokio::time::sleep_until(until).await;
    assert!(pace.take(ticket()).is_ok());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(pace.paused_total(), Duration::from_secs(3));
    pace.pause(Duration::from_secs(2));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(pace.paused_total(), Duration::from_secs(5));
}

fn at(boot: u128, seconds: u64) -> Moment {
    Moment { boot: Uuid::from_u128(boot), ms: seconds * 1_000 }
}

/// A pace of 30 in 10 s that begins at this moment and remembers so much; when does the next request leave?
fn next_after(spent: &[(Moment, u64)], pause: Option<Pause>, now: Moment) -> Duration {
    let spent = spent.iter().map(|(until, requests)| Spent { until: *until, requests: *requests }).collect();
    let uptime = Uptime::new(now.boot, move || Duration::from_millis(now.ms));
    let pace =
        paced("30/10s", None).remembering(&Remembered { spent, pause, ..Remembered::default() }, uptime);
    pace.due() - Instant::now()
}

#[tokio::test(start_paused = true)]
async fn what_was_spent_before_a_restart_counts_and_no_clock_grants_any_back() {
    let spent = [(at(1, 1_000), 20), (at(1, 1_004), 10)];
    let window = |less: u64| Duration::from_millis(10_050 - 1_000 * less);
    let seconds = Duration::from_secs;
    assert_eq!(next_after(&spent, None, at(1, 1_005)), window(5));
    assert_eq!(next_after(&spent, None, at(1, 1_011)), seconds(0));
    assert_eq!(next_after(&spent[1..], None, at(1, 1_005)), seconds(0), "there is some left");
    // A clock that went back: as if it had been sent just now. Another boot: as long ago as that is.
    assert_eq!(next_after(&spent, None, at(1, 20)), window(0));
    assert_eq!(next_after(&spent, None, at(2, 4)), window(4));
    assert_eq!(next_after(&spent, None, at(2, 1_004)), seconds(0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_survives_a_restart() {
    let pause = Some(Pause { from: at(1, 100), wait_ms: 60_000 });
    assert_eq!(next_after(&[], pause, at(1, 130)), Duration::from_secs(30));
    assert_eq!(next_after(&[], pause, at(1, 170)), Duration::ZERO);
    assert_eq!(next_after(&[], pause, at(2, 5)), Duration::from_secs(55));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_written_down_once() {
    let mut pace = paced("5/s", None).remembering(&Remembered::default(), Uptime::of_this_machine());
    assert_eq!(pace.pause_to_write(), None);
    pace.pause(Duration::from_secs(3));
    assert_eq!(pace.pause_to_write().map(|pause| pause.wait_ms), Some(3_001));
    assert_eq!(pace.pause_to_write(), None);
    pace.pause(Duration::MAX);
    let day = Some(24 * 3_600 * 1_000 + 1);
    assert_eq!(pace.pause_to_write().map(|pause| pause.wait_ms), day, "longer than a day is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_slower_pace_survives_a_restart_and_each_step_is_written_down_once() {
    let begun = |slowed_to| {
        let before = Remembered { slowed_to, ..Remembered::default() };
        paced("8/s", None).remembering(&before, Uptime::of_this_machine())
    };
    let mut pace = begun(None);
    assert_eq!(pace.slowed_to_write(), None);
    pace.slow_down();
    assert_eq!(pace.slowed_to_write(), Some(Slowed { per_second: Some(4.0) }));
    assert_eq!(pace.slowed_to_write(), None);
    let mut pace = begun(Some(4.0));
    assert_eq!((pace.slowed_to(), pace.slowed_to_write()), (Some(4.0), None));
    let sent = leave(&mut pace, 10).await;
    assert!(sent.len() <= 40, "half of the pace: {}", sent.len());
    let mut written = Vec::new();
    for _ in 0..200 {
        tokio::time::advance(Duration::from_millis(250)).await;
        pace.went_through();
        written.extend(pace.slowed_to_write().map(|slowed| slowed.per_second));
    }
    assert_eq!(written, [Some(5.0), Some(6.0), Some(7.0), None]);
    // Of a pace that is as asked for there is nothing to tell, whatever was before.
    let mut faster = begun(Some(9.0));
    assert_eq!((faster.slowed_to(), faster.slowed_to_write()), (None, Some(Slowed { per_second: None })));
}
