//! A small disk of one's own: a tmpfs in a name space of its own, which needs no rights that a person has not.
//!
//! A process keeps the name space, and with it goes the disk. The program under test is started inside; the test gets
//! to the disk through `/proc/PID/root`. Some machines forbid this; the reader is told so, as for a program that is
//! not there.

use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::tools::{not_run, tool};

/// Mounts the disk in the current folder, says `ready`, then does what it is told, a line at a time.
const KEEPER: &str = "mount -t tmpfs -o size=$0,mode=700 tmpfs . && cd . && echo ready && while read -r line; do $line; echo done $?; done";

/// A disk of so many bytes. It goes with this.
pub(crate) struct SmallDisk {
    keeper: Child,
    orders: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
    /// Where it is mounted, for those inside.
    mounted: PathBuf,
}

impl SmallDisk {
    /// `None`: the reader was told that the test was not run. `folder` is only the place where it is mounted.
    pub(crate) fn mount(folder: &Path, bytes: u64) -> Option<Self> {
        let unshare = tool("unshare")?;
        std::fs::create_dir_all(folder).unwrap();
        let mut keeper = Command::new(unshare)
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", KEEPER, &bytes.to_string()])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = keeper.stdin.take().unwrap();
        let mut answers = BufReader::new(keeper.stdout.take().unwrap());
        let mut ready = String::new();
        answers.read_line(&mut ready).unwrap();
        if ready.trim() != "ready" {
            let _ = keeper.wait();
            not_run("unshare", "may not mount on this machine");
            return None;
        }
        Some(Self { keeper, orders, answers, mounted: folder.to_owned() })
    }

    /// Where it is mounted, for those inside.
    pub(crate) fn mounted(&self) -> &Path {
        &self.mounted
    }

    /// The same for those outside.
    pub(crate) fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.mounted.strip_prefix("/").unwrap())
    }

    /// The command that starts another one inside, in this folder.
    pub(crate) fn inside(&self, folder: &Path) -> Vec<String> {
        let target = self.keeper.id().to_string();
        let enter = ["nsenter", "--target", &target, "--user", "--mount", "--preserve-credentials"];
        let words =
            enter.into_iter().chain(["sh", "-c", "cd \"$0\" && exec \"$@\"", folder.to_str().unwrap()]);
        words.map(str::to_owned).collect()
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.seen().join("filling")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            loop {
                match file.write(&vec![7; size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Gives the room back.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.seen().join("filling")).unwrap();
    }

    /// Mounts it anew with these options; nobody may be writing.
    pub(crate) fn remount(&mut self, options: &str) {
        writeln!(self.orders, "mount -o remount,{options} {}", self.mounted.display()).unwrap();
        let mut done = String::new();
        self.answers.read_line(&mut done).unwrap();
        assert_eq!(done.trim(), "done 0");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
