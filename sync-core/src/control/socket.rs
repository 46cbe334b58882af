//! The socket's place: permissions, stale sockets, paths that are too long.
//!
//! Owns `control.sock`, `control.path` and `control.lock` in the state directory, and private directories elsewhere.

use std::{
    env, fs, io,
    os::{
        fd::AsFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, Mode, fchmod, flock},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// The socket, in the state directory.
const SOCKET: &str = "control.sock";
/// A socket that is not listening yet.
const UNFINISHED: &str = "control.new";
/// Holds the path of a socket that is elsewhere.
const POINTER: &str = "control.path";
/// Locked while a socket is put in place.
const LOCK: &str = "control.lock";
/// How names of private directories begin.
const PRIVATE: &str = "hiclaw-sync-";
/// `sun_path` has 108 bytes, the last of which is NUL.
const PATH_LIMIT_BYTES: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// Why the control socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another engine listens there.
    #[error("another engine answers on the control socket {}", path.display())]
    InUse {
        /// Its socket.
        path: PathBuf,
    },
    /// Something else has the socket's name.
    #[error("{} is in the way of the control socket and is no socket", path.display())]
    NotSocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// No directory has a path short enough for a socket.
    #[error(
        "the path of the control socket is too long, and no directory with a shorter one can be used"
    )]
    TooLong,
    /// The system refused.
    #[error("can't {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BindError {
    let path = path.to_owned();
    move |source| BindError::Io {
        operation,
        path,
        source,
    }
}

/// A socket in its place. Dropping it takes it away, if it is still the same.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    identity: (u64, u64),
    /// The file that points to the socket, and the private directory it is in.
    elsewhere: Option<(PathBuf, PathBuf)>,
}

impl Claim {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            remove(&self.path);
            if let Some((pointer, directory)) = &self.elsewhere {
                remove(pointer);
                remove_directory(directory);
            }
        }
    }
}

/// Directories for sockets whose own path is too long.
pub(super) fn runtime_directories() -> Vec<PathBuf> {
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    own.into_iter()
        .filter(|path| path.is_absolute())
        .chain([env::temp_dir(), PathBuf::from("/tmp")])
        .collect()
}

/// Puts a listening socket in place.
pub(super) fn bind(
    state_directory: &Path,
    runtime_directories: &[PathBuf],
) -> Result<(UnixListener, Claim), BindError> {
    let directory =
        std::path::absolute(state_directory).map_err(failed("find", state_directory))?;
    let _lock = lock(&directory)?;
    let socket = directory.join(SOCKET);
    match fs::symlink_metadata(&socket) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotSocket { path: socket });
        }
        Ok(_) | Err(_) => {}
    }
    for path in candidates(&directory) {
        if answers(&path) {
            return Err(BindError::InUse { path });
        }
    }
    sweep(&directory);
    let unfinished = directory.join(UNFINISHED);
    if fits(&socket) && fits(&unfinished) {
        let listener = listen(&unfinished)?;
        // Only now can it be found: nobody ever sees a socket that doesn't answer.
        fs::rename(&unfinished, &socket).map_err(failed("put in place", &socket))?;
        let claim = claim(socket, None)?;
        return Ok((listener, claim));
    }
    bind_elsewhere(&directory, runtime_directories)
}

fn bind_elsewhere(
    directory: &Path,
    runtime_directories: &[PathBuf],
) -> Result<(UnixListener, Claim), BindError> {
    let mut last = BindError::TooLong;
    for runtime in runtime_directories {
        let private = runtime.join(format!("{PRIVATE}{:016x}", fastrand::u64(..)));
        let socket = private.join(SOCKET);
        if !fits(&socket) {
            continue;
        }
        if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&private) {
            last = failed("create", &private)(error);
            continue;
        }
        let listener = listen(&socket)?;
        let pointer = directory.join(POINTER);
        let claim = claim(socket, Some((pointer.clone(), private)))?;
        write_pointer(directory, &pointer, claim.path())?;
        return Ok((listener, claim));
    }
    Err(last)
}

