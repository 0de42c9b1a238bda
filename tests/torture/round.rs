//! One round: an input, a desk of its own, kills as planned, and at the end the run is finished and judged.
//!
//! The desk lives in this process, which nobody kills, and decides and logs each request as it arrives. Before its
//! log is read a call of our own goes through it (`barrier`): whatever a killed program had handed to the
//! kernel has been taken in by then. The desk ends after the last program, and its log must not have grown since.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use deskload::error::{EXIT_ATTENTION, EXIT_DONE, EXIT_EARLY, EXIT_HANGUP, EXIT_INTERRUPT, EXIT_TERMINATE};
use deskload::journal::state::State;
use deskload::sandbox::{self, Judgement, Running};
use fastrand::Rng;

use crate::account::Account;
use crate::breach::Breach;
use crate::child::{self, End, Place};
use crate::evidence::Evidence;
use crate::plan::{Command, Moment, Plan, Sign, Step};
use crate::report;
use crate::rules::{self, Words};
use crate::tally::{Tally, When};

/// Laps of sending and settling that a run needs at most once nobody kills it any more.
const LAPS_MAX: u32 = 30;

pub(crate) struct Round<'a> {
    plan: Plan,
    place: Place<'a>,
    desk: Running,
    evidence: Evidence,
    account: Option<Account>,
    words: Words,
    rng: Rng,
    invocations: u32,
    tally: &'a mut Tally,
}

/// How things stood before an invocation.
struct Before {
    /// Rows that a killed program left on their way.
    left: usize,
    has_reports: bool,
}

