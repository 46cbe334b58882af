//! The container's first process: prepare the workspace, start the runtime, keep both replicas the same, reload, drain.
//!
//! Owns processes, signals and the order of a worker's life. All synchronising is done by `sync-core`.

pub mod adapter;
pub mod app;
pub mod cli;
pub mod command;
pub mod controller;
pub mod demo;
pub mod engine;
pub mod env_mount;
pub mod environment;
pub mod health;
pub mod healthcheck;
pub mod http;
pub mod init;
pub mod process;
pub mod ready;
pub mod reload;
pub mod runtime;
pub mod service_manager;
pub mod signals;
pub mod steps;
pub mod supervisor;
mod sys;
mod terminal;
#[cfg(test)]
mod testing;
pub mod workspace;
