//! The orders that stores list keys in, and the watch kept over a listing.
//!
//! Pure. Two orders are known. Byte order is S3's. Tree order is SeaweedFS's: names are compared directory by directory,
//! which is byte order with `/` before every other byte: `a, a/b, a-b, a.b`. A scan and the baseline's rows can be had
//! in either; the join needs all three in the same one. Never decides what is done about a listing in neither order.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// This many objects in a row in a known order are no accident: a store that lists in no order would not come by them.
const PROOF_OBJECTS: u64 = 1000;

/// An order of keys and paths.
///
/// ```
/// use sync_core::order::KeyOrder;
/// let mut keys = ["a.b", "a/b", "a-b", "a"];
/// keys.sort_by(|left, right| KeyOrder::Bytes.compare(left, right));
/// assert_eq!(keys, ["a", "a-b", "a.b", "a/b"]);
/// keys.sort_by(|left, right| KeyOrder::Tree.compare(left, right));
/// assert_eq!(keys, ["a", "a/b", "a-b", "a.b"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// By bytes.
    Bytes,
    /// By bytes, with `/` before all others: a directory's content comes right after its name.
    Tree,
}

impl KeyOrder {
    /// Compares two keys, or two paths.
    #[must_use]
    pub fn compare(self, left: impl AsRef<[u8]>, right: impl AsRef<[u8]>) -> Ordering {
        let (left, right) = (left.as_ref(), right.as_ref());
        match self {
            Self::Bytes => left.cmp(right),
            Self::Tree => {
                let differing = left.iter().zip(right).find(|(left, right)| left != right);
                match differing {
                    None => left.len().cmp(&right.len()),
                    Some((b'/', _)) => Ordering::Less,
                    Some((_, b'/')) => Ordering::Greater,
                    Some((left, right)) => left.cmp(right),
                }
            }
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Bytes => Self::Tree,
            Self::Tree => Self::Bytes,
        }
    }
}

/// How a store lists, as far as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListingOrder {
    /// In byte order.
    #[serde(rename = "byte order")]
    Bytes,
    /// In tree order.
    #[serde(rename = "tree order")]
    Tree,
    /// In neither: its listings are sorted here before they are joined.
    #[serde(rename = "sorted here")]
    SortedHere,
}

impl ListingOrder {
    /// The words of the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "byte order",
            Self::Tree => "tree order",
            Self::SortedHere => "sorted here",
        }
    }

    /// The order that a status's words mean.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Bytes, Self::Tree, Self::SortedHere]
            .into_iter()
            .find(|order| order.name() == name)
    }
}

impl From<KeyOrder> for ListingOrder {
    fn from(order: KeyOrder) -> Self {
        match order {
            KeyOrder::Bytes => Self::Bytes,
            KeyOrder::Tree => Self::Tree,
        }
    }
}

/// Watches the keys of listings for the orders that they keep.
#[derive(Debug, Clone)]
pub struct OrderWatch {
    last: Option<String>,
    keeps_bytes: bool,
    keeps_tree: bool,
    objects: u64,
}

impl Default for OrderWatch {
    fn default() -> Self {
        Self {
            last: None,
            keeps_bytes: true,
            keeps_tree: true,
            objects: 0,
        }
    }
}

impl OrderWatch {
    /// Takes the next key of a listing; a key that is equal to the one before breaks no order.
    pub fn see(&mut self, key: &str) {
        self.objects += 1;
        match &mut self.last {
            None => self.last = Some(key.to_owned()),
            Some(last) => {
                let keeps = |order: KeyOrder| order.compare(&*last, key) != Ordering::Greater;
                self.keeps_bytes = self.keeps_bytes && keeps(KeyOrder::Bytes);
                self.keeps_tree = self.keeps_tree && keeps(KeyOrder::Tree);
                last.clear();
                last.push_str(key);
            }
        }
    }

    /// The next key begins another listing.
    pub fn begin_another(&mut self) {
        self.last = None;
    }

    /// Whether all keys so far came in `order`.
    #[must_use]
    pub fn keeps(&self, order: KeyOrder) -> bool {
        match order {
            KeyOrder::Bytes => self.keeps_bytes,
            KeyOrder::Tree => self.keeps_tree,
        }
    }

    /// An order that all keys so far came in, where they were enough to rely on it.
    #[must_use]
    pub fn proven(&self) -> Option<KeyOrder> {
        [KeyOrder::Bytes, KeyOrder::Tree]
            .into_iter()
            .find(|order| self.objects >= PROOF_OBJECTS && self.keeps(*order))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tree_order_compares_component_by_component(
            left in "[a-c.\\-/\u{1}]{0,8}", right in "[a-c.\\-/\u{1}]{0,8}"
        ) {
            let components = |key: &str| key.split('/').map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(
                KeyOrder::Tree.compare(&left, &right),
                components(&left).cmp(&components(&right))
            );
        }
    }

    #[test]
    fn a_watch_knows_which_orders_are_left() {
        let watch = |keys: &[&str]| {
            let mut watch = OrderWatch::default();
            for key in keys {
                watch.see(key);
            }
            (watch.keeps(KeyOrder::Bytes), watch.keeps(KeyOrder::Tree))
        };
        assert_eq!(watch(&["a", "b"]), (true, true));
        assert_eq!(watch(&["a", "a", "b"]), (true, true));
        assert_eq!(watch(&["a", "a-b", "a/b"]), (true, false));
        assert_eq!(watch(&["a", "a/b", "a-b"]), (false, true));
        assert_eq!(watch(&["b", "a"]), (false, false));
    }

    #[test]
    fn an_order_is_proven_by_many_objects_only() {
        let mut watch = OrderWatch::default();
        for number in 0..PROOF_OBJECTS {
            assert_eq!(watch.proven(), None);
            watch.see(&format!("{number:06}"));
        }
        assert_eq!(watch.proven(), Some(KeyOrder::Bytes));
        watch.see("0");
        assert_eq!(watch.proven(), None);
    }

    #[test]
    fn names_are_read_back() {
        for order in [
            ListingOrder::Bytes,
            ListingOrder::Tree,
            ListingOrder::SortedHere,
        ] {
            assert_eq!(ListingOrder::from_name(order.name()), Some(order));
            assert_eq!(
                serde_json::to_value(order).unwrap(),
                serde_json::json!(order.name())
            );
        }
    }
}
