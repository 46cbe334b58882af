//! `copy-skills`: what the image ships and the bucket does not provide.

use std::path::PathBuf;

use sync_core::path::RelPath;

use super::{Hitch, Outcome};
use crate::workspace::Workspace;

/// Copies every skill of the first of `from` that is a real directory, unless the workspace has one of its name.
///
/// A link is passed over: some images link one name to the other, or to the workspace itself.
pub(super) fn copy(
    from: &[PathBuf],
    to: &RelPath,
    workspace: &Workspace,
) -> Result<Outcome, Hitch> {
    let is_real = |path: &&PathBuf| {
        path.symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir())
    };
    let Some(templates) = from.iter().find(is_real) else {
        return Ok(Outcome::Nothing);
    };
    let failed = |source| Hitch::System {
        operation: "list",
        path: templates.clone(),
        source,
    };
    let mut outcome = Outcome::Nothing;
    for entry in std::fs::read_dir(templates).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(target) = name.to_str().and_then(|name| to.join(name).ok()) else {
            continue;
        };
        let real = entry.file_type().map_err(failed)?.is_dir();
        if real && workspace.look(&target)?.is_none() {
            workspace.copy_in(&entry.path(), &target)?;
            tracing::debug!(skill = %target, "copied from the image");
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}
