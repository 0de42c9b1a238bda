//! A PostgreSQL of a test's own: one folder, one socket in it, nobody else's port.
//!
//! It refuses to run as root, so that as root it is started as another user. Where it is not installed, the test says
//! that it was not run.

use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{tool, until};

/// Who a database is run as, where the test is root: the package's own user, or nobody.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A server at work, with an empty database `desk`.
pub(crate) struct Postgres {
    server: Option<Child>,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    more: Vec<String>,
    dir: TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it; `None` where PostgreSQL is not installed, which has been said.
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// The same, with settings such as `fsync=off`.
    pub(crate) fn with(settings: &[&str]) -> Option<Self> {
        Self::shaped(|_| settings.iter().map(|setting| (*setting).to_owned()).collect())
    }

    /// The same, with files that are put into its folder first.
    pub(crate) fn shaped(shape: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let mut postgres = Self::empty(shape)?;
        let data = postgres.data();
        postgres.must(
            "initdb",
            &["-D", &data, "-A", "trust", "-U", "deskload", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        postgres.begin();
        postgres.must("createdb", &["-h", &postgres.socket(), "-U", "deskload", "desk"]);
        Some(postgres)
    }

    /// Another server, which follows this one.
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self::elsewhere().unwrap();
        standby.copy(self, &["-R"]);
        standby.begin();
        standby
    }

    /// A place for a server, which is not started.
    pub(crate) fn elsewhere() -> Option<Self> {
        Self::empty(|_| Vec::new())
    }

    /// Has its disk as that one's is now.
    pub(crate) fn copy(&self, of: &Self, more: &[&str]) {
        let (data, socket) = (self.data(), of.socket());
        let args = ["-D", &data, "-c", "fast", "-h", &socket, "-U", "deskload"];
        self.must("pg_basebackup", &[&args, more].concat());
    }

    /// It follows nobody any more, and takes what it has for the truth.
    pub(crate) fn promote(&self) {
        self.must("pg_ctl", &["promote", "-D", &self.data(), "-w"]);
    }

    fn empty(shape: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        // Where its other programs are: in the `PATH` there may be a link to this one.
        let programs = fs::canonicalize(tool("postgres")?).unwrap().parent()?.to_owned();
        let dir = tempfile::Builder::new().prefix("deskload-pg-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let user = rustix::process::geteuid().is_root().then(somebody);
        let more = shape(dir.path()).into_iter().flat_map(|setting| ["-c".to_owned(), setting]).collect();
        if let Some((uid, gid)) = user {
            let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            for path in files.chain([dir.path().to_owned()]) {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
        Some(Self { server: None, programs, user, more, dir })
    }

    /// The folder of its socket.
    pub(crate) fn socket(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn data(&self) -> String {
        self.dir.path().join("data").display().to_string()
    }

    /// What `--journal` takes, for the database's owner.
    pub(crate) fn url(&self) -> String {
        self.url_of("desk")
    }

    /// The same, for another of its databases.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://deskload@/{database}?host={}", self.socket())
    }

    /// Where its socket is, as a path.
    pub(crate) fn socket_path(&self) -> PathBuf {
        self.dir.path().join(".s.PGSQL.5432")
    }

    fn command(&self, program: &str) -> Command {
        self.as_its_user(&self.programs.join(program))
    }

    /// A program that is run as the server is, in its folder.
    pub(crate) fn as_its_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn must(&self, program: &str, args: &[&str]) {
        let output = self.command(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn begin(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let socket = self.socket();
        let mut command = self.command("postgres");
        command.args(["-D", &self.data(), "-k", &socket, "-c", "listen_addresses="]).args(&self.more);
        self.server = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        let ready = || self.command("pg_isready").args(["-q", "-h", &socket]).status().unwrap().success();
        until("PostgreSQL to be ready", ready);
    }

    /// Stops it at once, without a word to anybody and without a checkpoint, as a crash does.
    pub(crate) fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Its whole family ends with it.
            kill_process(Pid::from_raw(server.id().try_into().unwrap()).unwrap(), Signal::QUIT).unwrap();
            server.wait().unwrap();
        }
    }

    /// What a statement gives, as text.
    pub(crate) fn ask(&self, sql: &str) -> String {
        self.ask_in("desk", sql)
    }

    /// The same, in another of its databases.
    pub(crate) fn ask_in(&self, database: &str, sql: &str) -> String {
        self.ask_at(&["-h", &self.socket(), "-U", "deskload", "-d", database], sql)
    }

    /// The same, in the database `desk` by another way, or in another one: what `psql` is to be told about that.
    pub(crate) fn ask_at(&self, way: &[&str], sql: &str) -> String {
        let args = ["-At", "-v", "ON_ERROR_STOP=1", "-c", sql];
        let output = self.command("psql").env("PGDATABASE", "desk").args(way).args(args).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Postgres {
    /// Waits in the database until this condition holds: the machine has other things to do than to ask and ask.
    pub(crate) fn until(&self, condition: &str) {
        self.ask(&format!(
            "DO $$ BEGIN
                 FOR i IN 1..9000 LOOP
                     IF {condition} THEN RETURN; END IF;
                     PERFORM pg_sleep(0.02);
                 END LOOP;
                 RAISE 'waited too long';
             END $$"
        ));
    }
}

impl Postgres {
    /// One of its databases, as text.
    pub(crate) fn dump(&self, database: &str) -> Vec<u8> {
        let output = self
            .command("pg_dump")
            .args(["-h", &self.socket(), "-U", "deskload", database])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Puts what was dumped into it.
    pub(crate) fn put_back(&self, database: &str, dump: &[u8]) {
        let mut command = self.command("psql");
        command.args(["-h", &self.socket(), "-U", "deskload", "-d", database, "-q", "-v", "ON_ERROR_STOP=1"]);
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(dump).unwrap();
        assert!(psql.wait().unwrap().success());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Somebody's transaction, which keeps what it has locked; it is rolled back when this is dropped.
pub(crate) struct Held {
    program: Child,
    answers: BufReader<ChildStdout>,
}

impl Postgres {
    /// Begins a transaction with these statements.
    pub(crate) fn hold(&self, sql: &str) -> Held {
        self.hold_in("desk", sql)
    }

    /// The same, in another of its databases.
    pub(crate) fn hold_in(&self, database: &str, sql: &str) -> Held {
        let args = ["-h", &self.socket(), "-U", "deskload", "-d", database, "-AtX", "-v", "ON_ERROR_STOP=1"];
        let mut command = self.command("psql");
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let answers = BufReader::new(program.stdout.take().unwrap());
        let mut held = Held { program, answers };
        held.ask(&format!("BEGIN; {sql}"));
        held
    }
}

impl Held {
    pub(crate) fn commit(mut self) {
        self.ask("COMMIT");
    }

    /// Gives it statements, and waits until they are done.
    fn ask(&mut self, sql: &str) {
        writeln!(self.program.stdin.as_mut().unwrap(), "{sql};\n\\echo done").unwrap();
        let is_done = |line: io::Result<String>| line.unwrap() == "done";
        assert!(self.answers.by_ref().lines().any(is_done), "{sql}");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ = self.program.wait();
    }
}

/// A user other than root, and its group.
fn somebody() -> (u32, u32) {
    let passwd = fs::read_to_string(Path::new("/etc/passwd")).unwrap();
    let ids = |name: &&str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(*name))?;
        let mut cells = line.split(':').skip(2);
        Some((cells.next()?.parse().ok()?, cells.next()?.parse().ok()?))
    };
    USERS.iter().find_map(ids).unwrap()
}
