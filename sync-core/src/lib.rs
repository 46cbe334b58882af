//! The engine that keeps a worker's files and its bucket prefix the same.
//!
//! A [`session::Session`] opens the mounts of a [`layout::ResolvedLayout`] on an [`store::ObjectStore`] and makes passes
//! over them; each pass observes both sides, [reconciles](reconcile), applies the [brakes](guard), executes and records.
//! What happens in every case is in the project's semantics document; how the modules hang together in its architecture
//! document. The library never prints, reads no environment variables of its own, and starts no processes.
//!
//! ```no_run
//! use std::sync::Arc;
//! use sync_core::{
//!     layout::{LayoutSet, Variables},
//!     progress::{Progress, Silent},
//!     secret::Secret,
//!     session::{Direction, PassRequest, Session},
//!     store::s3::{Keys, S3Config, S3Store},
//! };
//!
//! # async fn embed(secret: String) -> Result<(), Box<dyn std::error::Error>> {
//! let layout = LayoutSet::embedded()?.resolve("openclaw", &Variables::new("alice", "/srv", "/srv/agents/alice"))?;
//! let store = S3Store::connect(&S3Config {
//!     endpoint: Some("http://127.0.0.1:9000".into()),
//!     bucket: "hiclaw-storage".into(),
//!     keys: Some(Keys { access_key: "alice".into(), secret_key: Secret::new(secret), session_token: None }),
//!     ..S3Config::default()
//! }).await?;
//! let session = Session::open(&layout, Arc::new(store), 16).await?;
//! let progress: Arc<dyn Progress> = Arc::new(Silent);
//! let report = session.pass(&PassRequest::everything(Direction::Sync), &progress).await?;
//! println!("{} files came, {} went", report.downloaded.len(), report.uploaded.len());
//! # Ok(())
//! # }
//! ```

pub mod backoff;
pub mod baseline;
pub mod carry;
pub mod conflict;
mod content;
pub mod control;
pub mod debounce;
pub mod digest;
pub mod events;
mod execute;
pub mod failpoint;
pub mod guard;
pub mod join;
pub mod layout;
pub mod link;
pub mod local;
pub mod merge;
pub mod mirror;
pub mod mount;
pub mod object;
pub mod order;
pub mod pace;
pub mod path;
mod plan;
pub mod progress;
pub mod reconcile;
pub mod report;
pub mod resident;
pub mod root;
pub mod scan;
pub mod secret;
pub mod selection;
pub mod session;
mod spill;
pub mod sqlite;
pub mod stage;
pub mod status;
pub mod store;
pub mod upload_id;
pub mod validate;
pub mod watch;
