//! Ways to the database and the worker's own surroundings: a pooler, a certificate, a wrong clock.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use deskload::error::{EXIT_DONE, EXIT_EARLY, EXIT_MACHINE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Fleet;
use crate::support::postgres::Postgres;
use crate::support::{Bench, csv, must_run, tool, until};

/// `pgbouncer` before a server: each transaction gets another of its few connections.
struct Pooler {
    program: Child,
    dir: TempDir,
}

impl Pooler {
    /// `None` where it is missing, which has been said.
    fn before(database: &Postgres, connections: u8) -> Option<Self> {
        let program = tool("pgbouncer")?;
        let dir = tempfile::Builder::new().prefix("deskload-pool-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let folder = dir.path().display();
        let settings = format!(
            "[databases]\ndesk = host={} dbname=desk\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {folder}\n\
             listen_port = 6432\nauth_type = trust\nauth_file = {folder}/users\npool_mode = transaction\n\
             default_pool_size = {connections}\n",
            database.socket()
        );
        fs::write(dir.path().join("settings"), settings).unwrap();
        fs::write(dir.path().join("users"), "\"deskload\" \"\"\n\"deskload_worker\" \"\"\n").unwrap();
        let mut command = database.as_its_user(&program);
        command.arg("-q").arg(dir.path().join("settings")).stdout(Stdio::null()).stderr(Stdio::null());
        let program = command.spawn().unwrap();
        until("the pooler's socket", || dir.path().join(".s.PGSQL.6432").exists());
        Some(Self { program, dir })
    }

    fn url(&self) -> String {
        format!("postgres://deskload_worker@/desk?host={}&port=6432", self.dir.path().display())
    }

    /// Asks the database in a connection of the pooler's, which keeps what that leaves behind.
    fn ask(&self, database: &Postgres, sql: &str) -> String {
        database.ask_at(
            &["-h", &self.dir.path().display().to_string(), "-p", "6432", "-U", "deskload_worker"],
            sql,
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        kill_process(Pid::from_raw(self.program.id().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        let _ = self.program.wait();
    }
}

#[test]
fn a_pooler_that_gives_each_transaction_another_connection_is_no_trouble() {
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "200/s")) else { return };
    let Some(pooler) = Pooler::before(&fleet.database, 2) else { return };
    let url = pooler.url();
    fleet.bench.rows((1..=800).map(|row| 1 + row % 300));
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &url]);
    fleet.bench.await_requests(&mut run, 20);
    let workers = [0; 3].map(|_| fleet.bench.start(&["work", "--once", "--journal", &url]));
    run.finish().code(EXIT_DONE);
    for worker in workers {
        worker.finish().code(EXIT_DONE);
    }
    fleet.bench.run(&["report", "1", "--journal", &url]).code(EXIT_DONE);
    fleet.assert_kept();
    fleet.assert_adds_up();
    assert_eq!(fleet.in_state(1), 800);
}

#[test]
fn rows_are_taken_in_through_a_pooler_whatever_another_program_has_left_in_its_connection() {
    let Some(fleet) = Fleet::new(Bench::new()) else { return };
    // With a connection that is never given up, all of these meet what is left in it.
    let Some(pooler) = Pooler::before(&fleet.database, 1) else { return };
    let ask = |sql: &str| pooler.ask(&fleet.database, sql);
    for name in ["s0", "s1"] {
        ask(&format!("PREPARE {name} AS SELECT 'of another program'"));
    }
    let url = pooler.url();
    fleet.bench.rows(1..=50);
    fleet.bench.run(&["run", "rows.csv", "--yes", "--limit", "40", "--journal", &url]).code(EXIT_EARLY);
    fleet.bench.run(&["run", "rows.csv", "--yes", "--journal", &url]).code(EXIT_DONE);
    fleet.bench.file("night.csv", csv((1..=50).chain([51])));
    let night = ["run", "night.csv", "--yes", "--only-changed", "--journal", &url];
    fleet.bench.run(&night).code(EXIT_DONE).says("(50 unchanged)");
    let left = ask("SELECT string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements");
    assert_eq!(left, "s0,s1", "nothing of ours is left");
    fleet.assert_adds_up();
    assert_eq!((fleet.in_state(1), fleet.bench.desk().requests), (51, 51));
}

