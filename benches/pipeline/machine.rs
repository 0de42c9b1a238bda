//! What the kernel says of processes and of the machine: CPU, memory, bytes written, and what others took.
//!
//! Linux alone (`/proc`). CPU comes in ticks of 10 ms, so it is read over seconds.

use std::fs;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::Result;

/// `USER_HZ`, which is 100 on every architecture that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// More than this share of the machine for others, and a figure is not to be trusted.
pub(crate) const OTHERS_MAX: f64 = 0.05;

/// Seconds of CPU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn sum(self) -> f64 {
        self.user + self.system
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// What a process has used so far.
pub(crate) fn cpu_of(pid: u32) -> Result<Cpu> {
    cpu_at(&pid.to_string(), 11)
}

/// What this process has used so far.
pub(crate) fn own_cpu() -> Result<Cpu> {
    cpu_at("self", 11)
}

/// What those children of this process have used that were waited for.
pub(crate) fn cpu_of_children() -> Result<Cpu> {
    cpu_at("self", 13)
}

fn cpu_at(process: &str, field: usize) -> Result<Cpu> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before may hold blanks; nothing behind its bracket does.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let ticks = |at: usize| -> Result<f64> {
        Ok(fields.split_whitespace().nth(at).ok_or("/proc/PID/stat is short")?.parse::<f64>()?)
    };
    Ok(Cpu { user: ticks(field)? / TICKS_PER_SECOND, system: ticks(field + 1)? / TICKS_PER_SECOND })
}

/// A line of `/proc/PID/NAME` that begins with a key, as a number.
fn figure(pid: u32, name: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{name}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
}

/// Watches what others take of the machine, the desk's process counted as one of ours.
pub(crate) struct Watch {
    desk: Option<u32>,
    began: Instant,
    machine: (f64, f64),
    ours: f64,
}

/// Shares of the whole machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Others {
    /// Programs that are not ours.
    pub(crate) programs: f64,
    /// The host, for other machines.
    pub(crate) stolen: f64,
}

impl Watch {
    pub(crate) fn begin(desk: Option<u32>) -> Result<Self> {
        Ok(Self { desk, began: Instant::now(), machine: machine()?, ours: ours(desk)? })
    }

    pub(crate) fn end(self) -> Result<Others> {
        let (busy, stolen) = machine()?;
        let cores = std::thread::available_parallelism()?.get();
        let whole = self.began.elapsed().as_secs_f64() * f64::from(u32::try_from(cores)?);
        let programs = busy - self.machine.0 - (ours(self.desk)? - self.ours);
        Ok(Others { programs: programs.max(0.0) / whole, stolen: (stolen - self.machine.1) / whole })
    }
}

fn ours(desk: Option<u32>) -> Result<f64> {
    let desk = desk.map(cpu_of).transpose()?.unwrap_or_default();
    Ok(own_cpu()?.sum() + cpu_of_children()?.sum() + desk.sum())
}

/// Seconds of CPU that programs have used, and that were stolen. What interrupts take belongs to nobody.
fn machine() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().ok_or("/proc/stat is empty")?;
    let ticks: Vec<f64> =
        all.split_whitespace().skip(1).map(str::parse).collect::<std::result::Result<_, _>>()?;
    let at = |index: usize| ticks.get(index).copied().unwrap_or_default() / TICKS_PER_SECOND;
    Ok((at(0) + at(1) + at(2), at(7)))
}

/// The machine's words on whether figures can be trusted.
pub(crate) fn verdict(others: &[Others]) -> String {
    let is_busy = |one: &&Others| one.programs > OTHERS_MAX || one.stolen > OTHERS_MAX;
    let busy = others.iter().filter(is_busy).count();
    let most = others.iter().map(|one| one.programs.max(one.stolen)).fold(0.0, f64::max);
    let share = 100.0 * most;
    if busy == 0 {
        return format!("quiet: others took {share:.0}% of the machine at the most");
    }
    format!(
        "NOT TO BE TRUSTED: in {busy} of {} measurements others, or the host, took more than {:.0}% of the machine, \
         {share:.0}% at the most",
        others.len(),
        100.0 * OTHERS_MAX
    )
}

/// What a process that has ended came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    /// The most memory that was resident, in KiB.
    pub(crate) resident_kib: u64,
    /// Bytes that went to the disk's cache, as the kernel counts them for the process.
    pub(crate) written: u64,
}

/// Between two looks at a process that runs. What it writes in its last moment may be missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for a process, and looks at its memory meanwhile: the kernel's own figure after the end would count what it
/// had before it became another program.
pub(crate) fn wait(mut child: Child, began: Instant, before: Cpu) -> Result<(ExitStatus, Spent)> {
    let mut spent = Spent::default();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let pid = child.id();
        spent.resident_kib = spent.resident_kib.max(figure(pid, "status", "VmHWM").unwrap_or_default());
        spent.written = spent.written.max(figure(pid, "io", "write_bytes").unwrap_or_default());
        std::thread::sleep(LOOK_EVERY);
    };
    spent.seconds = began.elapsed().as_secs_f64();
    spent.cpu = cpu_of_children()?.since(before);
    Ok((status, spent))
}
