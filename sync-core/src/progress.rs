//! How a pass tells what it is doing while it does it.

use crate::path::RelPath;

/// Receives progress. Every method may be called from any task at any time, and must return quickly.
pub trait Progress: Send + Sync {
    /// This many objects were listed so far.
    fn listing(&self, objects: u64) {
        let _: u64 = objects;
    }

    /// This much more is to be transferred.
    fn planned(&self, files: u64, bytes: u64) {
        let _: (u64, u64) = (files, bytes);
    }

    /// This many more bytes were transferred.
    fn bytes(&self, count: u64) {
        let _: u64 = count;
    }

    /// One file is done.
    fn file_done(&self, path: &RelPath) {
        let _: &RelPath = path;
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
