//! The examples of the guide, run as cron and systemd run them: the very lines, in the environment that these give.
//!
//! What is substituted is where things are: the program, its configuration, the night's file, the state. Three nights go
//! wrong in each: one that meets the last one still at work, one that was missed, one that was stopped.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use deskload::error::{
    EXIT_ATTENTION, EXIT_CREDENTIALS, EXIT_DONE, EXIT_GUARD, EXIT_INPUT, EXIT_MACHINE, EXIT_OVERLAP,
    EXIT_TERMINATE, EXIT_TOO_MANY_FAILURES, EXIT_USAGE,
};
use deskload::sandbox::{Fate, Reply, When};
use rustix::process::Signal;

use crate::support::{Bench, Started, TOKEN, csv, tool};

const SERVICE: &str = include_str!("../../docs/examples/deskload.service");
const WORKER: &str = include_str!("../../docs/examples/several-machines/deskload-work.service");
const MANIFEST: &str = include_str!("../../docs/examples/several-machines/kubernetes.yaml");
const TIMER: &str = include_str!("../../docs/examples/deskload.timer");
const CRONTAB: &str = include_str!("../../docs/examples/crontab");
const NIGHTS: &str = include_str!("../../docs/nights.md");
const README: &str = include_str!("../../README.md");

/// The desk asks for a pause at its fifth request, in which a process can be met at work.
fn slow_desk() -> Bench {
    Bench::scripted([Fate::new(When::Request(5), Reply::status(429).header("retry-after", "3"))])
}

/// A place where a job runs, and how it is started.
struct Job<'a> {
    bench: &'a Bench,
    /// The words of the command.
    words: Vec<String>,
    folder: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    /// Where the night's file is put.
    input: PathBuf,
    /// Where the reports of run N are.
    reports: PathBuf,
}

impl Job<'_> {
    fn start(&self) -> Started {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let env: Vec<(&str, &Path)> = self.env.iter().map(|(name, value)| (*name, value.as_path())).collect();
        Bench::start_as(&words, &self.folder, &env)
    }

    fn night(&self, tickets: impl IntoIterator<Item = u64>) {
        fs::write(&self.input, csv(tickets)).unwrap();
    }

    fn counts(&self, run: u64) -> [u64; 3] {
        let text = fs::read_to_string(self.reports.join(format!("run-{run}/summary.json"))).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
        ["applied", "in_doubt", "pending"].map(|name| summary["counts"][name].as_u64().unwrap())
    }

    /// Five nights. `is_silent`: nothing is printed unless somebody has to look.
    fn goes_through_its_nights(&self, is_silent: bool) {
        let silent = |output: &crate::support::Output| {
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(!is_silent || said.is_empty(), "cron would mail this: {said}");
        };
        // Monday's night is at work still when another start finds it: exit 11, said, and nothing sent.
        self.night(1..=8);
        let mut monday = self.start();
        self.bench.await_requests(&mut monday, 5);
        monday.signal_program(Signal::STOP);
        self.start().finish().code(EXIT_OVERLAP).says("another deskload");
        monday.signal_program(Signal::CONT);
        let monday = monday.finish().code(EXIT_DONE);
        silent(&monday);
        assert_eq!(self.counts(1), [8, 0, 0]);
        // Tuesday's was missed: the same command, with Monday's file still there, has nothing to do.
        silent(&self.start().finish().code(EXIT_DONE));
        assert_eq!(self.bench.desk().requests, 9);
        // Wednesday's is stopped: it finishes what is under way, and the next night goes on where it was.
        self.night(101..=400);
        let mut wednesday = self.start();
        self.bench.await_requests(&mut wednesday, 9 + 20);
        wednesday.signal_program(Signal::TERM);
        wednesday.finish().code(EXIT_TERMINATE).says("to go on");
        let [applied, in_doubt, pending] = self.counts(2);
        assert!(applied > 0 && in_doubt == 0 && pending > 0, "{applied} {pending}");
        silent(&self.start().finish().code(EXIT_DONE));
        assert_eq!(self.counts(2), [300, 0, 0]);
        let judge = self.bench.judge();
        assert_eq!((judge.applied, judge.applied_twice), (308, 0));
        // Friday's has a row that cannot be sent.
        fs::write(&self.input, "ticket_id,subject\n501,a\n#502,b\n").unwrap();
        self.start().finish().code(EXIT_ATTENTION).says("1 invalid").says("failures.csv");
    }
}

