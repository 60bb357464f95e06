//! SQLite's own file layer, with every write, sync, truncation and deletion written down.
//!
//! It becomes the process's default layer, so that the product is watched as it is. Files keep
//! the system's methods but for the four that matter, which note what they do and pass it on.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{self, sqlite3, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

/// What was done to a file of the watched folder; files are named without the folder.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        file: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        size: u64,
    },
    Sync {
        file: String,
    },
    Delete {
        file: String,
    },
    SyncFolder,
    /// Not the file layer's: everything up to here was reported durable.
    Durable(u64),
}

#[derive(Default)]
struct Watch {
    folder: Option<String>,
    ops: Vec<Op>,
    /// Open files: the system's methods for them, and their name where they are watched.
    files: HashMap<usize, (usize, Option<String>)>,
    /// The methods we made of the system's.
    made: HashMap<usize, usize>,
    /// Database handles, in the order they were opened.
    handles: Vec<usize>,
}

static WATCH: Mutex<Option<Watch>> = Mutex::new(None);
static ONCE: Once = Once::new();

fn watch() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(act: impl FnOnce(&mut Watch) -> T) -> T {
    act(watch().get_or_insert_default())
}

/// Starts writing down what is done to files in this folder.
pub fn begin(folder: &std::path::Path) {
    install();
    with(|w| {
        w.folder = Some(folder.display().to_string());
        w.ops.clear();
        w.handles.clear();
    });
}

/// Notes that everything up to `n` was reported durable.
pub fn durable(n: u64) {
    with(|w| w.ops.push(Op::Durable(n)));
}

/// What was written down; nothing more is.
pub fn end() -> Vec<Op> {
    with(|w| {
        w.folder = None;
        std::mem::take(&mut w.ops)
    })
}

/// Gives the newest database handle an order of the test's own.
pub fn order(sql: &CStr) {
    let handle = with(|w| w.handles.last().copied()).unwrap() as *mut sqlite3;
    // SAFETY: the handle is open (the test holds its owner), and nobody else uses it meanwhile.
    let code = unsafe {
        let none = std::ptr::null_mut();
        ffi::sqlite3_exec(handle, sql.as_ptr(), None, std::ptr::null_mut(), none)
    };
    assert_eq!(code, ffi::SQLITE_OK);
}

fn install() {
    // SAFETY: the system's layer lives as long as the process, and so does our copy of it.
    ONCE.call_once(|| unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut ours = *system;
        ours.zName = c"watched".as_ptr();
        ours.pAppData = system.cast();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        let ours = Box::leak(Box::new(ours));
        // The system's own functions look into its own `pAppData`.
        assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
        // A folder is opened for nothing but to be synced.
        let name = c"openDirectory".as_ptr();
        let real = (*system).xGetSystemCall.and_then(|f| f(system, name)).unwrap();
        FOLDER.store(real as usize, Ordering::SeqCst);
        let ours = std::mem::transmute::<OpenFolder, unsafe extern "C" fn()>(open_folder);
        (*system).xSetSystemCall.unwrap()(system, name, Some(ours));
        assert_eq!(ffi::sqlite3_auto_extension(Some(opened)), ffi::SQLITE_OK);
    });
}

type OpenFolder = unsafe extern "C" fn(*const c_char, *mut c_int) -> c_int;

/// The system layer's own function for it.
static FOLDER: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn open_folder(path: *const c_char, fd: *mut c_int) -> c_int {
    with(|w| {
        if watched(w, path).is_some() {
            w.ops.push(Op::SyncFolder);
        }
    });
    // SAFETY: it is what the layer gave under this name.
    unsafe {
        let real = FOLDER.load(Ordering::SeqCst);
        std::mem::transmute::<usize, OpenFolder>(real)(path, fd)
    }
}

unsafe extern "C" fn opened(
    db: *mut sqlite3,
    _error: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    with(|w| w.handles.push(db as usize));
    ffi::SQLITE_OK
}

fn watched(w: &Watch, path: *const c_char) -> Option<String> {
    if path.is_null() {
        return None;
    }
    // SAFETY: SQLite hands over a string that ends.
    let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    let name = path.strip_prefix(w.folder.as_deref()?)?.strip_prefix('/')?;
    Some(name.to_owned())
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: the system's layer opens into the memory that was made for it.
    unsafe {
        let system = (*vfs).pAppData.cast::<sqlite3_vfs>();
        let code = (*system).xOpen.map_or(ffi::SQLITE_ERROR, |f| f(system, path, file, flags, out));
        if code == ffi::SQLITE_OK && !(*file).pMethods.is_null() {
            let methods = (*file).pMethods as usize;
            (*file).pMethods = with(|w| {
                let name = watched(w, path);
                w.files.insert(file as usize, (methods, name));
                *w.made.entry(methods).or_insert_with(|| {
                    let mut made = *(methods as *const sqlite3_io_methods);
                    made.xWrite = Some(write);
                    made.xTruncate = Some(truncate);
                    made.xSync = Some(sync);
                    made.xClose = Some(close);
                    Box::leak(Box::new(made)) as *const sqlite3_io_methods as usize
                }) as *const sqlite3_io_methods
            });
        }
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, path: *const c_char, synced: c_int) -> c_int {
    with(|w| {
        if let Some(file) = watched(w, path) {
            w.ops.push(Op::Delete { file });
        }
    });
    // SAFETY: handed on as it came.
    unsafe {
        let system = (*vfs).pAppData.cast::<sqlite3_vfs>();
        (*system).xDelete.map_or(ffi::SQLITE_ERROR, |f| f(system, path, synced))
    }
}

/// The system's methods of an open file; what `note` makes of its name is written down.
fn system(file: *mut sqlite3_file, note: impl FnOnce(String) -> Op) -> sqlite3_io_methods {
    with(|w| {
        let (methods, name) = w.files.get(&(file as usize)).cloned().unwrap();
        if let (Some(name), true) = (name, w.folder.is_some()) {
            w.ops.push(note(name));
        }
        // SAFETY: the system's tables live as long as the process.
        unsafe { *(methods as *const sqlite3_io_methods) }
    })
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    amount: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over that many bytes; the call is handed on as it came.
    unsafe {
        let copy = std::slice::from_raw_parts(bytes.cast::<u8>(), amount as usize).to_vec();
        let methods = system(file, |file| Op::Write { file, at: at as u64, bytes: copy });
        methods.xWrite.map_or(ffi::SQLITE_ERROR, |f| f(file, bytes, amount, at))
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    let methods = system(file, |file| Op::Truncate { file, size: size as u64 });
    // SAFETY: handed on as it came.
    unsafe { methods.xTruncate.map_or(ffi::SQLITE_ERROR, |f| f(file, size)) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    let methods = system(file, |file| Op::Sync { file });
    // SAFETY: handed on as it came.
    unsafe { methods.xSync.map_or(ffi::SQLITE_ERROR, |f| f(file, flags)) }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let entry = with(|w| w.files.remove(&(file as usize)));
    let Some((methods, _)) = entry else { return ffi::SQLITE_OK };
    // SAFETY: the system's tables live as long as the process; the call is handed on.
    unsafe { (*(methods as *const sqlite3_io_methods)).xClose.map_or(ffi::SQLITE_OK, |f| f(file)) }
}
