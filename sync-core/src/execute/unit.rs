//! Reload units while they are carried out: all of a unit is published back to back, or nothing of it.
//!
//! Owns which unit waits and why, what a candidate is asked before it is published, and the order in a unit. A unit of which
//! one file could not be staged, or isn't accepted, stays as it was, deletes included, and nothing of it is recorded: the
//! next pass tries all of it again.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    fs::File,
    io::Read as _,
    sync::{Arc, PoisonError},
};

use rustix::fs::{Mode, OFlags};

use super::{
    Context, Failure, Outcome,
    incoming::{Kind, Prepared, Publication},
};
use crate::{
    layout::ReloadUnit, local::LocalKind, merge, path::RelPath, plan::Task, reconcile::Decision,
    report::ProblemKind, stage::StagedTree, validate::Candidate,
};

/// The group whose JSON files have to be objects.
const CONFIG: &str = "config";
/// Larger documents than this are no configuration.
const MAX_DOCUMENT_BYTES: u64 = 64 * 1024 * 1024;

/// The unit that a task is part of.
pub(super) fn unit_of(context: &Context, task: &Task) -> Option<ReloadUnit> {
    task.handling.group.as_ref()?;
    let path = &task.observed.path;
    context.mount.rules.rule_for(path).unit_of(path)
}

/// The deletes that may be done: those of a unit that isn't published wait with it. In a unit what is nearest to its top goes
/// first, in the reverse of the order of coming: a skill without its document is none.
pub(super) fn deletes(context: &Context, mut tasks: Vec<Task>) -> Vec<Task> {
    let withheld = context
        .withheld
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    tasks.retain(|task| {
        task.decision != Decision::DeleteLocal
            || !unit_of(context, task).is_some_and(|unit| withheld.contains(&unit))
    });
    drop(withheld);
    tasks.sort_by_cached_key(|task| {
        let unit = unit_of(context, task)?;
        let path = task.observed.path.clone();
        Some((unit, depth(&path), path))
    });
    tasks
}

/// What is staged of units that are not complete.
pub(super) struct Staging {
    /// How many files of each are still to be staged, and those that are.
    units: BTreeMap<ReloadUnit, (usize, Vec<Prepared>)>,
}

impl Staging {
    /// For all tasks that are to be staged.
    pub(super) fn of(context: &Context, tasks: &[Task]) -> Self {
        let mut units: BTreeMap<ReloadUnit, (usize, Vec<Prepared>)> = BTreeMap::new();
        for unit in tasks.iter().filter_map(|task| unit_of(context, task)) {
            units.entry(unit).or_default().0 += 1;
        }
        Self { units }
    }

    /// Takes a file of a unit. Gives what may be published, or what is to be said, when it was the last one.
    pub(super) async fn take(
        &mut self,
        context: &Arc<Context>,
        unit: ReloadUnit,
        file: Prepared,
    ) -> Vec<Prepared> {
        let (missing, files) = self.units.entry(unit.clone()).or_default();
        files.push(file);
        *missing = missing.saturating_sub(1);
        if *missing > 0 {
            return Vec::new();
        }
        let (_, files) = self.units.remove(&unit).unwrap_or_default();
        judge(context, &unit, files).await
    }

    /// The pass ends before the others are complete: they are withheld. Gives what is to be said of their files.
    pub(super) fn broken_off(self, context: &Context) -> Vec<Prepared> {
        let mut said = Vec::new();
        for (unit, (_, files)) in self.units {
            let (_, mut others) = split(files);
            obstacle(&mut others, &unit);
            said.extend(others);
            context.withhold(unit);
        }
        said
    }
}

impl Context {
    fn withhold(&self, unit: ReloadUnit) {
        let mut withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        withheld.insert(unit);
    }
}

/// What is to be published, and the rest.
fn split(files: Vec<Prepared>) -> (Vec<Publication>, Vec<Prepared>) {
    let (mut publications, mut others) = (Vec::new(), Vec::new());
    for file in files {
        match file {
            Prepared::Publish(publication) => publications.push(*publication),
            Prepared::NewDirectory(..)
            | Prepared::KeepRemote(..)
            | Prepared::Overtaken(_)
            | Prepared::Finished(_) => others.push(file),
        }
    }
    (publications, others)
}

/// Publishes a unit, or withholds it.
async fn judge(context: &Arc<Context>, unit: &ReloadUnit, files: Vec<Prepared>) -> Vec<Prepared> {
    let (publications, mut others) = split(files);
    let mut obstacle = obstacle(&mut others, unit);
    if obstacle == Obstacle::None {
        let refused = refused(context, unit, &publications).await;
        if !refused.is_empty() {
            obstacle = Obstacle::Final;
        }
        let problems = refused.into_iter().map(|(path, message)| {
            let message = told(&message, unit);
            let problem = context.problem(&path, ProblemKind::Invalid, message);
            Prepared::Finished(Outcome::Problem(problem))
        });
        others.extend(problems);
    }
    match obstacle {
        Obstacle::None => {
            let mut withheld = context
                .withheld
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            withheld.remove(unit);
            others.extend(in_order(unit, publications, &others));
        }
        Obstacle::Final => context.withhold(unit.clone()),
        Obstacle::Stale => {
            context.withhold(unit.clone());
            let stale = publications.into_iter().map(|publication| publication.path);
            others.extend(stale.map(|path| Prepared::Finished(Outcome::Stale(path))));
        }
    }
    others
}

