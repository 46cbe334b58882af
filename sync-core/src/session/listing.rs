//! Listing: pages ahead of whoever joins them, and the order that the store was seen to list in.

use std::sync::{Arc, PoisonError};

use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::Session;
use crate::{
    baseline::BaselineError,
    mount::OpenMount,
    order::{KeyOrder, ListingOrder, OrderWatch},
    plan::Reading,
    progress::Progress,
    store::{ListPage, ObjectStore, StoreError, StoreErrorKind},
};

/// Pages of a listing that wait to be joined; one more is being fetched.
const PAGES_AHEAD: usize = 2;
/// Listings of parts of a mount that are fetched side by side. They begin in the order in which they are joined, so the
/// one that is being joined is always among them.
const LISTINGS_AHEAD: usize = 8;
/// Name under which a baseline remembers the order that the store lists in.
const LISTING_ORDER: &str = "listing-order";

/// Where the pages of a listing go.
type Pages = mpsc::Sender<Result<ListPage, StoreError>>;

/// A listing that was asked for: its prefix, and where its pages go.
pub(super) struct Wish {
    prefix: String,
    pages: Pages,
}

impl Wish {
    /// A wish, and where its pages come out.
    pub(super) fn new(prefix: String) -> (Self, mpsc::Receiver<Result<ListPage, StoreError>>) {
        let (pages, arrive) = mpsc::channel(PAGES_AHEAD);
        (Self { prefix, pages }, arrive)
    }
}

/// Fetches listings page by page.
pub(super) async fn fetch(
    store: Arc<dyn ObjectStore>,
    wishes: Vec<Wish>,
    progress: Arc<dyn Progress>,
) {
    stream::iter(wishes)
        .for_each_concurrent(LISTINGS_AHEAD, |wish| list(&*store, wish, &*progress))
        .await;
}

async fn list(store: &dyn ObjectStore, Wish { prefix, pages }: Wish, progress: &dyn Progress) {
    let mut token: Option<String> = None;
    let mut listed = 0;
    loop {
        let page = store.list(&prefix, token.as_deref()).await;
        let page = page.and_then(|page| goes_on(page, token.as_deref(), &prefix));
        token = page.as_ref().ok().and_then(|page| page.next.clone());
        listed += page.as_ref().map_or(0, |page| page.objects.len() as u64);
        progress.listing(listed);
        // A closed channel: the plan was given up.
        if pages.send(page).await.is_err() || token.is_none() {
            return;
        }
    }
}

/// A store that answers with the token it was asked with would be asked for ever.
fn goes_on(page: ListPage, asked: Option<&str>, prefix: &str) -> Result<ListPage, StoreError> {
    if page.next.is_some() && page.next.as_deref() == asked {
        return Err(StoreError::new(
            "LIST",
            prefix,
            StoreErrorKind::Other,
            "the listing doesn't go on: its continuation token is the one it was asked with",
        ));
    }
    Ok(page)
}

impl Session {
    /// The order that the store was last seen to list in; `None` before its first listing.
    #[must_use]
    pub fn listing_order(&self) -> Option<ListingOrder> {
        *self
            .listing_order
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next listing is read.
    pub(super) fn reading(&self, mount: &OpenMount) -> Reading {
        match self.listing_order() {
            None | Some(ListingOrder::Bytes) => Reading::InOrder(KeyOrder::Bytes),
            Some(ListingOrder::Tree) => Reading::InOrder(KeyOrder::Tree),
            Some(ListingOrder::SortedHere) => Reading::Sorted(mount.baseline().order()),
        }
    }

    /// How a listing is read once more that didn't keep the order it was read in.
    pub(super) fn other_reading(mount: &OpenMount, keeps: Option<KeyOrder>) -> Reading {
        match keeps {
            Some(order) => Reading::InOrder(order),
            None => Reading::Sorted(mount.baseline().order()),
        }
    }

    /// A listing was read to its end.
    pub(super) fn note_listing(&self, reading: Reading, watch: &OrderWatch) {
        let order = match reading {
            Reading::InOrder(order) => order.into(),
            Reading::Sorted(_) => watch
                .proven()
                .map_or(ListingOrder::SortedHere, ListingOrder::from),
        };
        if self.listing_order() == Some(order) {
            return;
        }
        tracing::info!(order = order.name(), "the order of the store's listings");
        self.set_listing_order(order);
        for mount in &self.mounts {
            let remembered = mount.baseline().set_value(LISTING_ORDER, order.name());
            if let Err(error) = remembered {
                tracing::warn!(mount = mount.name, %error, "can't remember the order of listings");
            }
        }
    }

    /// Starts with what the last session saw.
    pub(super) fn recall_listing_order(&self) -> Result<(), BaselineError> {
        for mount in &self.mounts {
            let remembered = mount.baseline().value(LISTING_ORDER)?;
            if let Some(order) = remembered.as_deref().and_then(ListingOrder::from_name) {
                self.set_listing_order(order);
                break;
            }
        }
        Ok(())
    }

    fn set_listing_order(&self, order: ListingOrder) {
        *self
            .listing_order
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(order);
    }
}
