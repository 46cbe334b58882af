//! The contract's lists of what travels and what doesn't, by runtime.

/// What no layout of a worker lets travel.
pub(crate) const NEVER: &[&str] = &[
    "credentials/matrix/password",
    ".agentteams-keep",
    "skills/.keep",
    "a/b/.gitkeep",
    ".openclaw/matrix/store.db",
    ".openclaw/canvas/x",
    ".agents/skills",
    ".cache/x",
    ".npm/x",
    ".local/x",
    ".mc/config.json",
    "a/b/c.lock",
    "c.lock",
    ".last-pull",
    "mcporter-servers.json",
    "memory/main.sqlite-wal",
];

/// What travels in every layout, whatever else it excludes.
pub(crate) const ALWAYS: &[&str] = &[
    "SOUL.md",
    "AGENTS.md",
    "HEARTBEAT.md",
    "MEMORY.md",
    "memory/2026-11-01.md",
    "notes/anything at all.txt",
    "blog/post.md",
    "catalogs.txt",
];

pub(crate) const COPAW_NEVER: &[&str] = &[
    ".copaw/custom_channels/matrix.py",
    ".copaw/active_skills/web/SKILL.md",
    "deep/down/active_skills/x",
    "tool/__pycache__/x.py",
    ".copaw/logs/x",
    "logs/x",
    ".copaw/config.json",
    ".copaw/providers.json",
    ".copaw/mcporter.json",
    ".qwenpaw/workspaces/default/shared/tasks/1/spec.md",
    ".qwenpaw/workspaces/default/global-shared/x",
    ".qwenpaw/workspaces/default/tool_result/x",
    ".qwenpaw/workspaces/default/file_store/x",
    ".qwenpaw/workspaces/default/media/x.png",
    ".qwenpaw/workspaces/default/embedding_cache/x",
    ".qwenpaw/workspaces/default/skills",
    ".qwenpaw/workspaces/default/skills/web/SKILL.md",
    ".DS_Store",
    "a/.DS_Store",
    "a/b.pyc",
    ".qwenpaw/qwenpaw.log",
    ".qwenpaw/heartbeat.json",
    ".qwenpaw/token_usage.json",
    ".copaw/AGENTS.md",
    ".copaw/SOUL.md",
    ".qwenpaw/AGENTS.md",
    ".qwenpaw/SOUL.md",
];

pub(crate) const COPAW_ALWAYS: &[&str] = &[
    ".copaw/sessions/1.json",
    ".copaw/jobs.json",
    ".copaw/workspaces/default/agent.json",
    ".qwenpaw/config.json",
    ".qwenpaw/workspaces/default/sessions/1.json",
    ".qwenpaw/workspaces/default/memory/x.md",
    ".qwenpaw/workspaces/other/media/x.png",
    "config.json",
    "providers.json",
    "custom_channels.md",
    "my.log",
    "active_skills",
];

pub(crate) const HERMES_NEVER: &[&str] = &[
    ".hermes/config.yaml",
    ".hermes/.env",
    ".hermes/platforms/matrix/x",
    ".hermes/matrix-nio-store/x",
    ".hermes/image_cache/x",
    ".hermes/audio_cache/x",
    ".hermes/document_cache/x",
    ".hermes/cache/x",
    ".hermes/logs/x",
    "cache/x",
    ".hermes/state.db-journal",
    ".hermes/state.db-wal",
    ".hermes/state.db-shm",
    ".hermes/AGENTS.md",
    ".hermes/SOUL.md",
];

pub(crate) const HERMES_ALWAYS: &[&str] = &[
    ".hermes/state.db",
    ".hermes/sessions/1.json",
    ".hermes/skills/mine/SKILL.md",
    ".hermes/memories/MEMORY.md",
    "config.yaml",
    ".env",
    ".copaw/AGENTS.md",
    "__pycache__/x.py",
];
