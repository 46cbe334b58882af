//! The engine that keeps a worker's files and its bucket prefix the same.
//!
//! A [`session::Session`] opens the mounts of a [`layout::ResolvedLayout`] on an [`store::ObjectStore`] and makes passes
//! over them; each pass observes both sides, [reconciles](reconcile), applies the [brakes](guard), executes and records.
//! What happens in every case is in the project's semantics document; how the modules hang together in its architecture
//! document. The library never prints, reads no environment variables of its own, and starts no processes.

pub mod backoff;
pub mod baseline;
pub mod conflict;
pub mod control;
pub mod debounce;
pub mod digest;
mod execute;
pub mod guard;
pub mod join;
pub mod layout;
pub mod local;
pub mod merge;
pub mod mount;
pub mod path;
mod plan;
pub mod progress;
pub mod reconcile;
pub mod report;
pub mod resident;
pub mod root;
pub mod scan;
pub mod secret;
pub mod session;
pub mod stage;
pub mod status;
pub mod store;
pub mod watch;
