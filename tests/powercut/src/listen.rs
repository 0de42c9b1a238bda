//! Listens to the production code, and tells the tape: a file system for SQLite, and this process's own `fsync`.
//!
//! The file system is SQLite's own with a few functions wrapped, and the default in this process, so that the
//! journal's code runs on it unchanged. Nothing that the code sees is changed; only a sync costs nothing, because
//! here the tape says what was durable. The shared memory beside a log is not taped: nothing of it counts after a cut.
//!
//! This is the only file with unsafe code. A file stays on the thread that opened it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, OnceLock};

use deskload::journal::Journal;
use rusqlite::ffi;

use crate::tape::{self, FileId};

type OpenFn = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    *const c_char,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;
type DeleteFn = unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *const c_char, c_int) -> c_int;

/// What the wrapped functions call.
struct Real {
    open: OpenFn,
    delete: DeleteFn,
}

static REAL: OnceLock<Real> = OnceLock::new();

/// SQLite has a few tables of functions for its files, one for each way of locking: each with its wrapped twin.
static TWINS: Mutex<Vec<&'static Twin>> = Mutex::new(Vec::new());

struct Twin {
    real: ffi::sqlite3_io_methods,
    /// Where `real` was copied from.
    real_at: usize,
    wrapped: ffi::sqlite3_io_methods,
}

/// What is known of an open file.
struct Handle {
    twin: &'static Twin,
    /// `None`: nothing is being taped.
    file: Option<FileId>,
    /// Its first sync is one of its folder, too.
    syncs_folder: Cell<bool>,
}

thread_local! {
    static OPEN: RefCell<HashMap<usize, Handle>> = RefCell::default();
    static NEWEST: Cell<*mut ffi::sqlite3> = const { Cell::new(ptr::null_mut()) };
}

/// Makes it the default, once for the process.
pub(crate) fn install() {
    REAL.get_or_init(|| {
        // SAFETY: SQLite gives its default file system, a valid one that is never freed.
        let mut copy = unsafe { *ffi::sqlite3_vfs_find(ptr::null()) };
        let real = Real { open: copy.xOpen.unwrap(), delete: copy.xDelete.unwrap() };
        copy.pNext = ptr::null_mut();
        copy.zName = c"powercut".as_ptr();
        copy.xOpen = Some(open);
        copy.xDelete = Some(delete);
        // SAFETY: what is registered is leaked, so that it is valid for good; the functions have the types asked for.
        let registered = unsafe {
            let extension: unsafe extern "C" fn(_, _, _) -> c_int = note_newest;
            ffi::sqlite3_auto_extension(Some(extension));
            ffi::sqlite3_vfs_register(Box::leak(Box::new(copy)), 1)
        };
        assert_eq!(registered, ffi::SQLITE_OK);
        real
    });
}

/// The control's setting: a commit does not wait for the disk. `_journal` must be the connection that this thread
/// opened last; the journal has no way to be set so, and shall have none.
pub(crate) fn use_normal(_journal: &mut Journal) {
    // SAFETY: the newest connection of this thread is the journal's, which is open and lent to nobody else.
    let set = unsafe {
        let sql = c"PRAGMA synchronous = NORMAL".as_ptr();
        ffi::sqlite3_exec(NEWEST.get(), sql, None, ptr::null_mut(), ptr::null_mut())
    };
    assert_eq!(set, ffi::SQLITE_OK);
}

