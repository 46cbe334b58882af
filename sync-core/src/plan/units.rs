//! Keeps what comes in for a reload unit in one part of the plan: the files of a unit are published together, and a part is
//! carried out before the next one is made.
//!
//! What is below a directory comes in a row, so one directory waits at a time. The rest of a group may lie anywhere and waits
//! for the end. What waits is therefore no more than the largest unit that changed.

use super::Task;
use crate::layout::ReloadUnit;

/// Tasks whose unit may not be complete.
#[derive(Debug, Default)]
pub(super) struct Units {
    directory: Option<(ReloadUnit, Vec<Task>)>,
    others: Vec<Task>,
}

impl Units {
    /// Takes a task; what is complete now goes to `part`.
    pub(super) fn add(&mut self, unit: ReloadUnit, task: Task, part: &mut Vec<Task>) {
        if unit.directory.is_none() {
            return self.others.push(task);
        }
        match &mut self.directory {
            Some((current, tasks)) if *current == unit => tasks.push(task),
            _ => {
                let before = self.directory.replace((unit, vec![task]));
                part.extend(before.into_iter().flat_map(|(_, tasks)| tasks));
            }
        }
    }

    /// Everything was seen: all of it goes to `part`.
    pub(super) fn finish(&mut self, part: &mut Vec<Task>) {
        let Self { directory, others } = std::mem::take(self);
        part.extend(directory.into_iter().flat_map(|(_, tasks)| tasks));
        part.extend(others);
    }
}
