//! More than fits in memory: records in files without a name, sorted ([`Sorter`]) or in the order they came ([`Spool`]).
//!
//! Files are made in the mount's staging directory and have no name: they end with the process, however it ends. (Where a
//! file system has no such files the name is removed right after it was made, and the sweep after a crash takes what falls
//! between.) Little is never written at all.

mod run;
mod sorter;
mod spool;

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use rustix::fs::{AtFlags, Mode, OFlags};

pub(crate) use self::{
    sorter::{Sorted, Sorter},
    spool::{Spool, Spooled},
};
use crate::stage;

/// Before each encoded record: the lengths of its key and its payload.
const HEADER_BYTES: usize = 8;

/// Where files go.
#[derive(Debug)]
pub(crate) struct Spill {
    directory: OwnedFd,
}

impl Spill {
    /// Files are made in this directory.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    /// An empty file without a name.
    pub(crate) fn file(&self) -> io::Result<std::fs::File> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let unnamed = rustix::fs::openat(&self.directory, ".", flags.union(OFlags::TMPFILE), mode);
        let descriptor = match unnamed {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let name = stage::staging_name();
                let flags = flags.union(OFlags::CREATE).union(OFlags::EXCL);
                let descriptor = rustix::fs::openat(&self.directory, name.as_str(), flags, mode)?;
                rustix::fs::unlinkat(self.directory.as_fd(), name.as_str(), AtFlags::empty())?;
                descriptor
            }
            Err(error) => return Err(error.into()),
        };
        Ok(descriptor.into())
    }
}

/// One record: its key, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

fn encode(bytes: &mut Vec<u8>, key: &[u8], payload: &[u8]) -> io::Result<()> {
    bytes.extend_from_slice(&length(key.len())?.to_le_bytes());
    bytes.extend_from_slice(&length(payload.len())?.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(payload);
    Ok(())
}

fn length(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

/// The lengths of key and payload, from the header that an encoded record begins with.
fn lengths(encoded: &[u8]) -> (usize, usize) {
    let read = |at: usize| {
        let bytes = encoded
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u32::from_le_bytes(bytes) as usize)
    };
    (read(0), read(4))
}

fn encoded_bytes(encoded: &[u8]) -> usize {
    let (key, payload) = lengths(encoded);
    HEADER_BYTES + key + payload
}

fn key_of(encoded: &[u8]) -> &[u8] {
    let (key, _) = lengths(encoded);
    encoded
        .get(HEADER_BYTES..HEADER_BYTES + key)
        .unwrap_or_default()
}

fn decode(encoded: &[u8]) -> Record {
    let key = key_of(encoded);
    let payload = encoded.get(HEADER_BYTES + key.len()..).unwrap_or_default();
    Record {
        key: key.to_vec(),
        payload: payload.to_vec(),
    }
}
