//! A way to the database that swallows bytes for a time, in one direction or the other, and hands them over in the end.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// Which bytes are held back.
#[derive(Clone, Default)]
pub(super) struct Held {
    /// What the program says.
    pub(super) up: Arc<AtomicBool>,
    /// What the database says.
    pub(super) down: Arc<AtomicBool>,
}

/// A socket in front of the database's own.
pub(super) struct Proxy {
    pub(super) held: Held,
    dir: TempDir,
}

/// Between two looks whether bytes may pass.
const POLL: Duration = Duration::from_millis(5);

impl Proxy {
    pub(super) fn before(socket: PathBuf) -> Self {
        Self::stalling_at(socket, "")
    }

    /// The same; once the program says this, nothing that it says is handed over any more.
    pub(super) fn stalling_at(socket: PathBuf, word: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("deskload-pg-").tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let held = Held::default();
        let holds = held.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let (up, down) = (Arc::clone(&holds.up), Arc::clone(&holds.down));
                pass(client.try_clone().unwrap(), server.try_clone().unwrap(), up, word);
                pass(server, client, down, "");
            }
        });
        Self { held, dir }
    }

    /// What the program said is handed over after all.
    pub(super) fn release(&self) {
        self.held.up.store(false, Ordering::Relaxed);
    }

    /// What `--journal` takes for a worker behind it.
    pub(super) fn url(&self) -> String {
        format!("postgres://deskload_worker@/desk?host={}", self.dir.path().display())
    }
}

/// Hands bytes on, later if they are held back, as they are from this word on, if there is one.
fn pass(mut from: UnixStream, mut to: UnixStream, held: Arc<AtomicBool>, word: &'static str) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if !word.is_empty() && buffer[..count].windows(word.len()).any(|bytes| bytes == word.as_bytes()) {
                held.store(true, Ordering::Relaxed);
            }
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
