//! The layouts that are known, and how one of them becomes a [`ResolvedLayout`].
//!
//! Owns the embedded texts and the way from a name along `extends`. Never reads a file: overriding texts are handed in.

use super::{
    inherit::inherit,
    mistake::{LayoutError, Mistake},
    read,
    resolved::ResolvedLayout,
    tree::{self, Table},
    variables::Variables,
};

/// The layouts in the binary: name and text.
pub const EMBEDDED: [(&str, &str); 9] = [
    ("openclaw", include_str!("../../../layouts/openclaw.toml")),
    ("copaw", include_str!("../../../layouts/copaw.toml")),
    ("qwenpaw", include_str!("../../../layouts/qwenpaw.toml")),
    ("hermes", include_str!("../../../layouts/hermes.toml")),
    ("openhuman", include_str!("../../../layouts/openhuman.toml")),
    ("manager", include_str!("../../../layouts/manager.toml")),
    (
        "openclaw-runner",
        include_str!("../../../layouts/openclaw-runner.toml"),
    ),
    ("clawster", include_str!("../../../layouts/clawster.toml")),
    (
        "clawmatrix",
        include_str!("../../../layouts/clawmatrix.toml"),
    ),
];

/// A layout as written.
///
/// - its text is valid TOML, and everything in it is right as far as that can be said without its parent
#[derive(Debug, Clone)]
pub struct Layout {
    name: String,
    table: Table,
}

impl Layout {
    /// Reads a text; `file` is its name in messages. Variables are checked for their names, not for values.
    pub fn parse(text: &str, file: &str) -> Result<Self, LayoutError> {
        let table = tree::parse(text, file).map_err(LayoutError::from_mistakes)?;
        let mistakes = if table.get("extends").is_some() {
            read::check_part(&table)
        } else {
            read::whole(&table, &Variables::made_up())
                .err()
                .unwrap_or_default()
        };
        match table.text("name").map(str::to_owned) {
            Some(name) if mistakes.is_empty() => Ok(Self { name, table }),
            _ => Err(LayoutError::from_mistakes(mistakes)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for, in one line; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        self.table.text("description").unwrap_or_default()
    }

    /// The name of the layout that it extends.
    #[must_use]
    pub fn extends(&self) -> Option<&str> {
        self.table.text("extends")
    }

    /// All mistakes of a text, in its order: those of the text itself, and when it has none, those that show when it is put
    /// onto the embedded layout that it extends. Nothing when it is right.
    #[must_use]
    pub fn check(text: &str, file: &str) -> Vec<Mistake> {
        LayoutSet::embedded().map_or_else(
            |error| error.mistakes().to_vec(),
            |set| set.check(text, file),
        )
    }
}

/// Layouts by name. One that is added later hides an earlier one of its name, and may extend it.
#[derive(Debug, Clone, Default)]
pub struct LayoutSet {
    layouts: Vec<Layout>,
}

impl LayoutSet {
    /// The layouts of the binary.
    pub fn embedded() -> Result<Self, LayoutError> {
        let mut set = Self::default();
        for (name, text) in EMBEDDED {
            set.add(Layout::parse(text, &format!("{name}.toml"))?);
        }
        Ok(set)
    }

    /// Adds a layout.
    pub fn add(&mut self, layout: Layout) {
        self.layouts.push(layout);
    }

    /// The names that are known, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.layouts.iter().map(Layout::name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The layout of this name.
    pub fn get(&self, name: &str) -> Result<&Layout, LayoutError> {
        self.find(name, self.layouts.len())
            .map(|(_, layout)| layout)
            .ok_or_else(|| self.unknown(name))
    }

    /// The layout of this name with everything that it extends, and with `variables` filled in.
    pub fn resolve(
        &self,
        name: &str,
        variables: &Variables,
    ) -> Result<ResolvedLayout, LayoutError> {
        let (at, layout) = self
            .find(name, self.layouts.len())
            .ok_or_else(|| self.unknown(name))?;
        let table = self.flatten(at, layout, &mut vec![at])?;
        read::whole(&table, variables).map_err(LayoutError::from_mistakes)
    }

    /// All mistakes of a text that would be added to this set; see [`Layout::check`].
    #[must_use]
    pub fn check(&self, text: &str, file: &str) -> Vec<Mistake> {
        let layout = match Layout::parse(text, file) {
            Ok(layout) => layout,
            Err(error) => return error.mistakes().to_vec(),
        };
        let name = layout.name.clone();
        let mut with_it = self.clone();
        with_it.add(layout);
        with_it
            .resolve(&name, &Variables::made_up())
            .err()
            .map(|error| error.mistakes().to_vec())
            .unwrap_or_default()
    }

    /// The layout `name` among the first `end`, and its place there; of several the last one.
    fn find(&self, name: &str, end: usize) -> Option<(usize, &Layout)> {
        self.layouts
            .iter()
            .enumerate()
            .take(end)
            .rfind(|(_, layout)| layout.name == name)
    }

    fn unknown(&self, name: &str) -> LayoutError {
        LayoutError::Unknown {
            name: name.to_owned(),
            known: self.names().into_iter().map(str::to_owned).collect(),
        }
    }

    /// `layout`, at `at`, put onto its parent, that onto its own, and so on. `below` are the places already on the way.
    fn flatten(
        &self,
        at: usize,
        layout: &Layout,
        below: &mut Vec<usize>,
    ) -> Result<Table, LayoutError> {
        let Some(extends) = layout.extends() else {
            return Ok(layout.table.clone());
        };
        let place = layout
            .table
            .get("extends")
            .map_or(&layout.table.place, |node| &node.place);
        let mistake =
            |message: String| LayoutError::from_mistakes(vec![Mistake::new(place, message)]);
        // A layout that extends its own name means the one that it hides.
        let end = if extends == layout.name {
            at
        } else {
            self.layouts.len()
        };
        let (parent_at, parent) = self.find(extends, end).ok_or_else(|| {
            mistake(format!(
                "there is no layout `{extends}` to extend; known are {}",
                self.names().join(", ")
            ))
        })?;
        if below.contains(&parent_at) {
            return Err(mistake(format!(
                "`{extends}` extends this layout in turn: they go round in a circle"
            )));
        }
        below.push(parent_at);
        Ok(inherit(
            &layout.table,
            &self.flatten(parent_at, parent, below)?,
        ))
    }
}

#[cfg(test)]
mod tests;
