//! The mounted file of variables that a worker may have to wait for.
//!
//! Owns the waiting. Some deployments create the container first and hand the worker's identity in afterwards, as a file in a
//! mounted directory.

use std::{io, time::Duration};

use hiclaw_sync::settings::{EnvFileError, EnvMount, Necessity, parse_env_file};
use tokio::time::Instant;

const FILE: &str = "env";
const GLANCE: Duration = Duration::from_millis(500);
/// The file counts once it holds these, with either prefix: it may be seen half written.
const NEEDED: [&str; 2] = ["_WORKER_NAME", "_AUTH_TOKEN"];

/// The variables never came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvMountError {
    /// Not in time.
    #[error("{path} did not hold the worker's name and token within {timeout:?}")]
    TimedOut {
        /// The file.
        path: String,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The file is there and can't be read.
    #[error("can't read {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line sets no variable.
    #[error("{path} sets no variables")]
    Parse {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: EnvFileError,
    },
}

/// Waits for the file. Nothing where it may be absent and is.
pub async fn wait(mount: &EnvMount) -> Result<Vec<(String, String)>, EnvMountError> {
    let started = Instant::now();
    let mut told = false;
    loop {
        let seen = look(mount).await;
        if let Ok(variables) = &seen
            && is_complete(variables)
        {
            return seen;
        }
        match (mount.necessity, started.elapsed() >= mount.timeout) {
            (Necessity::Optional, _) => return seen,
            (Necessity::Required, true) => {
                seen?;
                return Err(EnvMountError::TimedOut {
                    path: path(mount),
                    timeout: mount.timeout,
                });
            }
            (Necessity::Required, false) => {}
        }
        if !told {
            told = true;
            tracing::info!(file = path(mount), timeout = ?mount.timeout, "waiting for the worker's variables");
        }
        tokio::time::sleep(GLANCE).await;
    }
}

async fn look(mount: &EnvMount) -> Result<Vec<(String, String)>, EnvMountError> {
    match tokio::fs::read_to_string(mount.directory.join(FILE)).await {
        Ok(text) => parse_env_file(&text).map_err(|source| EnvMountError::Parse {
            path: path(mount),
            source,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(EnvMountError::Read {
            path: path(mount),
            source,
        }),
    }
}

fn is_complete(variables: &[(String, String)]) -> bool {
    NEEDED.iter().all(|needed| {
        variables.iter().any(|(name, value)| {
            !value.is_empty()
                && ["HICLAW", "AGENTTEAMS"]
                    .iter()
                    .any(|prefix| name.strip_prefix(prefix) == Some(*needed))
        })
    })
}

fn path(mount: &EnvMount) -> String {
    mount.directory.join(FILE).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(directory: &std::path::Path, necessity: Necessity) -> EnvMount {
        EnvMount {
            directory: directory.to_owned(),
            necessity,
            timeout: Duration::from_secs(30),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_required_file_is_waited_for_until_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("env");
        std::fs::write(&file, "HICLAW_WORKER_NAME=alice\n").unwrap();
        let started = Instant::now();
        let waiting = tokio::spawn({
            let mount = mount(directory.path(), Necessity::Required);
            async move { wait(&mount).await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        std::fs::write(
            &file,
            "HICLAW_WORKER_NAME=alice\nexport AGENTTEAMS_AUTH_TOKEN=t\n",
        )
        .unwrap();
        assert_eq!(waiting.await.unwrap().unwrap().len(), 2);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_required_file_that_never_comes_is_an_error_and_an_optional_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let error = wait(&mount(directory.path(), Necessity::Required))
            .await
            .unwrap_err();
        assert!(matches!(error, EnvMountError::TimedOut { .. }), "{error}");
        assert!(
            wait(&mount(directory.path(), Necessity::Optional))
                .await
                .unwrap()
                .is_empty()
        );
    }
}
