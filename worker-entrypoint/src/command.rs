//! Commands that run beside the runtime: probes, steps, reload actions.
//!
//! Owns their time limit, what becomes of their output, and that none outlives whoever waits for it. Never decides what a
//! failure means.

use std::{
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{io::AsyncBufReadExt as _, net::unix::pipe};

use crate::{
    environment::Variables,
    process::{self, Child, Exit, Group},
};

/// After the command itself ended: how long to wait for the end of its output, which something it left behind may hold open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// Where commands run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// The whole environment.
    pub environment: Arc<Variables>,
}

/// What becomes of a command's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Every line goes to the log.
    Log,
    /// Nobody sees it.
    Discard,
}

/// Where the lines of a command go.
#[derive(Clone, Copy)]
enum Sink<'a> {
    Log,
    /// Kept, up to [`LINES_KEPT`].
    Keep(&'a Mutex<Vec<String>>),
}

/// Lines that are kept of a command's standard error.
const LINES_KEPT: usize = 50;

/// A command did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It has no program.
    #[error("the command is empty")]
    Empty,
    /// The program can't be started.
    #[error("can't start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It ended with another code than 0.
    #[error("`{program}` ended with {exit}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        exit: Exit,
    },
    /// It took too long and was killed.
    #[error("`{program}` took longer than {limit:?}")]
    TimedOut {
        /// The program.
        program: String,
        /// How long it may take.
        limit: Duration,
    },
}

/// Runs a command to its end. Cancelling kills it with everything in its process group.
pub async fn run(
    command: &[String],
    place: &Place,
    limit: Duration,
    output: Output,
) -> Result<(), CommandError> {
    let streams = match output {
        Output::Log => [Stdio::piped(), Stdio::piped()],
        Output::Discard => [Stdio::null(), Stdio::null()],
    };
    run_into(command, place, limit, streams, Sink::Log).await
}

/// The same, and gives the first lines of its standard error instead of logging them.
pub async fn run_listening(
    command: &[String],
    place: &Place,
    limit: Duration,
) -> (Result<(), CommandError>, Vec<String>) {
    let words = Mutex::default();
    let streams = [Stdio::null(), Stdio::piped()];
    let result = run_into(command, place, limit, streams, Sink::Keep(&words)).await;
    (
        result,
        words.into_inner().unwrap_or_else(PoisonError::into_inner),
    )
}

async fn run_into(
    command: &[String],
    place: &Place,
    limit: Duration,
    streams: [Stdio; 2],
    sink: Sink<'_>,
) -> Result<(), CommandError> {
    let (program, mut child) = start(command, place, streams)?;
    let guard = Guard(Some(child.group()));
    let work = async {
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let lines = async {
            tokio::join!(
                take_lines(&program, stdout, sink),
                take_lines(&program, stderr, sink)
            )
        };
        tokio::pin!(lines);
        let exit = tokio::select! {
            exit = child.ended() => exit,
            _ = &mut lines => return child.ended().await,
        };
        if tokio::time::timeout(LAST_OUTPUT, lines).await.is_err() {
            tracing::debug!(
                program,
                "something that the command left behind holds its output open"
            );
        }
        exit
    };
    let exit = tokio::time::timeout(limit, work).await;
    match exit {
        Ok(exit) => {
            guard.done();
            if exit.is_success() {
                Ok(())
            } else {
                Err(CommandError::Failed { program, exit })
            }
        }
        Err(_) => Err(CommandError::TimedOut { program, limit }),
    }
}

fn start(
    command: &[String],
    place: &Place,
    streams: [Stdio; 2],
) -> Result<(String, Child), CommandError> {
    let (program, arguments) = command.split_first().ok_or(CommandError::Empty)?;
    let [stdout, stderr] = streams;
    let mut prepared = Command::new(program);
    prepared
        .args(arguments)
        .current_dir(&place.directory)
        .env_clear()
        .envs(place.environment.iter())
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = process::spawn(&mut prepared).map_err(|source| CommandError::Start {
        program: program.clone(),
        source,
    })?;
    Ok((program.clone(), child))
}

/// Kills the group of a command that nobody waits for any more.
struct Guard(Option<Group>);

impl Guard {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(group) = self.0
            && let Err(error) = group.signal(Signal::KILL)
        {
            tracing::warn!(%error, "can't kill a command that is not waited for any more");
        }
    }
}

/// Takes every line of a pipe, until it is closed.
async fn take_lines(program: &str, stream: Option<OwnedFd>, sink: Sink<'_>) {
    let Some(stream) = stream else { return };
    let reader = match pipe::Receiver::from_owned_fd(stream) {
        Ok(reader) => tokio::io::BufReader::new(reader),
        Err(error) => {
            tracing::warn!(program, %error, "can't read the command's output");
            return;
        }
    };
    let mut lines = reader.split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        match sink {
            Sink::Log => tracing::info!(program, "{}", line.trim_end()),
            Sink::Keep(kept) => {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < LINES_KEPT {
                    kept.push(line.trim_end().to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn place() -> Place {
        let path = std::env::var_os("PATH").unwrap();
        Place {
            directory: std::env::temp_dir(),
            environment: Arc::new(Variables::from([
                ("PATH".into(), path),
                ("COLOUR".into(), "blue".into()),
            ])),
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_command_gets_the_environment_and_directory_of_its_place_and_nothing_else() {
        let script = "test \"$COLOUR\" = blue && test -z \"$HOME\" && test \"$(pwd -P)\" = \"$(cd / && cd \"$1\" && pwd -P)\"";
        let mut command = shell(script);
        command.extend([
            "sh".to_owned(),
            place().directory.to_string_lossy().into_owned(),
        ]);
        run(&command, &place(), LONG, Output::Log).await.unwrap();
    }

    #[tokio::test]
    async fn failures_say_what_happened() {
        let error = run(&shell("echo oops >&2; exit 4"), &place(), LONG, Output::Log)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "`sh` ended with exit code 4");
        let error = run(
            &["no-such-program".to_owned()],
            &place(),
            LONG,
            Output::Discard,
        )
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "can't start `no-such-program`");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        // Long enough for a shell to start on a busy machine.
        let limit = Duration::from_secs(3);
        let error = run(&shell(&script), &place(), limit, Output::Log)
            .await
            .unwrap_err();
        assert!(matches!(error, CommandError::TimedOut { .. }), "{error}");
        let id = std::fs::read_to_string(&file).unwrap();
        let status = std::path::Path::new("/proc").join(id.trim()).join("stat");
        let until = Instant::now() + LONG;
        // Gone, or a zombie until this test's own parent reaps it.
        while std::fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < until, "the grandchild lives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn output_that_a_daemon_holds_open_is_not_waited_for() {
        let started = Instant::now();
        run(
            &shell("setsid sleep 5 & exit 0"),
            &place(),
            LONG,
            Output::Log,
        )
        .await
        .unwrap();
        assert!(started.elapsed() < Duration::from_secs(4));
    }
}
