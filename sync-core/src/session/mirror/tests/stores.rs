//! Stores in memory that answer in other ways.

use futures_util::future::BoxFuture;

use crate::{
    digest::ETag,
    path::ObjectKey,
    report::RequestCounts,
    store::{
        ListPage, Object, ObjectInfo, ObjectStore, PutBody, PutOptions, StoreError, StoreErrorKind,
        memory::MemoryStore,
    },
};

/// A store that lists an object `x` and nothing below `x/`, as MinIO does.
pub(super) struct Hiding(pub(super) MemoryStore);

/// A store that lists keys which nobody asked for.
pub(super) struct Confused(pub(super) MemoryStore);

/// A store whose listings fail on the second page.
pub(super) struct Broken(pub(super) MemoryStore);

/// A store whose ETags are no MD5 and whose objects tell their digest.
pub(super) struct Parts(pub(super) MemoryStore, pub(super) String);

macro_rules! delegate {
    () => {
        fn get<'a>(
            &'a self,
            key: &'a ObjectKey,
            if_match: Option<&'a ETag>,
        ) -> BoxFuture<'a, Result<Object, StoreError>> {
            self.0.get(key, if_match)
        }
        fn put<'a>(
            &'a self,
            key: &'a ObjectKey,
            body: PutBody,
            options: PutOptions,
        ) -> BoxFuture<'a, Result<ETag, StoreError>> {
            self.0.put(key, body, options)
        }
        fn delete<'a>(
            &'a self,
            key: &'a ObjectKey,
            if_match: Option<&'a ETag>,
        ) -> BoxFuture<'a, Result<(), StoreError>> {
            self.0.delete(key, if_match)
        }
        fn requests(&self) -> RequestCounts {
            self.0.requests()
        }
        fn identity(&self) -> String {
            self.0.identity()
        }
    };
}

impl ObjectStore for Broken {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move {
            if token.is_some() {
                let kind = StoreErrorKind::Unavailable { retry_after: None };
                return Err(StoreError::new("LIST", prefix, kind, ""));
            }
            Ok(ListPage {
                objects: Vec::new(),
                next: Some("more".to_owned()),
            })
        })
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.0.head(key)
    }

    delegate!();
}

impl ObjectStore for Parts {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move {
            let mut page = self.0.list(prefix, token).await?;
            for object in &mut page.objects {
                object.etag = ETag::new("0123-2");
            }
            Ok(page)
        })
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        Box::pin(async move {
            let info = self.0.head(key).await?;
            Ok(info.map(|info| ObjectInfo {
                etag: ETag::new("0123-2"),
                metadata: vec![("sha256".to_owned(), self.1.clone())],
                ..info
            }))
        })
    }

    delegate!();
}

impl ObjectStore for Hiding {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        Box::pin(async move {
            let mut page = self.0.list(prefix, token).await?;
            let all: Vec<_> = page
                .objects
                .iter()
                .map(|it| format!("{}/", it.key))
                .collect();
            let hidden = |key: &str| all.iter().any(|above| key.starts_with(above));
            page.objects.retain(|object| !hidden(&object.key));
            Ok(page)
        })
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.0.head(key)
    }

    delegate!();
}

impl ObjectStore for Confused {
    fn list<'a>(
        &'a self,
        _prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.0.list("", token)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.0.head(key)
    }

    delegate!();
}
