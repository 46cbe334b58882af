//! The store: reachable, with these keys, with this bucket, with the right time; and what it can do.

use std::time::{Duration, SystemTime};

use sync_core::{
    layout::ResolvedLayout,
    path::Prefix,
    store::{
        ListPage, StoreError, StoreErrorKind, Support,
        probe::probe,
        s3::{Greeting, Notifications, S3Store},
    },
};

use super::Check;
use crate::settings::{CredentialSource, Settings};

/// From this on a wrong clock deserves a word, and from this on stores refuse signatures.
const SKEW_WARNING: Duration = Duration::from_secs(30);
const SKEW_REFUSED: Duration = Duration::from_mins(15);

/// Whether the store answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    Yes,
    No,
}

/// What a first request found.
pub(super) struct Found {
    pub(super) checks: Vec<Check>,
    pub(super) reached: Reached,
    /// Whether further requests make sense.
    pub(super) usable: bool,
}

/// Lists the agent's prefix once.
pub(super) async fn greet(settings: &Settings, store: &S3Store) -> Found {
    let Greeting { page, clock } = store.greet(&agent_prefix(settings)).await;
    let (mut checks, reached, usable) = match &page {
        Ok(_) => (
            vec![
                Check::ok("store", "it answers"),
                Check::ok("credentials", "they are accepted"),
                Check::ok("bucket", format!("{} exists", settings.store.bucket)),
            ],
            Reached::Yes,
            true,
        ),
        Err(error) => refused(settings, error),
    };
    checks.extend(clock.map(|clock| skew(clock, SystemTime::now())));
    Found {
        checks,
        reached,
        usable,
    }
}

fn refused(settings: &Settings, error: &StoreError) -> (Vec<Check>, Reached, bool) {
    let endpoint = settings.store.endpoint.as_deref().unwrap_or("AWS S3");
    let message = error.to_string();
    let answers = Check::ok("store", "it answers");
    match error.kind {
        StoreErrorKind::Unreachable => {
            let advice = format!(
                "check HICLAW_FS_ENDPOINT ({endpoint}): name, port, http or https; that the store runs; and from a container \
                 that it is not the container's own localhost"
            );
            let check = Check::failed("store", message, advice);
            (vec![check], Reached::No, false)
        }
        StoreErrorKind::Unavailable { .. } => {
            let advice = "it is starting or overloaded: look at its log and try again";
            let check = Check::failed("store", message, advice);
            (vec![check], Reached::No, false)
        }
        StoreErrorKind::BadCredentials => {
            let advice = match settings.store.credentials {
                CredentialSource::Static { .. } => {
                    "check HICLAW_FS_ACCESS_KEY and HICLAW_FS_SECRET_KEY, and this machine's clock"
                }
                CredentialSource::Controller => {
                    "the keys come from the controller: check that it hands them out and that they have not expired"
                }
                CredentialSource::Aws => {
                    "the keys come from the AWS variables or profile: check AWS_PROFILE and that they have not expired"
                }
            };
            let check = Check::failed("credentials", message, advice);
            (vec![answers, check], Reached::Yes, false)
        }
        StoreErrorKind::NoBucket => {
            let advice = "check HICLAW_FS_BUCKET, or create the bucket";
            let accepted = Check::ok("credentials", "they are accepted");
            let check = Check::failed("bucket", message, advice);
            (vec![answers, accepted, check], Reached::Yes, false)
        }
        // What else is denied is looked at key by key.
        StoreErrorKind::Denied => {
            let accepted = Check::ok("credentials", "they are accepted");
            (vec![answers, accepted], Reached::Yes, true)
        }
        StoreErrorKind::NotFound
        | StoreErrorKind::Precondition
        | StoreErrorKind::Rejected
        | StoreErrorKind::Other
        | _ => {
            let advice = "is this an S3 endpoint, and not the store's console?";
            let check = Check::failed("store", message, advice);
            (vec![check], Reached::Yes, false)
        }
    }
}

