//! The program under way, and its end at a moment of the plan.
//!
//! What it says goes into a file of the round's folder, so that a kept folder tells the whole story.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use deskload::sandbox::Running;
use rustix::process::{Pid, Signal, kill_process};

use crate::breach::Breach;
use crate::plan::{Moment, Sign};

/// Nothing here takes so long: who is not done by then hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks: far below what any step of the program takes.
const LOOK: Duration = Duration::from_micros(100);

/// Where an invocation works.
pub(crate) struct Place<'a> {
    pub(crate) program: &'a Path,
    /// Its current folder; its state and its reports are below.
    pub(crate) folder: PathBuf,
    pub(crate) env: BTreeMap<&'static str, OsString>,
}

impl Place<'_> {
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("deskload")
    }

    pub(crate) fn reports(&self) -> PathBuf {
        self.folder.join("deskload-reports/run-1")
    }

    /// Whether the folder of the reports is there: whoever touches it next writes reports.
    pub(crate) fn has_reports(&self) -> bool {
        !self.trace(Sign::Reports).is_empty()
    }

    /// Everything that tells whether the program has worked on these files.
    fn trace(&self, sign: Sign) -> Vec<(OsString, u64, Option<SystemTime>)> {
        let (folder, prefix) = match sign {
            Sign::Account => (self.state().join("accounts"), ""),
            Sign::Journal => (self.state(), "journal.sqlite3"),
            Sign::Spool => (self.state().join("journal.sqlite3.spool"), ""),
            Sign::Reports => (self.reports(), ""),
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        let mut trace: Vec<_> = named
            .map(|entry| {
                let metadata = entry.metadata().ok();
                let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
                (entry.file_name(), metadata.as_ref().map_or(0, Metadata::len), changed)
            })
            .collect();
        trace.sort();
        trace
    }
}

/// How an invocation ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// A signal was sent before the kill.
    pub(crate) asked: bool,
    /// Its number in the round, and what was typed.
    pub(crate) name: String,
}

impl End {
    pub(crate) fn is_killed(&self) -> bool {
        self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

struct Child<'a> {
    process: Process,
    place: &'a Place<'a>,
    desk: &'a Running,
    began: Instant,
    /// Requests at the desk before the start.
    before: u64,
}

/// Runs the program until it ends or its moment has come.
pub(crate) fn live(
    place: &Place<'_>,
    desk: &Running,
    number: u32,
    args: &[&str],
    moment: Moment,
) -> Result<End, Breach> {
    let name = format!("{number:02}-{}", args[0]);
    let traces = [Sign::Account, Sign::Journal, Sign::Spool, Sign::Reports].map(|sign| place.trace(sign));
    let said = File::create(place.folder.join(format!("{name}.txt"))).unwrap();
    let process = Command::new(place.program)
        .args(args)
        .current_dir(&place.folder)
        .env_clear()
        .envs(&place.env)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap();
    let began = Instant::now();
    let mut child = Child { process, place, desk, began, before: desk.counts().requests };
    let is_touched = |sign: Sign| place.trace(sign) != traces[sign as usize];
    let asked = child.wait_for(moment, is_touched)?;
    if !matches!(moment, Moment::Never) {
        // One that has ended and not been waited for can still be killed, and nothing comes of it.
        child.process.kill().unwrap();
    }
    Ok(End { status: child.process.wait().unwrap(), asked, name })
}

impl Child<'_> {
    /// Gives whether a signal was sent.
    fn wait_for(&mut self, moment: Moment, is_touched: impl Fn(Sign) -> bool) -> Result<bool, Breach> {
        match moment {
            Moment::Never => self.until(|_| false)?,
            Moment::After(time) => self.linger(self.began + time)?,
            Moment::Requests(requests, little) => {
                self.until(|child| child.sent() >= requests)?;
                self.linger(Instant::now() + little)?;
            }
            Moment::Touched(sign, little) => {
                self.until(|_| is_touched(sign))?;
                self.linger(Instant::now() + little)?;
            }
            Moment::Drain(requests, signal, sign, little) => {
                self.until(|child| child.sent() >= requests)?;
                if self.has_ended() {
                    return Ok(false);
                }
                // The folder of its reports, and the name of their owner in it, are made at the start.
                let reports = sign.map(|sign| (sign, self.place.trace(sign)));
                kill_process(Pid::from_child(&self.process), signal).unwrap();
                if let Some((sign, before)) = reports {
                    self.until(|child| child.place.trace(sign) != before)?;
                }
                self.linger(Instant::now() + little)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn sent(&self) -> u64 {
        self.desk.counts().requests - self.before
    }

    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Until something is so, or the program has ended.
    fn until(&mut self, is_so: impl Fn(&Self) -> bool) -> Result<(), Breach> {
        while !is_so(self) && !self.has_ended() {
            if self.began.elapsed() > DEADLINE {
                return Err(Breach::other("the program hangs".to_owned()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn linger(&mut self, end: Instant) -> Result<(), Breach> {
        self.until(|_| Instant::now() >= end)
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        // Who hangs, and whoever is at work when a check fails, is not left behind.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