/// A configuration as the guide has it, for this desk.
fn config(bench: &Bench, path: &Path, token_file: Option<&Path>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let token = token_file.map_or_else(String::new, |file| format!("token_file = \"{}\"\n", file.display()));
    let text = format!(
        "default_profile = \"desk\"\n\n[profile.desk]\nurl = \"{}\"\naccount_email = \"ops@example.com\"\n\
         max_failures = \"100%\"\nrate = \"100/s\"\n{token}",
        bench.url()
    );
    fs::write(path, text).unwrap();
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} is not in the unit"))
}

#[test]
fn the_service_of_the_guide_goes_through_its_nights() {
    let bench = slow_desk();
    let (state, credentials) = (bench.path("lib/deskload"), bench.path("credentials"));
    for folder in [&state, &credentials] {
        fs::create_dir_all(folder).unwrap();
    }
    // What systemd makes of these two lines of the unit.
    assert_eq!(value(SERVICE, "StateDirectory"), "deskload");
    private(&credentials.join(value(SERVICE, "LoadCredentialEncrypted")), TOKEN);
    let (config_file, input) = (bench.path("etc/config.toml"), bench.path("nightly.csv"));
    config(&bench, &config_file, None);
    let words = value(SERVICE, "ExecStart").split(' ').map(|word| match word {
        "/usr/bin/deskload" => env!("CARGO_BIN_EXE_deskload").to_owned(),
        "/etc/deskload/config.toml" => config_file.display().to_string(),
        "/var/spool/deskload/nightly.csv" => input.display().to_string(),
        other => other.to_owned(),
    });
    let job = Job {
        words: words.collect(),
        folder: "/".into(),
        env: vec![
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin".into()),
            ("LANG", "C.UTF-8".into()),
            ("STATE_DIRECTORY", state.clone()),
            ("CREDENTIALS_DIRECTORY", credentials),
            ("INVOCATION_ID", "0123456789abcdef0123456789abcdef".into()),
        ],
        input,
        reports: state.join("reports"),
        bench: &bench,
    };
    job.goes_through_its_nights(false);
    // A person has to look, and systemd need not call it a failure; nor that it was told to stop.
    let good: Vec<&str> = value(SERVICE, "SuccessExitStatus").split(' ').collect();
    assert_eq!(good, [EXIT_ATTENTION.to_string(), EXIT_TERMINATE.to_string()]);
    assert_eq!(value(TIMER, "Persistent"), "true", "a night that was missed is caught up");
}

#[test]
fn systemd_understands_the_units_of_the_guide() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let bench = Bench::new();
    // It looks for the program, which is not installed on this machine.
    let program = env!("CARGO_BIN_EXE_deskload");
    bench.file("deskload.service", SERVICE.replace("/usr/bin/deskload", program));
    bench.file("deskload-work.service", WORKER.replace("/usr/local/bin/deskload", program));
    bench.file("deskload.timer", TIMER);
    let units = ["./deskload.service", "./deskload.timer", "./deskload-work.service"];
    let words = [&[analyze.to_str().unwrap(), "verify", "--man=no"][..], &units].concat();
    let path: &Path = "/usr/sbin:/usr/bin:/sbin:/bin".as_ref();
    let said = Bench::start_as(&words, &bench.dir(), &[("PATH", path)]).finish().code(0);
    assert!(!said.stderr.contains("deskload"), "{}", said.stderr);
    let words = [analyze.to_str().unwrap(), "calendar", value(TIMER, "OnCalendar")];
    Bench::start_as(&words, &bench.dir(), &[("PATH", path)]).finish().code(0);
}

