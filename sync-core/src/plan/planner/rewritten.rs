//! Objects that are known already: written again as they were, or found to be nothing that can be made here.

use super::Planner;
use crate::{
    baseline::{Row, RowChange, Written},
    join::Observed,
    layout::SyncMode,
    plan::{Direction, Handling, Task},
    reconcile::Decision,
    report::{Problem, ProblemKind},
};

impl Planner<'_> {
    /// An object that was written again with the same content may have other attributes. Where nothing is known of its
    /// time it is remembered now.
    pub(super) fn note_rewritten(&mut self, observed: &Observed, handling: &Handling) {
        let (Some(row), Some(remote)) = (&observed.baseline, &observed.remote) else {
            return;
        };
        let now = &remote.version;
        let same = |before: &&crate::baseline::RemoteVersion| before.etag == now.etag;
        let Some(before) = row.remote.as_ref().filter(same) else {
            return;
        };
        let policy = handling.policy;
        let wanted = policy.sync.pulls()
            && policy.sync != SyncMode::Merge
            && self.scope.direction != Direction::Push
            && observed.local.is_some()
            && row.local.is_some();
        if before.was_rewritten(now) && wanted {
            self.part.rewritten.push(Task {
                observed: observed.clone(),
                decision: Decision::Nothing,
                handling: handling.clone(),
                reason: "written again in the bucket".to_owned(),
            });
        } else if before.written == Written::Unknown && now.written != Written::Unknown {
            let remote = Some(now.clone());
            let row = Row {
                remote,
                ..row.clone()
            };
            self.part.row_changes.push(RowChange::Record(row));
        }
    }

    /// An object that was found to be no link that may be made here is not brought again.
    pub(super) fn was_refused(&mut self, observed: &Observed) -> bool {
        let remote = observed.remote.as_ref();
        let Some(message) = remote.and_then(|remote| self.mount.refusal(remote)) else {
            return false;
        };
        self.tally.borrow_mut().add(Problem {
            mount: self.mount.name.clone(),
            path: observed.path.to_string(),
            kind: ProblemKind::Unsupported,
            message,
        });
        true
    }
}
