//! The system calls for which there is no safe wrapper: fork, signal masks, waiting for signals, peeking at children.
//!
//! Owns all unsafe code of this crate. Each function is one call and allocates nothing. Never decides anything.

use std::{io, mem::MaybeUninit};

use rustix::process::Pid;

/// The signals that a thread holds back.
#[derive(Clone, Copy)]
pub(crate) struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Every signal.
    pub(crate) fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initialises the set that it is given and cannot fail for a valid pointer.
        #[expect(unsafe_code, reason = "no safe wrapper exists")]
        let set = unsafe {
            libc::sigfillset(set.as_mut_ptr());
            set.assume_init()
        };
        Self(set)
    }

    /// One signal.
    pub(crate) fn of(signal: i32) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set; `sigaddset` only changes it, and leaves it alone for a bad number.
        #[expect(unsafe_code, reason = "no safe wrapper exists")]
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            set.assume_init()
        };
        Self(set)
    }

    /// Blocks these signals in the calling thread; gives back what was blocked before.
    pub(crate) fn block(self) -> Self {
        self.change(libc::SIG_BLOCK)
    }

    /// Makes exactly these signals the blocked ones of the calling thread.
    pub(crate) fn restore(self) {
        self.change(libc::SIG_SETMASK);
    }

    fn change(self, how: libc::c_int) -> Self {
        let mut before = Self::of(0);
        // SAFETY: both pointers are to initialised sets that live through the call, and `how` is one of the three known values,
        // so that it cannot fail.
        #[expect(unsafe_code, reason = "no safe wrapper exists")]
        unsafe {
            libc::pthread_sigmask(how, &raw const self.0, &raw mut before.0);
        }
        before
    }

    /// Waits until one of these (blocked) signals is pending, and takes it.
    pub(crate) fn wait(&self) -> io::Result<i32> {
        // SAFETY: the set is initialised; a null pointer says that no details are wanted.
        #[expect(unsafe_code, reason = "no safe wrapper exists")]
        let signal = unsafe { libc::sigwaitinfo(&raw const self.0, std::ptr::null_mut()) };
        if signal < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(signal)
        }
    }
}

/// Lets all threads of this process, and of a child that is forked off, share one heap that shrinks when it can. A heap for
/// each thread keeps what the work of the start needed once. Call it before there is a second thread.
pub(crate) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both calls set a number; with one thread nobody allocates meanwhile. One that is refused changes nothing.
    #[expect(unsafe_code, reason = "no safe wrapper exists")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 * 1024);
    }
}

/// Gives back memory that was freed.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator takes its own locks; what is in use stays where it is.
    #[expect(unsafe_code, reason = "no safe wrapper exists")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back the memory of code that has run once and is not needed any more. What is needed is read in again.
pub(crate) fn forget_code() {
    // SAFETY: the callback has the signature that is asked for, takes no data, and lives as long as the program.
    #[expect(unsafe_code, reason = "no safe wrapper exists")]
    unsafe {
        libc::dl_iterate_phdr(Some(forget_object), std::ptr::null_mut());
    }
}

/// Gives back the read-only segments of one program or library.
#[expect(unsafe_code, reason = "called back from C")]
unsafe extern "C" fn forget_object(
    object: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library hands in a valid object whose headers are an array of that length. A read-only segment is a
    // private mapping of a file that nobody wrote to, so its pages hold what the file holds, and dropping them changes nothing
    // that can be read. The range is within the segment.
    unsafe {
        let Ok(page) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) else {
            return 0;
        };
        let object = &*object;
        for number in 0..object.dlpi_phnum {
            let header = &*object.dlpi_phdr.add(usize::from(number));
            if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
                continue;
            }
            let (Ok(base), Ok(address), Ok(length)) = (
                usize::try_from(object.dlpi_addr),
                usize::try_from(header.p_vaddr),
                usize::try_from(header.p_filesz),
            ) else {
                continue;
            };
            let start = (base + address).next_multiple_of(page);
            let end = (base + address + length) / page * page;
            if let Some(length) = end.checked_sub(start) {
                let start = std::ptr::with_exposed_provenance_mut(start);
                libc::madvise(start, length, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

/// Which process came out of [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fork {
    /// The one that called, with the id of the new one.
    Parent(i32),
    /// The new one.
    Child,
}

/// Makes a second process.
///
/// Must be called while the process has one thread: a lock that another thread holds would stay locked in the child.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller promises that there is one thread, so the child may do whatever the parent may.
    #[expect(unsafe_code, reason = "no safe wrapper exists")]
    let id = unsafe { libc::fork() };
    match id {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent(child)),
    }
}

/// Sends a signal by number; real-time signals have no other name.
pub(crate) fn kill(process: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes two numbers and touches no memory.
    #[expect(
        unsafe_code,
        reason = "the safe wrapper takes no process id of -1 and no unnamed signals"
    )]
    let result = unsafe { libc::kill(process, signal) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Makes ended children wait to be reaped. A parent that ignored SIGCHLD hands that down, and their exit codes would be lost.
pub(crate) fn keep_ended_children() {
    // SAFETY: the default disposition runs no code of ours; the call cannot fail for a signal that exists.
    #[expect(unsafe_code, reason = "no safe wrapper exists")]
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// The process group and the session of this process. `None` where their leaders are in another PID namespace, so that they
/// have no number here (where the safe wrappers panic).
pub(crate) fn own_group_and_session() -> Option<(Pid, Pid)> {
    // SAFETY: both calls take numbers at most, touch no memory, and can't fail for the calling process.
    #[expect(
        unsafe_code,
        reason = "the safe wrappers panic for groups of other namespaces"
    )]
    let (group, session) = unsafe { (libc::getpgrp(), libc::getsid(0)) };
    Some((Pid::from_raw(group)?, Pid::from_raw(session)?))
}

/// What is to be told about a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It has ended and waits to be reaped.
    Ended,
    /// A signal stopped it.
    Stopped,
}

/// Waits until there is news about any child, and leaves the news where it is. `None` when there is no child.
pub(crate) fn peek_child() -> io::Result<Option<(i32, News)>> {
    let mut details = MaybeUninit::<libc::siginfo_t>::zeroed();
    let what = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT;
    // SAFETY: `details` is valid for writing. After success it is initialised by the kernel, and `si_pid` is the field that
    // `waitid` fills; all-zero bytes are a valid `siginfo_t` besides.
    #[expect(unsafe_code, reason = "the safe wrapper does not tell the process id")]
    let (result, process, code) = unsafe {
        let result = libc::waitid(libc::P_ALL, 0, details.as_mut_ptr(), what);
        let details = details.assume_init_ref();
        (result, details.si_pid(), details.si_code)
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    let stopped = code == libc::CLD_STOPPED || code == libc::CLD_TRAPPED;
    Ok(Some((
        process,
        if stopped { News::Stopped } else { News::Ended },
    )))
}
