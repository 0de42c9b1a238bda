//! A bench: one folder, one sandbox desk, and the built program in an environment of its own.
//!
//! The desk runs inside the test, so that `counts` can be polled; its log is the judge. Nothing here sleeps to
//! let something happen: it polls a condition, up to a generous end. A test has one bench, because a bench also
//! holds its share of the machine (see [`Bench::alone`]).

pub(crate) mod browser;
mod child;
pub(crate) mod disk;
pub(crate) mod ledger;
mod log;
pub(crate) mod peer;
pub(crate) mod postgres;
mod strace;
mod tools;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use deskload::sandbox::{self, Counts, Fate, Judgement, Options, Reply, Running, When};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use child::{Output, Started, until};
pub(crate) use log::Seen;
pub(crate) use peer::Peer;
pub(crate) use strace::{Strace, Traced};
pub(crate) use tools::{must_run, tool};

/// The token of every desk here, long and odd enough to be found wherever it leaks.
pub(crate) const TOKEN: &str = "canary-8f3a61c2d97b40e5";

/// The account of every test that does not say otherwise.
pub(crate) const EMAIL: &str = "ops@example.com";

/// Nobody listens there: the port belongs to root.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1/app/api/v1/update/ticket/";

/// Tests of the pace want the machine for themselves; all others share it.
static MACHINE: RwLock<()> = RwLock::new(());

enum Share {
    #[expect(dead_code, reason = "held, not read")]
    Some(RwLockReadGuard<'static, ()>),
    #[expect(dead_code, reason = "held, not read")]
    All(RwLockWriteGuard<'static, ()>),
}

/// One folder, one desk, one environment.
pub(crate) struct Bench {
    desk: Option<Running>,
    options: Options,
    url: String,
    log: PathBuf,
    env: BTreeMap<&'static str, OsString>,
    /// Where the program works.
    work: PathBuf,
    /// What comes before the program so that it starts elsewhere.
    inside: Vec<String>,
    dir: TempDir,
    _machine: Share,
}

impl Bench {
    /// With a desk that has no fault.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a desk that is as `shape` makes it.
    pub(crate) fn with(shape: impl FnOnce(&mut Options)) -> Self {
        let machine = Share::Some(MACHINE.read().unwrap_or_else(PoisonError::into_inner));
        Self::build(machine, shape)
    }

    /// With a desk of these scripted replies.
    pub(crate) fn scripted(fates: impl Into<Vec<Fate>>) -> Self {
        Self::with(|options| options.fates = fates.into())
    }

    /// With a desk without a fault, and with no other test at work.
    pub(crate) fn alone() -> Self {
        let machine = Share::All(MACHINE.write().unwrap_or_else(PoisonError::into_inner));
        Self::build(machine, |_| {})
    }

    /// With a scripted peer for a desk.
    pub(crate) fn at(peer: &Peer) -> Self {
        Self::new().set("DESKLOAD_URL", &peer.url())
    }

    fn build(machine: Share, shape: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::Builder::new().prefix("deskload-test-").tempdir().unwrap();
        // Beside the folder that is searched for the token: the judge is no part of the program.
        let log = dir.path().join("desk.jsonl");
        let mut options = Options { token: TOKEN.to_owned(), log: Some(log.clone()), ..Options::default() };
        shape(&mut options);
        let desk = open(&mut options);
        let mut bench = Self {
            url: desk.url().to_owned(),
            desk: Some(desk),
            options,
            log,
            env: BTreeMap::new(),
            work: PathBuf::new(),
            inside: Vec::new(),
            dir,
            _machine: machine,
        };
        bench.move_to("work");
        let path = std::env::var_os("PATH").unwrap_or_default();
        bench.env.extend([
            ("PATH", path),
            ("TZ", "UTC".into()),
            ("DESKLOAD_URL", bench.url.clone().into()),
            ("DESKLOAD_ACCOUNT_EMAIL", EMAIL.into()),
            ("DESKLOAD_TOKEN", bench.options.token.clone().into()),
        ]);
        bench
    }

    /// The same, with a variable of the environment set.
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.env.insert(name, value.into());
        self
    }

    /// The same, with a variable of the environment taken out.
    pub(crate) fn unset(mut self, name: &'static str) -> Self {
        self.env.remove(name);
        self
    }

    /// The folder in which the program works: its state, its reports and its inputs.
    pub(crate) fn dir(&self) -> PathBuf {
        self.work.clone()
    }

    /// From now on the program works in this folder, which is empty if it is new: another machine, as far as the
    /// program can see, with the same desk.
    pub(crate) fn move_to(&mut self, folder: impl AsRef<Path>) {
        self.work = self.dir.path().join(folder);
        fs::create_dir_all(&self.work).unwrap();
        let work = self.work.as_os_str();
        self.env.extend([("HOME", work.to_owned()), ("XDG_STATE_HOME", work.to_owned())]);
    }

    /// From now on the program works on this disk.
    pub(crate) fn move_to_disk(&mut self, disk: &disk::SmallDisk) {
        self.move_to(disk.seen());
        self.inside = disk.inside(disk.mounted());
        let mounted = disk.mounted().as_os_str();
        self.env.extend([("HOME", mounted.to_owned()), ("XDG_STATE_HOME", mounted.to_owned())]);
    }

    /// From now on the program can see this disk.
    pub(crate) fn can_see(&mut self, disk: &disk::SmallDisk) {
        self.inside = disk.inside(&self.work);
    }

    /// A path outside of the folder in which the program works.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in that folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The state's journal.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path("deskload/journal.sqlite3")
    }

