//! The scripted desk: it implements the program's own trait, answers in the program's own terms below HTTP, and
//! leaves what that means to the real verdicts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use deskload::desk::throttle::WaitHeaders;
use deskload::desk::verdict::{self, Body, Reply, Rules, Trouble, Verdict};
use deskload::desk::{Answer, Desk, Line};
use deskload::error::Error;
use deskload::journal::state::{Permit, Sent};
use deskload::ticket::{TicketId, TicketUpdate};
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::plan::{Fate, Plan};
use crate::world::World;

/// What the desk does with one request, decided when it arrives there.
#[derive(Debug)]
pub(crate) struct Script {
    /// When it changes the ticket, counted from the sending; `None`: never.
    pub(crate) applies_after: Option<Duration>,
    pub(crate) answers_after: Duration,
    /// `None`: the program's own code fails on it.
    pub(crate) came: Option<Result<Reply, Trouble>>,
}

impl Script {
    pub(crate) fn draw(
        fate: Fate,
        ticket: TicketId,
        latency_ms: u64,
        timeout: Duration,
        rng: &mut Rng,
    ) -> Self {
        let ms = Duration::from_millis;
        let applies = ms(rng.u64(..=latency_ms));
        let mut answers_after = applies + ms(rng.u64(..=latency_ms));
        let maybe = rng.bool().then_some(applies);
        let refusal = |status| Some(Ok(reply(status, "")));
        let lost = || Some(Err(Trouble::Broken("the connection was reset".to_owned())));
        let success = format!(r#"{{"status":"success","ticket_id":"{:05}"}}"#, ticket.get());
        let (applies_after, came) = match fate {
            Fate::Applied => (Some(applies), Some(Ok(reply(200, &success)))),
            Fate::ReplyLost => (Some(applies), lost()),
            Fate::RequestLost => (None, lost()),
            Fate::TimedOut => {
                answers_after = timeout;
                (maybe, Some(Err(Trouble::Timeout)))
            }
            Fate::LateArrival => {
                answers_after = timeout;
                (Some(timeout + ms(rng.u64(1..=60_000))), Some(Err(Trouble::Timeout)))
            }
            Fate::Throttled => (None, Some(Ok(wait(429, &rng.u64(..=30).to_string())))),
            Fate::ThrottledLong => (None, Some(Ok(wait(429, &rng.u64(50..=1_200).to_string())))),
            Fate::ThrottledBare => {
                (None, Some(Ok(if rng.bool() { reply(429, "") } else { wait(429, "soon") })))
            }
            Fate::Unavailable if rng.u8(..4) == 0 => (maybe, refusal(503)),
            Fate::Unavailable => (None, Some(Ok(wait(503, &rng.u64(..=10).to_string())))),
            Fate::ConnectionRefused => (None, Some(Err(refused()))),
            Fate::IdleClosed => (None, Some(Err(Trouble::Unused("connection closed".to_owned())))),
            Fate::Rejected => (None, refusal([400, 404, 409, 422][rng.usize(..4)])),
            Fate::ErrorBody => {
                (None, Some(Ok(reply(200, r#"{"status":"error","description":"no such staff"}"#))))
            }
            Fate::ServerError => (maybe, refusal([500, 502, 504, 408][rng.usize(..4)])),
            Fate::Unreadable => {
                let twice = r#"{"status":"success","status":"error","ticket_id":"1"}"#;
                (maybe, Some(Ok(reply(200, if rng.bool() { twice } else { "<html>" }))))
            }
            Fate::OtherTicket => {
                let other = format!(r#"{{"status":"success","ticket_id":"{}"}}"#, ticket.get() + 100);
                (maybe, Some(Ok(reply(200, &other))))
            }
            Fate::CutShort => {
                let body = Body::CutShort(Trouble::Broken("unexpected end".to_owned()));
                (maybe, Some(Ok(Reply { body, ..reply(200, "") })))
            }
            Fate::Forbidden => (None, refusal([401, 403][rng.usize(..2)])),
            Fate::AuthenticationText => {
                let text = "Unable to authenticate request using account email and token";
                (None, Some(Ok(reply(200, &format!(r#"{{"status":"error","description":"{text}"}}"#)))))
            }
            Fate::Redirected => (None, refusal(302)),
            Fate::Certificate => (None, Some(Err(expired()))),
            Fate::Bug => (maybe, None),
        };
        if answers_after >= timeout && came.is_some() {
            // Whatever the desk would have said, nobody listens any more.
            let came = Some(Err(Trouble::Timeout));
            return Self { applies_after, answers_after: timeout, came };
        }
        Self { applies_after, answers_after, came }
    }
}

pub(crate) fn refused() -> Trouble {
    Trouble::NotConnected("connection refused".to_owned())
}

pub(crate) fn expired() -> Trouble {
    Trouble::Certificate("expired".to_owned())
}

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, wait: WaitHeaders::default(), body: Body::Whole(body.as_bytes().to_vec()) }
}

fn wait(status: u16, retry_after: &str) -> Reply {
    let mut reply = reply(status, "");
    reply.wait.retry_after.push(retry_after.to_owned());
    reply
}

/// The desk as the pipeline sees it.
pub(crate) struct ScriptedDesk {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) plan: Rc<Plan>,
}

/// A connection to it.
pub(crate) struct Wire;

impl Line for Wire {
    fn is_open(&self) -> bool {
        true
    }
}

impl Desk for ScriptedDesk {
    type Line = Wire;

    async fn connect(&self) -> Result<Wire, Verdict> {
        let Some((takes, trouble)) = self.world.borrow_mut().connect(&self.plan) else {
            return std::future::pending().await;
        };
        sleep(takes).await;
        if !self.world.borrow_mut().lives() {
            return std::future::pending().await;
        }
        trouble.map_or(Ok(Wire), |trouble| Err(verdict::no_connection(&trouble)))
    }

    async fn send(&self, permit: Permit, line: Wire, update: &TicketUpdate) -> Answer<Wire> {
        let began = Instant::now();
        let (row, attempt) = (permit.row(), permit.attempt());
        let decided = self.world.borrow_mut().request(&self.plan, row, attempt, update);
        // A process that has died sends nothing and hears nothing.
        let Some((request, script)) = decided else { return std::future::pending().await };
        let sent: Sent = permit.send();
        sleep(script.answers_after).await;
        let verdict = script
            .came
            .map(|came| verdict::read(&came, update.ticket(), &Rules::default(), SystemTime::UNIX_EPOCH));
        if !self.world.borrow_mut().answered(request, verdict.as_ref()) {
            return std::future::pending().await;
        }
        match verdict {
            Some(verdict) => {
                let line = (verdict == Verdict::Applied).then_some(line);
                Answer { sent, verdict, latency: began.elapsed(), line }
            }
            // As a panic, but without its message on the screen.
            None => std::panic::resume_unwind(Box::new("a bug on purpose")),
        }
    }

    async fn renew_credentials(&self) -> Result<bool, Error> {
        sleep(Duration::from_millis(100)).await;
        Ok(self.plan.can_renew)
    }
}
