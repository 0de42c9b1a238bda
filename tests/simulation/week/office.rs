//! The desk of the week: it keeps its tickets, and notes whatever reaches it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use deskload::desk::throttle::WaitHeaders;
use deskload::desk::verdict::{self, Body, Reply, Rules, Verdict};
use deskload::desk::{Answer, Desk};
use deskload::error::Error;
use deskload::journal::state::Permit;
use deskload::ticket::TicketUpdate;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{at, clock, since_monday};
use crate::desk::{Wire, refused};

/// The desk: its tickets, and everything that has reached it.
#[derive(Default)]
pub(super) struct Office {
    pub(super) staff: BTreeMap<u64, String>,
    /// When each request arrived.
    pub(super) seen: Vec<Duration>,
    /// Run and row of each update that took effect, in their order.
    pub(super) applied: Vec<(u64, u64)>,
    pub(super) run: u64,
    /// The process that sends so many more requests is killed before it hears of the last one.
    pub(super) dies_in: Option<u32>,
    pub(super) killed: Rc<Notify>,
}

/// When the desk is away, on Wednesday, and when it locks the account out, from Thursday on.
const AWAY: (Duration, Duration) = (at(2, clock(22, 20)), at(2, clock(22, 50)));
pub(super) const LOCKED_OUT: (Duration, Duration) = (at(3, clock(22, 30)), at(4, clock(0, 5)));

impl Office {
    fn die(&mut self) {
        self.dies_in = self.dies_in.map(|left| left - 1);
        if self.dies_in == Some(0) {
            self.dies_in = None;
            self.killed.notify_one();
        }
    }
}

pub(super) struct OfficeDesk<'a>(pub(super) &'a RefCell<Office>);

impl Desk for OfficeDesk<'_> {
    type Line = Wire;

    async fn connect(&self) -> Result<Wire, Verdict> {
        let now = since_monday();
        if AWAY.0 <= now && now < AWAY.1 {
            sleep(Duration::from_millis(1)).await;
            return Err(verdict::no_connection(&refused()));
        }
        Ok(Wire)
    }

    async fn send(&self, permit: Permit, line: Wire, update: &TicketUpdate) -> Answer<Wire> {
        let (now, row) = (since_monday(), permit.row());
        let sent = permit.send();
        let within = |(from, to): (Duration, Duration)| from <= now && now < to;
        let ticket = update.ticket().get();
        let came = if within(AWAY) {
            Err(refused())
        } else {
            let mut office = self.0.borrow_mut();
            office.seen.push(now);
            office.die();
            if within(LOCKED_OUT) {
                let left = LOCKED_OUT.1.saturating_sub(now).as_secs() + 1;
                let wait = WaitHeaders { retry_after: vec![left.to_string()], ..WaitHeaders::default() };
                Ok(Reply { status: 429, wait, body: Body::Whole(Vec::new()) })
            } else {
                office.staff.insert(ticket, update.changes().staff.clone().unwrap());
                let run = office.run;
                office.applied.push((run, row));
                let body = format!(r#"{{"status":"success","ticket_id":"{ticket}"}}"#).into_bytes();
                Ok(Reply { status: 200, wait: WaitHeaders::default(), body: Body::Whole(body) })
            }
        };
        let latency = Duration::from_millis(if came.is_ok() { 800 } else { 1 });
        sleep(latency).await;
        let verdict = verdict::read(&came, update.ticket(), &Rules::default(), SystemTime::UNIX_EPOCH);
        let line = (verdict == Verdict::Applied).then_some(line);
        Answer { sent, verdict, latency, line }
    }

    async fn renew_credentials(&self) -> Result<bool, Error> {
        Ok(false)
    }
}
