//! What can go wrong with a baseline.

use std::io;

use rusqlite::ErrorCode;

/// The baseline could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} the baseline")]
pub struct BaselineError {
    operation: &'static str,
    #[source]
    source: Cause,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Database(rusqlite::Error),
    #[error(transparent)]
    Journal(io::Error),
}

impl BaselineError {
    /// The cause in words.
    #[must_use]
    pub fn cause(&self) -> String {
        self.source.to_string()
    }

    /// True when the file itself is at fault, not the machine.
    pub(super) fn is_damage(&self) -> bool {
        let Cause::Database(error) = &self.source else {
            return false;
        };
        // What isn't the fault of the machine is that of the file: damage shows in many codes.
        !matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::PermissionDenied
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
                    | ErrorCode::ReadOnly
                    | ErrorCode::OperationInterrupted
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::NoLargeFileSupport
            )
        )
    }
}

pub(super) fn failed(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> BaselineError {
    move |error| BaselineError {
        operation,
        source: Cause::Database(error),
    }
}

pub(super) fn unwritten(error: io::Error) -> BaselineError {
    BaselineError {
        operation: "write the journal of",
        source: Cause::Journal(error),
    }
}
