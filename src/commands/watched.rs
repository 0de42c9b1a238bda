//! What watches a night job: a file of metrics for Prometheus' node exporter, and a command at the end.
//!
//! Neither can fail the job: what goes wrong here is said, and the exit code stays what the rows deserve. The metrics
//! come from the journal; a command that ends before it has a run leaves the file as it was, so that an alert on the
//! time of the last success sees it.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::{EXIT_DONE, Error, explained, said};
use crate::folders;
use crate::journal::runs::Run;
use crate::settings::TOKEN_VARIABLE;
use crate::voice;

/// A command that takes longer is ended: the next night must not find it.
const COMMAND_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Writes `--metrics-file`, for the collector to read (0644), whole or not at all.
pub(super) fn write_metrics(path: &Path, run: &Run, now_ms: i64, last_success_ms: Option<i64>) {
    let text = metrics(run, now_ms, last_success_ms);
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folders::parent(path))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    if let Err(error) = write() {
        voice::complain(&format!(
            "failed to write the metrics file {}: {}",
            path.display(),
            explained(&error)
        ));
    }
}

fn metrics(run: &Run, now_ms: i64, last_success_ms: Option<i64>) -> String {
    let counts = &run.counts;
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(&str, f64)]| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP deskload_{name} {help}\n# TYPE deskload_{name} gauge");
        for (labels, value) in values {
            let _ = writeln!(out, "deskload_{name}{labels} {value}");
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let number = |count: u64| count as f64;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    gauge(
        "rows",
        "Rows of the last run by outcome.",
        &[
            (r#"{outcome="applied"}"#, number(counts.applied)),
            (r#"{outcome="failed"}"#, number(counts.failed)),
            (r#"{outcome="invalid"}"#, number(counts.invalid)),
            (r#"{outcome="in_doubt"}"#, number(counts.in_doubt)),
            (r#"{outcome="skipped"}"#, number(counts.skipped)),
            (r#"{outcome="pending"}"#, number(counts.pending)),
        ],
    );
    gauge("run", "Number of the last run.", &[("", number(run.key.id))]);
    gauge("attempts", "Requests of the last run.", &[("", number(run.attempts))]);
    gauge(
        "throttled",
        "Requests of the last run that were told to come back later.",
        &[("", number(run.throttled))],
    );
    gauge(
        "exit_code",
        "Exit code of the last invocation.",
        &[("", f64::from(run.exit_code.unwrap_or_default()))],
    );
    gauge(
        "start_time_seconds",
        "When the last run was begun, in UNIX time.",
        &[("", seconds(run.started_ms))],
    );
    gauge("end_time_seconds", "When the last invocation ended, in UNIX time.", &[("", seconds(now_ms))]);
    if let Some(ended_ms) = run.ended_ms {
        let took = seconds(ended_ms - run.started_ms).max(0.001);
        gauge("duration_seconds", "From the begin of the last run to its last end.", &[("", took)]);
        gauge(
            "applied_per_second",
            "Rows of the last run applied a second.",
            &[("", number(counts.applied) / took)],
        );
    }
    if let Some(success_ms) = last_success_ms {
        gauge(
            "last_success_time_seconds",
            "When an invocation last ended with exit 0, in UNIX time.",
            &[("", seconds(success_ms))],
        );
    }
    out
}

/// Gives `--on-finish` the summary on its standard input and the exit code in its environment.
pub(super) fn on_finish(command: Option<&str>, done: Result<(), Error>) -> Result<(), Error> {
    if let Some(command) = command {
        let exit_code = done.as_ref().err().map_or(EXIT_DONE, Error::exit_code);
        if let Err(why) = run_command(command, exit_code, done.as_ref().err()) {
            voice::complain(&format!("--on-finish {why}; the rows are not touched by that"));
        }
    }
    done
}

fn run_command(command: &str, exit_code: u8, error: Option<&Error>) -> Result<(), String> {
    let summary = voice::summary().unwrap_or_else(|| {
        json!({ "exit_code": exit_code, "error": error.map(ToString::to_string) }).to_string()
    });
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env_remove(TOKEN_VARIABLE)
        .env("DESKLOAD_EXIT_CODE", exit_code.to_string())
        .stdin(Stdio::piped())
        // Standard output belongs to the summary.
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("could not be started: {}", said(&error)))?;
    // A thread of its own: a command that reads nothing must not be waited for. It ends with the pipe.
    let stdin = child.stdin.take();
    std::thread::spawn(move || {
        // It need not read it.
        let _ = stdin.map(|mut stdin| stdin.write_all(summary.as_bytes()));
    });
    let status = wait(&mut child).map_err(|error| format!("could not be waited for: {}", said(&error)))?;
    match status {
        None => Err(format!("took longer than {}s and was ended", COMMAND_MAX.as_secs())),
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("failed ({status})")),
    }
}

/// Waits for so long; `None`: it was ended.
fn wait(child: &mut Child) -> std::io::Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + COMMAND_MAX;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    child.wait().map(|_| None)
}
