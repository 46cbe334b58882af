//! `executable`: the bucket keeps no mode bits of foreign writers.

use sync_core::layout::Glob;

use super::{Hitch, Outcome};
use crate::{
    engine::chain,
    workspace::{Descend, Entry, Workspace},
};

/// Makes the regular files that match executable; one that can't be is told, and the others are.
pub(super) fn run(paths: &[Glob], workspace: &Workspace) -> Result<Outcome, Hitch> {
    let mut found = Vec::new();
    for glob in paths {
        workspace.walk(glob.directory().as_ref(), &mut |path, entry| {
            if *entry == Entry::File && glob.is_match(path) {
                found.push(path.clone());
            }
            Descend::Enter
        })?;
    }
    for path in &found {
        if let Err(error) = workspace.make_executable(path) {
            tracing::warn!("{}", chain(&error));
        }
    }
    Ok(if found.is_empty() {
        Outcome::Nothing
    } else {
        Outcome::Done
    })
}
