//! The embedded desk: answers as the vendor's page documents it, with faults on request.
//!
//! It exists so that the demo needs no account and so that tests have a judge that is not the program itself.
//! To be able to disagree with the program it shares no code with it: it reads requests and the vendor's page
//! on its own, and must never use the ticket, mapping or desk modules. It binds loopback alone.
//!
//! - [`options`]: what a sandbox is asked to be, and how the texts of the command line are read
//! - [`faults`]: scripted replies, for the tests of the fault catalogue
//! - `throttle`: the token bucket behind the 429
//! - `request`: the JSON body, read by the page and nothing else
//! - `rules`: which address is right, and what a request deserves
//! - `desk`: one request in, one decision and one log line out
//! - `server`: sockets and HTTP
//! - `log`: the desk's own account of what reached it
//! - [`judge`]: reads that account and says what happened
//!
//! **When it fails.** A log that cannot be written ends the sandbox without a reply to the request at hand: a
//! change that nobody recorded would make the judge lie. Nothing here can end the process.

mod desk;
pub mod faults;
pub mod judge;
mod log;
pub mod options;
mod request;
mod rules;
mod server;
mod throttle;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;

pub use self::desk::Counts;
use self::desk::{Counters, Desk};
pub use self::faults::{Fate, Reply, Then, When};
pub use self::judge::Judgement;
pub use self::options::Options;
use crate::error::{Error, said};

/// The path of the endpoint, as the vendor's page gives it: case-sensitive, with the closing slash.
pub const PATH: &str = "/app/api/v1/update/ticket/";

/// Answers on this listener until `stop` is cancelled. A request is decided, applied and logged the moment it
/// has arrived whole; the latency comes after that, so a client that goes away meanwhile was heard all the same.
///
/// Fails if the listener is not on loopback, a scripted reply is not HTTP, or the log cannot be written.
pub async fn serve(
    options: Options,
    listener: tokio::net::TcpListener,
    stop: CancellationToken,
) -> Result<(), Error> {
    server::serve(Arc::new(Desk::new(options)?), listener, stop).await
}

/// A sandbox on a thread of its own. It stops when this is dropped.
pub struct Running {
    url: String,
    counters: Arc<Counters>,
    stop: CancellationToken,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Starts a sandbox on a thread of its own, on 127.0.0.1; port 0 takes a free one. When this returns, it accepts
/// connections.
pub fn spawn(options: Options) -> Result<Running, Error> {
    let bound = Bound::new(options)?;
    let url = bound.url.clone();
    let counters = bound.desk.counters();
    let stop = CancellationToken::new();
    let until = stop.clone();
    let thread = std::thread::Builder::new()
        .name("sandbox".to_owned())
        .spawn(move || bound.run(until))
        .map_err(|error| Error::Machine(format!("failed to start the sandbox's thread: {}", said(&error))))?;
    Ok(Running { url, counters, stop, thread: Some(thread) })
}

/// Runs a sandbox on this thread until `stop` is cancelled. `bound` is told the URL once connections are accepted.
pub fn run_until(
    options: Options,
    stop: CancellationToken,
    bound: impl FnOnce(&str),
) -> Result<Counts, Error> {
    let listening = Bound::new(options)?;
    let counters = listening.desk.counters();
    bound(&listening.url);
    listening.run(stop)?;
    Ok(counters.read())
}

impl Running {
    /// The endpoint's whole address, `http://127.0.0.1:PORT/app/api/v1/update/ticket/`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What happened so far; five atomic loads.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Stops, and says whether the sandbox had failed before.
    pub fn finish(mut self) -> Result<Counts, Error> {
        self.end()?;
        Ok(self.counts())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(Error::Machine("the sandbox's thread panicked".to_owned())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who wants to know how it ended calls `finish`.
        let _ = self.end();
    }
}

/// A desk whose port is taken and whose log is open: what can go wrong at the start has not.
struct Bound {
    desk: Arc<Desk>,
    listener: TcpListener,
    url: String,
}

impl Bound {
    fn new(options: Options) -> Result<Self, Error> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let refused = |error: std::io::Error| {
            Error::Usage(format!(
                "failed to listen on {wanted}: {}; choose another port, or 0 for a free one",
                said(&error)
            ))
        };
        let listener = TcpListener::bind(wanted).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let port = listener.local_addr().map_err(refused)?.port();
        let desk = Arc::new(Desk::new(options)?);
        Ok(Self { desk, listener, url: format!("http://127.0.0.1:{port}{PATH}") })
    }

    fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let failed =
            |error: std::io::Error| Error::Machine(format!("failed to start the sandbox: {}", said(&error)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(failed)?;
            server::serve(self.desk, listener, stop).await
        })
    }
}
