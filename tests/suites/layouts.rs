//! Every layout's runtime, as a stand-in in the place of the real program: started with the real command line, told of a
//! changed configuration and changed skills in its way, its agent's edits brought out, stopped.

#[path = "layouts/excluded.rs"]
mod excluded;

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::json;
use testkit::stub::{Reply, Stub};
use testkit::{Bucket, Cli, PATIENCE, Store, Worker, agent, on_store, tools, tree, wait_until};

use self::excluded::what_the_contract_excludes_crosses_in_neither_direction;

on_store!(
    embedded,
    Embedded,
    openclaw,
    copaw,
    qwenpaw,
    hermes,
    openhuman,
    manager,
    openclaw_runner,
    clawster,
    clawmatrix,
    what_the_contract_excludes_crosses_in_neither_direction,
    keys_are_shown_by_nobody,
    an_unknown_runtime_is_answered_with_those_that_exist,
);

/// One layout and what is to be seen of it.
struct Case {
    layout: &'static str,
    /// Where the stand-in is put.
    program: &'static str,
    /// What the stand-in does first, as the real program's bridge would.
    prelude: &'static str,
    /// The command line; `{…}` stand for what the test knows.
    command: &'static str,
    /// Variables and their values, likewise.
    variables: &'static [(&'static str, &'static str)],
    /// The key of its configuration, what it becomes, and whether the runtime is started again for it.
    config: (&'static str, &'static str, Restarts),
    /// A file that holds the changed skill, once the runtime was told.
    skill: &'static str,
    /// Whether the probe is expected to find the runtime ready.
    ready: Ready,
    /// Inner files and the outer ones that their edits are carried to.
    carried: &'static [(&'static str, &'static str)],
    prefix: &'static str,
    /// What else is to be seen of a started worker.
    also: fn(&Worker) -> Result<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Restarts {
    Yes,
    No,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ready {
    Yes,
    /// Its port is fixed, and tests run beside each other.
    NotLooked,
}

/// A new model in openclaw.json.
const CONFIG: &str = r#"{"gateway": {"mode": "local", "bind": "loopback", "port": 18789}, "models": {"providers": {"new": {}}}}"#;
const SKILL: &str = "---\nname: greet\ndescription: Says hello, differently.\n---\n";

impl Case {
    const OPENCLAW: Self = Self {
        layout: "openclaw",
        program: "openclaw",
        prelude: "",
        command: "{bin}/openclaw gateway run --verbose --force",
        variables: &[
            ("HOME", "{workspace}"),
            ("OPENCLAW_STATE_DIR", "{workspace}/.openclaw"),
        ],
        config: ("openclaw.json", CONFIG, Restarts::No),
        skill: "skills/greet/SKILL.md",
        ready: Ready::NotLooked,
        carried: &[],
        prefix: "agents/alice/",
        also: |_| Ok(()),
    };

    async fn run(self, store: &'static Store) -> Result<()> {
        if self.program.starts_with('/') && !tools::own_mounts_or_skip()? {
            return Ok(());
        }
        let bucket = store.create_bucket().await?;
        self.seed(&bucket).await?;
        let console = Stub::start().await?;
        console.on(
            "GET",
            "/api/version",
            Reply::json(200, &json!({"version": "2.2.0"})),
        );
        let mut worker = self.start(&bucket, &console).await?;
        self.check_start(&worker, &bucket, &console)?;
        (self.also)(&worker)?;
        self.change_config(&worker, &bucket).await?;
        self.change_skill(&worker, &bucket).await?;
        self.edit_inside(&worker, &bucket).await?;
        assert_eq!(worker.stop().await?, 0, "{}", worker.log());
        let last = bucket.text(&self.key("last-words.md")).await?;
        assert_eq!(last, "last words\n");
        assert!(
            !worker.log().contains(bucket.secret_key()),
            "{}",
            worker.log()
        );
        Ok(())
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    async fn seed(&self, bucket: &Bucket) -> Result<()> {
        agent::seed(bucket).await?;
        if self.prefix != Self::OPENCLAW.prefix {
            for path in agent::PULLED {
                let content = bucket.text(&agent::key(path)).await?;
                bucket.put(&self.key(path), content).await?;
            }
        }
        bucket
            .put(
                &self.key("runtime/runtime.yaml"),
                "member: {runtime: qwenpaw}\n",
            )
            .await?;
        bucket.put(&self.key("config/config.json"), "{}").await?;
        Ok(())
    }

    async fn start(&self, bucket: &Bucket, console: &Stub) -> Result<Worker> {
        let port = console
            .url()
            .rsplit(':')
            .next()
            .context("a port")?
            .to_owned();
        let builder = Worker::builder(bucket)?
            .env("HICLAW_WORKER_RUNTIME", self.layout)
            .env("HICLAW_CONSOLE_PORT", &port)
            .env("HICLAW_WORKER_CR_NAME", "cr-alice")
            .env("WORKER_TOKEN", "runnerToken0123456789")
            .env("HICLAW_WORKER_ROOM_ID", "!r:x")
            .env("MATRIX_ALLOWED_USERS", "@a:x,@b:x")
            .env("HICLAW_AI_GATEWAY_URL", "http://gateway:8080")
            .env("HICLAW_WORKER_GATEWAY_KEY", "gatewayKey0123456789")
            .as_program(self.program, self.prelude);
        if self.program.is_empty() {
            let script = builder.program_text(self.prelude)?;
            bucket.put(&self.key("start-node.sh"), script).await?;
        }
        let worker = builder.start()?;
        worker.wait_for_runtime().await?;
        Ok(worker)
    }

    fn check_start(&self, worker: &Worker, bucket: &Bucket, console: &Stub) -> Result<()> {
        let runtime = worker.runtime()?;
        let port = console
            .url()
            .rsplit(':')
            .next()
            .context("a port")?
            .to_owned();
        let bin = worker.root().parent().context("a directory")?.join("bin");
        let fill = |text: &str| {
            [
                ("{workspace}", worker.workspace().display().to_string()),
                ("{root}", worker.root().display().to_string()),
                ("{bin}", bin.display().to_string()),
                ("{endpoint}", bucket.endpoint().to_owned()),
                ("{key}", bucket.access_key().to_owned()),
                ("{secret}", bucket.secret_key().to_owned()),
                ("{bucket}", bucket.name().to_owned()),
                ("{port}", port.clone()),
            ]
            .into_iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(name, &value)
            })
        };
        assert_eq!(runtime.arguments().join(" "), fill(self.command));
        for (name, value) in self.variables {
            assert_eq!(runtime.variable(name), Some(fill(value)), "{name}");
        }
        assert_eq!(
            runtime.working_directory(),
            worker.workspace().display().to_string()
        );
        Ok(())
    }

    async fn change_config(&self, worker: &Worker, bucket: &Bucket) -> Result<()> {
        if self.ready == Ready::Yes {
            worker.wait_for_log("the runtime is ready").await?;
        }
        let (path, content, restarts) = self.config;
        bucket.put(&self.key(path), content).await?;
        worker.signal(Signal::HUP)?;
        let changed = || {
            let text = tree::text(&worker.workspace(), path).unwrap_or_default();
            text.contains("\"new\"")
        };
        wait_until("the configuration", PATIENCE, changed)
            .await
            .with_context(|| worker.log())?;
        let runtime = worker.runtime()?;
        match restarts {
            Restarts::Yes => runtime
                .wait_for_start(2, PATIENCE)
                .await
                .with_context(|| worker.log()),
            Restarts::No => {
                worker.wait_for_log("reload").await?;
                assert_eq!(runtime.starts(), 1);
                Ok(())
            }
        }
    }

    async fn change_skill(&self, worker: &Worker, bucket: &Bucket) -> Result<()> {
        let starts = worker.runtime()?.starts();
        bucket
            .put(&self.key("skills/greet/SKILL.md"), SKILL)
            .await?;
        worker.signal(Signal::HUP)?;
        let told = || tree::holds(&worker.workspace(), self.skill, SKILL);
        wait_until("the skill", PATIENCE, told)
            .await
            .with_context(|| worker.log())?;
        assert_eq!(
            worker.runtime()?.starts(),
            starts,
            "a skill needs no restart"
        );
        Ok(())
    }

    async fn edit_inside(&self, worker: &Worker, bucket: &Bucket) -> Result<()> {
        for (inner, outer) in self.carried {
            let edit = format!("edited as {inner}\n");
            tree::write(&worker.workspace(), inner, &edit)?;
            testkit::wait_for("the edit", PATIENCE, async || {
                Ok(bucket.text(&self.key(outer)).await? == edit)
            })
            .await
            .with_context(|| worker.log())?;
            assert!(
                bucket.get(&self.key(inner)).await?.is_none(),
                "{inner} travelled itself"
            );
            // What the bridge then does changes nothing.
            tree::write(&worker.workspace(), inner, &edit)?;
            assert_eq!(bucket.text(&self.key(outer)).await?, edit);
        }
        Ok(())
    }
}

async fn openclaw(store: &'static Store) -> Result<()> {
    Case::OPENCLAW.run(store).await
}

async fn copaw(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "copaw",
        program: "/opt/venv/copaw/bin/copaw-worker",
        prelude: "mkdir -p .copaw && echo '{\"channels\": {}}' >.copaw/config.json && cp AGENTS.md SOUL.md .copaw/",
        command: "/opt/venv/copaw/bin/copaw-worker --name alice --fs {endpoint} --fs-key {key} --fs-secret {secret} \
            --fs-bucket {bucket} --install-dir {root}/agents --console-port {port}",
        variables: &[
            ("HOME", "{workspace}"),
            ("COPAW_WORKING_DIR", "{workspace}/.copaw"),
        ],
        config: ("openclaw.json", CONFIG, Restarts::Yes),
        ready: Ready::Yes,
        carried: &[
            (".copaw/AGENTS.md", "AGENTS.md"),
            (".copaw/SOUL.md", "SOUL.md"),
            (".qwenpaw/SOUL.md", "SOUL.md"),
        ],
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn qwenpaw(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "qwenpaw",
        program: "/opt/venv/qwenpaw/bin/qwenpaw-worker",
        prelude: "mkdir -p .qwenpaw/workspaces/default/skills/greet",
        command: "/opt/venv/qwenpaw/bin/qwenpaw-worker --name alice --cr-name cr-alice --fs {endpoint} --fs-key {key} \
            --fs-secret {secret} --fs-bucket {bucket} --install-dir {root}/agents --console-port {port}",
        variables: &[
            ("QWENPAW_WORKING_DIR", "{workspace}/.qwenpaw"),
            ("AGENT_WORKSPACE", "{workspace}/.qwenpaw/workspaces/default"),
            ("QWENPAW_LOG_LEVEL", "info"),
        ],
        config: ("openclaw.json", CONFIG, Restarts::Yes),
        skill: ".qwenpaw/workspaces/default/skills/greet/SKILL.md",
        ready: Ready::Yes,
        carried: &[
            (".copaw/AGENTS.md", "AGENTS.md"),
            (".qwenpaw/AGENTS.md", "AGENTS.md"),
            (".qwenpaw/SOUL.md", "SOUL.md"),
        ],
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn hermes(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "hermes",
        program: "/opt/venv/hermes/bin/hermes-worker",
        prelude: "mkdir -p .hermes && printf 'model: {}\\nmatrix: {}\\n' >.hermes/config.yaml && cp AGENTS.md SOUL.md .hermes/",
        command: "/opt/venv/hermes/bin/hermes-worker --name alice --fs {endpoint} --fs-key {key} --fs-secret {secret} \
            --fs-bucket {bucket} --install-dir {root}/agents",
        variables: &[
            ("HERMES_HOME", "{workspace}/.hermes"),
            ("HERMES_YOLO_MODE", "1"),
            ("MATRIX_HOME_CHANNEL", "disabled"),
        ],
        config: ("openclaw.json", CONFIG, Restarts::Yes),
        skill: ".hermes/skills/greet/SKILL.md",
        ready: Ready::Yes,
        carried: &[
            (".hermes/AGENTS.md", "AGENTS.md"),
            (".hermes/SOUL.md", "SOUL.md"),
        ],
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn openhuman(store: &'static Store) -> Result<()> {
    // It is called twice: to be told the model, which is no start, and to serve.
    let case = Case {
        layout: "openhuman",
        program: "openhuman-core",
        prelude: "if [ \"$1\" = config ]; then shift 2; echo \"$*\" >\"$records/model\"; exit; fi\n\
            cp config.toml \"$records/config.toml\"; env | grep -c '^token=' >\"$records/tokens\"",
        command: "{bin}/openhuman-core serve",
        variables: &[
            ("OPENHUMAN_WORKSPACE", "{workspace}"),
            ("OPENHUMAN_CORE_PORT", "7788"),
        ],
        config: ("openclaw.json", CONFIG, Restarts::Yes),
        also: |worker| {
            let made = tree::text(&worker.workspace(), "config.toml")?;
            let [token, room] = ["access_token = \"stale-token\"", "room_id = \"!r:x\""];
            assert!(made.contains(token) && made.contains(room), "{made}");
            assert!(
                made.contains("allowed_users = [\"@a:x\",\"@b:x\"]"),
                "{made}"
            );
            let records = worker.root().with_file_name("runtime");
            assert_eq!(
                tree::text(&records, "model")?,
                "--inference_url http://gateway:8080/v1 --api_key gatewayKey0123456789 \
                 --default_model qwen-plus\n"
            );
            assert_eq!(
                tree::text(&records, "tokens")?,
                "0\n",
                "not in the environment"
            );
            let mode = std::fs::metadata(worker.workspace().join("config.toml"))?.mode();
            assert_eq!(mode & 0o777, 0o600);
            Ok(())
        },
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn manager(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "manager",
        prefix: "manager/",
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn openclaw_runner(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "openclaw-runner",
        program: "node",
        command: "{bin}/node /opt/openclaw-runner/worker.js",
        variables: &[
            ("WORKER_URL", "http://127.0.0.1:3456"),
            ("WORKER_TOKEN", "runnerToken0123456789"),
            ("WORKER_TASK_DB", "{workspace}/tasks.db"),
            ("WORKER_EVENT_DB", "{workspace}/events.db"),
            (
                "RUNNER_SESSION_CACHE_FILE",
                "{workspace}/session-cache.json",
            ),
        ],
        config: ("config/runner.json", "{\"new\": 1}", Restarts::Yes),
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn clawster(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "clawster",
        program: "",
        command: "{workspace}/start-node.sh alice {workspace}/config/config.json",
        variables: &[("HOME", "{workspace}")],
        config: ("config/config.json", "{\"new\": 1}", Restarts::Yes),
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn clawmatrix(store: &'static Store) -> Result<()> {
    let case = Case {
        layout: "clawmatrix",
        ..Case::OPENCLAW
    };
    case.run(store).await
}

async fn keys_are_shown_by_nobody(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    agent::seed(&bucket).await?;
    let cli = Cli::new(&bucket)?;
    for layout in ["copaw", "qwenpaw", "hermes"] {
        let shown = cli.ok(&["layouts", "show", layout]).await?.stdout;
        assert!(
            shown.contains("\"--fs-secret\", \"{fs_secret_key}\""),
            "{shown}"
        );
        assert!(!shown.contains(bucket.secret_key()), "{shown}");
        let mut check = Worker::builder(&bucket)?
            .layout_runtime()
            .env("HICLAW_WORKER_RUNTIME", layout)
            .env("HICLAW_CMS_TRACES_ENABLED", "true")
            .env("HICLAW_CMS_ENDPOINT", "http://collector:4318")
            .env("HICLAW_CMS_LICENSE_KEY", "licence0123456789")
            .argument("check")
            .start()?;
        assert_eq!(
            check.wait_exit(Duration::from_secs(20)).await?,
            0,
            "{}",
            check.log()
        );
        let told = check.log();
        assert!(
            told.contains("{fs_access_key}") && told.contains("{fs_secret_key}"),
            "{told}"
        );
        assert!(
            !told.contains(bucket.secret_key()) && !told.contains("licence0123456789"),
            "{told}"
        );
    }
    Ok(())
}

async fn an_unknown_runtime_is_answered_with_those_that_exist(store: &'static Store) -> Result<()> {
    let bucket = store.create_bucket().await?;
    let mut worker = Worker::builder(&bucket)?
        .env("HICLAW_WORKER_RUNTIME", "opnclaw")
        .start()?;
    assert_eq!(worker.wait_exit(PATIENCE).await?, 2, "{}", worker.log());
    let list = "known are clawmatrix, clawster, copaw, hermes, manager, openclaw, openclaw-runner, openhuman, qwenpaw";
    assert!(worker.log().contains(list), "{}", worker.log());
    let ran = Cli::new(&bucket)?
        .run(&["--layout", "opnclaw", "status"])
        .await?;
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains(list), "{}", ran.stderr);
    Ok(())
}
