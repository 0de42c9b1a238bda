//! What a commit proves, once it is durable.

use deskload::journal::state::{Ending, Permit};
use deskload::journal::transitions::Batch;

use super::World;

/// More commits than this in one session, and it turns in circles.
const COMMITS_MAX: u32 = 20_000;

impl World {
    /// A batch is durable. Its refusals are proofs from now on.
    pub(crate) fn committed(&mut self, batch: &Batch) {
        self.tally.commits += 1;
        self.commits += 1;
        if batch.pause.is_some() {
            self.meter.committed();
        }
        if self.commits > COMMITS_MAX {
            self.breach("8: it turns in circles".to_owned());
        }
        self.note(format_args!(
            "commit wanted={:?} outcomes={:?} given_back={:?} set_aside={:?} cursor={}",
            batch.wanted.iter().map(|intent| intent.row).collect::<Vec<_>>(),
            batch.outcomes.iter().map(|outcome| (outcome.row(), name(outcome.ending()))).collect::<Vec<_>>(),
            batch.given_back.iter().map(Permit::row).collect::<Vec<_>>(),
            batch.set_aside.iter().map(|intent| intent.row).collect::<Vec<_>>(),
            batch.cursor
        ));
        let mut attempts = i64::try_from(batch.wanted.len()).unwrap();
        attempts -= i64::try_from(batch.given_back.len()).unwrap();
        for outcome in &batch.outcomes {
            let index = usize::try_from(outcome.row()).unwrap() - 1;
            self.wired.remove(&index);
            match outcome.ending() {
                Ending::NotApplied(note) => {
                    attempts -= i64::from(note.reason.never_left());
                    self.prove(index);
                }
                Ending::InDoubt(_) => self.tally.in_doubt += 1,
                Ending::Applied | Ending::Failed(_) => {}
            }
        }
        self.attempts[self.run] += attempts;
    }

    fn prove(&mut self, index: usize) {
        let row = &mut self.runs[self.run][index];
        match row.requests.last_mut() {
            Some(request) if request.refused => request.proven = true,
            _ => self.breach(format!("3: row {} is called not applied, and the desk took it", index + 1)),
        }
    }
}

const fn name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Applied => "applied",
        Ending::Failed(_) => "failed",
        Ending::InDoubt(_) => "in doubt",
        Ending::NotApplied(_) => "not applied",
    }
}