#[test]
fn kubernetes_understands_the_manifest_of_the_guide() {
    let Some(validate) = tool("kubernetes-validate") else { return };
    let bench = Bench::new();
    let check = |manifest: &str, version: &[&str]| {
        bench.file("manifest.yaml", manifest);
        let words = [&[validate.to_str().unwrap(), "--strict"], version, &["manifest.yaml"]].concat();
        let path: &Path = "/usr/local/bin:/usr/bin:/bin".as_ref();
        Bench::start_as(&words, &bench.dir(), &[("PATH", path)]).finish()
    };
    // The oldest that the manifest names, and the newest that is known.
    check(MANIFEST, &["-k", "1.31"]).code(0);
    check(MANIFEST, &[]).code(0);
    let misspelt = MANIFEST.replace("backoffLimit", "backofLimit");
    assert_ne!(check(&misspelt, &[]).code, Some(0), "a word that Kubernetes does not know is found");
}

#[test]
fn the_job_of_the_manifest_is_not_tried_again_where_a_person_has_to_look() {
    let looks = [
        EXIT_MACHINE,
        EXIT_USAGE,
        EXIT_ATTENTION,
        EXIT_CREDENTIALS,
        EXIT_INPUT,
        EXIT_GUARD,
        EXIT_TOO_MANY_FAILURES,
    ];
    assert!(MANIFEST.contains(&format!("values: {looks:?} }}")), "{looks:?}");
}

/// The command of a line of a crontab, behind its five fields.
fn command(line: &str) -> &str {
    let mut rest = line.trim();
    for _ in 0..5 {
        rest = rest.split_once(' ').unwrap().1.trim_start();
    }
    assert!(!rest.contains('%'), "cron would make a line's end of it");
    rest
}

/// The one line that cron would start something for.
fn crontab(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| line.starts_with("30 22 * * * ")).unwrap()
}

/// A home as the guide's cron job has it, with the program where the line looks for it.
fn home<'a>(bench: &'a Bench, line: &str, program: &str, more: Vec<(&'static str, PathBuf)>) -> Job<'a> {
    let home = bench.dir();
    let program = home.join(program);
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    symlink(env!("CARGO_BIN_EXE_deskload"), &program).unwrap();
    // All that Debian's cron gives; on a machine where it is installed, the program is in /usr/bin.
    let path = format!("/usr/bin:/bin:{}", program.parent().unwrap().display());
    let cron = [
        ("HOME", home.clone()),
        ("LOGNAME", "ops".into()),
        ("SHELL", "/bin/sh".into()),
        ("PATH", path.into()),
    ];
    Job {
        words: vec!["/bin/sh".to_owned(), "-c".to_owned(), command(line).to_owned()],
        folder: home.clone(),
        env: cron.into_iter().chain(more).collect(),
        input: home.join("nightly.csv"),
        reports: home.join("deskload-reports"),
        bench,
    }
}

#[test]
fn the_crontab_of_the_guide_goes_through_its_nights() {
    let bench = slow_desk();
    let token = bench.path(".deskload-token");
    private(&token, TOKEN);
    config(&bench, &bench.path(".config/deskload/config.toml"), Some(&token));
    assert_eq!(crontab(NIGHTS), crontab(CRONTAB), "the guide shows what is in the file");
    home(&bench, crontab(CRONTAB), "bin/deskload", Vec::new()).goes_through_its_nights(true);
}

#[test]
fn the_crontab_of_the_readme_goes_through_its_nights() {
    let bench = slow_desk();
    private(&bench.path(".deskload-token"), TOKEN);
    // It has no place for another desk than the documented one, nor for a pace: the desk here has no limit.
    let desk = vec![("DESKLOAD_URL", bench.url().into()), ("DESKLOAD_RATE", "100/s".into())];
    home(&bench, crontab(README), ".cargo/bin/deskload", desk).goes_through_its_nights(true);
}
