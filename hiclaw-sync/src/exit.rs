//! Exit codes and the prose that goes with a failure.
//!
//! The one place where a failure becomes a number that scripts rely on and a text that says what to do.

use std::process;

use sync_core::{
    layout::LayoutError,
    object::ObjectError,
    report::Report,
    session::{ConflictError, PassError, SessionError},
    store::{StoreError, StoreErrorKind},
};

use crate::{
    controller::ControllerError,
    settings::{LayoutFileError, SettingsError},
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Nothing could be done.
    Failed,
    /// The command line or the settings are wrong.
    Usage,
    /// Done, but for some paths.
    Problems,
    /// Deletes are held by a brake.
    Held,
    /// The store can't be reached; trying again later may help.
    Unreachable,
    /// It was ended by a signal before it was done.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Problems => 3,
            Self::Held => 4,
            Self::Unreachable => 75,
            // What shells make of SIGINT.
            Self::Interrupted => 130,
        }
    }

    /// What a finished pass comes to. Held deletes wait for a person, so they are told first.
    #[must_use]
    pub fn of_report(report: &Report) -> Self {
        if !report.held.is_empty() {
            Self::Held
        } else if report.problems.is_empty() {
            Self::Done
        } else {
            Self::Problems
        }
    }

    /// What an error comes to.
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(Self::of_cause)
            .unwrap_or(Self::Failed)
    }

    fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if let Some(Decided(exit)) = cause.downcast_ref::<Decided>() {
            return Some(*exit);
        }
        if let Some(store) = store_error(cause) {
            return Some(if store.kind.is_transient() {
                Self::Unreachable
            } else {
                Self::Failed
            });
        }
        if let Some(error) = cause.downcast_ref::<ControllerError>() {
            return Some(if error.is_transient() {
                Self::Unreachable
            } else {
                Self::Failed
            });
        }
        let of_settings = cause.is::<SettingsError>()
            || cause.is::<LayoutError>()
            || cause.is::<LayoutFileError>();
        let of_arguments = matches!(
            cause.downcast_ref(),
            Some(SessionError::NoMount { .. } | SessionError::Path(_))
        );
        let of_conflict = matches!(
            cause.downcast_ref(),
            Some(ConflictError::Session(
                SessionError::NoMount { .. } | SessionError::Path(_)
            ))
        );
        (of_settings || of_arguments || of_conflict).then_some(Self::Usage)
    }
}

/// The store's error in a cause. Session errors show it as their own, so that it is not in the chain by itself.
fn store_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a StoreError> {
    let in_session = |error: &'a SessionError| match error {
        SessionError::Store(store) => Some(store),
        SessionError::Mount(_)
        | SessionError::Baseline(_)
        | SessionError::NoMount { .. }
        | SessionError::Path(_)
        | SessionError::Task(_)
        | _ => None,
    };
    let in_pass = || in_session(&cause.downcast_ref::<PassError>()?.source);
    let in_object = || match cause.downcast_ref::<ObjectError>()? {
        ObjectError::Store(store) => Some(store),
        ObjectError::Local { .. }
        | ObjectError::Changing { .. }
        | ObjectError::Damaged { .. }
        | _ => None,
    };
    cause
        .downcast_ref()
        .or_else(|| in_session(cause.downcast_ref()?))
        .or_else(in_pass)
        .or_else(in_object)
}

impl From<Exit> for process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// An exit that was decided where the error arose; its message is the context above it.
#[derive(Debug, thiserror::Error)]
#[error("exit code {}", self.0.code())]
pub struct Decided(pub Exit);

/// The error and what caused it in one line. A layer that only repeats the one above it is left out.
#[must_use]
pub fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().filter(|cause| !cause.is::<Decided>()) {
        let cause = said(cause);
        if text.ends_with(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    text
}

/// A cause in words that do nothing to a terminal. Settings and layouts have a line for each mistake, and no names of others.
fn said(cause: &(dyn std::error::Error + 'static)) -> String {
    let has_lines =
        cause.is::<SettingsError>() || cause.is::<LayoutError>() || cause.is::<LayoutFileError>();
    if has_lines {
        cause.to_string()
    } else {
        crate::output::printable(&cause.to_string())
    }
}

/// What a person can do about an error, if anything is known.
#[must_use]
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| {
        if let Some(store) = store_error(cause) {
            return store_advice(store.kind);
        }
        if let Some(SessionError::Mount(sync_core::mount::MountError::Locked { .. })) =
            cause.downcast_ref::<SessionError>()
        {
            return Some(
                "wait for it to finish, or ask the resident engine through its control socket",
            );
        }
        None
    })
}

fn store_advice(kind: StoreErrorKind) -> Option<&'static str> {
    match kind {
        StoreErrorKind::Unreachable => Some(
            "check the endpoint (--endpoint, HICLAW_FS_ENDPOINT) and that the store runs; then try again",
        ),
        StoreErrorKind::Unavailable { .. } => {
            Some("the store is overloaded or starting; try again")
        }
        StoreErrorKind::BadCredentials => Some(
            "check the keys (HICLAW_FS_ACCESS_KEY, HICLAW_FS_SECRET_KEY) and this machine's clock",
        ),
        StoreErrorKind::Denied => Some("the keys' policy must allow agents/<name>/* and shared/*"),
        StoreErrorKind::NoBucket => {
            Some("check the bucket's name (--bucket, HICLAW_FS_BUCKET), or create it")
        }
        StoreErrorKind::NotFound
        | StoreErrorKind::Precondition
        | StoreErrorKind::Rejected
        | StoreErrorKind::Other
        | _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn store_error(kind: StoreErrorKind) -> anyhow::Error {
        anyhow::Error::new(StoreError::new("LIST", "agents/a/", kind, ""))
    }

    #[test]
    fn transient_failures_of_the_store_are_worth_another_try_and_others_are_not() {
        let unreachable = store_error(StoreErrorKind::Unreachable).context("pull");
        assert_eq!(Exit::of_error(&unreachable).code(), 75);
        let denied = store_error(StoreErrorKind::BadCredentials);
        assert_eq!(Exit::of_error(&denied).code(), 1);
        assert!(advice(&denied).is_some());
        let wrapped: Result<(), _> = Err::<(), _>(SessionError::Store(StoreError::new(
            "LIST",
            "",
            StoreErrorKind::Unreachable,
            "",
        )))
        .context("x");
        assert_eq!(Exit::of_error(&wrapped.unwrap_err()).code(), 75);
    }
}
