//! The engine on a store that ignores preconditions: it looks before it writes, and what it sees is never lost.
//!
//! Runs on a real store of that kind where one is installed, and on every other one behind [`Unconditional`], which
//! drops the conditions. What another writer does between the look and the write is beyond any client; the executor
//! says so where it happens.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use sync_core::{
    digest::ETag,
    layout::{Mount, Rules},
    path::{ObjectKey, Prefix, RelPath},
    progress::{Progress, Silent},
    report::{Report, RequestCounts},
    session::{Direction, Dirty, PassRequest, Session},
    store::{
        Capabilities, ListPage, Object, ObjectInfo, ObjectStore, PutBody, PutMode, PutOptions,
        StoreError, Support,
    },
};
use testkit::tree;

use super::{Subject, put};

/// A store that ignores preconditions without a word.
struct Unconditional(Arc<dyn ObjectStore>);

impl ObjectStore for Unconditional {
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<ListPage, StoreError>> {
        self.0.list(prefix, token)
    }

    fn get<'a>(
        &'a self,
        key: &'a ObjectKey,
        if_match: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<Object, StoreError>> {
        self.0.get(key, if_match)
    }

    fn head<'a>(
        &'a self,
        key: &'a ObjectKey,
    ) -> BoxFuture<'a, Result<Option<ObjectInfo>, StoreError>> {
        self.0.head(key)
    }

    fn put<'a>(
        &'a self,
        key: &'a ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> BoxFuture<'a, Result<ETag, StoreError>> {
        let mode = PutMode::Overwrite;
        self.0.put(key, body, PutOptions { mode, ..options })
    }

    fn delete<'a>(
        &'a self,
        key: &'a ObjectKey,
        _: Option<&'a ETag>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.delete(key, None)
    }

    fn requests(&self) -> RequestCounts {
        self.0.requests()
    }

    fn identity(&self) -> String {
        self.0.identity()
    }
}

/// A mount whose first pass found out that the store knows no conditions.
struct Synchronised<'a> {
    subject: &'a Subject,
    dir: tempfile::TempDir,
    session: Session,
}

async fn synchronised<'a>(
    subject: &'a Subject,
    files: &[(&str, &str)],
) -> Result<Synchronised<'a>> {
    let dir = tempfile::tempdir()?;
    for (path, content) in files {
        tree::write(dir.path(), path, content)?;
    }
    let mount = Mount {
        name: "workspace".to_owned(),
        prefix: Prefix::new("agents/a")?,
        local: dir.path().to_owned(),
        rules: Rules::new(Vec::new())?,
    };
    let store = Arc::new(Unconditional(subject.store.clone()));
    let session = Session::with_mounts(vec![mount], BTreeMap::default(), store, 4).await?;
    let pass = PassRequest::everything(Direction::Sync);
    session.pass(&pass, &silent()).await?;
    let none = Capabilities {
        conditional_put: Support::No,
        conditional_delete: Support::No,
    };
    assert_eq!(session.probe().await?, none);
    Ok(Synchronised {
        subject,
        dir,
        session,
    })
}

fn silent() -> Arc<dyn Progress> {
    Arc::new(Silent)
}

impl Synchronised<'_> {
    /// What a resident engine does about a changed file: no listing.
    async fn push(&self, path: &str) -> Result<(Report, RequestCounts)> {
        let mount = self.session.mounts().first().context("no mount")?;
        let dirty = Dirty::Paths(vec![RelPath::new(path)?]);
        let before = self.subject.store.requests();
        let (report, unfinished) = self.session.push_dirty(mount, dirty, &silent()).await?;
        assert_eq!(unfinished, []);
        Ok((report, self.subject.store.requests() - before))
    }

    async fn foreign(&self, path: &str, content: &str) -> Result<()> {
        let key = format!("agents/a/{path}");
        put(&*self.subject.store, &key, content, PutMode::Overwrite).await?;
        Ok(())
    }

    async fn object(&self, path: &str) -> Result<String> {
        self.subject.text(&format!("agents/a/{path}")).await
    }

    fn write(&self, path: &str, content: &str) -> Result<()> {
        tree::write(self.dir.path(), path, content)
    }
}

pub(crate) async fn a_foreign_version_is_noticed_before_it_is_overwritten(
    subject: &Subject,
) -> Result<()> {
    let engine = synchronised(subject, &[("SOUL.md", "old")]).await?;
    engine.write("SOUL.md", "mine")?;
    let (report, requests) = engine.push("SOUL.md").await?;
    assert_eq!(report.uploaded.len(), 1);
    assert_eq!((requests.head, requests.put, requests.list), (1, 1, 0));

    engine.foreign("SOUL.md", "theirs").await?;
    engine.write("SOUL.md", "mine again")?;
    let (report, _) = engine.push("SOUL.md").await?;
    let conflict = report
        .conflicts
        .first()
        .context("no conflict was noticed")?;
    assert_eq!(engine.object("SOUL.md").await?, "mine again");
    assert_eq!(engine.object(&conflict.copy).await?, "theirs");
    assert_eq!(tree::text(engine.dir.path(), &conflict.copy)?, "theirs");
    Ok(())
}

pub(crate) async fn a_foreign_creation_is_noticed(subject: &Subject) -> Result<()> {
    let engine = synchronised(subject, &[("SOUL.md", "old")]).await?;
    engine.foreign("new.md", "theirs").await?;
    engine.write("new.md", "mine")?;
    let (report, _) = engine.push("new.md").await?;
    let conflict = report
        .conflicts
        .first()
        .context("no conflict was noticed")?;
    assert_eq!(engine.object("new.md").await?, "mine");
    assert_eq!(engine.object(&conflict.copy).await?, "theirs");
    Ok(())
}

pub(crate) async fn a_foreign_edit_is_not_deleted(subject: &Subject) -> Result<()> {
    let engine = synchronised(subject, &[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    engine.foreign("a", "theirs").await?;
    for path in ["a", "b"] {
        std::fs::remove_file(engine.dir.path().join(path))?;
    }
    let (report, requests) = engine.push("b").await?;
    assert_eq!(report.deleted_remote.len(), 1);
    assert_eq!((requests.head, requests.delete, requests.list), (1, 1, 0));
    let (report, _) = engine.push("a").await?;
    assert!(report.deleted_remote.is_empty(), "{report:?}");
    assert_eq!(engine.object("a").await?, "theirs");
    let pass = PassRequest::everything(Direction::Sync);
    engine.session.pass(&pass, &silent()).await?;
    assert_eq!(tree::text(engine.dir.path(), "a")?, "theirs");
    let again = engine.session.pass(&pass, &silent()).await?;
    assert!(again.is_quiet(), "{again:?}");
    assert_eq!((again.requests.head, again.requests.put), (0, 0));
    Ok(())
}