fn skew(store: SystemTime, here: SystemTime) -> Check {
    let (difference, way) = match here.duration_since(store) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seconds = difference.as_secs();
    let message = format!("this machine's clock is {seconds} s {way} the store's");
    let advice = "set the clock (NTP); stores refuse requests that are a quarter of an hour off";
    if difference >= SKEW_REFUSED {
        Check::failed("clock", message, advice)
    } else if difference >= SKEW_WARNING {
        Check::warning("clock", message, advice)
    } else {
        Check::ok("clock", "this machine's clock agrees with the store's")
    }
}

/// Conditional writes, notifications, order of listings.
pub(super) async fn abilities(store: &S3Store, layout: &ResolvedLayout) -> Vec<Check> {
    let Some(mount) = layout.mounts.first() else {
        return Vec::new();
    };
    vec![
        conditions(store, &mount.prefix).await,
        notifications(store, &mount.prefix).await,
        order(store, &mount.prefix).await,
    ]
}

async fn conditions(store: &S3Store, prefix: &Prefix) -> Check {
    const NAME: &str = "conditional-writes";
    let found = match probe(store, prefix).await {
        Ok(found) => found,
        Err(error) => return Check::skipped(NAME, error.to_string()),
    };
    match (found.conditional_put, found.conditional_delete) {
        (Support::Yes, Support::Yes) => Check::ok(NAME, "writes and deletes take preconditions"),
        (Support::Yes, Support::No) => Check::ok(
            NAME,
            "writes take preconditions, deletes don't: each delete is preceded by a look",
        ),
        (Support::No, _) => Check::warning(
            NAME,
            "the store ignores preconditions: each write is preceded by a look, and a version that another writer puts \
             right between the two is overwritten",
            "let one writer own each prefix, or use a store with conditional writes (MinIO since May 2024, SeaweedFS, S3)",
        ),
    }
}

async fn notifications(store: &S3Store, prefix: &Prefix) -> Check {
    const NAME: &str = "notifications";
    match store.notifies(prefix.as_str()).await {
        Ok(Notifications::Sent) => Check::ok(NAME, "the store tells of changes to whoever listens"),
        Ok(Notifications::Awaited) => Check::ok(
            NAME,
            "the store keeps listeners waiting, as one does that tells of changes; none came while it was asked",
        ),
        Ok(Notifications::None) => Check::ok(
            NAME,
            "the store tells nobody of changes: those made elsewhere come with the scheduled passes and on request",
        ),
        Err(error) if error.kind == StoreErrorKind::Denied => Check::ok(
            NAME,
            "these keys may not listen (s3:ListenBucketNotification): changes come with the scheduled passes and on request",
        ),
        Err(error) => Check::skipped(NAME, error.to_string()),
    }
}

async fn order(store: &S3Store, prefix: &Prefix) -> Check {
    const NAME: &str = "listing-order";
    match store.greet(prefix.as_str()).await.page {
        Ok(page) if in_byte_order(&page) => Check::ok(NAME, "as far as one page shows, by bytes"),
        Ok(_) => Check::ok(NAME, "not by bytes: listings are put in order here first"),
        Err(error) => Check::skipped(NAME, error.to_string()),
    }
}

fn in_byte_order(page: &ListPage) -> bool {
    page.objects
        .is_sorted_by(|left, right| left.key < right.key)
}

/// The prefix of the agent's own files.
pub(super) fn agent_prefix(settings: &Settings) -> String {
    format!("agents/{}/", settings.worker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_clock_is_judged_by_what_the_store_makes_of_it() {
        let now = SystemTime::now();
        for (seconds, expected) in [
            (0, State::Ok),
            (29, State::Ok),
            (31, State::Warning),
            (899, State::Warning),
            (901, State::Failed),
        ] {
            let other = now + Duration::from_secs(seconds);
            assert_eq!(skew(other, now).state, expected, "{seconds} s behind");
            assert_eq!(skew(now, other).state, expected, "{seconds} s ahead");
        }
    }
}
