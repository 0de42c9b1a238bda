//! Counts of what happened, to show that enough did.

use std::collections::BTreeMap;

use crate::plan::Fate;

/// What happened in one life, or in many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sessions: u64,
    pub(crate) crashes: u64,
    pub(crate) requests: u64,
    pub(crate) commits: u64,
    pub(crate) in_doubt: u64,
    pub(crate) recovered: u64,
    pub(crate) resent: u64,
    pub(crate) unchanged: u64,
    pub(crate) fates: BTreeMap<Fate, u64>,
}

impl Tally {
    /// Adds another life.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.crashes += other.crashes;
        self.requests += other.requests;
        self.commits += other.commits;
        self.in_doubt += other.in_doubt;
        self.recovered += other.recovered;
        self.resent += other.resent;
        self.unchanged += other.unchanged;
        for (fate, count) in &other.fates {
            *self.fates.entry(*fate).or_default() += count;
        }
    }
}
