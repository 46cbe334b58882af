//! Making room without losing anything.

use sync_core::path::RelPath;

use super::Hitch;
use crate::workspace::Workspace;

/// Removes the regular file at `old` if it holds what `new` holds; otherwise keeps it as a conflict copy.
pub(super) fn give_way(old: &RelPath, new: &RelPath, workspace: &Workspace) -> Result<(), Hitch> {
    let same = match (workspace.read(old), workspace.read(new)) {
        (Ok(Some(old)), Ok(Some(new))) => old == new,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    };
    if same {
        workspace.remove_file(old)?;
    } else {
        let copy = workspace.keep_as_conflict(old, jiff::Timestamp::now())?;
        tracing::warn!(%old, %new, %copy, "both files are there and differ; the old one is kept as a conflict copy");
    }
    Ok(())
}
