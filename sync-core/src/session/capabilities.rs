//! What the store can do: asked once, remembered in the baselines.

use std::sync::{Arc, PoisonError};

use super::Session;
use crate::{
    baseline::BaselineError,
    failpoint::Point,
    mount::OpenMount,
    store::{Capabilities, StoreError, StoreErrorKind, Support, probe},
};

/// What a store is taken to do while nobody knows.
const NOTHING: Capabilities = Capabilities {
    conditional_put: Support::No,
    conditional_delete: Support::No,
};

/// Name under which a baseline remembers what the store does.
const CAPABILITIES: &str = "capabilities";

impl Session {
    /// What the store was found to do; `None` until it was asked.
    #[must_use]
    pub fn capabilities(&self) -> Option<Capabilities> {
        *self.probed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what the store does, once for every store; remembered in the baselines.
    pub async fn probe(&self) -> Result<Capabilities, StoreError> {
        if let Some(known) = self.capabilities() {
            return Ok(known);
        }
        let writable =
            |mount: &&Arc<OpenMount>| mount.rules.rules().iter().any(|rule| rule.sync.pushes());
        let Some(mount) = self.mounts.iter().find(writable) else {
            return Ok(NOTHING);
        };
        let found = match probe::probe(&*self.store, &mount.prefix).await {
            // Not remembered: the policy may be about these keys alone, or be mended.
            Err(error) if error.kind == StoreErrorKind::Denied => return Ok(NOTHING),
            other => other?,
        };
        tracing::info!(
            ?found,
            "asked the store what it does with conditional writes"
        );
        self.reached(Point::Probed);
        self.set_capabilities(found);
        let text = encode(found);
        for mount in &self.mounts {
            if let Err(error) = mount.baseline().set_value(CAPABILITIES, &text) {
                tracing::warn!(mount = mount.name, %error, "can't remember what the store does");
            }
        }
        Ok(found)
    }

    pub(super) fn recall_capabilities(&self) -> Result<(), BaselineError> {
        for mount in &self.mounts {
            if let Some(found) = mount
                .baseline()
                .value(CAPABILITIES)?
                .as_deref()
                .and_then(decode)
            {
                self.set_capabilities(found);
                break;
            }
        }
        Ok(())
    }

    fn set_capabilities(&self, capabilities: Capabilities) {
        *self.probed.write().unwrap_or_else(PoisonError::into_inner) = Some(capabilities);
        for mount in &self.mounts {
            mount.set_capabilities(capabilities);
        }
    }
}

fn encode(capabilities: Capabilities) -> String {
    let word = |support| match support {
        Support::Yes => "yes",
        Support::No => "no",
    };
    format!(
        "put={} delete={}",
        word(capabilities.conditional_put),
        word(capabilities.conditional_delete)
    )
}

fn decode(text: &str) -> Option<Capabilities> {
    let support = |word: &str| match word {
        "yes" => Some(Support::Yes),
        "no" => Some(Support::No),
        _ => None,
    };
    let (put, delete) = text.split_once(' ')?;
    Some(Capabilities {
        conditional_put: support(put.strip_prefix("put=")?)?,
        conditional_delete: support(delete.strip_prefix("delete=")?)?,
    })
}
