//! What the keys may do, prefix by prefix.

use bytes::Bytes;
use sync_core::{
    digest::ContentHasher,
    layout::{Mount, ResolvedLayout},
    path::{ObjectKey, RelPath},
    store::{
        ObjectStore, PutBody, PutMode, PutOptions, StoreError, StoreErrorKind, read_whole,
        s3::S3Store,
    },
};

use super::Check;

const CONTENT: &[u8] = b"hiclaw-sync doctor was here; this key may be removed";

/// Tries every way of access that each mount needs.
pub(super) async fn checks(store: &S3Store, layout: &ResolvedLayout) -> Vec<Check> {
    let mut checks = Vec::new();
    for mount in &layout.mounts {
        checks.push(of_mount(store, mount).await);
    }
    checks
}

/// Which ways were tried, and those that failed.
#[derive(Default)]
struct Tried {
    allowed: Vec<&'static str>,
    refused: Vec<String>,
}

impl Tried {
    fn take<T>(&mut self, way: &'static str, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.allowed.push(way);
                Some(value)
            }
            Err(error) => {
                self.refused.push(format!("{way}: {error}"));
                None
            }
        }
    }
}

async fn of_mount(store: &S3Store, mount: &Mount) -> Check {
    const NAME: &str = "access";
    let prefix = mount.prefix.as_str();
    let mut tried = Tried::default();
    let listed = tried.take("list", store.list(prefix, None).await);
    let pushes = mount.rules.rules().iter().any(|rule| rule.sync.pushes());
    match probe_key(mount) {
        Some(key) if pushes => write_read_remove(store, &key, &mut tried).await,
        _ => {
            let listed = listed.and_then(|page| page.objects.into_iter().next());
            if let Some(key) = listed.and_then(|object| ObjectKey::new(object.key).ok()) {
                tried.take("get", read_one(store, &key).await);
            }
        }
    }
    if tried.refused.is_empty() {
        return Check::ok(NAME, format!("{prefix}*: {}", tried.allowed.join(", ")));
    }
    let allowed = match tried.allowed.as_slice() {
        [] => String::new(),
        allowed => format!(" ({} allowed)", allowed.join(", ")),
    };
    let message = format!("{prefix}*: {}{allowed}", tried.refused.join("; "));
    let advice = format!(
        "let the keys' policy allow s3:ListBucket with the prefix {prefix}* and s3:GetObject{} on {prefix}*; \
         container/worker-policy.json is an example",
        if pushes {
            ", s3:PutObject, s3:DeleteObject"
        } else {
            ""
        }
    );
    Check::failed(NAME, message, advice)
}

fn probe_key(mount: &Mount) -> Option<ObjectKey> {
    let name = format!(".hiclaw/doctor-{:016x}", fastrand::u64(..));
    Some(mount.prefix.key(&RelPath::new(name).ok()?))
}

async fn write_read_remove(store: &S3Store, key: &ObjectKey, tried: &mut Tried) {
    let mut hasher = ContentHasher::default();
    hasher.update(CONTENT);
    let options = PutOptions {
        mode: PutMode::Overwrite,
        digest: hasher.finish().digest,
        metadata: Vec::new(),
    };
    let body = PutBody::Bytes(Bytes::from_static(CONTENT));
    let written = tried.take("put", store.put(key, body, options).await);
    match (written, read_back(store, key).await) {
        (Some(_), Ok(Some(content))) if content == CONTENT => tried.allowed.push("get"),
        (Some(_), Ok(_)) => tried
            .refused
            .push("get: what was just written is not what comes back".to_owned()),
        // Nothing there to read, but it may be read.
        (None, Ok(_)) => tried.allowed.push("get"),
        (_, Err(error)) => {
            tried.take::<()>("get", Err(error));
        }
    }
    if written_or_unknown(tried) {
        tried.take("delete", store.delete(key, None).await);
    }
}

/// A key that can't have been written need not be removed.
fn written_or_unknown(tried: &Tried) -> bool {
    tried.allowed.contains(&"put")
}

async fn read_back(store: &S3Store, key: &ObjectKey) -> Result<Option<Vec<u8>>, StoreError> {
    read_whole(store, key, None, 1024).await
}

/// Reads the head of one object that is there.
async fn read_one(store: &S3Store, key: &ObjectKey) -> Result<(), StoreError> {
    match store.get(key, None).await {
        // Gone since it was listed: whether it may be read is not known, and nothing says otherwise.
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    }
}
