//! A warning where the journal lies on a file system of the network.
//!
//! There locks may be a promise of one machine alone, and an fsync that of a server; the promise rests on both. It is a
//! warning and no refusal, because some such servers keep both. What cannot be asked is not warned about.

use std::path::Path;

use crate::folders;
use crate::voice;

/// File systems by the number that statfs(2) gives them, as `linux/magic.h` and the systems' own sources have it.
const NETWORKS: [(u32, &str); 16] = [
    (0x0000_6969, "NFS"),
    (0x0000_517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE, as sshfs and rclone are"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0000_564C, "NCP"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7461_636F, "OCFS2"),
    (0x786F_4256, "a shared folder of VirtualBox"),
];

/// Warns of a journal, or of an account's lock, that is not on a disk of this machine.
pub(crate) fn warn(journal: &Path, state_folder: &Path) {
    for (what, folder) in [("the journal", folders::parent(journal)), ("the account's lock", state_folder)] {
        if let Some(system) = magic(folder).and_then(named) {
            voice::complain(&warning(what, folder, system));
        }
    }
}

fn warning(what: &str, folder: &Path, system: &str) -> String {
    format!(
        "{what} is in {}, on a network file system ({system}): where it does not keep locks and fsync to the letter, an \
         update may be sent twice after a crash; keep it on a disk of this machine (--journal, XDG_STATE_HOME)",
        folder.display()
    )
}

/// What such a file system is called; `None` if it is not one of the network.
fn named(magic: u32) -> Option<&'static str> {
    NETWORKS.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The number of the file system that holds a folder.
#[cfg(target_os = "linux")]
fn magic(folder: &Path) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the kernel's numbers have 32 bits; the field is wider on some machines, and signed on others"
    )]
    rustix::fs::statfs(folder).ok().map(|of| of.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
const fn magic(_folder: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f63_network_file_systems_are_known_by_their_numbers() {
        let is = |magic, name| assert_eq!(named(magic), Some(name), "{magic:#x}");
        is(0x6969, "NFS");
        is(0xFF53_4D42, "CIFS");
        is(0xFE53_4D42, "SMB");
        is(0x517B, "SMB");
        is(0x0102_1997, "9p");
        assert!(named(0x6573_5546).unwrap().contains("sshfs"));
        // ext, xfs, btrfs, tmpfs, overlayfs, zfs, f2fs, none at all
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010, 0]
        {
            assert_eq!(named(local), None, "{local:#x}");
        }
    }

    #[test]
    fn f63_the_warning_names_the_place_the_system_and_the_way_on() {
        let text = warning("the journal", Path::new("/mnt/share"), "NFS");
        for word in ["/mnt/share", "NFS", "network file system", "--journal"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn f63_the_number_is_the_one_that_the_kernel_gives() {
        assert_eq!(magic(Path::new("/proc")), Some(0x9FA0));
        assert_eq!(magic(Path::new("/proc/nowhere")), None);
    }
}
