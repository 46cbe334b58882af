//! What a pass carries from inner files to outer ones before it looks at a mount.
//!
//! Every pass does it, whatever its direction: a version that comes from the bucket is then compared with the agent's edit
//! and not with the version that the edit replaces.

use std::sync::Arc;

use super::{LAST_PULL, Session, SessionError};
use crate::{
    execute::carry::{self, Carried},
    layout::Carry,
    mount::OpenMount,
    path::RelPath,
    plan::{Direction, Extent, PlanScope},
    report::Report,
    root::RootState,
};

impl Session {
    /// Carries what `scope` touches and adds to it what is new because of that. Gives the inner files to try again later.
    pub(super) async fn carry(
        &self,
        mount: &Arc<OpenMount>,
        scope: &mut PlanScope,
        report: &mut Report,
    ) -> Result<Vec<RelPath>, SessionError> {
        if mount.rules.carries().is_empty() || mount.root.state() == RootState::Gone {
            return Ok(Vec::new());
        }
        let touched: Vec<Carry> = mount
            .rules
            .carries()
            .iter()
            .filter(|carry| touches(&scope.extent, carry))
            .cloned()
            .collect();
        let direction = scope.direction;
        let mount = mount.clone();
        let carried = tokio::task::spawn_blocking(move || {
            let ready = may_create(&mount, direction)?;
            let there = |carry: &&Carry| ready || matches!(mount.root.look(&carry.to), Ok(Some(_)));
            carry::run(&mount, touched.iter().filter(there))
        })
        .await??;
        let Carried {
            changed,
            conflicts,
            problems,
            unfinished,
        } = carried;
        report.conflicts.extend(conflicts);
        report.problems.extend(problems);
        if let Extent::Paths(paths) = &mut scope.extent {
            let all = std::mem::take(paths).into_iter().chain(changed);
            scope.extent = super::pass::extent(all.collect());
        }
        Ok(unfinished)
    }
}

/// Whether an outer file may be made. Before the first pull nobody knows whether the bucket has one; a push finds out by
/// its precondition.
fn may_create(
    mount: &OpenMount,
    direction: Direction,
) -> Result<bool, crate::baseline::BaselineError> {
    Ok(direction == Direction::Push || mount.baseline().value(LAST_PULL)?.is_some())
}

fn touches(extent: &Extent, carry: &Carry) -> bool {
    match extent {
        Extent::Whole => true,
        Extent::Paths(paths) => paths.iter().any(|path| {
            let mut files = carry.from.iter().chain([&carry.to]);
            files.any(|file| file.is_under(path))
        }),
    }
}
