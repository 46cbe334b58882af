//! Symbolic links: made, mended, migrated to, removed where they lead in circles.

use sync_core::path::RelPath;

use super::{Hitch, Outcome, conflict::give_way};
use crate::workspace::{Entry, Workspace, link_target};

/// `link`: makes `at` a link to `to`. A link that points elsewhere is replaced, a regular file is kept as a conflict copy unless
/// it holds what `to` holds, an empty directory goes; a directory with something in it stays.
pub(super) fn make(at: &RelPath, to: &RelPath, workspace: &Workspace) -> Result<Outcome, Hitch> {
    match workspace.look(at)? {
        Some(Entry::Link(target))
            if target == link_target(at, to) || target == workspace.path().join(to.as_str()) =>
        {
            return Ok(Outcome::Nothing);
        }
        Some(Entry::Link(_)) => workspace.remove_file(at)?,
        Some(Entry::File) => give_way(at, to, workspace)?,
        Some(Entry::Directory) => workspace.remove_empty_directory(at)?,
        Some(Entry::Special) => {
            return Err(Hitch::Refused(format!(
                "{at} is neither a file nor a directory"
            )));
        }
        None => {}
    }
    workspace.link(at, to)?;
    Ok(Outcome::Done)
}

/// `remove-circular-link`: removes `path` when it is a link that leads to a directory that it lies in, or nowhere because it
/// leads to itself.
pub(super) fn remove_circular(path: &RelPath, workspace: &Workspace) -> Result<Outcome, Hitch> {
    if !matches!(workspace.look(path)?, Some(Entry::Link(_))) {
        return Ok(Outcome::Nothing);
    }
    let link = workspace.path().join(path.as_str());
    let circular = match (
        std::fs::canonicalize(&link),
        link.parent().map(std::fs::canonicalize),
    ) {
        (Ok(target), Some(Ok(above))) => above.starts_with(&target),
        (Err(error), _) => error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()),
        (Ok(_), _) => false,
    };
    if !circular {
        return Ok(Outcome::Nothing);
    }
    workspace.remove_file(path)?;
    Ok(Outcome::Done)
}

/// `move-and-link`: a regular file at `from` becomes `to`, and `from` a link to it. Where both are there the new name wins and
/// the old file is kept as a conflict copy.
pub(super) fn move_and_link(
    from: &RelPath,
    to: &RelPath,
    workspace: &Workspace,
) -> Result<Outcome, Hitch> {
    let target = workspace.look(to)?;
    match (workspace.look(from)?, &target) {
        (Some(Entry::File), None) => workspace.rename(from, to)?,
        (None, None) => return Ok(Outcome::Nothing),
        (Some(Entry::Directory | Entry::Special), _) => {
            return Err(Hitch::Refused(format!(
                "{from} is no regular file and stays as it is"
            )));
        }
        (Some(Entry::File | Entry::Link(_)) | None, _) => {}
    }
    make(from, to, workspace)
}
