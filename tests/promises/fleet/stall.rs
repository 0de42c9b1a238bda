//! A way to the database that swallows bytes for a time, in one direction or the other, and hands them over in the end.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::Fleet;
use crate::support::{Bench, until};

/// Which bytes are held back.
#[derive(Clone, Default)]
struct Held {
    /// What the program says.
    up: Arc<AtomicBool>,
    /// What the database says.
    down: Arc<AtomicBool>,
}

/// A socket in front of the database's own.
struct Proxy {
    held: Held,
    dir: TempDir,
}

/// Between two looks whether bytes may pass.
const POLL: Duration = Duration::from_millis(5);

impl Proxy {
    fn before(socket: PathBuf) -> Self {
        let dir = tempfile::Builder::new().prefix("deskload-pg-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let held = Held::default();
        let holds = held.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let (up, down) = (Arc::clone(&holds.up), Arc::clone(&holds.down));
                pass(client.try_clone().unwrap(), server.try_clone().unwrap(), up);
                pass(server, client, down);
            }
        });
        Self { held, dir }
    }

    fn folder(&self) -> &Path {
        self.dir.path()
    }
}

/// Hands bytes on, later if they are held back.
fn pass(mut from: UnixStream, mut to: UnixStream, held: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while held.load(Ordering::Relaxed) {
                std::thread::sleep(POLL);
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

#[test]
fn a_way_to_the_database_that_stalls_repeats_nothing_even_when_its_bytes_come_late() {
    let Some(fleet) = Fleet::new(Bench::new().set("DESKLOAD_RATE", "60/s")) else { return };
    let proxy = Proxy::before(fleet.database.socket_path());
    let behind = format!("postgres://deskload_worker@/desk?host={}", proxy.folder().display());
    fleet.bench.rows((1..=3_600).map(|row| 1 + row % 900));
    let stalled = fleet.bench.start(&["run", "rows.csv", "--yes", "--journal", &behind]);
    until("rows to go", || fleet.bench.desk().requests > 30);
    let other = fleet.bench.start(&["work"]);
    for held in [&proxy.held.up, &proxy.held.down] {
        until("both to have their share", || fleet.units_of(&stalled) > 0 && fleet.units_of(&other) > 0);
        held.store(true, Ordering::Relaxed);
        until("its units to be taken over", || fleet.units_of(&stalled) == 0);
        // What was held back arrives now, long after it was given up.
        held.store(false, Ordering::Relaxed);
    }
    let done = stalled.finish();
    assert!(matches!(done.code, Some(0 | 3)), "{done:?}");
    other.signal(Signal::TERM);
    other.finish();
    fleet.assert_kept();
    fleet.assert_adds_up();
    assert_eq!(fleet.in_state(0), 0);
}
