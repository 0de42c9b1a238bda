//! Connections that lie ready: new ones, and those between two requests.
//!
//! The one that was used last goes first, so that those which are not needed grow old. Here is no request and no
//! promise: a connection that closes while it lies here is noticed when it is taken, or when it is used, and then hyper
//! gives the request back before its first byte.
//!
//! **Bytes that nobody asked for.** A connection comes here again only behind an answer that said "applied" for the
//! ticket that was asked for: then that answer, and every one before it on this connection, belonged to its request. What lies on
//! it behind the answer, or comes while it is idle, closes it; and so does whatever has come by the runtime's last look at
//! its sockets before the next request, because hyper reads, and wants to find nothing, in the same step in which it would
//! begin to write: the request is given back without a byte of it written. What nobody can know: a stray reply that comes
//! after that look and before the answer is taken for the answer, as nothing in HTTP/1.1 tells the two apart. A success must
//! name the ticket, or the row is in doubt; an error names none, and calls the row failed. Either way the connection ends
//! there, so that a stray reply reaches one row, and the answers that come after it reach none.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Line;

/// Desks close idle connections after some seconds, and a request on a connection that is just being closed is
/// in doubt; so an idle one is not used again after this long. Below one second, the least that servers are set to
/// and the time between two requests at the usual pace: with 2 s, 8 of 60 rows at 1/s were in doubt behind an nginx
/// that closes after 1 s, and a handshake a second costs nothing.
const IDLE_MAX: Duration = Duration::from_millis(700);

/// The connections of one desk that lie ready.
pub(crate) struct Pool<L> {
    /// The one that has lain here longest comes first.
    idle: VecDeque<Idle<L>>,
    most: usize,
    /// So many of them have not been used.
    new: usize,
    /// Those that were closed before anything was sent on them and have not been told of; of each, whether it was a probe.
    closed_unused: Vec<bool>,
}

/// One of them.
pub(crate) struct Idle<L> {
    line: L,
    since: Instant,
    is_new: bool,
    /// It was begun while the desk was away.
    probe: bool,
}

impl<L> Idle<L> {
    /// To be used now.
    pub(crate) fn into_line(self) -> L {
        self.line
    }

    fn is_old(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.since) >= IDLE_MAX
    }
}

impl<L: Line> Pool<L> {
    /// For so many connections at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { idle: VecDeque::new(), most, new: 0, closed_unused: Vec::new() }
    }

    /// How many there are that will not be too old at that moment.
    pub(crate) fn fit_at(&self, at: Instant) -> usize {
        self.idle.len() - self.idle.partition_point(|idle| idle.is_old(at))
    }

    /// The connection that was used last, if one is there that can take a request.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Idle<L>> {
        while let Some(idle) = self.idle.pop_back() {
            self.new -= usize::from(idle.is_new);
            if idle.is_old(now) {
                continue;
            }
            if idle.line.is_open() {
                return Some(idle);
            }
            self.closed_unused.extend(idle.is_new.then_some(idle.probe));
        }
        None
    }

    /// Puts one back that was taken just now and has not been used.
    pub(crate) fn untake(&mut self, idle: Idle<L>) {
        self.new += usize::from(idle.is_new);
        self.idle.push_back(idle);
    }

    /// Lays a new connection ready.
    pub(crate) fn lay(&mut self, line: L, probe: bool, now: Instant) {
        self.new += 1;
        self.idle.push_back(Idle { line, since: now, is_new: true, probe });
    }

    /// Keeps a connection that has served. One that is not ready for another request by then has been
    /// closed, or has something on its mind: it goes. Whether it was kept.
    pub(crate) fn put(&mut self, line: L, now: Instant) -> bool {
        let is_kept = line.is_open() && self.idle.len() < self.most;
        if is_kept {
            self.idle.push_back(Idle { line, since: now, is_new: false, probe: false });
        }
        is_kept
    }

    /// Takes away what has grown old. Gives those that were closed before anything was sent on them, of each whether it was a
    /// probe: to connect to such a desk is of no use.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<bool> {
        while let Some(idle) = self.idle.pop_front_if(|idle| idle.is_old(now)) {
            self.new -= usize::from(idle.is_new);
        }
        if self.new > 0 {
            self.idle.retain(|idle| {
                let is_lost = idle.is_new && !idle.line.is_open();
                self.closed_unused.extend(is_lost.then_some(idle.probe));
                self.new -= usize::from(is_lost);
                !is_lost
            });
        }
        std::mem::take(&mut self.closed_unused)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Wire(u8, Rc<Cell<bool>>);

    impl Line for Wire {
        fn is_open(&self) -> bool {
            self.1.get()
        }
    }

    fn wire(number: u8) -> Wire {
        Wire(number, Rc::new(Cell::new(true)))
    }

    fn taken(pool: &mut Pool<Wire>) -> Option<u8> {
        pool.take(Instant::now()).map(|idle| idle.into_line().0)
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_used_last_goes_first_and_old_ones_not_at_all() {
        let mut pool = Pool::new(8);
        for number in [1, 2, 3] {
            assert!(pool.put(wire(number), Instant::now()));
            tokio::time::advance(IDLE_MAX / 2).await;
        }
        let now = Instant::now();
        assert_eq!([now, now + IDLE_MAX / 2, now + IDLE_MAX].map(|at| pool.fit_at(at)), [1, 0, 0]);
        let idle = pool.take(now).unwrap();
        pool.untake(idle);
        assert_eq!((taken(&mut pool), taken(&mut pool)), (Some(3), None));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_kept_than_are_used_at_once_and_none_that_is_closed() {
        let mut pool = Pool::new(1);
        let closed = wire(1);
        closed.1.set(false);
        assert!(!pool.put(closed, Instant::now()));
        let kept = wire(2);
        assert!(pool.put(kept.clone(), Instant::now()) && !pool.put(wire(3), Instant::now()));
        kept.1.set(false);
        assert_eq!(taken(&mut pool), None);
        assert!(pool.sweep(Instant::now()).is_empty(), "it has served, so that its end is no trouble");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_one_that_is_closed_before_its_use_is_told_of_once() {
        let mut pool = Pool::new(8);
        let lines = [1, 2, 3, 4].map(wire);
        for line in &lines {
            pool.lay(line.clone(), line.0 == 3, Instant::now());
        }
        lines[0].1.set(false);
        lines[2].1.set(false);
        assert_eq!(pool.sweep(Instant::now()), [false, true], "the third was a probe");
        assert!(pool.sweep(Instant::now()).is_empty(), "once");
        lines[3].1.set(false);
        assert_eq!(taken(&mut pool), Some(2), "the last one was closed");
        assert_eq!((pool.sweep(Instant::now()), pool.new), (vec![false], 0));
        pool.lay(wire(5), false, Instant::now());
        tokio::time::advance(IDLE_MAX).await;
        assert_eq!(
            (pool.sweep(Instant::now()), pool.new),
            (vec![], 0),
            "one that has grown old is no trouble"
        );
    }
}