/// A socket that listens at `path` and is its owner's alone from the moment it is there.
fn listen(path: &Path) -> Result<UnixListener, BindError> {
    let open = || {
        let socket = UnixSocket::new_stream()?;
        // Linux makes the file with the mode of the socket, so that there is no moment of a wider one.
        fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
        socket.bind(path)?;
        socket.listen(BACKLOG)
    };
    open().map_err(failed("listen on", path))
}

fn claim(path: PathBuf, elsewhere: Option<(PathBuf, PathBuf)>) -> Result<Claim, BindError> {
    let identity = identity(&path).map_err(failed("find", &path))?;
    Ok(Claim {
        path,
        identity,
        elsewhere,
    })
}

/// Keeps others from putting a socket in place at the same time.
fn lock(directory: &Path) -> Result<fs::File, BindError> {
    let path = directory.join(LOCK);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(failed("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BindError::InUse {
            path: directory.join(SOCKET),
        }),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

/// Takes away what dead engines left. Only sockets that nobody answers on come here.
fn sweep(directory: &Path) {
    let pointer = directory.join(POINTER);
    if let Some(socket) = read_pointer(&pointer) {
        remove(&socket);
        if let Some(private) = socket.parent().filter(|private| is_private(private)) {
            remove_directory(private);
        }
    }
    remove(&pointer);
    for name in [UNFINISHED, SOCKET] {
        remove(&directory.join(name));
    }
}

fn is_private(directory: &Path) -> bool {
    let name = directory.file_name().map(std::ffi::OsStr::as_bytes);
    name.is_some_and(|name| name.starts_with(PRIVATE.as_bytes()))
}

fn write_pointer(directory: &Path, pointer: &Path, socket: &Path) -> Result<(), BindError> {
    let unfinished = directory.join(format!("{POINTER}.new"));
    let written = fs::write(&unfinished, socket.as_os_str().as_bytes())
        .and_then(|()| fs::rename(&unfinished, pointer));
    written.map_err(failed("write", pointer))
}

fn read_pointer(pointer: &Path) -> Option<PathBuf> {
    let text = fs::read(pointer).ok()?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(&text));
    (path.is_absolute() && !text.contains(&0)).then_some(path)
}

/// Where an engine with this state directory may listen.
pub(super) fn candidates(state_directory: &Path) -> Vec<PathBuf> {
    let direct = state_directory.join(SOCKET);
    let pointed = read_pointer(&state_directory.join(POINTER));
    [direct]
        .into_iter()
        .chain(pointed)
        .filter(|path| fits(path))
        .collect()
}

/// True when an error of connecting means that there is no engine.
pub(super) fn means_nobody(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(kind, ConnectionRefused | NotFound | NotADirectory)
}

/// True when the other end may be believed to be the engine with this state directory. A socket in the directory is; one
/// elsewhere has to belong to whoever wrote the pointer to it, or to root: its place may have been taken by somebody else.
pub(super) fn is_trusted(stream: &UnixStream, path: &Path, state_directory: &Path) -> bool {
    if path.parent() == Some(state_directory) {
        return true;
    }
    let owner = fs::metadata(state_directory.join(POINTER)).map(|metadata| metadata.uid());
    let peer = stream.peer_cred().map(|credentials| credentials.uid());
    match (owner, peer) {
        (Ok(owner), Ok(peer)) => peer == owner || peer == 0,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// True when somebody listens at `path`, or it can't be excluded. Never waits, not even for an engine that hangs.
fn answers(path: &Path) -> bool {
    let attempt = || -> rustix::io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)
    };
    match attempt() {
        Ok(()) => true,
        Err(error) => !means_nobody(io::Error::from(error).kind()),
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= PATH_LIMIT_BYTES
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "can't remove"),
    }
}

fn remove_directory(path: &Path) {
    match fs::remove_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "can't remove"),
    }
}
