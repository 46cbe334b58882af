//! Listings with odd keys, tags and metadata: a pull writes below the mount or not at all, and ends.
//!
//! An input is one object a line: key, ETag, and metadata as `name=value`, separated by tabs, all percent-encoded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use proptest::prelude::*;
use sync_core::{
    digest::ETag,
    layout::{Mount, Rules},
    path::{ObjectKey, Prefix, RelPath},
    progress::{Progress, Silent},
    report::RequestCounts,
    session::{Direction, PassRequest, Session},
    store::{
        ListPage, ListedObject, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError,
        StoreErrorKind,
    },
};

use super::fuzz;

const PREFIX: &str = "agents/a/";
/// Objects of a page: few, so that there are several.
const PAGE: usize = 3;

fn listings() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        "[a-c./]{0,8}",
        "\\PC{0,6}",
        Just("../../outside".to_owned()),
        Just(".hiclaw-sync/state.db".to_owned()),
        Just(".hiclaw-sync/tmp/x".to_owned()),
        Just(".sync-conflicts/x.20261121T040506Z.local".to_owned()),
        "[é]{100,300}",
    ];
    let prefix = prop_oneof![8 => Just(PREFIX), 1 => Just(""), 1 => Just("agents/a")];
    let mode = "[0-9o]{0,9}";
    let time = "-?[0-9]{0,20}(\\.[0-9]{0,12})?";
    let object = (prefix, name, "[0-9a-f\"-]{0,40}", mode, time).prop_map(
        |(prefix, name, tag, mode, time)| {
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let key = encode(&format!("{prefix}{name}"));
            format!(
                "{key}\t{}\tmode={}\tmtime={}",
                encode(&tag),
                encode(&mode),
                encode(&time)
            )
        },
    );
    prop::collection::vec(object, 0..8).prop_map(|objects| objects.join("\n").into_bytes())
}

#[derive(Debug, Clone)]
struct Listed {
    key: String,
    etag: ETag,
    metadata: Vec<(String, String)>,
    content: Bytes,
}

fn objects(input: &[u8]) -> Vec<Listed> {
    let decode = |text: &[u8]| percent_decode(text).decode_utf8_lossy().into_owned();
    let mut objects: BTreeMap<String, Listed> = BTreeMap::new();
    for (number, line) in input.split(|byte| *byte == b'\n').enumerate() {
        let mut fields = line.split(|byte| *byte == b'\t').map(decode);
        let key = fields.next().unwrap_or_default();
        let etag = ETag::new(&fields.next().unwrap_or_default());
        let metadata = fields.filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let object = Listed {
            key: key.clone(),
            etag,
            metadata: metadata.collect(),
            content: format!("object {number}").into(),
        };
        objects.insert(key, object);
    }
    objects.into_values().collect()
}

/// A store that lists whatever it is given, in byte order and whether it was asked for it or not.
struct OddStore(Vec<Listed>);

impl OddStore {
    fn find(&self, key: &ObjectKey) -> Option<&Listed> {
        self.0.iter().find(|object| object.key == key.as_str())
    }

    fn info(object: &Listed) -> ObjectInfo {
        ObjectInfo {
            etag: object.etag.clone(),
            size_bytes: object.content.len() as u64,
            modified: None,
            metadata: object.metadata.clone(),
        }
    }
}

impl ObjectStore for OddStore {
    fn list<'a>(
        &'a self,
        _prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        let start: usize = token.and_then(|token| token.parse().ok()).unwrap_or(0);
        let page = self.0.iter().skip(start).take(PAGE);
        let objects = page.map(|object| ListedObject {
            modified: None,
            key: object.key.clone(),
            etag: object.etag.clone(),
            size_bytes: object.content.len() as u64,
        });
        let page = ListPage {
            objects: objects.collect(),
            next: (start + PAGE < self.0.len()).then(|| (start + PAGE).to_string()),
        };
        async move { Ok(page) }.boxed()
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        _if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        let found = self.find(key).map(|object| Object {
            info: Self::info(object),
            body: futures_util::stream::iter([Ok(object.content.clone())]).boxed(),
        });
        let absent = || StoreError::new("GET", key.as_str(), StoreErrorKind::NotFound, "");
        async move { found.ok_or_else(absent) }.boxed()
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        let found = self.find(key).map(Self::info);
        async move { Ok(found) }.boxed()
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        _body: PutBody,
        _options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        let denied = StoreError::new("PUT", key.as_str(), StoreErrorKind::Denied, "");
        async move { Err(denied) }.boxed()
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        _if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let denied = StoreError::new("DELETE", key.as_str(), StoreErrorKind::Denied, "");
        async move { Err(denied) }.boxed()
    }

    fn requests(&self) -> RequestCounts {
        RequestCounts::default()
    }

    fn identity(&self) -> String {
        "odd".to_owned()
    }
}

#[test]
fn listings_with_odd_keys() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    fuzz("listings", 10, listings(), move |input| {
        let objects = objects(input);
        let outside = tempfile::tempdir().unwrap();
        let local = outside.path().join("mount");
        let (first, second) =
            runtime.block_on(pulls(&local, Arc::new(OddStore(objects.clone()))))?;
        prop_assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        let mut found = BTreeSet::new();
        files(&local, &local, &mut found);
        for path in found {
            let key = format!("{PREFIX}{path}");
            prop_assert!(
                objects.iter().any(|object| object.key == key),
                "{path} is no object"
            );
        }
        prop_assert_eq!(second, 0, "after {} the second pull still downloads", first);
        Ok(())
    });
}

/// Two pulls; how many files each of them brought.
async fn pulls(local: &Path, store: Arc<OddStore>) -> Result<(usize, usize), TestCaseError> {
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new(PREFIX.trim_end_matches('/')).unwrap(),
        local: local.to_owned(),
        rules: Rules::new(Vec::new()).unwrap(),
    };
    let session = Session::with_mounts(vec![mount], BTreeMap::new(), store, 2)
        .await
        .unwrap();
    let progress: Arc<dyn Progress> = Arc::new(Silent);
    let request = PassRequest::everything(Direction::Pull);
    let mut downloaded = Vec::new();
    for _ in 0..2 {
        let report = session.pass(&request, &progress).await;
        let report = report.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        let panicked = |message: &str| message.contains("panic");
        let defects = report
            .problems
            .iter()
            .filter(|problem| panicked(&problem.message));
        prop_assert_eq!(defects.count(), 0, "{:?}", report.problems);
        downloaded.push(report.downloaded.len());
    }
    Ok((downloaded[0], downloaded[1]))
}

fn files(mount: &Path, directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(mount).unwrap().to_str().unwrap();
        if relative == ".hiclaw-sync" {
            continue;
        }
        if path.is_dir() {
            files(mount, &path, found);
        } else {
            assert!(RelPath::new(relative).is_ok());
            found.insert(relative.to_owned());
        }
    }
}