/// What keeps a unit from being published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    None,
    /// One of its paths changed meanwhile: all of it is decided anew.
    Stale,
    /// Nothing of it is published in this pass.
    Final,
}

/// What the files that could not be staged mean for their unit, which is added to what is said of them.
fn obstacle(others: &mut [Prepared], unit: &ReloadUnit) -> Obstacle {
    let mut found = Obstacle::None;
    for other in others {
        match other {
            Prepared::Finished(Outcome::Problem(problem) | Outcome::Unfinished(problem, _)) => {
                problem.message = told(&problem.message, unit);
                found = Obstacle::Final;
            }
            Prepared::Finished(Outcome::Held(held)) => {
                held.reason = told(&held.reason, unit);
                found = Obstacle::Final;
            }
            Prepared::Finished(Outcome::Stale(_)) if found == Obstacle::None => {
                found = Obstacle::Stale;
            }
            Prepared::Finished(Outcome::Stale(_) | Outcome::Done { .. })
            | Prepared::Publish(_)
            | Prepared::NewDirectory(..)
            | Prepared::KeepRemote(..)
            | Prepared::Overtaken(_) => {}
        }
    }
    found
}

fn told(message: &str, unit: &ReloadUnit) -> String {
    format!("{message}; nothing of {unit} is published")
}

/// A directory that is wholly new comes by one rename. Else what is new comes before what is replaced, and what is nearest to
/// the top last, names in capitals behind others: when a skill's SKILL.md changes, the files that it speaks of are there.
fn in_order(
    unit: &ReloadUnit,
    mut publications: Vec<Publication>,
    others: &[Prepared],
) -> Vec<Prepared> {
    publications.sort_by_cached_key(|publication| {
        let place = (depth(&publication.path), publication.path.clone());
        (publication.expected.is_some(), Reverse(place))
    });
    let all_new = publications.iter().all(|file| file.expected.is_none());
    if let Some(directory) = &unit.directory
        && all_new
        && others.is_empty()
    {
        return vec![Prepared::NewDirectory(directory.clone(), publications)];
    }
    let publications = publications.into_iter().map(Box::new);
    publications.map(Prepared::Publish).collect()
}

fn depth(path: &RelPath) -> usize {
    path.components().count()
}

/// The candidates of a unit that may not be published, and why.
async fn refused(
    context: &Arc<Context>,
    unit: &ReloadUnit,
    publications: &[Publication],
) -> Vec<(RelPath, String)> {
    let mut refused = Vec::new();
    if unit.group == CONFIG {
        for publication in publications.iter().filter(|file| is_document(&file.path)) {
            if let Err(why) = check_document(context, publication) {
                refused.push((publication.path.clone(), why));
            }
        }
    }
    let validator = context.validator.as_ref();
    let Some(validator) = validator.filter(|validator| validator.wants(&unit.group)) else {
        return refused;
    };
    let broken: HashSet<_> = refused.iter().map(|(path, _)| path.clone()).collect();
    for publication in publications {
        // A link is no version of anything: what it leads to is not ours to show.
        if broken.contains(&publication.path) || publication.staged.kind() != LocalKind::File {
            continue;
        }
        let answer = match show(context, unit, publication) {
            Ok((candidate, _shown)) => validator.validate(&candidate).await,
            Err(why) => Err(why),
        };
        if let Err(why) = answer {
            refused.push((publication.path.clone(), why));
        }
    }
    refused
}

/// Shows a staged file under its own name, for as long as the tree lives.
fn show(
    context: &Context,
    unit: &ReloadUnit,
    publication: &Publication,
) -> Result<(Candidate, StagedTree), String> {
    let failed = |error: crate::root::LocalError| error.to_string();
    let tree = StagedTree::create(&context.mount.root).map_err(failed)?;
    let path = &publication.path;
    let file = tree.show(&publication.staged, path).map_err(failed)?;
    let candidate = Candidate {
        group: unit.group.clone(),
        mount: context.mount.name.clone(),
        path: path.clone(),
        file,
    };
    Ok((candidate, tree))
}

fn is_document(path: &RelPath) -> bool {
    let (_, extension) = path.file_name().rsplit_once('.').unwrap_or_default();
    ["json", "json5"].contains(&extension)
}

/// A merged document is an object already.
fn check_document(context: &Context, publication: &Publication) -> Result<(), String> {
    if publication.kind == Kind::Merge {
        return Ok(());
    }
    let open = || -> std::io::Result<String> {
        let staging = context.mount.root.staging();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let name = publication.staged.name();
        let file = rustix::fs::openat(staging, name, flags, Mode::empty())?;
        let mut text = String::new();
        let file = File::from(file);
        file.take(MAX_DOCUMENT_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = open().map_err(|error| format!("it can't be read as text: {error}"))?;
    match merge::value(&text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no JSON object: {error}")),
    }
}

/// A directory could not be put in its place: what is said of each of its files.
pub(super) fn failed_directory(
    context: &Context,
    path: &RelPath,
    error: &crate::root::LocalError,
) -> Result<Outcome, super::ExecuteError> {
    let failure = Failure::Problem(ProblemKind::Io, error.to_string());
    context.outcome(path, failure)
}
