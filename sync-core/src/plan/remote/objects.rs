//! The objects of a listing: as they come while the order holds, or sorted after the last one came.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{ListingFault, Reading, RemoteSource};
use crate::{
    digest::ETag,
    mount::OpenMount,
    order::{KeyOrder, OrderWatch},
    spill::{Record, Sorted, Sorter},
    store::{ListPage, ListedObject, StoreError},
};

/// Objects that are held in memory while a listing is sorted, in bytes; about 80,000 of them.
const SORT_BYTES: usize = 8 * 1024 * 1024;

/// Gives the objects in the order of the reading; equal keys come one after the other, the later mention last.
#[derive(Debug)]
pub(super) struct Objects<'a> {
    mount: &'a OpenMount,
    reading: Reading,
    pages: Option<mpsc::Receiver<Result<ListPage, StoreError>>>,
    page: std::vec::IntoIter<ListedObject>,
    sorted: Option<Sorted>,
    state: State,
    watch: OrderWatch,
    foreign_keys: u64,
}

#[derive(Debug)]
enum State {
    Open,
    Complete,
    Failed(ListingFault),
}

impl<'a> Objects<'a> {
    pub(super) fn new(
        mount: &'a OpenMount,
        source: RemoteSource,
        reading: Reading,
        mut watch: OrderWatch,
    ) -> Self {
        watch.begin_another();
        let (pages, state) = match source {
            RemoteSource::Listing(pages) => (Some(pages), State::Open),
            RemoteSource::Assumed => (None, State::Complete),
        };
        Self {
            mount,
            reading,
            pages,
            page: Vec::new().into_iter(),
            sorted: None,
            state,
            watch,
            foreign_keys: 0,
        }
    }

    /// The orders that the listing kept and the number of keys that lie outside of the prefix; or the fault that ended it.
    pub(super) fn finish(self) -> Result<(OrderWatch, u64), ListingFault> {
        match self.state {
            State::Complete => Ok((self.watch, self.foreign_keys)),
            State::Open => Err(ListingFault::Cancelled),
            State::Failed(fault) => Err(fault),
        }
    }

    /// The next object; `None` at the end and after a fault.
    pub(super) fn next(&mut self) -> Option<ListedObject> {
        match self.reading {
            Reading::InOrder(order) => {
                let object = self.listed()?;
                if self.watch.keeps(order) {
                    return Some(object);
                }
                let other = order.other();
                let keeps = self.watch.keeps(other).then_some(other);
                self.fail(ListingFault::OutOfOrder { keeps })
            }
            Reading::Sorted(order) => {
                if self.sorted.is_none() {
                    match self.sort(order) {
                        Ok(sorted) => self.sorted = Some(sorted),
                        Err(error) => return self.fail(ListingFault::Sort(error)),
                    }
                    // Half a listing in order is still half a listing.
                    if !matches!(self.state, State::Complete) {
                        return None;
                    }
                }
                match self.sorted.as_mut()?.next() {
                    Ok(record) => record.map(decode),
                    Err(error) => self.fail(ListingFault::Sort(error)),
                }
            }
        }
    }

    fn fail(&mut self, fault: ListingFault) -> Option<ListedObject> {
        // The first fault says more than those that follow from it.
        if !matches!(self.state, State::Failed(_)) {
            self.state = State::Failed(fault);
        }
        self.page = Vec::new().into_iter();
        self.pages = None;
        self.sorted = None;
        None
    }

    fn sort(&mut self, order: KeyOrder) -> io::Result<Sorted> {
        let mut sorter = Sorter::new(order, SORT_BYTES, self.mount.root.spill()?);
        while let Some(object) = self.listed() {
            let ListedObject {
                key,
                etag,
                size_bytes,
                modified,
            } = object;
            let mut payload = size_bytes.to_le_bytes().to_vec();
            payload.extend_from_slice(&encode_time(modified));
            payload.extend_from_slice(etag.as_str().as_bytes());
            sorter.push(key.as_bytes(), &payload)?;
        }
        sorter.finish()
    }

    /// The next object as the store lists it. What lies outside of the prefix was not asked for: it is counted only.
    fn listed(&mut self) -> Option<ListedObject> {
        loop {
            let object = self.arrived()?;
            if object.key.starts_with(self.mount.prefix.as_str()) {
                self.watch.see(&object.key);
                return Some(object);
            }
            self.foreign_keys += 1;
        }
    }

    fn arrived(&mut self) -> Option<ListedObject> {
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
}

/// Nanoseconds since the epoch; 0 for a time that isn't known.
fn encode_time(time: Option<SystemTime>) -> [u8; 8] {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanoseconds = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
    nanoseconds.unwrap_or(0).to_le_bytes()
}

fn decode_time(bytes: [u8; 8]) -> Option<SystemTime> {
    let nanoseconds = u64::from_le_bytes(bytes);
    let since = (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))?;
    UNIX_EPOCH.checked_add(since)
}

/// Keys and tags are texts where they come from.
fn decode(Record { key, payload }: Record) -> ListedObject {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (size, rest) = payload.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let (time, etag) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    ListedObject {
        key: text(&key),
        etag: ETag::new(&text(etag)),
        size_bytes: u64::from_le_bytes(*size),
        modified: decode_time(*time),
    }
}