unsafe extern "C" fn note_newest(
    db: *mut ffi::sqlite3,
    _message: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    NEWEST.set(db);
    ffi::SQLITE_OK
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let real = REAL.get().unwrap();
    // SAFETY: the arguments are SQLite's own, and `vfs` has all that the real one has.
    let code = unsafe { (real.open)(vfs, name, file, flags, flags_out) };
    // A file without a name is a temporary one, and of no interest.
    if code != ffi::SQLITE_OK || name.is_null() {
        return code;
    }
    // As SQLite's own does it: whatever may have been new is looked for in its folder after a power cut.
    let logs = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
    let syncs_folder = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & logs != 0;
    // SAFETY: a file that was opened has its functions; they stay valid, and so do the leaked twins. The name is a
    // C string that lives through this call.
    unsafe {
        let twin = twin_of((*file).pMethods);
        (*file).pMethods = &raw const twin.wrapped;
        let handle =
            Handle { twin, file: tape::opened(path_of(name)), syncs_folder: Cell::new(syncs_folder) };
        OPEN.with_borrow_mut(|open| open.insert(file.addr(), handle));
    }
    code
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, syncs_folder: c_int) -> c_int {
    let real = REAL.get().unwrap();
    // SAFETY: the arguments are SQLite's own.
    let code = unsafe { (real.delete)(vfs, name, syncs_folder) };
    if code == ffi::SQLITE_OK {
        // SAFETY: the name is a C string that lives through this call.
        tape::deleted(unsafe { path_of(name) });
        if syncs_folder != 0 {
            tape::synced_top();
        }
    }
    code
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let handle =
        OPEN.with_borrow_mut(|open| open.remove(&file.addr())).expect("it was opened on this thread");
    // SAFETY: the real function, for the file that it belongs to.
    unsafe { handle.twin.real.xClose.unwrap()(file) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    with(file, |handle| {
        // SAFETY: the real function, for the file that it belongs to, with SQLite's own arguments.
        let code = unsafe { handle.twin.real.xWrite.unwrap()(file, bytes, length, at) };
        if let (ffi::SQLITE_OK, Some(id)) = (code, handle.file) {
            // SAFETY: SQLite lends so many bytes for the time of this call.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length.try_into().unwrap()) };
            tape::wrote(id, at.try_into().unwrap(), bytes);
        }
        code
    })
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, to: ffi::sqlite3_int64) -> c_int {
    with(file, |handle| {
        // SAFETY: the real function, for the file that it belongs to.
        let code = unsafe { handle.twin.real.xTruncate.unwrap()(file, to) };
        if let (ffi::SQLITE_OK, Some(id)) = (code, handle.file) {
            tape::truncated(id, to.try_into().unwrap());
        }
        code
    })
}

/// Only the tape knows of it. The folder is what SQLite's own would have synced.
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    with(file, |handle| {
        if let Some(id) = handle.file {
            tape::synced(id);
            if handle.syncs_folder.replace(false) {
                tape::synced_top();
            }
        }
        ffi::SQLITE_OK
    })
}

fn with(file: *mut ffi::sqlite3_file, act: impl FnOnce(&Handle) -> c_int) -> c_int {
    OPEN.with_borrow(|open| act(open.get(&file.addr()).expect("it was opened on this thread")))
}

/// What `File::sync_all` calls, here instead of the system's library: deskload's own files and folders.
#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    // SAFETY: the caller's descriptor is open for the time of this call, and is not closed here.
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(descriptor) });
    tape::synced_itself(&file.metadata().unwrap());
    0
}

/// # Safety
/// `real` is the table of functions of an open file.
unsafe fn twin_of(real: *const ffi::sqlite3_io_methods) -> &'static Twin {
    let mut twins = TWINS.lock().unwrap();
    if let Some(known) = twins.iter().find(|twin| twin.real_at == real.addr()) {
        return known;
    }
    // SAFETY: as the caller says.
    let copy = unsafe { *real };
    let wrapped = ffi::sqlite3_io_methods {
        // 3 would add mapped pages, past the wrapped functions.
        iVersion: 2,
        xClose: Some(close),
        xWrite: Some(write),
        xTruncate: Some(truncate),
        xSync: Some(sync),
        ..copy
    };
    let twin = Box::leak(Box::new(Twin { real: copy, real_at: real.addr(), wrapped }));
    twins.push(twin);
    twin
}

/// # Safety
/// `name` is a C string that lives as long as what is given back is used.
unsafe fn path_of<'a>(name: *const c_char) -> &'a Path {
    // SAFETY: as the caller says.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()))
}
