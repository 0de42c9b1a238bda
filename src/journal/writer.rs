//! Commits off the network's thread.
//!
//! One commit is under way at a time; what gathers meanwhile shares the next one. Tests that simulate time use
//! [`Writer::Inline`], because a thread's work under tokio's paused clock loses against every timeout; or
//! [`Writer::Scripted`], where commits take simulated time, fail, and are cut off half-way.

use std::sync::mpsc;
use std::thread::JoinHandle;

use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use super::Journal;
use super::runs::RunKey;
use super::transitions::{Batch, Committed};
use crate::error::{Error, said};

/// What a commit gives, once it is durable.
pub type Reply = Result<Committed, Error>;

/// What the pipeline asks of a journal, whichever engine keeps it: [`Journal`] on this disk, or
/// [`super::postgres::Worker`] in a database that several machines share.
pub trait Commits: Send + 'static {
    /// Takes a batch in, all of it or nothing, and gives permits to the rows that want to be sent. Each permit's
    /// intent is durable once this returns. An error means that nothing more may be sent; what is on its way stays
    /// `sending`, to be found in doubt.
    fn commit(&mut self, run: RunKey, batch: &Batch) -> Reply;
}

impl Commits for Journal {
    fn commit(&mut self, run: RunKey, batch: &Batch) -> Reply {
        Self::commit(self, run, batch)
    }
}

/// Who commits.
#[derive(Debug)]
pub enum Writer<J = Journal> {
    /// A thread of its own, so that a disk that stalls does not stall the network.
    Thread {
        /// Where batches go.
        jobs: mpsc::Sender<(Batch, oneshot::Sender<Reply>)>,
        /// Gives the journal back.
        thread: JoinHandle<J>,
    },
    /// The caller's own thread.
    Inline(Box<J>, RunKey),
    /// Whatever the caller makes of a commit.
    Scripted(Scripted),
}

/// Commits as the caller says, who keeps the journal: the simulation's disk.
pub struct Scripted(Box<dyn FnMut(Batch) -> LocalBoxFuture<'static, Reply>>);

impl Scripted {
    /// Takes what makes a batch durable. The permits must come out of [`Journal::commit`], and of nowhere else.
    #[must_use]
    pub fn new(commit: impl FnMut(Batch) -> LocalBoxFuture<'static, Reply> + 'static) -> Self {
        Self(Box::new(commit))
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl<J: Commits> Writer<J> {
    /// Hands the journal to a thread.
    pub fn spawn(mut journal: J, run: RunKey) -> Result<Self, Error> {
        let (jobs, inbox) = mpsc::channel::<(Batch, oneshot::Sender<Reply>)>();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                for (batch, reply) in inbox {
                    // Nobody waits any more when the pipeline has been left at once; the commit counts all the same.
                    let _ = reply.send(journal.commit(run, &batch));
                }
                journal
            })
            .map_err(|error| {
                Error::Machine(format!(
                    "failed to start the journal's thread: {}; the system's log may say more",
                    said(&error)
                ))
            })?;
        Ok(Self::Thread { jobs, thread })
    }

    /// Makes a batch durable. The permits are given once it is.
    pub fn commit(&mut self, batch: Batch) -> Commit {
        match self {
            Self::Thread { jobs, .. } => {
                let (reply, answer) = oneshot::channel();
                // If the thread is gone, `reply` is dropped with the batch, and the waiting finds out.
                let _ = jobs.send((batch, reply));
                Commit::Waiting(answer)
            }
            Self::Inline(journal, run) => Commit::Done(journal.commit(*run, &batch)),
            Self::Scripted(script) => Commit::Scripted((script.0)(batch)),
        }
    }

    /// Ends the thread and gives the journal back.
    pub fn close(self) -> Result<J, Error> {
        match self {
            Self::Thread { jobs, thread } => {
                drop(jobs);
                thread.join().map_err(|_| gone())
            }
            Self::Inline(journal, _) => Ok(*journal),
            Self::Scripted(_) => {
                Err(Error::Machine("a scripted journal is closed by the script that keeps it".to_owned()))
            }
        }
    }
}

/// A commit under way.
pub enum Commit {
    /// The thread works on it.
    Waiting(oneshot::Receiver<Reply>),
    /// It was made inline.
    Done(Reply),
    /// It takes as long as the script says.
    Scripted(LocalBoxFuture<'static, Reply>),
}

impl Commit {
    /// Waits until the batch is durable. Dropping this future does not undo the commit.
    pub async fn wait(self) -> Reply {
        match self {
            Self::Waiting(answer) => answer.await.unwrap_or_else(|_| Err(gone())),
            Self::Done(reply) => reply,
            Self::Scripted(commit) => commit.await,
        }
    }
}

fn gone() -> Error {
    Error::Machine(
        "the journal's thread has ended: this is a bug in deskload; nothing more was sent".to_owned(),
    )
}