    /// Writes an input, or whatever else a test needs.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A file of the work folder, as text.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `rows.csv`: one row for each of these tickets, its subject `row N`.
    pub(crate) fn rows(&self, tickets: impl IntoIterator<Item = u64>) {
        self.file("rows.csv", csv(tickets));
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        let words = self.inside.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_deskload")]);
        let words: Vec<&str> = words.chain(args.iter().copied()).collect();
        Started::start(words[0], &words[1..], &self.dir(), &self.env, None)
    }

    /// Starts any program as somebody else would, in this environment alone.
    pub(crate) fn start_as(words: &[&str], folder: &Path, env: &[(&'static str, &Path)]) -> Started {
        let env = env.iter().map(|(name, value)| (*name, value.as_os_str().to_owned())).collect();
        Started::start(words[0], &words[1..], folder, &env, None)
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.start(args).finish()
    }

    /// Runs the program to its end with this on its standard input.
    pub(crate) fn pipe(&self, input: &str, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_deskload");
        Started::start(program, args, &self.dir(), &self.env, Some(input.into())).finish()
    }

    /// Runs a line of shell, in which `$DESKLOAD` is the program, to its end.
    pub(crate) fn shell(&self, line: &str, input: Option<&str>) -> Output {
        self.start_shell(line, input).finish()
    }

    /// Starts a line of shell, in which `$DESKLOAD` is the program.
    pub(crate) fn start_shell(&self, line: &str, input: Option<&str>) -> Started {
        let mut env = self.env.clone();
        env.insert("DESKLOAD", env!("CARGO_BIN_EXE_deskload").into());
        Started::start("sh", &["-c", line], &self.dir(), &env, input.map(Into::into))
    }

    /// A program that is this one in the bench's environment, for those who start it themselves.
    pub(crate) fn program(&self) -> PathBuf {
        let set = self.env.iter().map(|(name, value)| format!("{name}='{}'", value.to_str().unwrap()));
        let set = set.collect::<Vec<_>>().join(" ");
        let program = self.beside("bin/deskload");
        fs::create_dir_all(self.beside("bin")).unwrap();
        let script = format!("#!/bin/sh\nexec env -i {set} {} \"$@\"\n", env!("CARGO_BIN_EXE_deskload"));
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// The summary of a run.
    pub(crate) fn summary(&self, run: u64) -> Value {
        serde_json::from_str(&self.read(&format!("deskload-reports/run-{run}/summary.json"))).unwrap()
    }

    /// The counts of a run in the order of the contract, which must add up: applied, failed, invalid, in doubt,
    /// skipped, pending.
    pub(crate) fn counts(&self, run: u64) -> [u64; 6] {
        let summary = self.summary(run);
        let count = |name: &str| summary["counts"][name].as_u64().unwrap();
        let counts = ["applied", "failed", "invalid", "in_doubt", "skipped", "pending"].map(count);
        assert_eq!(counts.iter().sum::<u64>(), count("rows"), "the counts add up: {summary}");
        assert_eq!(summary["input"]["rows"], count("rows"), "{summary}");
        counts
    }

    /// The tickets and reasons of a run's rows in doubt (`in-doubt`) or without success (`failures`), for inputs of
    /// two columns. None if that file is not there.
    pub(crate) fn told(&self, run: u64, file: &str) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.path(&format!("deskload-reports/run-{run}/{file}.csv")));
        let told = |line: &str| {
            let cells: Vec<_> = line.split(',').collect();
            (cells[0].parse().unwrap(), cells[5].to_owned())
        };
        text.unwrap_or_default().lines().skip(1).map(told).collect()
    }

    /// What the desk has counted so far.
    pub(crate) fn desk(&self) -> Counts {
        self.desk.as_ref().unwrap().counts()
    }

    /// The desk's address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the desk has seen so many requests, while the program works.
    pub(crate) fn await_requests(&self, started: &mut Started, requests: u64) {
        until("the desk to see requests", || self.desk().requests >= requests || started.has_ended());
    }

    /// The desk goes away.
    pub(crate) fn close_desk(&mut self) {
        self.desk.take().unwrap().finish().unwrap();
    }

    /// The desk is back at its old address, and nothing is scripted any more.
    pub(crate) fn open_desk(&mut self) {
        self.options.fates.clear();
        // A child that is just being made may hold a copy of the old listener for a moment.
        until("the old port", || {
            self.desk = sandbox::spawn(self.options.clone()).ok();
            self.desk.is_some()
        });
    }

    /// What the desk's own log says.
    pub(crate) fn judge(&self) -> Judgement {
        Judgement::read(&self.log).unwrap()
    }

    /// The desk's own log, request by request.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        log::read(&self.log)
    }

