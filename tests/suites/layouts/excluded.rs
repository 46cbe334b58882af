//! What each layout lets cross in neither direction, by the contract.

use anyhow::Result;
use testkit::{Cli, Store, agent, tree};

/// What each layout excludes, as the contract lists it.
const EXCLUDED: &[(&str, &[&str])] = &[
    (
        "openclaw",
        &[
            ".openclaw/matrix/x",
            ".openclaw/canvas/x",
            "credentials/x",
            ".agents/x",
            ".cache/x",
            ".npm/x",
            ".local/x",
            ".mc/x",
            "deep/x.lock",
            ".last-pull",
            "skills/.gitkeep",
        ],
    ),
    (
        "copaw",
        &[
            "credentials/x",
            "a/custom_channels/x",
            ".copaw/active_skills/x/y",
            "a/__pycache__/x",
            "logs/x",
            ".copaw/config.json",
            ".copaw/providers.json",
            ".copaw/mcporter.json",
            ".DS_Store",
            "a/b.pyc",
            ".qwenpaw/workspaces/default/media/x",
            ".copaw/heartbeat.json",
            "token_usage.json",
            "a.lock",
        ],
    ),
    (
        "qwenpaw",
        &[
            ".qwenpaw/workspaces/default/shared/x",
            ".qwenpaw/workspaces/default/global-shared/x",
            ".qwenpaw/workspaces/default/tool_result/x",
            ".qwenpaw/workspaces/default/file_store/x",
            ".qwenpaw/workspaces/default/media/x",
            ".qwenpaw/workspaces/default/embedding_cache/x",
            ".qwenpaw/workspaces/default/skills/x/SKILL.md",
            "a/qwenpaw.log",
            "credentials/x",
        ],
    ),
    (
        "hermes",
        &[
            ".hermes/config.yaml",
            ".hermes/.env",
            ".hermes/platforms/x",
            ".hermes/matrix-nio-store/x",
            "image_cache/x",
            ".hermes/audio_cache/x",
            ".hermes/document_cache/x",
            ".hermes/cache/x",
            ".hermes/logs/x",
            "a.db-journal",
            ".hermes/a.db-wal",
            ".hermes/a.db-shm",
            "credentials/x",
        ],
    ),
    (
        "openhuman",
        &["config.toml", "agent-config/x", "credentials/x"],
    ),
    (
        "openclaw-runner",
        &["tasks.db-wal", ".env", "logs/x", "credentials/x"],
    ),
    (
        "clawster",
        &[
            "config/secrets.json",
            "logs/x",
            "a/__pycache__/x",
            "credentials/x",
        ],
    ),
    ("clawmatrix", &[".openclaw/matrix/x", "credentials/x"]),
];

pub(crate) async fn what_the_contract_excludes_crosses_in_neither_direction(
    store: &'static Store,
) -> Result<()> {
    for (layout, paths) in EXCLUDED {
        let bucket = store.create_bucket().await?;
        let cli = Cli::new(&bucket)?.option("--layout", layout);
        for path in *paths {
            bucket.put(&agent::key(path), "theirs").await?;
            bucket
                .put(&agent::key(&format!("{path}.there/x")), "there")
                .await?;
            tree::write(&cli.workspace(), path, "ours")?;
            tree::write(
                &cli.workspace(),
                &format!("notes/{}", path.replace('/', "-")),
                "note",
            )?;
        }
        cli.ok(&["sync"]).await?;
        // Nothing known of them either: a second look, deletes on one side.
        if let Some(first) = paths.first() {
            std::fs::remove_file(cli.workspace().join(first))?;
        }
        cli.ok(&["sync"]).await?;
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(
                bucket.text(&agent::key(path)).await?,
                "theirs",
                "{layout}: {path} was sent"
            );
            let ours = tree::text(&cli.workspace(), path).ok();
            let expected = (number > 0).then_some("ours");
            assert_eq!(ours.as_deref(), expected, "{layout}: {path} was brought");
        }
        let notes = bucket.keys(&agent::key("notes/")).await?;
        assert!(!notes.is_empty(), "{layout}: the rest travels");
    }
    Ok(())
}
