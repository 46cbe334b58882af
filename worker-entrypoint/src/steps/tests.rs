//! What each step does to a workspace, and what its failure means.

mod files;
mod login;
mod pulls;

use std::path::Path;

use sync_core::{
    layout::{Glob, RunStep},
    path::RelPath,
};

use super::*;
use crate::{engine::fake::FakeEngine, testing};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn globs(texts: &[&str]) -> Vec<Glob> {
    texts.iter().map(|text| Glob::new(text).unwrap()).collect()
}

/// A workspace with an engine that does what a test says.
struct Bench {
    directory: tempfile::TempDir,
    engine: Arc<FakeEngine>,
    context: StepContext,
}

impl Bench {
    fn new(engine: FakeEngine) -> Self {
        Self::at(tempfile::tempdir().unwrap(), engine)
    }

    fn at(directory: tempfile::TempDir, engine: FakeEngine) -> Self {
        let engine = Arc::new(engine);
        let home = directory.path().join("home");
        let context = StepContext {
            engine: engine.clone(),
            workspace: Arc::new(Workspace::open(&home).unwrap()),
            worker: "alice".into(),
            time_zone: Some("Europe/Berlin".into()),
            system_root: directory.path().join("system"),
            place: testing::place(&home),
            client: HttpClient::default(),
        };
        Self {
            directory,
            engine,
            context,
        }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.home().join(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.home().join(path).symlink_metadata().is_ok()
    }

    fn link_of(&self, path: &str) -> Option<PathBuf> {
        std::fs::read_link(self.home().join(path)).ok()
    }

    /// The names in the conflicts directory, without time and side.
    fn conflicts(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.home().join(".sync-conflicts")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .map(|name| name.rsplitn(3, '.').last().unwrap().to_owned())
            .collect()
    }

    /// Does a step that must not end the startup.
    async fn run(&self, step: Step) -> Result<Outcome, String> {
        run(&step, &self.context)
            .await
            .unwrap()
            .map_err(|hitch| chain(&hitch))
    }

    async fn done(&self, step: Step) {
        assert_eq!(self.run(step.clone()).await, Ok(Outcome::Done), "{step:?}");
        assert_eq!(
            self.run(step.clone()).await,
            Ok(Outcome::Nothing),
            "{step:?} again"
        );
    }
}

fn link() -> Step {
    Step::Link {
        at: path(".openclaw/openclaw.json"),
        to: path("openclaw.json"),
    }
}

fn migration() -> Step {
    Step::MoveAndLink {
        from: path("mcporter-servers.json"),
        to: path("config/mcporter.json"),
    }
}

#[tokio::test]
async fn a_command_runs_only_under_its_conditions_and_its_failure_is_a_hitch() {
    let bench = Bench::new(FakeEngine::new());
    let step = |command: &str| {
        Step::Run(RunStep {
            when_file: Some(path("skills-lock.json")),
            when_empty: Some(path("skills")),
            when_empty_except: vec!["file-sync".to_owned()],
            command: ["sh", "-c", command].map(str::to_owned).to_vec(),
        })
    };
    assert_eq!(bench.run(step("exit 1")).await, Ok(Outcome::Nothing));
    bench.write("skills-lock.json", "{}");
    bench.write("skills/file-sync/SKILL.md", "");
    assert_eq!(
        bench.run(step("exit 6")).await,
        Err("`sh` ended with exit code 6".into())
    );
    assert_eq!(bench.run(step("echo x > ran")).await, Ok(Outcome::Done));
    assert!(bench.exists("ran"));
    bench.write("skills/web/SKILL.md", "");
    assert_eq!(bench.run(step("exit 1")).await, Ok(Outcome::Nothing));
}

#[tokio::test]
async fn a_hitch_does_not_keep_the_other_steps_from_being_done() {
    let bench = Bench::new(FakeEngine::new());
    // No such zone, and a directory in the way of the link.
    bench.write(".openclaw/openclaw.json/in-the-way", "");
    let steps = [Step::Timezone, link(), Step::Mirror];
    run_all(&steps, &bench.context).await.unwrap();
    assert_eq!(bench.engine.calls(), ["start_mirror"]);
    assert!(bench.exists(".openclaw/openclaw.json/in-the-way"));
}

#[tokio::test]
async fn the_time_zone_is_set_when_the_system_has_it() {
    let bench = Bench::new(FakeEngine::new());
    let system = bench.context.system_root.clone();
    let zones = system.join("usr/share/zoneinfo/Europe");
    std::fs::create_dir_all(&zones).unwrap();
    std::fs::create_dir_all(system.join("etc")).unwrap();
    std::fs::write(system.join("etc/localtime"), "old").unwrap();
    assert!(bench.run(Step::Timezone).await.is_err());
    assert_eq!(
        std::fs::read_to_string(system.join("etc/localtime")).unwrap(),
        "old"
    );
    std::fs::write(zones.join("Berlin"), "zone").unwrap();
    bench.done(Step::Timezone).await;
    let target = std::fs::read_link(system.join("etc/localtime")).unwrap();
    assert_eq!(target, Path::new("/usr/share/zoneinfo/Europe/Berlin"));
    assert_eq!(
        std::fs::read_to_string(system.join("etc/timezone")).unwrap(),
        "Europe/Berlin\n"
    );
    for zone in ["", "../../../etc/passwd", "/etc/passwd", "Europe"] {
        assert!(timezone::run(Some(zone), &system).is_err(), "{zone}");
    }
    assert!(matches!(timezone::run(None, &system), Ok(Outcome::Nothing)));
}
