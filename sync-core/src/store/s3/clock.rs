//! The store's clock, as the answers to our requests show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_sdk_s3::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::BeforeDeserializationInterceptorContextRef,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_types::{DateTime, date_time::Format};

/// Reads the `Date` of every answer.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedClock {
    /// Seconds since the epoch; 0 for no answer yet.
    latest_seconds: Arc<AtomicI64>,
}

impl SharedClock {
    /// What the clock said last.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.latest_seconds.load(Ordering::Relaxed)).ok()?;
        (seconds > 0).then(|| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))?
    }
}

impl Intercept for SharedClock {
    fn name(&self) -> &'static str {
        "SharedClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(time) = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok()) {
            self.latest_seconds.store(time.secs(), Ordering::Relaxed);
        }
        Ok(())
    }
}
