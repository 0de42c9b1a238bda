//! The program under way: its streams are read while it works, and it never outlives its test.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

/// Far above what anything here takes: who is not done by then hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// Polls a condition until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a program that has ended left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: u8) -> Self {
        assert_eq!(self.code, Some(expected.into()), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// A signal ended it.
    #[track_caller]
    pub(crate) fn code_none(self) -> Self {
        assert_eq!(self.code, None, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// It said this on standard error.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }

    /// It did not say this on standard error.
    #[track_caller]
    pub(crate) fn never_says(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "{text:?} is in:\n{}", self.stderr);
        self
    }
}

type Shared = Arc<Mutex<Vec<u8>>>;

/// A program at work.
pub(crate) struct Started {
    child: Child,
    stdout: (Shared, Option<JoinHandle<()>>),
    stderr: (Shared, Option<JoinHandle<()>>),
}

impl Started {
    pub(super) fn start(
        program: &str,
        args: &[&str],
        dir: &Path,
        env: &BTreeMap<&'static str, OsString>,
        input: Option<Vec<u8>>,
    ) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .envs(env)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // The program may have seen enough before the end.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap()).unwrap()
    }

    /// What the system tells of it in this file of `/proc`; it must be at work still.
    pub(crate) fn told_by_the_system(&self, file: &str) -> String {
        let told = std::fs::read(format!("/proc/{}/{file}", self.child.id())).unwrap();
        String::from_utf8_lossy(&told).into_owned()
    }

    /// Stops it, as a machine that sleeps does, until it is sent [`Signal::CONT`].
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let stopped = || self.told_by_the_system("status").lines().any(|line| line.starts_with("State:\tT"));
        until("it to stand still", stopped);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal to the program that it has started, if it is a shell that stays, else to itself.
    pub(crate) fn signal_program(&self, signal: Signal) {
        let children = self.told_by_the_system(&format!("task/{}/children", self.child.id()));
        let program = children.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().unwrap()));
        kill_process(program.unwrap_or(self.pid()), signal).unwrap();
    }

    /// From now on it may open descriptors below this number alone; `None` is as many as this process may. Those that
    /// it has stay open.
    pub(crate) fn limit_descriptors(&self, below: Option<u64>) {
        let ours = getrlimit(Resource::Nofile);
        let current = below.or(ours.current);
        prlimit(Some(self.pid()), Resource::Nofile, Rlimit { current, ..ours }).unwrap();
    }

    /// Sets a limit of what it may use, from now on.
    pub(crate) fn limit(&self, resource: Resource, most: u64) {
        prlimit(Some(self.pid()), resource, Rlimit { current: Some(most), maximum: Some(most) }).unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The most memory that it has held so far, in bytes; it must be at work still.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until it has said this on standard error.
    pub(crate) fn await_stderr(&mut self, text: &str) {
        until(text, || String::from_utf8_lossy(&lock(&self.stderr.0)).contains(text) || self.has_ended());
    }

    /// The first line on standard output.
    pub(crate) fn first_line(&mut self) -> String {
        until("a line", || lock(&self.stdout.0).contains(&b'\n') || self.has_ended());
        text(&self.stdout.0).lines().next().unwrap_or_default().to_owned()
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self) -> Output {
        until("the program to end", || self.has_ended());
        for reader in [self.stdout.1.take(), self.stderr.1.take()].into_iter().flatten() {
            reader.join().unwrap();
        }
        let code = self.child.wait().unwrap().code();
        Output { code, stdout: text(&self.stdout.0), stderr: text(&self.stderr.0) }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A test that has failed leaves nobody behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> (Shared, Option<JoinHandle<()>>) {
    let shared = Shared::default();
    let into = Arc::clone(&shared);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            lock(&into).extend_from_slice(&buffer[..count]);
        }
    });
    (shared, Some(reader))
}

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Vec<u8>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(shared: &Shared) -> String {
    String::from_utf8_lossy(&lock(shared)).into_owned()
}
