//! Single objects, for people and scripts: write one from a file, read one to wherever it goes.
//!
//! Owns that what is written is what was hashed, and that what was read is what the store meant. Uses no mount and no
//! baseline.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use crate::{
    digest::{ContentHash, ContentHasher, ETag},
    execute,
    local::Fingerprint,
    path::ObjectKey,
    store::{
        More, ObjectInfo, ObjectReader, ObjectStore, PutBody, PutMode, PutOptions, StoreError,
        StoreErrorKind,
    },
};

/// How often an object is asked for that is written meanwhile, or a file sent that changes meanwhile.
const ATTEMPTS: u32 = 4;
/// Read before it is written out.
const PIECE_BYTES: usize = 64 * 1024;

/// An object could not be written or read as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be read, or the output not written.
    #[error("can't {operation} the content of {key}")]
    Local {
        /// What was tried, such as `read`.
        operation: &'static str,
        /// The object.
        key: ObjectKey,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file kept changing.
    #[error("the file for {key} changes while it is sent")]
    Changing {
        /// The object.
        key: ObjectKey,
    },
    /// The object isn't what its size or digest say.
    #[error("{key} arrived damaged: {reason}")]
    Damaged {
        /// The object.
        key: ObjectKey,
        /// What doesn't fit.
        reason: String,
    },
}

/// An object as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its new entity tag.
    pub etag: ETag,
    /// What it holds.
    pub hash: ContentHash,
}

/// Which attributes of the file go with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// Mode and modification time, as a pass would send them.
    OfTheFile,
    /// Only the digest: the file is a stand-in.
    None,
}

/// Writes the whole of an open regular file as an object. The object appears as a whole, with the content that was
/// hashed, or not at all.
///
/// RACE: a store that ignores preconditions is asked with a HEAD first; a version that another writer puts between the
/// two is overwritten there.
pub async fn put_file(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    file: File,
    attributes: Attributes,
    mode: PutMode,
) -> Result<Written, ObjectError> {
    let local = |operation| {
        move |source| ObjectError::Local {
            operation,
            key: key.clone(),
            source,
        }
    };
    check(store, key, &mode).await?;
    for _ in 0..ATTEMPTS {
        let content = file.try_clone().map_err(local("read"))?;
        let hashed = tokio::task::spawn_blocking(move || hash(content)).await;
        let (hash, fingerprint) = hashed
            .map_err(|error| local("read")(error.into()))?
            .map_err(local("read"))?;
        let body = PutBody::File {
            file: file.try_clone().map_err(local("read"))?,
            size_bytes: hash.size_bytes,
        };
        let metadata = match attributes {
            Attributes::OfTheFile => execute::metadata(&fingerprint, &hash.digest),
            Attributes::None => vec![("sha256".to_owned(), hash.digest.to_hex())],
        };
        let options = PutOptions {
            mode: mode.clone(),
            digest: hash.digest,
            metadata,
        };
        match store.put(key, body, options).await {
            Ok(etag) => return Ok(Written { etag, hash }),
            Err(error) if error.kind == StoreErrorKind::Rejected => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ObjectError::Changing { key: key.clone() })
}

/// The precondition as a HEAD sees it: the store may be one that ignores it.
async fn check(store: &dyn ObjectStore, key: &ObjectKey, mode: &PutMode) -> Result<(), StoreError> {
    let expected = match mode {
        PutMode::Overwrite => return Ok(()),
        PutMode::Create => None,
        PutMode::Update(etag) => Some(etag.clone()),
    };
    let found = store.head(key).await?.map(|info| info.etag);
    if found == expected {
        return Ok(());
    }
    let message = match found {
        None => "there is no such object".to_owned(),
        Some(etag) => format!("it exists with ETag {etag}"),
    };
    Err(StoreError::new(
        "PUT",
        key.as_str(),
        StoreErrorKind::Precondition,
        message,
    ))
}

fn hash(mut file: File) -> io::Result<(ContentHash, Fingerprint)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = ContentHasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            let fingerprint = Fingerprint::of(&file.metadata()?);
            return Ok((hasher.finish(), fingerprint));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}

/// Reads a whole object into `out`, piece by piece as it comes, and checks at the end that it was what the store meant.
/// An answer that breaks off is continued where it ended, with the same version. What was written to `out` before an
/// error stays there.
pub async fn copy_to(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    out: &mut (dyn io::Write + Send),
) -> Result<ObjectInfo, ObjectError> {
    for _ in 1..ATTEMPTS {
        match copy_version(store, key, out).await {
            // Written anew between two looks; nothing of it was read yet.
            Err((0, ObjectError::Store(error))) if error.kind == StoreErrorKind::Precondition => {}
            Err((_, error)) => return Err(error),
            Ok(info) => return Ok(info),
        }
    }
    copy_version(store, key, out)
        .await
        .map_err(|(_, error)| error)
}