/// A certificate for this address, which vouches for itself.
fn certify(openssl: &Path, folder: &Path, address: &str) {
    let name = format!("subjectAltName=IP:{address}");
    let args =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let more = ["-subj", "/CN=desk", "-addext", &name, "-addext", "basicConstraints=critical,CA:FALSE"];
    let files = ["-keyout", "key.pem", "-out", "cert.pem"];
    must_run(openssl, &[&args[..], &more, &files].concat(), folder);
    fs::set_permissions(folder.join("key.pem"), Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_way_is_encrypted_and_a_server_that_nobody_vouches_for_gets_no_row() {
    let Some(openssl) = tool("openssl") else { return };
    // Of this machine alone, and nobody else's.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.7.{high}.{low}");
    let database = Postgres::shaped(|folder| {
        certify(&openssl, folder, &address);
        fs::write(folder.join("hba"), "local all all trust\nhostssl all all 127.0.0.0/8 trust\n").unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        vec![
            format!("listen_addresses={address}"),
            format!("hba_file={}", file("hba")),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("cert.pem")),
            format!("ssl_key_file={}", file("key.pem")),
        ]
    });
    let Some(database) = database else { return };
    let bench = Bench::new();
    certify(&openssl, &bench.dir(), &address);
    let url = |certificate: &Path| {
        format!("postgres://deskload@{address}/desk?sslrootcert={}", certificate.display())
    };
    let (ours, others) = (Path::new(&database.socket()).join("cert.pem"), bench.path("cert.pem"));
    bench.rows(1..=20);
    bench.run(&["journal", "init", "--journal", &url(&ours)]).code(EXIT_DONE);
    bench.run(&["run", "rows.csv", "--yes", "--journal", &url(&ours)]).code(EXIT_DONE);
    assert_eq!(bench.counts(1), [20, 0, 0, 0, 0, 0]);
    bench.file("other.csv", "ticket_id,subject\n1,other\n");
    let refused = bench.run(&["run", "other.csv", "--yes", "--journal", &url(&others)]).code(EXIT_MACHINE);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
    assert_eq!(database.ask("SELECT count(*) FROM deskload.run"), "1");
}

#[test]
fn workers_whose_clocks_are_hours_off_share_the_work_as_ever() {
    let Some(faketime) = tool("faketime") else { return };
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "60/s")) else { return };
    fleet.bench.rows((1..=900).map(|row| 1 + row % 300));
    let mut run = fleet.bench.start(&["run", "rows.csv", "--yes"]);
    fleet.bench.await_requests(&mut run, 20);
    // What it sees of the time of day is off; how time passes is not.
    let off = |by: &str| {
        let line = format!(
            "FAKETIME_DONT_FAKE_MONOTONIC=1 exec {} -f {by} \"$DESKLOAD\" work --once",
            faketime.display()
        );
        fleet.bench.start_shell(&line, None)
    };
    let workers = [off("+2h"), off("-2h")];
    run.finish().code(EXIT_DONE);
    for worker in workers {
        worker.finish().code(EXIT_DONE);
    }
    let hours = "SELECT (max(began_ms) - min(began_ms)) / 3600000 FROM deskload.invocation";
    assert!(["3", "4"].contains(&fleet.database.ask(hours).as_str()), "their clocks were off");
    let had_rows = "SELECT count(DISTINCT worker) FROM deskload.rows WHERE state = 1";
    assert_eq!(fleet.database.ask(had_rows), "3");
    fleet.assert_kept();
    fleet.assert_adds_up();
    assert_eq!((fleet.in_state(1), fleet.bench.judge().requests), (900, 900));
}
