//! Temporary keys: fetched when they are needed, kept until they are about to expire.
//!
//! Owns when keys are fetched. One fetch at a time; whoever needs keys meanwhile waits for it.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::Keys;

/// How long before their end keys are replaced.
const BEFORE_THE_END: Duration = Duration::from_mins(10);
/// How long keys that still hold are used after their replacement could not be fetched.
const NEXT_TRY: Duration = Duration::from_secs(30);
/// What stores call keys that are over: AWS and MinIO, then Aliyun.
const EXPIRED_CODES: [&str; 5] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "SecurityTokenExpired",
    "InvalidSecurityToken",
];

/// Where temporary keys come from.
pub trait KeySource: Send + Sync + fmt::Debug {
    /// New keys.
    fn fetch(&self) -> BoxFuture<'_, Result<TemporaryKeys, Box<dyn Error + Send + Sync>>>;
}

/// Keys that expire.
#[derive(Debug, Clone)]
pub struct TemporaryKeys {
    /// The keys, with their token.
    pub keys: Keys,
    /// When the store stops accepting them.
    pub expires: SystemTime,
}

/// The SDK's credentials provider over a [`KeySource`].
#[derive(Debug, Clone)]
pub(super) struct FreshKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Arc<dyn KeySource>,
    held: Mutex<Option<Held>>,
    /// The store said that the keys are over, whatever their end was announced to be.
    refused: AtomicBool,
}

#[derive(Debug)]
struct Held {
    keys: TemporaryKeys,
    replace_at: SystemTime,
}

impl FreshKeys {
    pub(super) fn new(source: Arc<dyn KeySource>) -> Self {
        Self(Arc::new(Shared {
            source,
            held: Mutex::new(None),
            refused: AtomicBool::new(false),
        }))
    }

    async fn current(&self, now: SystemTime) -> Result<Keys, CredentialsError> {
        let mut held = self.0.held.lock().await;
        let refused = self.0.refused.load(Ordering::Acquire);
        if let Some(held) = held.as_ref()
            && !refused
            && now < held.replace_at
        {
            return Ok(held.keys.keys.clone());
        }
        match self.0.source.fetch().await {
            Ok(keys) => {
                self.0.refused.store(false, Ordering::Release);
                let new = held.insert(Held {
                    replace_at: replace_at(now, keys.expires),
                    keys,
                });
                Ok(new.keys.keys.clone())
            }
            Err(error) => match held.as_mut() {
                Some(old) if !refused && now < old.keys.expires => {
                    tracing::warn!(%error, "can't replace the store's keys yet; the old ones still hold");
                    old.replace_at = now + NEXT_TRY;
                    Ok(old.keys.keys.clone())
                }
                Some(_) | None => Err(CredentialsError::provider_error(error)),
            },
        }
    }
}

/// Ten minutes before the end; half way through for keys that don't last twenty.
fn replace_at(now: SystemTime, expires: SystemTime) -> SystemTime {
    let lifetime = expires.duration_since(now).unwrap_or_default();
    now + lifetime.saturating_sub(BEFORE_THE_END).max(lifetime / 2)
}

impl ProvideCredentials for FreshKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let keys = self.current(SystemTime::now()).await?;
            Ok(keys.into_credentials("temporary"))
        })
    }
}

impl Keys {
    /// The SDK's form. Without an end: whoever replaces them knows it.
    pub(super) fn into_credentials(self, provider: &'static str) -> Credentials {
        let token = self.session_token.map(|token| token.expose().to_owned());
        Credentials::new(
            self.access_key,
            self.secret_key.expose(),
            token,
            None,
            provider,
        )
    }
}

/// A store that says that keys are over gets the same request again with new ones.
impl ClassifyRetry for FreshKeys {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let expired = context.response().is_some_and(|response| {
            let refused = [400, 401, 403].contains(&response.status().as_u16());
            refused && response.body().bytes().is_some_and(names_an_expiry)
        });
        if !expired {
            return RetryAction::NoActionIndicated;
        }
        self.0.refused.store(true, Ordering::Release);
        RetryAction::transient_error()
    }

    fn name(&self) -> &'static str {
        "expired keys"
    }
}

