//! nginx in front of the desk: its own folder, its own authority, and its access log, the second judge.
//!
//! It runs as whoever runs the test, on a free port of 127.0.0.1, and its master and workers end with the value.
//! Nothing of the system's own nginx is read or written.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use deskload::sandbox::PATH;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::support::{Bench, must_run, tool, until};

/// Extra lines of the configuration; each test has its own.
#[derive(Clone, Copy, Default)]
pub(super) struct Lines {
    /// For `http`: zones and maps.
    pub(super) http: &'static str,
    /// For the location that leads to the desk.
    pub(super) location: &'static str,
}

/// An nginx at work, or stopped for a while.
pub(super) struct Front {
    program: PathBuf,
    master: Option<Child>,
    port: u16,
    dir: TempDir,
}

/// A request as nginx saw it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Access {
    /// When its answer was sent, in UNIX seconds.
    pub(super) at: f64,
    /// What it answered; 499 where the client left before that.
    pub(super) status: u16,
    /// What the desk answered; blank if it was not asked.
    pub(super) upstream: String,
    /// The number in the subject `row N`; blank if nginx answered without reading the body.
    pub(super) row: String,
    /// How many requests its connection has had, this one among them.
    pub(super) on_connection: u32,
}

impl Front {
    /// Starts nginx in front of the bench's desk; `None`, with a word to the reader, where it is not installed.
    pub(super) fn start(bench: &Bench, lines: Lines) -> Option<Self> {
        let (program, openssl) = (tool("nginx")?, tool("openssl")?);
        let dir = tempfile::Builder::new().prefix("deskload-nginx-").tempdir().unwrap();
        certify(&openssl, dir.path());
        let port = free_port();
        fs::write(dir.path().join("nginx.conf"), configuration(bench, port, lines)).unwrap();
        let mut front = Self { program, master: None, port, dir };
        front.open();
        Some(front)
    }

    /// The desk's address, as clients know it.
    pub(super) fn url(&self) -> String {
        format!("https://127.0.0.1:{}{PATH}", self.port)
    }

    /// The authority to trust, for `--ca-file`.
    pub(super) fn authority(&self) -> String {
        self.dir.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// Starts it, or starts it again at the same port.
    pub(super) fn open(&mut self) {
        let folder = self.dir.path();
        let args = ["-p", ".", "-e", "error.log", "-c", "nginx.conf"];
        let mut nginx = Command::new(&self.program);
        let nginx = nginx.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let master = self.master.insert(nginx.stderr(Stdio::null()).spawn().unwrap());
        until("nginx to listen", || {
            let ended = master.try_wait().unwrap();
            let said = || fs::read_to_string(folder.join("error.log")).unwrap_or_default();
            assert!(ended.is_none(), "nginx ended: {}", said());
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }

    /// `nginx -s reload`: new workers take over, old ones finish what they have.
    pub(super) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops it at once, connections and all.
    pub(super) fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Lets it finish, and gives what it saw.
    pub(super) fn finish(&mut self) -> Vec<Access> {
        self.end(Signal::QUIT);
        self.seen()
    }

    /// What it saw so far.
    pub(super) fn seen(&self) -> Vec<Access> {
        let log = fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default();
        // The last line may be on its way.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
    }

    fn signal(&self, signal: Signal) {
        if let Some(master) = &self.master {
            // It may have ended by itself, which whoever waits for it finds out.
            let _ = kill_process(Pid::from_raw(master.id().try_into().unwrap()).unwrap(), signal);
        }
    }

    fn end(&mut self, signal: Signal) {
        self.signal(signal);
        if let Some(mut master) = self.master.take() {
            until("nginx to end", || master.try_wait().unwrap().is_some());
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Not by SIGKILL: the workers would stay behind.
        self.end(Signal::TERM);
    }
}

/// An authority for this test alone, and a certificate of it for 127.0.0.1.
fn certify(openssl: &Path, folder: &Path) {
    let key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let with_key = |more: &[&'static str]| [&key[..], more].concat();
    let authority = ["-subj", "/CN=deskload test authority", "-keyout", "ca.key", "-out", "ca.pem"];
    must_run(openssl, &with_key(&authority), folder);
    let desk = [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "desk.key", "-out", "desk.pem"];
    must_run(openssl, &with_key(&[&desk[..], &signed].concat()), folder);
}

/// Below the ports that the system gives out by itself, so that it stays free while nginx is away.
fn free_port() -> u16 {
    let start = std::process::id() % 10_000;
    let mut port = 0;
    until("a free port", || {
        port = u16::try_from(10_000 + (start + fastrand::u32(..)) % 10_000).unwrap();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    port
}

/// Keep-alive towards both sides, as people set it up; short, so that connections end while requests go out.
fn configuration(bench: &Bench, port: u16, lines: Lines) -> String {
    let desk = bench.url().trim_start_matches("http://").trim_end_matches(PATH);
    // Workers of a master that is root are somebody else, who may not enter a temporary folder.
    let user = if geteuid().is_root() { "user root;" } else { "" };
    let Lines { http, location } = lines;
    format!(
        r#"
{user}
daemon off;
worker_processes 2;
pid nginx.pid;
events {{ worker_connections 256; }}
http {{
    client_body_temp_path tmp-body;
    proxy_temp_path tmp-proxy;
    fastcgi_temp_path tmp-fastcgi;
    scgi_temp_path tmp-scgi;
    uwsgi_temp_path tmp-uwsgi;

    # The row alone: the body holds the token.
    map $request_body $row {{ default ""; "~\"subject\":\"row (?<number>[0-9]+)\"" $number; }}
    log_format judge escape=json '{{"at":$msec,"status":$status,"upstream":"$upstream_status","row":"$row","on_connection":$connection_requests}}';
    access_log access.log judge;

    keepalive_timeout 1s;
    keepalive_requests 25;
    upstream desk {{ server {desk}; keepalive 8; }}
    {http}
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate desk.pem;
        ssl_certificate_key desk.key;
        proxy_read_timeout 1s;
        location / {{
            proxy_pass http://desk;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            client_max_body_size 16k;
            client_body_buffer_size 16k;
            {location}
        }}
    }}
}}
"#
    )
}
