//! The program under strace, which lets a system call fail, or kills the program as it enters one.
//!
//! strace counts the calls of each thread apart: `when=N` is the Nth such call of whichever thread is the first to
//! make so many. With a path, only calls on that file are seen and counted.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::tools::{not_run, tool};
use super::{Bench, Output, Started};

/// What strace did.
pub(crate) struct Traced {
    pub(crate) output: Output,
    /// Its log, line by line; a file descriptor is followed by its path.
    pub(crate) calls: Vec<String>,
}

impl Traced {
    /// The call that was made to fail; `None`: there were not so many.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.calls.iter().find(|line| line.contains("(INJECTED)")).map(String::as_str)
    }

    /// The file of the call that was made to fail: of its descriptor, or the first that it names.
    pub(crate) fn failed_file(&self) -> Option<&str> {
        let failed = self.failed()?;
        failed.split_once('<').and_then(|(_, rest)| rest.split('>').next())
    }

    /// The calls that began after the one that was made to fail.
    pub(crate) fn after_failure(&self) -> impl Iterator<Item = &str> {
        let calls = self.calls.iter().map(String::as_str);
        calls.skip_while(|line| !line.contains("(INJECTED)")).skip(1)
    }

    /// Whether it was killed: there were so many calls.
    pub(crate) fn was_killed(&self) -> bool {
        self.output.code.is_none()
    }
}

/// strace, where it is there and may trace.
pub(crate) struct Strace(PathBuf);

impl Strace {
    /// `None`: the reader was told that the test was not run.
    pub(crate) fn find() -> Option<Self> {
        static MAY_TRACE: OnceLock<bool> = OnceLock::new();
        let program = tool("strace")?;
        let try_it = || Command::new(&program).args(["-o", "/dev/null", "true"]).output().unwrap();
        if !MAY_TRACE.get_or_init(|| try_it().status.success()) {
            not_run("strace", "may not trace on this machine");
            return None;
        }
        Some(Self(program))
    }

    /// Runs the program with this fault, as in `fsync:error=EIO:when=3`.
    pub(crate) fn run(&self, bench: &Bench, fault: &str, path: Option<&Path>, args: &[&str]) -> Traced {
        let call = fault.split(':').next().unwrap();
        let log = bench.beside("strace.log");
        let _ = std::fs::remove_file(&log);
        let inject = format!("inject={fault}");
        let (log, trace) = (log.to_str().unwrap().to_owned(), format!("trace={call}"));
        let mut all = vec!["-f", "-y", "-o", &log, "-e", &trace, "-e", &inject];
        all.extend(path.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
        all.push(env!("CARGO_BIN_EXE_deskload"));
        all.extend(args);
        let output = Started::start(self.0.to_str().unwrap(), &all, &bench.dir(), &bench.env, None).finish();
        let text = std::fs::read(&log).unwrap();
        Traced { output, calls: String::from_utf8_lossy(&text).lines().map(str::to_owned).collect() }
    }
}
