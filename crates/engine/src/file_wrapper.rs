//! `wsgi.file_wrapper` (PEP 3333, "Optional Platform-Specific File Handling"): hands a file to the server, which sends it
//! without its passing through Python; anything that is not a plain file is iterated.
#![expect(unsafe_code, reason = "a type that Python code makes instances of and derives from")]

use crate::py::class::{attribute, door, method, slot, value_of};
use crate::py::{Attached, Class, Kept, Kind, Object, Py, Raised, This, raise};
use pyo3_ffi as ffi;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_void};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A wrapped file.
pub struct FileWrapper {
    filelike: Mutex<Option<Kept>>,
    block: AtomicI64,
}

/// The size of the blocks in which a file-like object is iterated.
const BLOCK: i64 = 8192;

impl Class for FileWrapper {
    const NAME: &'static CStr = c"mod_wsgi.FileWrapper";
    const DOC: &'static CStr = c"FileWrapper(filelike, blksize=8192): a response that is a file.";
    const OPEN: bool = true;
    const METHODS: &'static [ffi::PyMethodDef] =
        &[method!(FileWrapper, "close", close, "Closes the file.")];
    const ATTRIBUTES: &'static [ffi::PyGetSetDef] = &[
        attribute!(FileWrapper, "filelike", filelike),
        attribute!(FileWrapper, "blksize", blksize),
    ];

    fn slots() -> Vec<ffi::PyType_Slot> {
        vec![
            slot(ffi::Py_tp_new, make as *mut c_void),
            slot(ffi::Py_tp_init, init as *mut c_void),
            slot(ffi::Py_tp_clear, clear as *mut c_void),
            slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
            slot(ffi::Py_tp_iternext, next as *mut c_void),
        ]
    }

    fn held(&self) -> Option<*mut ffi::PyObject> {
        // SAFETY: the collector of cycles runs attached.
        let attached = unsafe { Attached::assume() };
        self.lock().as_ref().map(|kept| kept.get(&attached).as_ptr())
    }
}

impl Drop for FileWrapper {
    fn drop(&mut self) {
        // SAFETY: only Python drops instances, attached.
        let attached = unsafe { Attached::assume() };
        if let Some(kept) = self.filelike.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let_go(&attached, kept);
        }
    }
}

/// Lets go of what a wrapper held. Wrappers may wrap wrappers to any depth, and each that ends lets go of the next one
/// from inside: the deeper ones are put aside for the outermost to end, as the stack is not that deep.
fn let_go(attached: &Attached, kept: Kept) {
    const DEEPEST: u32 = 50;
    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static ASIDE: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
    }
    let depth = DEPTH.get();
    if depth >= DEEPEST {
        return ASIDE.with_borrow_mut(|aside| aside.push(kept));
    }
    DEPTH.set(depth + 1);
    drop(kept.release(attached));
    if depth == 0 {
        while let Some(kept) = ASIDE.with_borrow_mut(Vec::pop) {
            drop(kept.release(attached));
        }
    }
    DEPTH.set(depth);
}

impl FileWrapper {
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.filelike.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wrapped object; ValueError when it has been closed.
    fn open<'a>(&self, attached: &'a Attached) -> Py<Object<'a>> {
        // Raising may collect cycles, which locks this too (`held`), so it is done after the lock is given back.
        let filelike = self.lock().as_ref().map(|kept| kept.get(attached).clone());
        filelike
            .ok_or_else(|| raise(attached, Kind::Value, "the file of this FileWrapper is closed"))
    }

    /// Whether iterating the wrapper brings what its file holds. A class derived from it may iterate in its own way.
    pub fn is_iterated_by_us(wrapper: &Object<'_>) -> bool {
        // SAFETY: a live object has a type that is ready.
        let class = unsafe { &*ffi::Py_TYPE(wrapper.as_ptr()) };
        class
            .tp_iter
            .is_some_and(|iter| iter as usize == ffi::PyObject_SelfIter as *const () as usize)
            && class.tp_iternext.is_some_and(|step| step as usize == next as *const () as usize)
    }

    /// The descriptor and the position of the wrapped object, if it is a regular file that knows both. Whatever it
    /// raises only means that it is iterated instead.
    pub fn regular_file(&self, attached: &Attached, names: &crate::state::Names) -> Option<File> {
        fn quiet<T>(found: Py<T>) -> Option<T> {
            found.map_err(Raised::forget).ok()
        }
        let number = |object: Object<'_>| object.is_int().then(|| object.as_i64()).and_then(quiet);
        let filelike = quiet(self.open(attached))?;
        let method = |name: &Kept| {
            let bound = quiet(filelike.attr(name.get(attached)))?;
            number(quiet(bound.call([]))?)
        };
        let descriptor = c_int::try_from(method(&names.fileno)?).ok().filter(|&fd| fd >= 0)?;
        let size = regular_size(descriptor)?;
        let position = u64::try_from(method(&names.tell)?).ok()?;
        Some(File { descriptor, position, size })
    }
}

