//! `rm`.

use std::io::{self, Write as _};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sync_core::{
    path::ObjectKey,
    store::{ObjectStore as _, StoreError, StoreErrorKind, s3::Depth},
};

use super::{super::form, key};
use crate::{
    cli::RemoveArguments,
    exit::Exit,
    output::{self, Form, printable},
    settings::GlobalOptions,
    target::{Place, Target, usage},
};

pub(in crate::commands) async fn run(
    global: &GlobalOptions,
    arguments: RemoveArguments,
) -> anyhow::Result<Exit> {
    // All mistakes of the command line before the first delete.
    let targets = arguments
        .keys
        .iter()
        .map(|text| Target::parse(text))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if arguments.recursive && targets.iter().any(|target| target.key.is_empty()) {
        return Err(usage(
            "rm doesn't empty a whole bucket; name the prefixes that are to go",
        ));
    }
    let mut removed = Removed::default();
    for target in &targets {
        let place = target.connect(global).await?;
        let result = if arguments.recursive {
            below(&place, target, &arguments, &mut removed).await
        } else {
            one(&place, target, &mut removed).await
        };
        result.map_err(|error| error.context(place.name()))?;
    }
    removed.show(form(global), &arguments)?;
    Ok(removed.exit(&arguments))
}

#[derive(Debug, Default)]
struct Removed {
    /// What went, or would go.
    urls: Vec<String>,
    failures: Vec<(String, String)>,
}

async fn one(place: &Place, target: &Target, removed: &mut Removed) -> anyhow::Result<()> {
    let key = key(place, target)?;
    // Stores say yes to the delete of what isn't there: a mistyped key would pass for done.
    let result = match place.store.head(&key).await {
        Ok(Some(_)) => place.store.delete(&key, None).await,
        Ok(None) => Err(StoreError::new(
            "DELETE",
            key.as_str(),
            StoreErrorKind::NotFound,
            "",
        )),
        Err(error) => Err(error),
    };
    removed.take(place.url(key.as_str()), result)
}

async fn below(
    place: &Place,
    target: &Target,
    arguments: &RemoveArguments,
    removed: &mut Removed,
) -> anyhow::Result<()> {
    let prefix = format!("{}/", target.key.strip_suffix('/').unwrap_or(&target.key));
    // All of it before the first delete: a listing is no longer one of what is when it changes on the way.
    let mut keys = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let level = place
            .store
            .browse(&prefix, Depth::All, token.as_deref())
            .await?;
        for object in level.objects {
            keys.push(ObjectKey::new(&object.key)?);
        }
        token = level.next;
        if token.is_none() {
            break;
        }
    }
    if keys.is_empty() {
        let nothing = StoreError::new("LIST", &prefix, StoreErrorKind::NotFound, "");
        return removed.take(place.url(&prefix), Err(nothing));
    }
    if !arguments.yes {
        removed
            .urls
            .extend(keys.iter().map(|key| place.url(key.as_str())));
        return Ok(());
    }
    let delete = |key: ObjectKey| async move {
        let result = place.store.delete(&key, None).await;
        Ok::<_, anyhow::Error>((key, result))
    };
    let mut deletes = futures_util::stream::iter(keys.into_iter().map(delete))
        .buffer_unordered(place.settings.concurrency.get());
    while let Some((key, result)) = deletes.try_next().await? {
        removed.take(place.url(key.as_str()), result)?;
    }
    Ok(())
}

impl Removed {
    /// Takes one result. What no further key would survive ends the command.
    fn take(&mut self, url: String, result: Result<(), StoreError>) -> anyhow::Result<()> {
        match result {
            Ok(()) => self.urls.push(url),
            Err(error) if error.kind.is_fatal() || error.kind.is_transient() => {
                return Err(anyhow::Error::new(error).context(url));
            }
            Err(error) => self.failures.push((url, error.to_string())),
        }
        Ok(())
    }

    fn show(&self, form: Form, arguments: &RemoveArguments) -> anyhow::Result<()> {
        let planned = arguments.recursive && !arguments.yes;
        let mut out = io::stdout().lock();
        let written = match form {
            Form::Json => {
                let failures: Vec<_> = self
                    .failures
                    .iter()
                    .map(|(url, message)| serde_json::json!({"url": url, "message": message}))
                    .collect();
                let (done, would) = if planned {
                    (&[][..], &*self.urls)
                } else {
                    (&*self.urls, &[][..])
                };
                let document = serde_json::json!({"removed": done, "would_remove": would, "problems": failures});
                output::json(&mut out, &document)
            }
            Form::Quiet => Ok(()),
            Form::Text => {
                let verb = if planned { "would remove" } else { "removed" };
                self.urls
                    .iter()
                    .try_for_each(|url| writeln!(out, "{verb} {}", printable(url)))
            }
        };
        output::forgive_closed_pipe(written).context("can't write the result")?;
        drop(out);
        let mut stderr = io::stderr().lock();
        if planned && !self.urls.is_empty() {
            let count = self.urls.len();
            writeln!(
                stderr,
                "hiclaw-sync: nothing was removed; add --yes to remove {count} objects"
            )
            .ok();
        }
        if form != Form::Json {
            for (url, message) in &self.failures {
                let line = format!("hiclaw-sync: {url}: {message}");
                // Nobody is there to be told that nobody is there.
                writeln!(stderr, "{}", printable(&line)).ok();
            }
        }
        Ok(())
    }

    fn exit(&self, arguments: &RemoveArguments) -> Exit {
        if arguments.recursive && !arguments.yes && !self.urls.is_empty() {
            return Exit::Usage;
        }
        match (self.urls.is_empty(), self.failures.is_empty()) {
            (_, true) => Exit::Done,
            (false, false) => Exit::Problems,
            (true, false) => Exit::Failed,
        }
    }
}