fn names_an_expiry(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    EXPIRED_CODES
        .iter()
        .any(|code| text.contains(&format!("<Code>{code}</Code>")))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use futures_util::FutureExt as _;

    use super::*;
    use crate::secret::Secret;

    /// Gives keys that last an hour and are numbered; fails while told so.
    #[derive(Debug, Default)]
    struct Numbered {
        fetched: AtomicU64,
        failing: AtomicBool,
    }

    const START: SystemTime = SystemTime::UNIX_EPOCH;

    fn at(minutes: u64) -> SystemTime {
        START + Duration::from_mins(minutes)
    }

    impl KeySource for Numbered {
        fn fetch(&self) -> BoxFuture<'_, Result<TemporaryKeys, Box<dyn Error + Send + Sync>>> {
            async {
                tokio::task::yield_now().await;
                if self.failing.load(Ordering::Relaxed) {
                    return Err("away".into());
                }
                let number = self.fetched.fetch_add(1, Ordering::Relaxed);
                Ok(TemporaryKeys {
                    keys: Keys {
                        access_key: number.to_string(),
                        secret_key: Secret::new("s"),
                        session_token: None,
                    },
                    expires: at(60 * (number + 1)),
                })
            }
            .boxed()
        }
    }

    async fn key(fresh: &FreshKeys, minutes: u64) -> Option<String> {
        let keys = fresh.current(at(minutes)).await;
        keys.ok().map(|keys| keys.access_key)
    }

    #[tokio::test]
    async fn many_who_need_keys_at_once_cause_one_fetch() {
        let source = Arc::new(Numbered::default());
        let fresh = FreshKeys::new(source.clone());
        let all = (0..20).map(|_| key(&fresh, 0));
        let keys = futures_util::future::join_all(all).await;
        assert!(keys.iter().all(|key| key.as_deref() == Some("0")));
        assert_eq!(source.fetched.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn keys_are_replaced_ten_minutes_before_their_end_or_when_the_store_refuses_them() {
        let fresh = FreshKeys::new(Arc::new(Numbered::default()));
        for (minutes, expected) in [(0, "0"), (49, "0"), (50, "1"), (109, "1"), (110, "2")] {
            assert_eq!(key(&fresh, minutes).await.as_deref(), Some(expected));
        }
        fresh.0.refused.store(true, Ordering::Release);
        assert_eq!(key(&fresh, 111).await.as_deref(), Some("3"));
        assert_eq!(key(&fresh, 112).await.as_deref(), Some("3"));
    }

    #[tokio::test]
    async fn while_the_source_is_away_old_keys_are_used_to_their_end() {
        let source = Arc::new(Numbered::default());
        let fresh = FreshKeys::new(source.clone());
        assert_eq!(key(&fresh, 0).await.as_deref(), Some("0"));
        source.failing.store(true, Ordering::Relaxed);
        assert_eq!(key(&fresh, 55).await.as_deref(), Some("0"));
        assert_eq!(key(&fresh, 60).await, None);
        source.failing.store(false, Ordering::Relaxed);
        assert_eq!(key(&fresh, 61).await.as_deref(), Some("1"));
    }

    #[test]
    fn keys_that_last_shorter_than_twenty_minutes_are_replaced_half_way() {
        assert_eq!(replace_at(START, at(60)), at(50));
        assert_eq!(replace_at(START, at(10)), at(5));
        assert_eq!(replace_at(at(10), START), at(10));
    }

    #[test]
    fn an_expiry_is_known_by_its_code_alone() {
        assert!(names_an_expiry(b"<Error><Code>ExpiredToken</Code></Error>"));
        assert!(names_an_expiry(b"<Code>SecurityTokenExpired</Code>"));
        assert!(!names_an_expiry(b"<Code>AccessDenied</Code>ExpiredToken"));
    }
}
