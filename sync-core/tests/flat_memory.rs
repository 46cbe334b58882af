//! A pass that finds nothing to do asks for each page once and for nothing else, and holds no more for a big tree than for a
//! small one. The benchmark of the same name measures a million; here memory is counted, not measured.

#[path = "../benches/flat_memory/ground.rs"]
mod ground;
#[expect(dead_code, reason = "the benchmark uses the rest")]
#[path = "../benches/flat_memory/shape.rs"]
mod shape;
#[expect(dead_code, reason = "the benchmark uses the rest")]
#[path = "../benches/flat_memory/store.rs"]
mod store;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Counts what is allocated, and the most that ever was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "an allocator that counts; it only passes on")]
// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[cfg(test)]
mod tests {
    use sync_core::{
        order::ListingOrder,
        progress::{Progress, Silent},
        session::{Direction, PassRequest, Session},
    };

    use super::*;
    use crate::{
        shape::Shape,
        store::{Listing, PAGE_OBJECTS, SimulatedStore},
    };

    const SMALL: u64 = 6_000;
    const BIG: u64 = 30_000;
    /// How far the listing is ahead of the join differs from run to run, by this much at most. A table of the tree would
    /// take more, at 17 bytes a file.
    const LEEWAY_BYTES: usize = 400_000;

    /// The most that a pass held at once, beyond what was held before it.
    async fn bytes_of_a_quiet_pass(session: &Session, objects: u64) -> usize {
        let request = PassRequest::everything(Direction::Sync);
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let report = session.pass(&request, &progress).await.unwrap();
        let held = PEAK.load(Ordering::Relaxed) - before;
        assert!(report.is_quiet(), "{report:?}");
        let requests = report.requests;
        let asked = (requests.get, requests.head, requests.put);
        assert_eq!(
            (requests.list, asked),
            (objects.div_ceil(PAGE_OBJECTS), (0, 0, 0))
        );
        held
    }

    async fn bytes_held(shape: Shape, listing: Listing, objects: u64) -> usize {
        let directory = ground::directory().unwrap();
        ground::prepare(directory.path(), shape, objects).unwrap();
        let store = Arc::new(SimulatedStore::new(shape, listing, objects));
        let session = ground::open(directory.path(), store).await.unwrap();
        let request = PassRequest::everything(Direction::Sync);
        let progress: Arc<dyn Progress> = Arc::new(Silent);
        // Finds out how the store lists.
        assert!(session.pass(&request, &progress).await.unwrap().is_quiet());
        let expected = match listing {
            Listing::Bytes => ListingOrder::Bytes,
            Listing::Tree => ListingOrder::Tree,
            Listing::Shuffled => ListingOrder::SortedHere,
        };
        assert_eq!(session.listing_order(), Some(expected));
        bytes_of_a_quiet_pass(&session, objects).await
    }

    /// One test, so that nobody else allocates meanwhile.
    #[tokio::test]
    async fn a_quiet_pass_over_five_times_the_files_holds_no_more() {
        for listing in [Listing::Bytes, Listing::Tree] {
            let small = bytes_held(Shape::Nested, listing, SMALL).await;
            let big = bytes_held(Shape::Nested, listing, BIG).await;
            assert!(
                big < small + LEEWAY_BYTES,
                "{listing:?}: {big} bytes for {BIG} files, {small} for {SMALL}"
            );
        }
        // What is sorted is bounded by what the sorter holds, which is more than this.
        bytes_held(Shape::Nested, Listing::Shuffled, BIG).await;
    }
}