    /// Every file below the work folder.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files(&self.dir())
    }
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut found): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

/// A CSV with one row for each of these tickets, its subject `row N`.
pub(crate) fn csv(tickets: impl IntoIterator<Item = u64>) -> String {
    let rows = tickets.into_iter().zip(1..).map(|(ticket, row)| format!("{ticket},row {row}\n"));
    std::iter::once("ticket_id,subject\n".to_owned()).chain(rows).collect()
}

/// At this request the desk asks to come back in a second: with `--max-wait` below that, the run stops there. The pause
/// is remembered, so that it has to be one that the next command can wait for.
pub(crate) fn closing_time(request: u64) -> Fate {
    Fate::new(When::Request(request), Reply::status(429).header("retry-after", "1"))
}

/// Arguments that make [`closing_time`] leave a run unfinished at that very request.
pub(crate) const ONE_AT_A_TIME: [&str; 4] = ["--concurrency", "1", "--max-wait", "990ms"];

/// `run FILE` so that [`closing_time`] leaves it unfinished.
pub(crate) fn one_at_a_time<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["run", file].into_iter().chain(ONE_AT_A_TIME).chain(more.iter().copied()).collect()
}

/// A desk on a port that it can come back to: below those that the system gives out by itself.
fn open(options: &mut Options) -> Running {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    let mut desk = None;
    until("a free port", || {
        options.port = 20_000 + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        desk = sandbox::spawn(options.clone()).ok();
        desk.is_some()
    });
    desk.unwrap()
}
