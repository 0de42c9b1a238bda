//! Connections between two requests.
//!
//! The one that was used last goes first, so that those which are not needed grow old. Here is no request and no
//! promise: a connection that closes while it lies here is noticed when it is taken, or when it is used, and then hyper
//! gives the request back before its first byte.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::header::HeaderMap;
use tokio::time::Instant;

use super::connect::Sender;

/// Desks close idle connections after some seconds, and a request on a connection that is just being closed is
/// in doubt; so an idle one is not used again after this long. Below one second, the least that servers are set to
/// and the time between two requests at the usual pace: with 2 s, 8 of 60 rows at 1/s were in doubt behind an nginx
/// that closes after 1 s, and a handshake a second costs nothing.
const IDLE_MAX: Duration = Duration::from_millis(700);

/// The idle connections of one desk.
pub(super) struct Pool {
    rack: Arc<Mutex<Rack>>,
    most: usize,
}

#[derive(Default)]
struct Rack {
    /// The one that has lain here longest comes first.
    idle: VecDeque<Idle>,
    /// A task is there that takes the old ones away.
    is_swept: bool,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// A connection, and a map of headers that has served it.
pub(super) struct Line {
    pub(super) sender: Sender,
    /// Whatever is in it means nothing; its memory is used again.
    pub(super) headers: HeaderMap,
}

impl Line {
    /// A new connection.
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, headers: HeaderMap::new() }
    }
}

impl Pool {
    /// For so many connections at most.
    pub(super) fn new(most: usize) -> Self {
        Self { rack: Arc::default(), most }
    }

    /// The connection that was used last, if one is there that can take a request.
    pub(super) fn take(&self, now: Instant) -> Option<Line> {
        let mut rack = lock(&self.rack);
        while let Some(Idle { line, since }) = rack.idle.pop_back() {
            if now.duration_since(since) < IDLE_MAX && line.sender.is_ready() {
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection whose answer is complete. One that is not ready for another request by then has been closed,
    /// or has something on its mind: it goes.
    pub(super) fn put(&self, line: Line, now: Instant) {
        let mut rack = lock(&self.rack);
        if !line.sender.is_ready() || rack.idle.len() >= self.most {
            return;
        }
        rack.idle.push_back(Idle { line, since: now });
        if !std::mem::replace(&mut rack.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.rack)));
        }
    }
}

/// Takes away what has grown old, also while nothing is sent, until nothing is left.
async fn sweep(rack: Weak<Mutex<Rack>>) {
    loop {
        tokio::time::sleep(IDLE_MAX).await;
        let Some(rack) = rack.upgrade() else { return };
        let mut rack = lock(&rack);
        let now = Instant::now();
        while rack.idle.front().is_some_and(|oldest| now.duration_since(oldest.since) >= IDLE_MAX) {
            rack.idle.pop_front();
        }
        if rack.idle.is_empty() {
            rack.is_swept = false;
            return;
        }
    }
}

/// A panic elsewhere leaves the rack as it was: no step here is half done.
fn lock(rack: &Mutex<Rack>) -> MutexGuard<'_, Rack> {
    rack.lock().unwrap_or_else(PoisonError::into_inner)
}
