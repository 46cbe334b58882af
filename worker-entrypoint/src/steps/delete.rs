//! `delete`: what must not survive a restart.

use sync_core::layout::Glob;

use super::{Hitch, Outcome};
use crate::workspace::{Descend, Workspace};

/// Removes whatever matches, directories with everything in them; links themselves, never what they lead to.
pub(super) fn run(paths: &[Glob], workspace: &Workspace) -> Result<Outcome, Hitch> {
    let mut outcome = Outcome::Nothing;
    for glob in paths {
        let mut found = Vec::new();
        if let Some(path) = glob.literal() {
            found.extend(workspace.look(&path)?.map(|_| path));
        } else {
            workspace.walk(glob.directory().as_ref(), &mut |path, _| {
                if glob.is_match(path) {
                    found.push(path.clone());
                    Descend::Pass
                } else {
                    Descend::Enter
                }
            })?;
        }
        for path in found {
            tracing::debug!(%path, "removed");
            workspace.remove(&path)?;
            outcome = Outcome::Done;
        }
    }
    Ok(outcome)
}
