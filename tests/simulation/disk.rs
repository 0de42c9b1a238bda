//! The scripted disk under the real journal: commits take simulated time before and after they are durable,
//! stall, end in I/O errors, and are cut off between any two of these.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use deskload::error::Error;
use deskload::journal::Journal;
use deskload::journal::runs::RunKey;
use deskload::journal::transitions::Batch;
use deskload::journal::writer::{Reply, Scripted, Writer};
use fastrand::Rng;
use futures::FutureExt as _;
use tokio::time::sleep;

use crate::invariants::Disk;
use crate::plan::{DiskMood, Plan};
use crate::world::World;

/// What commits need.
#[derive(Clone)]
pub(crate) struct Commits {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) plan: Rc<Plan>,
    pub(crate) disk: Rc<Disk>,
    pub(crate) journal: Rc<RefCell<Journal>>,
    pub(crate) run: RunKey,
}

impl Commits {
    pub(crate) fn writer(self) -> Writer {
        Writer::Scripted(Scripted::new(move |batch| self.clone().commit(batch).boxed_local()))
    }

    async fn commit(self, batch: Batch) -> Reply {
        let script = {
            let mut world = self.world.borrow_mut();
            if world.dead {
                None
            } else {
                if let Some(intent) = batch.wanted.first() {
                    world.is_prompt(intent.row);
                }
                let healthy = world.healthy;
                Some(Script::draw(self.plan.disk, healthy, &mut world.rng))
            }
        };
        let Some(script) = script else { return pending().await };
        wait(script.before).await;
        if !self.world.borrow_mut().lives() {
            return pending().await;
        }
        if script.error == Some(Durable::No) {
            let mut world = self.world.borrow_mut();
            world.meter.commit_failed();
            world.note(format_args!("commit failed"));
            return Err(io_error());
        }
        let reply = self.journal.borrow_mut().commit(self.run, &batch);
        {
            let mut world = self.world.borrow_mut();
            match &reply {
                Ok(_) => {
                    world.committed(&batch);
                    self.disk.check_commit(&mut world, &self.plan);
                }
                Err(error) => world.breach(format!("the journal refuses a batch: {error}")),
            }
        }
        wait(script.after).await;
        if !self.world.borrow_mut().lives() {
            return pending().await;
        }
        if script.error == Some(Durable::Yes) {
            let mut world = self.world.borrow_mut();
            world.meter.commit_failed();
            world.note(format_args!("commit failed, and is durable"));
            return Err(io_error());
        }
        reply
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

struct Script {
    before: Duration,
    after: Duration,
    error: Option<Durable>,
}

impl Script {
    fn draw(mood: DiskMood, healthy: bool, rng: &mut Rng) -> Self {
        let mut takes = || {
            let stall = if rng.u32(..1000) < mood.stalls { rng.u64(100..2_000) } else { 0 };
            Duration::from_millis(rng.u64(..=mood.latency_ms) + stall)
        };
        let (before, after) = (takes(), takes());
        let fails = !healthy && rng.u32(..1000) < mood.errors;
        let error = fails.then(|| if rng.bool() { Durable::Yes } else { Durable::No });
        Self { before, after, error }
    }
}

async fn wait(time: Duration) {
    if time > Duration::ZERO {
        sleep(time).await;
    }
}

fn io_error() -> Error {
    Error::Machine("failed to write the journal: disk I/O error".to_owned())
}
