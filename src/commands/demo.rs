//! `deskload demo`: the main job on a desk of its own, with no account and no configuration.
//!
//! It runs this same program as a user would, interrupts it halfway with a real signal, gives the same command
//! again, and lets the sandbox's own log say how often each update was applied. Everything stays in one folder,
//! which is left for looking at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::DemoArgs;
use crate::error::{EXIT_ATTENTION, EXIT_INTERRUPT, Error, said};
use crate::folders;
use crate::sandbox::judge::{Judgement, Word};
use crate::sandbox::options::Latency;
use crate::sandbox::{self, Fate, Options, Reply, Running, When};
use crate::settings::TOKEN_VARIABLE;
use crate::text::shell_word;
use crate::voice::say;

/// The rows; see `fixtures/README.md`.
const ROWS: &str = include_str!("../../fixtures/demo.csv");

/// The pace of the run, above what the sandbox takes in a second, so that it says 429 now and then.
const RATE: &str = "100/s";
const DESK_RATE: f64 = 50.0;

/// After so many requests the run is interrupted.
const INTERRUPT_AFTER: u64 = 150;

/// Runs it.
pub fn run(args: &DemoArgs) -> Result<(), Error> {
    let folder = folder(args)?;
    let place = Place { rows: folder.join("changes.csv"), log: folder.join("desk.jsonl"), folder };
    write_private(&place.rows, ROWS)?;

    say(
        "1. A sandbox desk starts. It takes 50 requests a second, refuses some tickets, and leaves one update",
    );
    say("   that it has applied without an answer.");
    let options = Options {
        rate: Some(DESK_RATE),
        fail: 0.02,
        latency: Latency { min: Duration::from_millis(20), max: Duration::from_millis(80) },
        seed: 7,
        log: Some(place.log.clone()),
        fates: vec![Fate::new(When::Request(100), Reply::close()).applied()],
        ..Options::default()
    };
    let token = options.token.clone();
    let desk = sandbox::spawn(options)?;

    say(&format!("\n2. deskload run changes.csv --rate {RATE}, and Ctrl-C halfway:\n"));
    let first = start(&place, &desk, &token)?;
    interrupt_halfway(&first, &desk)?;
    expect(first, EXIT_INTERRUPT)?;

    say("\n3. The same command again goes on where it stopped:\n");
    let second = start(&place, &desk, &token)?;
    expect(second, EXIT_ATTENTION)?;

    desk.finish()?;
    verdict(&place)
}

/// Where everything is.
struct Place {
    folder: PathBuf,
    rows: PathBuf,
    log: PathBuf,
}

/// The demo's folder, absolute: the runs work in it, and a path that is relative to it would lead elsewhere.
fn folder(args: &DemoArgs) -> Result<PathBuf, Error> {
    match &args.dir {
        Some(typed) if typed.join("changes.csv").exists() => Err(Error::Usage(format!(
            "{} holds a demo already; name another folder with --dir",
            typed.display()
        ))),
        Some(typed) => {
            folders::require_place(typed, "--dir")?;
            std::path::absolute(typed)
                .and_then(|folder| fs::create_dir_all(&folder).map(|()| folder))
                .map_err(|error| Error::file("make the folder", typed, &error))
        }
        None => tempfile::Builder::new()
            .prefix("deskload-demo-")
            .tempdir()
            .map(tempfile::TempDir::keep)
            .map_err(|error| Error::file("make a folder in", &std::env::temp_dir(), &error)),
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o600)))
        .map_err(|error| Error::file("write", path, &error))
}

/// Starts `deskload run` as a person would, with everything in the demo's folder.
fn start(place: &Place, desk: &Running, token: &str) -> Result<Child, Error> {
    let program = std::env::current_exe()
        .map_err(|error| Error::Machine(format!("failed to find this program's file: {}", said(&error))))?;
    Command::new(program)
        .args([
            "run",
            "changes.csv",
            "--rate",
            RATE,
            "--account-email",
            "demo@example.com",
            "--url",
            desk.url(),
        ])
        .args(["--yes", "--report-dir", "reports"])
        .current_dir(&place.folder)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "TERM" || name == "TZ"))
        // No configuration of this machine's may have a say here.
        .env("DESKLOAD_CONFIG", "/dev/null")
        .env("XDG_STATE_HOME", &place.folder)
        .env(TOKEN_VARIABLE, token)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Error::Machine(format!("failed to start this program again: {}", said(&error))))
}

/// Waits until half of the rows have reached the desk, then presses Ctrl-C.
fn interrupt_halfway(child: &Child, desk: &Running) -> Result<(), Error> {
    let failed = || Error::Machine("the demo's run ended before it could be interrupted".to_owned());
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(failed)?;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while desk.counts().requests < INTERRUPT_AFTER {
        if std::time::Instant::now() > deadline {
            return Err(failed());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(pid, Signal::INT).map_err(|_| failed())
}

fn expect(mut child: Child, code: u8) -> Result<(), Error> {
    let status = child
        .wait()
        .map_err(|error| Error::Machine(format!("failed to wait for the demo's run: {}", said(&error))))?;
    if status.code() == Some(code.into()) {
        return Ok(());
    }
    Err(Error::Machine(format!("the demo's run ended with {status}, and {code} was expected")))
}

/// What the desk itself saw.
fn verdict(place: &Place) -> Result<(), Error> {
    let judgement = Judgement::read(&place.log)?;
    say(&format!(
        "\n4. The desk's own log: {} requests, {} of them told to come back later, {} updates applied",
        judgement.requests,
        judgement.count(Word::Throttled),
        judgement.applied
    ));
    say(&format!("   applied twice: {}", judgement.applied_twice));
    let state = place.folder.join("deskload").join("journal.sqlite3");
    let failures = place.folder.join("reports/run-1/failures.csv");
    let word = |path: &Path| shell_word(&path.to_string_lossy());
    say(&format!("\nThe report and everything else is in {}. Next:", place.folder.display()));
    say(&format!("  cat {}", word(&failures)));
    say(&format!("  deskload status --journal {}", word(&state)));
    say("  deskload run --help");
    if judgement.applied_twice > 0 {
        return Err(Error::Machine("an update was applied twice: this is a bug in deskload".to_owned()));
    }
    Ok(())
}
