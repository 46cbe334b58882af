//! Where a plan's view of the bucket comes from.
//!
//! Owns turning listed objects into entries of a mount, in order, each key once, and without what never travels. Of a
//! key that is listed twice the later mention counts. A listing that doesn't keep the order it is read in ends the plan
//! with [`ListingFault::OutOfOrder`]; whoever planned plans again, in another reading.

mod objects;

use std::{cell::RefCell, io, rc::Rc};

use tokio::sync::mpsc;

use self::objects::Objects;
use super::tally::Tally;
use crate::{
    join::RemoteEntry,
    layout::SyncMode,
    mount::OpenMount,
    order::{KeyOrder, OrderWatch},
    path::{ObjectKey, RelPath},
    report::{Problem, ProblemKind},
    store::{ListPage, ListedObject, StoreError},
};

/// Where the remote side of a plan comes from.
#[derive(Debug)]
pub(crate) enum RemoteSource {
    /// A listing that arrives page by page.
    Listing(mpsc::Receiver<Result<ListPage, StoreError>>),
    /// Nobody asks the store: the bucket is taken to be as the baseline says, and preconditions find out if it isn't.
    Assumed,
}

/// How a listing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is expected to come in this order, and joined as it comes.
    InOrder(KeyOrder),
    /// It may come in any order; it is read to its end and sorted first.
    Sorted(KeyOrder),
}

impl Reading {
    /// The order that the entries are given in.
    pub(crate) fn order(self) -> KeyOrder {
        match self {
            Self::InOrder(order) | Self::Sorted(order) => order,
        }
    }
}

/// A listing that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingFault {
    #[error("the listing is not in the order it was expected in")]
    OutOfOrder {
        /// The order that it kept so far, if any.
        keeps: Option<KeyOrder>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the listing was given up")]
    Cancelled,
    #[error("can't sort the listing")]
    Sort(#[source] io::Error),
}

/// What a complete listing told besides its entries.
#[derive(Debug)]
pub(super) struct Listed {
    /// The orders that it kept.
    pub(super) watch: OrderWatch,
    /// Keys that nobody asked for: they lie outside of the mount's prefix.
    pub(super) foreign_keys: u64,
}

impl RemoteSource {
    /// The entries at and below `scope`. `watch` is that of the listings before this one; what is wrong with single
    /// keys goes to `tally`.
    pub(super) fn entries<'a>(
        self,
        mount: &'a OpenMount,
        scope: Option<&'a RelPath>,
        reading: Reading,
        watch: OrderWatch,
        tally: Rc<RefCell<Tally>>,
    ) -> RemoteEntries<'a> {
        RemoteEntries {
            mount,
            scope,
            objects: Objects::new(mount, self, reading, watch),
            next: None,
            tally,
        }
    }
}

/// The entries of a [`RemoteSource`]. Ends early on a fault; [`RemoteEntries::finish`] tells.
#[derive(Debug)]
pub(super) struct RemoteEntries<'a> {
    mount: &'a OpenMount,
    scope: Option<&'a RelPath>,
    objects: Objects<'a>,
    /// Read ahead, to see whether the key is listed once more.
    next: Option<ListedObject>,
    tally: Rc<RefCell<Tally>>,
}

impl RemoteEntries<'_> {
    /// What the listing told; or the fault that makes the view incomplete.
    pub(super) fn finish(self) -> Result<Listed, ListingFault> {
        let (watch, foreign_keys) = self.objects.finish()?;
        Ok(Listed {
            watch,
            foreign_keys,
        })
    }

    /// The next object, of those with the same key the last one.
    fn next_object(&mut self) -> Option<ListedObject> {
        let mut object = match self.next.take() {
            Some(object) => object,
            None => self.objects.next()?,
        };
        loop {
            match self.objects.next() {
                Some(again) if again.key == object.key => object = again,
                other => {
                    self.next = other;
                    return Some(object);
                }
            }
        }
    }

    /// A directory marker is nothing, unless it holds something, which can be no file.
    fn note_marker(&mut self, rest: &str, size_bytes: u64) {
        if size_bytes > 0 {
            self.tally.borrow_mut().add(Problem {
                mount: self.mount.name.clone(),
                path: rest.to_owned(),
                kind: ProblemKind::UnsafePath,
                message: "the key ends in `/`, so its content can be no file; rename or delete the object".to_owned(),
            });
        }
    }

    fn entry(&mut self, object: ListedObject) -> Option<RemoteEntry> {
        let rest = object.key.strip_prefix(self.mount.prefix.as_str())?;
        if rest.is_empty() || rest.ends_with('/') {
            self.note_marker(rest, object.size_bytes);
            return None;
        }
        let path = match self.mount.prefix.rel_path(&object.key) {
            Ok(path) => path,
            Err(error) => {
                let message = format!(
                    "the key is no safe path ({}); rename or delete the object",
                    error.reason()
                );
                let path = rest.to_owned();
                self.tally.borrow_mut().add(Problem {
                    mount: self.mount.name.clone(),
                    path,
                    kind: ProblemKind::UnsafePath,
                    message,
                });
                return None;
            }
        };
        if self.scope.is_some_and(|scope| !path.is_under(scope)) {
            return None;
        }
        let key = ObjectKey::new(&object.key).ok()?;
        let legacy = || {
            self.mount
                .rules
                .rules()
                .iter()
                .any(|rule| rule.legacy_key.as_ref() == Some(&path))
        };
        if self.mount.rules.rule_for(&path).sync == SyncMode::None && !legacy() {
            return None;
        }
        Some(RemoteEntry::new(path, key, object))
    }
}

impl Iterator for RemoteEntries<'_> {
    type Item = RemoteEntry;

    fn next(&mut self) -> Option<RemoteEntry> {
        loop {
            let object = self.next_object()?;
            if let Some(entry) = self.entry(object) {
                return Some(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests;
