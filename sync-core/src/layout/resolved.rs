//! A layout with everything filled in: what the engine, the command line and the entrypoint work with.
//!
//! Owns the values and look-ups. Never goes back to the text.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    rules::Rules,
    runtime::{ReadyProbe, Reload, RuntimeSpec},
    step::Step,
};
use crate::{
    merge::MergeRules,
    path::{Prefix, RelPath},
};

/// A layout after inheritance and variables.
///
/// - mounts have different names, and no mount's directory lies in another's
/// - every path with `sync = "merge"` has an entry in `merges`
/// - `pull` steps name only mounts that are here
#[derive(Debug, Clone)]
pub struct ResolvedLayout {
    /// Its name.
    pub name: String,
    /// What it is for, in one line; may be empty.
    pub description: String,
    /// What is synchronised, in the order of the layout.
    pub mounts: Vec<Mount>,
    /// Field rules of merged files, by their path in their mount.
    pub merges: BTreeMap<RelPath, MergeRules>,
    /// What is done before the runtime starts, in order.
    pub steps: Vec<Step>,
    /// The runtime.
    pub runtime: RuntimeSpec,
    /// How it is known to be ready, if there is a way.
    pub ready: Option<ReadyProbe>,
    /// What to do after files of a group changed.
    pub reload: BTreeMap<String, Reload>,
}

impl ResolvedLayout {
    /// The mount of this name.
    #[must_use]
    pub fn mount(&self, name: &str) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.name == name)
    }

    /// The field rules of a merged file.
    #[must_use]
    pub fn merge_rules(&self, path: &RelPath) -> Option<&MergeRules> {
        self.merges.get(path)
    }
}

/// A directory and the prefix that it mirrors.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Its name in the layout, in reports and on the command line.
    pub name: String,
    /// The beginning of its keys.
    pub prefix: Prefix,
    /// Its directory; absolute.
    pub local: PathBuf,
    /// Who owns what in it.
    pub rules: Rules,
}
