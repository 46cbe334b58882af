//! Where a plan's view of the bucket comes from.
//!
//! Owns turning listed objects into entries of a mount, in order and without what never travels. A listing that isn't
//! in byte order ends the plan with [`ListingFault::OutOfOrder`]; planning changes nothing, so it is simply made again
//! from the sorted listing.

use tokio::sync::mpsc;

use crate::{
    join::RemoteEntry,
    layout::SyncMode,
    mount::OpenMount,
    path::{ObjectKey, RelPath},
    report::{Problem, ProblemKind},
    store::{ListPage, ListedObject, StoreError},
};

/// Where the remote side of a plan comes from.
#[derive(Debug)]
pub(crate) enum RemoteSource {
    /// A listing that arrives page by page.
    Listing(mpsc::Receiver<Result<ListPage, StoreError>>),
    /// A complete listing, sorted.
    Sorted(Vec<ListedObject>),
    /// Nobody asks the store: the bucket is taken to be as the baseline says, and preconditions find out if it isn't.
    Assumed,
}

/// A listing that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingFault {
    #[error("the listing is not in byte order")]
    OutOfOrder,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the listing was given up")]
    Cancelled,
}

impl RemoteSource {
    pub(crate) fn entries<'a>(
        self,
        mount: &'a OpenMount,
        scope: Option<&'a RelPath>,
    ) -> RemoteEntries<'a> {
        let (pages, page, state) = match self {
            Self::Listing(pages) => (Some(pages), Vec::new(), State::Open),
            Self::Sorted(objects) => (None, objects, State::Complete),
            Self::Assumed => (None, Vec::new(), State::Complete),
        };
        RemoteEntries {
            mount,
            scope,
            pages,
            page: page.into_iter(),
            state,
            last: None,
            problems: Vec::new(),
        }
    }
}

/// The entries of a [`RemoteSource`]. Ends early on a fault; [`RemoteEntries::finish`] tells.
#[derive(Debug)]
pub(crate) struct RemoteEntries<'a> {
    mount: &'a OpenMount,
    scope: Option<&'a RelPath>,
    pages: Option<mpsc::Receiver<Result<ListPage, StoreError>>>,
    page: std::vec::IntoIter<ListedObject>,
    state: State,
    last: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Debug)]
enum State {
    Open,
    Complete,
    Failed(ListingFault),
}

impl RemoteEntries<'_> {
    /// The problems that single keys had; or the fault that makes the view incomplete.
    pub(crate) fn finish(self) -> Result<Vec<Problem>, ListingFault> {
        match self.state {
            State::Complete => Ok(self.problems),
            State::Open => Err(ListingFault::Cancelled),
            State::Failed(fault) => Err(fault),
        }
    }

    fn next_object(&mut self) -> Option<ListedObject> {
        loop {
            if let Some(object) = self.page.next() {
                return Some(object);
            }
            if !matches!(self.state, State::Open) {
                return None;
            }
            // The sender goes away without a last page when the pass is cancelled: the state stays open then.
            match self.pages.as_mut()?.blocking_recv()? {
                Ok(page) => {
                    if page.next.is_none() {
                        self.state = State::Complete;
                    }
                    self.page = page.objects.into_iter();
                }
                Err(error) => self.state = State::Failed(error.into()),
            }
        }
    }

    fn entry(&mut self, object: ListedObject) -> Option<RemoteEntry> {
        let rest = object
            .key
            .strip_prefix(self.mount.prefix.as_str())
            .unwrap_or(&object.key);
        if rest.is_empty() || rest.ends_with('/') {
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
                self.problems.push(Problem {
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
            if self.last.as_ref().is_some_and(|last| *last >= object.key) {
                self.state = State::Failed(ListingFault::OutOfOrder);
                self.page = Vec::new().into_iter();
                return None;
            }
            self.last = Some(object.key.clone());
            if let Some(entry) = self.entry(object) {
                return Some(entry);
            }
        }
    }
}
