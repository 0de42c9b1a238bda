//! The first signal drains, the second leaves.
//!
//! A thread of its own listens, so that a signal is heard while a large input is still being read. tokio never
//! gives the default Ctrl-C back, so the second one is ours: it leaves at once, and what was on its way is found
//! in doubt by the next start.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Signal, said};
use crate::progress;
use crate::text::counted;
use crate::voice;

/// How long a first pass gets to remove its half-taken copy once a signal has come.
const CLEAN_UP_MAX: Duration = Duration::from_millis(500);

/// Whether somebody asked to stop. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    asked: CancellationToken,
    /// Whether there may be something in flight that is worth waiting for.
    sending: Arc<AtomicBool>,
    /// How much that is, to be told.
    under_way: Arc<AtomicU64>,
    which: Arc<OnceLock<Signal>>,
}

impl Shutdown {
    /// Begins to listen for SIGINT, SIGTERM and SIGHUP.
    pub fn listen() -> Result<Self, Error> {
        let shutdown = Self::default();
        let heard = shutdown.clone();
        let failed =
            |error: std::io::Error| Error::Machine(format!("failed to listen for signals: {}", said(&error)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut signals = {
            let _context = runtime.enter();
            Signals::new().map_err(failed)?
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let first = signals.next().await;
                    heard.ask(first);
                    if heard.sending.load(Ordering::Relaxed) {
                        let requests = || heard.under_way.load(Ordering::Relaxed);
                        voice::complain(&match requests() {
                            0 => format!(
                                "{first}: no request is under way; once more leaves at once, whether or not the reports \
                                 and --on-finish are done"
                            ),
                            requests => format!(
                                "{first}: finishing {} under way; once more leaves at once, those are in doubt then",
                                counted(requests, "request")
                            ),
                        });
                        let second = signals.next().await;
                        progress::put_away();
                        voice::complain(match requests() {
                            0 => "left at once; the same command tells how the rows stand",
                            _ => "left at once: what was under way is in doubt; the same command goes on",
                        });
                        leave(second);
                    }
                    // Nothing was sent. A reader that is not blocked cleans up behind itself; a blocked one
                    // hears nothing, and the next start sweeps up.
                    tokio::time::sleep(CLEAN_UP_MAX).await;
                    leave(first);
                });
            })
            .map_err(failed)?;
        Ok(shutdown)
    }

    /// From now on requests may be in flight, and the first signal waits for them.
    pub fn begin_sending(&self) {
        self.sending.store(true, Ordering::Relaxed);
    }

    /// So many requests are in flight now.
    pub fn under_way(&self, requests: usize) {
        self.under_way.store(requests as u64, Ordering::Relaxed);
    }

    /// Asks to stop, as a signal would; the first one counts.
    pub fn ask(&self, signal: Signal) {
        // A second signal does not change what the first one said.
        let _ = self.which.set(signal);
        self.asked.cancel();
    }

    /// Is cancelled when somebody asks.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.asked.clone()
    }

    /// The signal that asked, if one did.
    #[must_use]
    pub fn asked(&self) -> Option<Signal> {
        self.which.get().copied()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) -> Signal {
        self.asked.cancelled().await;
        self.asked().unwrap_or(Signal::Terminate)
    }

    /// An error if somebody asked already: for long reading before anything is sent.
    pub fn check(&self) -> Result<(), Error> {
        self.asked().map_or(Ok(()), |signal| Err(Error::Interrupted(signal)))
    }
}

/// Turns a file size limit from a kill into an error of the write, for as long as the program runs.
pub fn outlive_file_size_limits() -> Result<(), Error> {
    let failed =
        |error: std::io::Error| Error::Machine(format!("failed to listen for signals: {}", said(&error)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let _context = runtime.enter();
    // Nobody waits for it: tokio catches it from now on, and never gives the default back.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(|_| ()).map_err(failed)
}

#[expect(clippy::exit, reason = "the second signal means now; nothing may be waited for")]
fn leave(signal: Signal) -> ! {
    std::process::exit(Error::Interrupted(signal).exit_code().into())
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
