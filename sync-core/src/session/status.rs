//! What a session knows of itself, without asking the store.

use super::{Direction, MountPath, Session};
use crate::{
    guard::Approval,
    mount::OpenMount,
    path::RelPath,
    plan::{
        self, Extent, IgnoreFiles, MountPlan, PlanError, PlanScope, Reading, RemoteSource, Turn,
        Wanted,
    },
    report::{Problem, ProblemKind},
    sqlite::Databases,
    status::{MountStatus, Status},
    store::Support,
};

impl Session {
    /// From the return of this on no database is changed here, or they are again. What is held is in the reports. Blocks
    /// while the files of a batch are published.
    pub fn set_databases(&self, databases: Databases) {
        for mount in &self.mounts {
            mount.set_databases(databases);
        }
    }

    /// The replicas, conflict copies and what the store does. Blocks on the file system.
    #[must_use]
    pub fn status(&self) -> Status {
        let mounts = self.mounts.iter().map(|mount| MountStatus {
            mount: mount.name.clone(),
            local: mount.root.path().display().to_string(),
            prefix: mount.prefix.to_string(),
            files: mount.baseline().known().unwrap_or_else(|error| {
                tracing::warn!(mount = mount.name, %error, "can't count the baseline");
                0
            }),
            aside: mount.aside(),
        });
        let remembered = |name: &str| {
            let values = self
                .mounts
                .iter()
                .filter_map(|mount| mount.baseline().value(name).ok().flatten());
            values.max()
        };
        Status {
            store: self.store.identity(),
            mounts: mounts.collect(),
            conflicts: self.conflicts(),
            capabilities: self.describe_store(),
            listing_order: self.listing_order(),
            last_pull: remembered(super::LAST_PULL),
            last_push: remembered(super::LAST_PUSH),
            ..Status::default()
        }
    }

    /// The reload groups that these problems keep at their last good version, in words.
    #[must_use]
    pub fn degraded(&self, problems: &[Problem]) -> Vec<String> {
        let group_of = |problem: &Problem| {
            let mount = self
                .mounts
                .iter()
                .find(|mount| mount.name == problem.mount)?;
            let path = RelPath::new(&problem.path).ok()?;
            mount.rules.rule_for(&path).group.clone()
        };
        let invalid = problems
            .iter()
            .filter(|problem| problem.kind == ProblemKind::Invalid);
        invalid
            .filter_map(|problem| {
                let group = group_of(problem)?;
                Some(format!("{group}: {}: {}", problem.path, problem.message))
            })
            .collect()
    }

    /// What differs from the last agreement and would be sent or deleted in the bucket, by mount and path. Asks nothing
    /// of the store; blocks on the file system.
    #[must_use]
    pub fn unsent(&self) -> Vec<MountPath> {
        let scope = PlanScope {
            extent: Extent::Whole,
            direction: Direction::Push,
            approval: Approval::Given,
            part_tasks: self.part_tasks,
            ignore_files: IgnoreFiles::InTurn,
            turn: Turn::First,
        };
        let mut unsent = Vec::new();
        for mount in &self.mounts {
            let mut add = |part: MountPlan| {
                unsent.extend(part.tasks.into_iter().map(|task| MountPath {
                    mount: mount.name.clone(),
                    path: task.observed.path,
                }));
            };
            if let Err(error) = plan_without_asking(mount, &scope, &mut add) {
                tracing::warn!(mount = mount.name, %error, "can't tell what is not sent");
            }
        }
        unsent
    }

    fn describe_store(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(found) = self.capabilities() {
            words.push(match found.conditional_put {
                Support::Yes => "conditional writes",
                Support::No => "no conditional writes: HEAD before each write",
            });
            words.push(match found.conditional_delete {
                Support::Yes => "conditional deletes",
                Support::No => "no conditional deletes: HEAD before each delete",
            });
        }
        words.into_iter().map(str::to_owned).collect()
    }
}

/// Plans a mount against what the baseline says of the bucket.
fn plan_without_asking(
    mount: &OpenMount,
    scope: &PlanScope,
    take: &mut dyn FnMut(MountPlan),
) -> Result<(), PlanError> {
    let reading = Reading::InOrder(mount.baseline().order());
    let source = vec![RemoteSource::Assumed];
    let conclusion = plan::plan(mount, scope, reading, source, &mut |part| {
        take(part);
        Wanted::More
    })?;
    take(conclusion.part);
    let mut deferred = conclusion.deferred;
    while let Some(part) = deferred.next_part(mount)? {
        take(part);
    }
    Ok(())
}