/// Copies the version that the object has now. A failure comes with the number of bytes that were read before it.
async fn copy_version(
    store: &dyn ObjectStore,
    key: &ObjectKey,
    out: &mut (dyn io::Write + Send),
) -> Result<ObjectInfo, (u64, ObjectError)> {
    let mut copy = Copy {
        out,
        hasher: ContentHasher::default(),
    };
    match copy.take(store, key).await {
        Ok(info) => {
            let done = copy.hasher.size_bytes();
            copy.verify(key, info).map_err(|error| (done, error))
        }
        Err(error) => Err((copy.hasher.size_bytes(), error)),
    }
}

struct Copy<'a> {
    out: &'a mut (dyn io::Write + Send),
    hasher: ContentHasher,
}

impl Copy<'_> {
    async fn take(
        &mut self,
        store: &dyn ObjectStore,
        key: &ObjectKey,
    ) -> Result<ObjectInfo, ObjectError> {
        let found = store.head(key).await?;
        let absent = || StoreError::new("GET", key.as_str(), StoreErrorKind::NotFound, "");
        let etag = found.ok_or_else(absent)?.etag;
        let mut reader = ObjectReader::whole(store, key, &etag);
        let info = reader.open().await?;
        let mut pieces = Vec::new();
        loop {
            let more = reader.read(&mut pieces, PIECE_BYTES).await;
            for piece in pieces.drain(..) {
                let written = self.out.write_all(&piece);
                written.map_err(|source| ObjectError::Local {
                    operation: "write",
                    key: key.clone(),
                    source,
                })?;
                self.hasher.update(&piece);
            }
            if more? == More::No {
                return Ok(info);
            }
        }
    }

    fn verify(self, key: &ObjectKey, info: ObjectInfo) -> Result<ObjectInfo, ObjectError> {
        let hash = self.hasher.finish();
        let damaged = |reason| ObjectError::Damaged {
            key: key.clone(),
            reason,
        };
        if hash.size_bytes != info.size_bytes {
            let reason = format!("{} of {} bytes", hash.size_bytes, info.size_bytes);
            return Err(damaged(reason));
        }
        // Encrypted objects have tags that look like an MD5, and writers that copy metadata leave a wrong digest: one
        // proof is enough, and without any claim there is nothing to disprove.
        let claims = [
            info.etag.as_md5().map(|md5| md5 == hash.md5_hex),
            info.metadata("sha256")
                .map(|digest| digest == hash.digest.to_hex()),
        ];
        match claims {
            [_, Some(true)] | [Some(true), _] | [None | Some(false), None] => Ok(info),
            [_, Some(false)] => Err(damaged("the content doesn't have its digest".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::memory::MemoryStore;

    fn key() -> ObjectKey {
        ObjectKey::new("a/b").unwrap()
    }

    fn file(content: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    }

    #[tokio::test]
    async fn what_was_put_is_what_comes_back() {
        let store = MemoryStore::new();
        for content in ["", "text"] {
            let written = put_file(
                &store,
                &key(),
                file(content),
                Attributes::OfTheFile,
                PutMode::Overwrite,
            )
            .await
            .unwrap();
            let mut out = Vec::new();
            let info = copy_to(&store, &key(), &mut out).await.unwrap();
            assert_eq!(
                (out.as_slice(), &info.etag),
                (content.as_bytes(), &written.etag)
            );
            assert!(info.metadata("mtime").is_some());
        }
    }

    #[tokio::test]
    async fn conditions_are_asked_for_before_the_content_is_sent() {
        let store = MemoryStore::new();
        store.insert("a/b", "there");
        let before = store.requests();
        for mode in [PutMode::Create, PutMode::Update(ETag::new("other"))] {
            let put = put_file(&store, &key(), file("mine"), Attributes::None, mode).await;
            let Err(ObjectError::Store(error)) = put else {
                panic!("written")
            };
            assert_eq!(error.kind, StoreErrorKind::Precondition);
        }
        assert_eq!((store.requests() - before).put, 0);
        assert_eq!(store.content("a/b").unwrap(), "there");
    }

    #[tokio::test]
    async fn a_damaged_object_is_an_error() {
        let store = MemoryStore::new();
        let info = |size_bytes, etag: &str| ObjectInfo {
            etag: ETag::new(etag),
            size_bytes,
            modified: None,
            metadata: vec![("sha256".to_owned(), "0".repeat(64))],
        };
        let copy = |content: &[u8]| {
            let mut hasher = ContentHasher::default();
            hasher.update(content);
            hasher
        };
        for (size, etag) in [(5, "x-2"), (4, "x-2"), (4, &*"0".repeat(32))] {
            let mut out = Vec::new();
            let copy = Copy {
                out: &mut out,
                hasher: copy(b"text"),
            };
            let verified = copy.verify(&key(), info(size, etag));
            assert!(
                matches!(verified, Err(ObjectError::Damaged { .. })),
                "{size} {etag}"
            );
        }
        assert!(matches!(
            copy_to(&store, &key(), &mut Vec::new()).await,
            Err(ObjectError::Store(_))
        ));
    }
}
