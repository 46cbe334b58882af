//! Trees whose paths follow from a number, in whatever order they are wanted: nothing has to be held.

use sync_core::order::KeyOrder;

/// Files of a group of a nested tree.
const GROUP_FILES: u64 = 1000;

/// What a tree looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Directories of ten directories of a hundred files, with neighbours that byte order and tree order put on
    /// different sides of them: `g1-notes, g1.md, g1/…`.
    Nested,
    /// All files in one directory.
    Flat,
    /// Ten files in each directory, seven levels down.
    Deep,
}

impl Shape {
    pub(crate) const ALL: [Self; 3] = [Self::Nested, Self::Flat, Self::Deep];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nested => "nested",
            Self::Flat => "flat",
            Self::Deep => "deep",
        }
    }

    /// The path at a place of the tree's listing in `order`.
    pub(crate) fn path(self, order: KeyOrder, place: u64) -> String {
        match self {
            Self::Flat => format!("file-{place:09}.md"),
            Self::Deep => {
                let digits = format!("{place:07}");
                let mut path: String = digits.chars().flat_map(|digit| [digit, '/']).collect();
                path.pop();
                path.push_str(".md");
                path
            }
            Self::Nested => nested(order, place),
        }
    }
}

fn nested(order: KeyOrder, place: u64) -> String {
    let (group, member) = (place / GROUP_FILES, place % GROUP_FILES);
    // How many of the two neighbours come before the directory.
    let before = match order {
        KeyOrder::Bytes => 2,
        KeyOrder::Tree => 0,
    };
    let neighbour = match (order, member) {
        (KeyOrder::Bytes, 0) | (KeyOrder::Tree, 998) => Some("-notes"),
        (KeyOrder::Bytes, 1) | (KeyOrder::Tree, 999) => Some(".md"),
        _ => None,
    };
    if let Some(end) = neighbour {
        return format!("group-{group:06}{end}");
    }
    let file = member - before;
    format!(
        "group-{group:06}/part-{}/file-{:02}.md",
        file / 100,
        file % 100
    )
}
