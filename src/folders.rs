//! Folders that are their owner's alone, and names that a power cut does not take away.
//!
//! A file is on disk once it was synced, and can be found again once its folder was. Nothing here touches a
//! folder that is there already, but to sync it.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::error::Error;

/// Makes a folder, and those above it that are missing, for their owner alone; their names are on disk then.
pub(crate) fn make(folder: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err())
        .collect();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Error::file("make the folder", folder, &error))?;
    missing.iter().rev().try_for_each(|made| sync(parent(made)))
}

/// Refuses a place in which a folder cannot be made, because a file is in the way or this user may not write there;
/// `flag` names another one. Makes nothing.
pub(crate) fn require_place(folder: &Path, flag: &str) -> Result<(), Error> {
    let wrong = |at: &Path, why: &str| {
        let (folder, at) = (folder.display(), at.display());
        Error::Usage(format!(
            "the folder {folder} cannot be used: {at} {why}; name another place with {flag}"
        ))
    };
    for at in folder.ancestors() {
        let at = if at.as_os_str().is_empty() { Path::new(".") } else { at };
        match fs::metadata(at) {
            Ok(found) if !found.is_dir() => return Err(wrong(at, "is no folder")),
            Ok(_) => {
                return match rustix::fs::access(at, Access::WRITE_OK | Access::EXEC_OK) {
                    Err(Errno::ACCESS) => Err(wrong(at, "cannot be written by this user")),
                    // What else may be wrong with a disk is told by whoever writes to it.
                    _ => Ok(()),
                };
            }
            // Not there, below a file, or where this user may not look: what is above it says more.
            Err(_) => {}
        }
    }
    Ok(())
}

/// What was put into the folder, renamed in it or taken out of it is so on disk.
pub(crate) fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::file("write the folder", folder, &error))
}

/// The folder that a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn missing_folders_are_private_and_those_that_are_there_are_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(base.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs::create_dir(base.path().join("old")).unwrap();
        let old = mode("old");
        make(&base.path().join("old/new/newest")).unwrap();
        assert_eq!([mode("old"), mode("old/new"), mode("old/new/newest")], [old, 0o700, 0o700]);
        make(&base.path().join("old/new")).unwrap();
        assert_eq!(parent(Path::new("journal")), Path::new("."));
    }
}
