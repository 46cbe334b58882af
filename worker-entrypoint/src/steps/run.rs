//! `run`: a command of the layout.

use std::time::Duration;

use sync_core::layout::RunStep;

use super::{Hitch, Outcome, StepContext};
use crate::{
    command::{self, Output},
    workspace::{Descend, Workspace, WorkspaceError},
};

/// A step must not hold the startup up for ever.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs the command if its conditions hold.
pub(super) async fn run(step: &RunStep, context: &StepContext) -> Result<Outcome, Hitch> {
    if !is_wanted(step, &context.workspace)? {
        return Ok(Outcome::Nothing);
    }
    command::run(&step.command, &context.place, LIMIT, Output::Log).await?;
    Ok(Outcome::Done)
}

fn is_wanted(step: &RunStep, workspace: &Workspace) -> Result<bool, WorkspaceError> {
    if let Some(file) = &step.when_file
        && workspace.look(file)?.is_none()
    {
        return Ok(false);
    }
    let Some(directory) = &step.when_empty else {
        return Ok(true);
    };
    let mut empty = true;
    workspace.walk(Some(directory), &mut |path, _| {
        let names = &step.when_empty_except;
        empty &= names.iter().any(|name| name == path.file_name());
        Descend::Pass
    })?;
    Ok(empty)
}