/// Lives a seed's round in an empty folder.
pub(crate) fn live(seed: u64, program: &Path, folder: &Path, tally: &mut Tally) -> Result<(), Breach> {
    let mut plan = Plan::draw(seed);
    let work = folder.join("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("rows.csv"), plan.csv()).unwrap();
    let log = folder.join("desk.jsonl");
    plan.desk.log = Some(log.clone());
    let desk = sandbox::spawn(plan.desk.clone()).unwrap();
    let here = work.clone().into_os_string();
    let env = [
        ("HOME", here.clone()),
        ("XDG_STATE_HOME", here),
        ("TZ", "UTC".into()),
        ("DESKLOAD_URL", desk.url().into()),
        ("DESKLOAD_ACCOUNT_EMAIL", "ops@example.com".into()),
        ("DESKLOAD_TOKEN", plan.desk.token.clone().into()),
    ];
    let round = Round {
        evidence: Evidence::new(log, plan.lines.len()),
        place: Place { program, folder: work, env: env.into() },
        desk,
        account: None,
        words: Words::default(),
        rng: plan.rng.clone(),
        invocations: 0,
        plan,
        tally,
    };
    round.live()
}

impl Round<'_> {
    fn live(mut self) -> Result<(), Breach> {
        for step in self.plan.steps.clone() {
            // A run that is done is still killed now and then, at its reports.
            if self.is_open() || self.rng.u8(..4) == 0 {
                self.step(step)?;
            }
        }
        self.finish()
    }

    /// Whether something is left to be sent or said.
    fn is_open(&self) -> bool {
        self.account.as_ref().is_none_or(|account| account.pending() + account.count(State::InDoubt) > 0)
    }

    fn step(&mut self, step: Step) -> Result<(), Breach> {
        let lengths: Vec<usize> = self.evidence.rows.iter().map(Vec::len).collect();
        let moment = step.moment;
        match step.command {
            // No run, no work for the others.
            _ if self.account.is_none() => _ = self.send(&["run", "rows.csv"], moment)?,
            Command::Run => _ = self.send(&["run", "rows.csv"], moment)?,
            Command::Resume => _ = self.send(&["resume", "1"], moment)?,
            Command::ResumeResending => {
                self.live_and_look(&["resume", "1", "--in-doubt", "resend"], moment)?;
                for (index, before) in lengths.into_iter().enumerate() {
                    let sent = before..self.evidence.rows[index].len();
                    sent.for_each(|request| self.words.allow(index, request));
                }
                self.judge()?;
            }
            Command::Retry => {
                for index in self.in_states(&[State::Failed]) {
                    self.words.allow(index, lengths[index]);
                }
                _ = self.send(&["retry", "1"], moment)?;
            }
            Command::Resolve => self.resolve(moment)?,
        }
        Ok(())
    }

    fn in_states(&self, states: &[State]) -> Vec<usize> {
        self.account.as_ref().map_or_else(Vec::new, |account| account.in_states(states))
    }

    fn send(&mut self, args: &[&str], moment: Moment) -> Result<End, Breach> {
        let end = self.live_and_look(args, moment)?;
        self.judge()?;
        Ok(end)
    }

    /// A person looks at the desk and settles some of the rows in doubt, truthfully.
    fn resolve(&mut self, moment: Moment) -> Result<(), Breach> {
        let mut said: [Vec<usize>; 3] = Default::default();
        // Those that a killed program left `sending` are in doubt for whoever comes next.
        for index in self.in_states(&[State::InDoubt, State::Sending]) {
            let word = match (self.rng.u8(..10), self.evidence.has(index)) {
                (0..2, _) => continue,
                (2..9, true) => 0,
                (_, true) | (2..7, false) => 1,
                _ => 2,
            };
            said[word].push(index);
        }
        for (word, indexes) in ["--applied", "--resend", "--skip"].into_iter().zip(said) {
            if !indexes.is_empty() {
                self.say(word, &indexes, moment)?;
            }
        }
        Ok(())
    }

    fn say(&mut self, word: &str, indexes: &[usize], moment: Moment) -> Result<(), Breach> {
        for index in indexes {
            match word {
                "--resend" => self.words.allow(*index, self.evidence.rows[*index].len()),
                "--skip" => _ = self.words.skipped.insert(*index),
                _ => {}
            }
        }
        let rows: Vec<String> = indexes.iter().map(|index| (index + 1).to_string()).collect();
        self.live_and_look(&["resolve", "1", word, "--rows", &rows.join(",")], moment)?;
        let unheard = self.in_states(&[State::InDoubt, State::Sending]);
        for index in indexes.iter().filter(|index| unheard.contains(index)) {
            self.words.withdraw(*index, self.evidence.rows[*index].len());
            self.words.skipped.remove(index);
        }
        self.judge()
    }

    /// An invocation, and how the desk and the journal stand after it.
    fn live_and_look(&mut self, args: &[&str], moment: Moment) -> Result<End, Breach> {
        self.invocations += 1;
        let before = Before { left: self.sending(), has_reports: self.place.has_reports() };
        let rate = self.plan.rate.map_or_else(|| "unlimited".to_owned(), |rate| format!("{rate}/s"));
        let concurrency = self.plan.concurrency.to_string();
        let mut typed = args.to_vec();
        if args[0] != "resolve" {
            typed.extend(["--rate", &rate, "--concurrency", &concurrency, "--max-failures", "100%"]);
        }
        let end = child::live(&self.place, &self.desk, self.invocations, &typed, moment)?;
        barrier(&self.desk);
        let requests = self.evidence.read_on(&self.plan.lines)?;
        self.account = Account::read(&self.place.state(), &self.place.folder.join("copy"))?;
        if end.is_killed() {
            let when = self.place_in_life(args[0], moment, &end, &before, requests);
            self.tally.killed(when, self.sending(), self.in_doubt_max());
        }
        end_is_allowed(&end)?;
        Ok(end)
    }

    fn sending(&self) -> usize {
        self.account.as_ref().map_or(0, |account| account.count(State::Sending))
    }

    /// What a kill puts in doubt at most.
    const fn in_doubt_max(&self) -> usize {
        2 * self.plan.concurrency
    }

    /// Where in its life the program was killed.
    fn place_in_life(
        &self,
        command: &str,
        moment: Moment,
        end: &End,
        before: &Before,
        requests: u64,
    ) -> When {
        let is_at_reports = before.has_reports && matches!(moment, Moment::Touched(Sign::Reports, _));
        match &self.account {
            None => When::Starting,
            Some(_) if command == "resolve" => When::Settling,
            Some(_) if end.asked => When::Draining,
            Some(account) if is_at_reports || account.pending() == 0 => When::Reporting,
            Some(_) if requests > 0 => When::Sending,
            Some(_) if before.left > 0 => When::Recovering,
            Some(_) => When::Reading,
        }
    }

    /// What must be so at any time.
    fn judge(&self) -> Result<(), Breach> {
        rules::no_repeat(&self.evidence, &self.words)?;
        rules::in_order(&self.evidence, &self.words, &self.plan.lines)?;
        let Some(account) = &self.account else {
            return match self.evidence.requests {
                0 => Ok(()),
                _ => Err(Breach::lost("the desk saw requests, and the journal knows of no run".to_owned())),
            };
        };
        account.is_sound()?;
        rules::nothing_imagined(account, &self.evidence)?;
        let (sending, bound) = (self.sending(), self.in_doubt_max());
        if sending > bound {
            return Err(Breach::other(format!("{sending} rows are on their way after a kill, over {bound}")));
        }
        Ok(())
    }

    /// Nobody kills any more, but for the last reports: the run comes to its end, with a person's help.
    fn finish(mut self) -> Result<(), Breach> {
        for moment in std::mem::take(&mut self.plan.last) {
            self.send(&["run", "rows.csv"], moment)?;
        }
        for _ in 0..LAPS_MAX {
            let end = self.send(&["run", "rows.csv"], Moment::Never)?;
            let leaves_doubt = self.rng.u8(..4) == 0;
            if self.account.as_ref().is_some_and(|account| {
                account.pending() == 0 && (leaves_doubt || account.count(State::InDoubt) == 0)
            }) {
                return self.close(end.status.code());
            }
            self.resolve(Moment::Never)?;
        }
        Err(Breach::lost(format!("the run is not done after {LAPS_MAX} laps without a kill")))
    }

    fn close(mut self, exit_code: Option<i32>) -> Result<(), Breach> {
        let Some(account) = &self.account else { return Err(Breach::lost("there is no run".to_owned())) };
        rules::all_told(account, &self.evidence, &self.words, &self.plan.lines)?;
        let needs_a_look =
            account.count(State::Failed) + account.count(State::Invalid) + account.count(State::InDoubt) > 0;
        let expected = if needs_a_look { EXIT_ATTENTION } else { EXIT_DONE };
        if exit_code != Some(expected.into()) {
            return Err(Breach::other(format!("the finishing run exits with {exit_code:?}, not {expected}")));
        }
        report::agrees(&self.place.reports(), account, expected)?;
        self.tally.add_round(account, &self.evidence);
        self.desk.finish().map_err(|error| Breach::other(format!("the desk failed: {error}")))?;
        if self.evidence.read_on(&self.plan.lines)? > 0 {
            return Err(Breach::other("a request came after the last program had ended".to_owned()));
        }
        // The sandbox's own reader of its log, for a second opinion.
        let judgement = Judgement::read(self.plan.desk.log.as_deref().unwrap_or("".as_ref())).unwrap();
        let repeated = self.evidence.repeated();
        if judgement.applied != self.evidence.applied.len() as u64 || judgement.applied_twice != repeated {
            return Err(Breach::repeat(format!(
                "{} applied twice, {repeated} of them by a person's word: {:?}",
                judgement.applied_twice, judgement.examples
            )));
        }
        Ok(())
    }
}

/// Exit codes that a program may have here; the machine is well, and the input and the flags are right.
fn end_is_allowed(end: &End) -> Result<(), Breach> {
    let sending = [EXIT_DONE, EXIT_ATTENTION, EXIT_EARLY].map(i32::from);
    let asked = [EXIT_HANGUP, EXIT_INTERRUPT, EXIT_TERMINATE].map(i32::from);
    let is_allowed = match end.status.code() {
        Some(code) => sending.contains(&code) || (end.asked && asked.contains(&code)),
        // Before it listens, a signal ends it as it would any program.
        None => end.is_killed() || end.asked,
    };
    if is_allowed {
        return Ok(());
    }
    Err(Breach::other(format!("{} ended with {}; its folder has its words", end.name, end.status)))
}

/// A call of our own, to the desk's wrong address and back: what was in its sockets before has been taken in.
fn barrier(desk: &Running) {
    let authority = desk.url().trim_start_matches("http://");
    let authority = &authority[..authority.find('/').unwrap_or(authority.len())];
    let mut stream = TcpStream::connect(authority).unwrap();
    write!(stream, "GET /barrier HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}
