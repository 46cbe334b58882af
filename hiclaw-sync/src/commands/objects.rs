//! `cat`, `stat`, `put`: single objects, by their keys. `ls` and `rm` are beside.

pub(super) mod list;
pub(super) mod remove;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
};

use anyhow::Context as _;
use sync_core::{
    digest::ETag,
    object::{self, Attributes, ObjectError},
    path::ObjectKey,
    store::{ObjectStore as _, PutMode, StoreError, StoreErrorKind},
};

use super::form;
use crate::{
    cli::{PutArguments, ReadArguments, StatArguments},
    exit::Exit,
    output::{self, Form, printable},
    settings::GlobalOptions,
    target::{Place, Target, usage},
};

/// Standard input up to this size is kept in memory before it is sent.
const IN_MEMORY_BYTES: u64 = 8 * 1024 * 1024;

/// The key of a target that must name one.
fn key(place: &Place, target: &Target) -> anyhow::Result<ObjectKey> {
    ObjectKey::new(&target.key)
        .map_err(|error| usage(format!("{}: {}", place.url(&target.key), error.reason())))
}

/// An error with the object and the store that it is about.
fn about(place: &Place, key: &ObjectKey, error: ObjectError) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("{} in {}", place.url(key.as_str()), place.name()))
}

pub(in crate::commands) async fn cat(
    global: &GlobalOptions,
    arguments: ReadArguments,
) -> anyhow::Result<Exit> {
    for text in &arguments.keys {
        let target = Target::parse(text)?;
        let place = target.connect(global).await?;
        let key = key(&place, &target)?;
        // Not locked for the whole time: the lock must not be held over an await.
        let mut out = io::stdout();
        let copied = object::copy_to(&place.store, &key, &mut out).await;
        match copied.map(|_| out.flush()) {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
            Ok(Err(error)) => return Err(error).context("can't write to standard output"),
            // Whoever read has seen enough.
            Err(ObjectError::Local { source, .. })
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                return Ok(Exit::Done);
            }
            Err(error) => return Err(about(&place, &key, error)),
        }
    }
    Ok(Exit::Done)
}

pub(in crate::commands) async fn stat(
    global: &GlobalOptions,
    arguments: StatArguments,
) -> anyhow::Result<Exit> {
    let target = Target::parse(&arguments.key)?;
    let place = target.connect(global).await?;
    let key = key(&place, &target)?;
    let missing = || StoreError::new("HEAD", key.as_str(), StoreErrorKind::NotFound, "");
    let found = place.store.head(&key).await;
    let info = found
        .and_then(|info| info.ok_or_else(missing))
        .map_err(|error| about(&place, &key, error.into()))?;
    let modified = info.modified.and_then(output::time);
    let mut out = io::stdout().lock();
    let written = if form(global) == Form::Json {
        let metadata: serde_json::Map<_, _> = info
            .metadata
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let document = serde_json::json!({
            "bucket": place.settings.bucket,
            "key": key.as_str(),
            "size": info.size_bytes,
            "etag": info.etag.as_str(),
            "modified": modified,
            "metadata": metadata,
        });
        output::json(&mut out, &document)
    } else {
        let mut lines = vec![
            ("object".to_owned(), place.url(key.as_str())),
            ("size".to_owned(), info.size_bytes.to_string()),
            ("etag".to_owned(), info.etag.to_string()),
        ];
        lines.extend(modified.map(|time| ("modified".to_owned(), time)));
        lines.extend(
            info.metadata
                .iter()
                .map(|(name, value)| (format!("meta {name}"), value.clone())),
        );
        lines.iter().try_for_each(|(name, value)| {
            writeln!(out, "{:<14} {}", printable(name), printable(value))
        })
    };
    output::forgive_closed_pipe(written).context("can't write the result")?;
    Ok(Exit::Done)
}

pub(in crate::commands) async fn put(
    global: &GlobalOptions,
    arguments: PutArguments,
) -> anyhow::Result<Exit> {
    let mut target = Target::parse(&arguments.key)?;
    if target.key.is_empty() || target.key.ends_with('/') {
        target.key.push_str(file_name(&arguments.file)?);
    }
    let mode = match (&arguments.if_match, arguments.if_none_match) {
        (Some(etag), _) => PutMode::Update(ETag::new(etag)),
        (None, true) => PutMode::Create,
        (None, false) => PutMode::Overwrite,
    };
    let place = target.connect(global).await?;
    let key = key(&place, &target)?;
    let (file, attributes) = if arguments.file == "-" {
        let spooled = tokio::task::spawn_blocking(|| spool(io::stdin().lock())).await?;
        let file = spooled.context("can't keep standard input until it is sent")?;
        (file, Attributes::None)
    } else {
        (open(&arguments.file)?, Attributes::OfTheFile)
    };
    let written = object::put_file(&place.store, &key, file, attributes, mode)
        .await
        .map_err(|error| about(&place, &key, error))?;
    let mut out = io::stdout().lock();
    let said = match form(global) {
        Form::Json => output::json(
            &mut out,
            &serde_json::json!({
                "bucket": place.settings.bucket,
                "key": key.as_str(),
                "size": written.hash.size_bytes,
                "etag": written.etag.as_str(),
                "sha256": written.hash.digest.to_hex(),
            }),
        ),
        Form::Quiet => Ok(()),
        Form::Text => writeln!(
            out,
            "{} ({} bytes, ETag {})",
            printable(&place.url(key.as_str())),
            written.hash.size_bytes,
            written.etag
        ),
    };
    output::forgive_closed_pipe(said).context("can't write the result")?;
    Ok(Exit::Done)
}

/// The last part of a file's name, for a key that ends in `/`.
fn file_name(file: &str) -> anyhow::Result<&str> {
    let name = std::path::Path::new(file)
        .file_name()
        .and_then(std::ffi::OsStr::to_str);
    match name {
        Some(name) if file != "-" => Ok(name),
        _ => Err(usage("the key needs a name after the last `/`")),
    }
}

/// Opens a file; what can't be read twice is spooled like standard input.
fn open(path: &str) -> anyhow::Result<File> {
    let failed = || format!("can't read {path}");
    let file = File::open(path).with_context(failed)?;
    let metadata = file.metadata().with_context(failed)?;
    if metadata.is_dir() {
        return Err(usage(format!(
            "{path} is a directory; `hiclaw-sync mirror` copies those"
        )));
    }
    if metadata.is_file() {
        Ok(file)
    } else {
        spool(file).with_context(failed)
    }
}

/// Copies a stream to a file without a name: its hash has to be known before it is sent, and it may have to be sent again.
fn spool(mut input: impl io::Read) -> io::Result<File> {
    let mut beginning = Vec::new();
    input
        .by_ref()
        .take(IN_MEMORY_BYTES)
        .read_to_end(&mut beginning)?;
    let name = format!("hiclaw-sync-put-{:016x}", fastrand::u64(..));
    let path = std::env::temp_dir().join(name);
    let mut file = private(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(&beginning)?;
    io::copy(&mut input, &mut file)?;
    Ok(file)
}

fn private(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom};

    use super::*;

    #[test]
    fn a_spooled_stream_is_whole_and_leaves_no_name() {
        let mut file = spool(&b"text"[..]).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "text");
    }

    #[test]
    fn a_key_that_ends_in_a_slash_takes_the_files_name() {
        assert_eq!(file_name("a/b.md").unwrap(), "b.md");
        assert!(file_name("-").is_err());
        assert!(file_name("..").is_err());
    }
}