/// A regular file that a [`FileWrapper`] wraps.
pub struct File {
    descriptor: c_int,
    /// Where the file-like object stands.
    pub position: u64,
    /// How large the file is.
    pub size: u64,
}

impl File {
    /// Borrows the descriptor while `body` runs.
    pub fn with_descriptor<R>(&self, body: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
        // SAFETY: the file-like object is held by the response, and open: it has just told the number. An application
        // that closes it from another thread gets an error from the system, not undefined behaviour.
        body(unsafe { BorrowedFd::borrow_raw(self.descriptor) })
    }
}

/// The size of a regular file with a position.
fn regular_size(descriptor: c_int) -> Option<u64> {
    let mut facts = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `facts` is large enough, and any number may be asked about.
    if unsafe { libc::fstat(descriptor, facts.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: filled in by `fstat`.
    let facts = unsafe { facts.assume_init() };
    if facts.st_mode & libc::S_IFMT != libc::S_IFREG {
        return None;
    }
    u64::try_from(facts.st_size).ok()
}

/// A wrapper of nothing yet: `init` says of what, which a derived class may do in its own way.
unsafe extern "C" fn make(
    class: *mut ffi::PyTypeObject,
    _arguments: *mut ffi::PyObject,
    _keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    door(std::ptr::null_mut(), |attached| {
        let wrapper = FileWrapper { filelike: Mutex::new(None), block: AtomicI64::new(BLOCK) };
        let class = class.cast::<ffi::PyObject>();
        // SAFETY: Python passes the type or one derived from it; it is alive during the call.
        let made = unsafe {
            crate::py::class::instance(attached, Object::peek(attached, &class), wrapper)
        };
        made.map(Object::into_ptr)
    })
}

unsafe extern "C" fn init(
    object: *mut ffi::PyObject,
    arguments: *mut ffi::PyObject,
    keywords: *mut ffi::PyObject,
) -> c_int {
    const FORMAT: &CStr = c"O|L:FileWrapper";
    let mut names: [*const std::ffi::c_char; 3] =
        [c"filelike".as_ptr(), c"blksize".as_ptr(), std::ptr::null()];
    door(-1, |attached| {
        let (mut filelike, mut block) = (std::ptr::null_mut::<ffi::PyObject>(), BLOCK);
        // SAFETY: Python passes a tuple and a dict or null; the format names an object and a long long.
        let parsed = unsafe {
            ffi::PyArg_ParseTupleAndKeywords(
                arguments,
                keywords,
                FORMAT.as_ptr(),
                names.as_mut_ptr().cast(),
                &raw mut filelike,
                &raw mut block,
            )
        };
        Raised::when(parsed == 0)?;
        if block < 0 {
            return Err(raise(attached, Kind::Value, "blksize must not be negative"));
        }
        // SAFETY: parsed: a borrowed reference. `object` is a live instance of the type.
        let (filelike, wrapper) =
            unsafe { (Object::from_borrowed(attached, filelike), value_of::<FileWrapper>(object)) };
        wrapper.block.store(block, Ordering::Relaxed);
        let before = wrapper.lock().replace(Kept::new(filelike));
        drop(before.map(|kept| kept.release(attached)));
        Ok(0)
    })
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    door(-1, |attached| {
        // SAFETY: Python calls the slot of the type with a live instance of it.
        let wrapper = unsafe { value_of::<FileWrapper>(object) };
        let kept = wrapper.lock().take();
        if let Some(kept) = kept {
            drop(kept.release(attached));
        }
        Ok(0)
    })
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    door(std::ptr::null_mut(), |attached| {
        // SAFETY: Python calls the slot of the type with a live instance of it.
        let wrapper = unsafe { value_of::<FileWrapper>(object) };
        let block = attached.int(wrapper.block.load(Ordering::Relaxed))?;
        let data = wrapper.open(attached)?.call_method(c"read", [&block])?;
        match data.bytes() {
            // A null pointer without an exception ends an iteration.
            Some([]) => Ok(std::ptr::null_mut()),
            Some(_) => Ok(data.into_ptr()),
            None => {
                let message =
                    format!("read() of the file must return bytes, not {}", data.type_name());
                Err(raise(attached, Kind::Type, &message))
            }
        }
    })
}

fn close<'a>(
    attached: &'a Attached,
    wrapper: This<'a, FileWrapper>,
    _: &'a [Object<'a>],
) -> Py<Object<'a>> {
    let kept = wrapper.lock().take();
    if let Some(kept) = kept {
        let filelike = kept.release(attached);
        let closed = filelike.get(c"close").and_then(|close| close.call([]));
        if let Err(raised) = closed {
            raised.forget();
        }
    }
    Ok(attached.none())
}

fn filelike<'a>(
    attached: &'a Attached,
    wrapper: This<'a, FileWrapper>,
    _: &'a [Object<'a>],
) -> Py<Object<'a>> {
    wrapper.open(attached)
}

fn blksize<'a>(
    attached: &'a Attached,
    wrapper: This<'a, FileWrapper>,
    _: &'a [Object<'a>],
) -> Py<Object<'a>> {
    attached.int(wrapper.block.load(Ordering::Relaxed))
}
