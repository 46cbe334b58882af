//! The container's first process: prepare the workspace, start the runtime, keep both replicas the same, reload, drain.
//!
//! Owns processes, signals and the order of a worker's life. All synchronising is done by `sync-core`.

pub mod command;
pub mod engine;
pub mod environment;
pub mod init;
pub mod process;
pub mod runtime;
pub mod supervisor;
mod sys;
mod terminal;
