//! `demo`: the whole main job on this machine, told as it happens.
//!
//! Owns the story: an embedded store, a seeded agent, this very program as its entrypoint, edits on both sides, a hot
//! reload, a clean stop. Every step is observed from outside, through the bucket and the files, and the demo fails
//! where an observation doesn't come. Never touches anything outside its own directory.

mod stage;

use std::{path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::Args;

use self::stage::{Stage, say};

/// Arguments of `demo`.
#[derive(Debug, Clone, Default, Args)]
pub struct DemoArguments {
    /// Keep everything in this directory instead of a temporary one
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Stop after the tour instead of waiting for Ctrl-C
    #[arg(long)]
    pub once: bool,
}

/// Runs the tour. `command` replaces the stand-in runtime.
pub async fn run(arguments: DemoArguments, command: Vec<String>) -> anyhow::Result<()> {
    let once = arguments.once || !std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut stage = Stage::set(arguments.keep, command).await?;
    say(
        "1. The bucket holds what a controller seeds for an agent named alice: configuration, SOUL.md, AGENTS.md, a skill.",
    );
    stage.start()?;
    let took = stage.until("the runtime runs", Stage::runtime_runs).await?;
    say(&format!(
        "2. worker-entrypoint pulled it, prepared the workspace and started the runtime, {took:.1?} after its own start."
    ));

    stage.write_local("results/report.md", "# Report\n\nDone.\n")?;
    let took = stage
        .until_object("results/report.md", "# Report\n\nDone.\n")
        .await?;
    say(&format!(
        "3. The agent wrote results/report.md; {took:.1?} later it was in the bucket."
    ));

    stage
        .put("openclaw.json", &stage::configuration("model-two"))
        .await?;
    stage.ask_for_pull()?;
    let took = stage
        .until("the new model is live", |stage| {
            stage.runtime_uses("model-two")
        })
        .await?;
    say(&format!(
        "4. The controller changed the model in openclaw.json; {took:.1?} after the pull was asked for the runtime used it."
    ));
    ensure!(
        stage.local("openclaw.json")?.contains("kept-by-the-agent"),
        "the merge lost the agent's own field"
    );
    say("   The agent's own fields are still there: the file was merged, not replaced.");

    stage.put("skills/translate/SKILL.md", stage::SKILL).await?;
    stage.ask_for_pull()?;
    let took = stage
        .until("the skill is there", |stage| {
            stage
                .local("skills/translate/SKILL.md")
                .is_ok_and(|text| text == stage::SKILL)
        })
        .await?;
    say(&format!(
        "5. The controller added a skill; {took:.1?} later the agent had it."
    ));

    if !once {
        stage.invite();
        stage.until_interrupted().await;
    }
    stage.write_local("memory/last-words.md", "written a moment before the stop\n")?;
    let (status, took) = stage.stop().await?;
    ensure!(status.success(), "the worker ended with {status}");
    stage
        .until_object("memory/last-words.md", "written a moment before the stop\n")
        .await?;
    say(&format!(
        "6. SIGTERM: the runtime stopped, the edit made a moment before was sent, exit code 0, in {took:.1?}."
    ));
    stage.leave();
    Ok(())
}

/// How long the demo waits for anything.
const PATIENCE: Duration = Duration::from_secs(90);
