//! `ls`.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use anyhow::Context as _;
use serde_json::json;
use sync_core::store::{
    ListedObject,
    s3::{Depth, Level},
};

use super::super::form;
use crate::{
    cli::ListArguments,
    exit::Exit,
    output::{self, Form, printable},
    settings::{GlobalOptions, ProcessEnvironment, Settings},
    target::{Place, Target},
};

/// Width of times and sizes.
const TIME: usize = 20;
const SIZE: usize = 12;

pub(in crate::commands) async fn run(
    global: &GlobalOptions,
    arguments: ListArguments,
) -> anyhow::Result<Exit> {
    let target = match &arguments.target {
        Some(text) => Target::parse(text)?,
        None => own(global)?,
    };
    let place = target.connect(global).await?;
    let depth = if arguments.recursive {
        Depth::All
    } else {
        Depth::OneLevel
    };
    let mut listing = Listing {
        form: form(global),
        shown: 0,
    };
    let listed = listing.show(&place, &target.key, depth).await;
    match listed.map_err(|error| error.context(place.name()))? {
        ControlFlow::Break(()) => return Ok(Exit::Done),
        ControlFlow::Continue(()) => {}
    }
    listing.end().context("can't write the listing")?;
    // An empty bucket is a bucket; an empty prefix is a mistyped one.
    if listing.shown == 0 && !target.key.is_empty() {
        anyhow::bail!("nothing at {}", place.url(&target.key));
    }
    Ok(Exit::Done)
}

/// The agent's own files: what its keys may list.
fn own(global: &GlobalOptions) -> anyhow::Result<Target> {
    let settings = Settings::resolve(global, &ProcessEnvironment)?;
    Ok(Target {
        bucket: None,
        key: format!("agents/{}/", settings.worker),
    })
}

struct Listing {
    form: Form,
    shown: u64,
}

impl Listing {
    /// Shows what is at `key` and below it, as a directory where it has no `/` at its end. Breaks when nobody reads any
    /// more.
    async fn show(
        &mut self,
        place: &Place,
        key: &str,
        depth: Depth,
    ) -> anyhow::Result<ControlFlow<()>> {
        if !key.is_empty() && !key.ends_with('/') {
            // The object itself; others begin with the same letters.
            let named = place.store.browse(key, Depth::OneLevel, None).await?;
            let exact = |object: &ListedObject| object.key == key;
            let level = Level {
                objects: named.objects.into_iter().filter(exact).collect(),
                ..Level::default()
            };
            if self.page(&level)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let prefix = match key {
            "" => String::new(),
            key => format!("{}/", key.strip_suffix('/').unwrap_or(key)),
        };
        let mut token: Option<String> = None;
        loop {
            let level = place.store.browse(&prefix, depth, token.as_deref()).await?;
            if self.page(&level)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            token = level.next;
            if token.is_none() {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    fn page(&mut self, level: &Level) -> anyhow::Result<ControlFlow<()>> {
        match self.write(level) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error).context("can't write the listing"),
        }
    }

    fn write(&mut self, level: &Level) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for prefix in &level.prefixes {
            match self.form {
                Form::Json => self.element(&mut out, &json!({"key": prefix, "type": "prefix"}))?,
                Form::Text | Form::Quiet => {
                    writeln!(out, "{:TIME$} {:>SIZE$} {}", "", "DIR", printable(prefix))?;
                }
            }
            self.shown += 1;
        }
        for object in &level.objects {
            let modified = object.modified.and_then(output::time);
            match self.form {
                Form::Json => self.element(
                    &mut out,
                    &json!({
                        "key": object.key,
                        "type": "object",
                        "size": object.size_bytes,
                        "etag": object.etag.as_str(),
                        "modified": modified,
                    }),
                )?,
                Form::Text | Form::Quiet => writeln!(
                    out,
                    "{:TIME$} {:>SIZE$} {}",
                    modified.unwrap_or_default(),
                    object.size_bytes,
                    printable(&object.key)
                )?,
            }
            self.shown += 1;
        }
        out.flush()
    }

    /// One element of the array that the listing is as JSON; a listing of any length is written as it comes.
    fn element(&self, out: &mut impl Write, element: &serde_json::Value) -> io::Result<()> {
        let separator = if self.shown == 0 { "[" } else { ",\n" };
        write!(out, "{separator}{element}")
    }

    fn end(&self) -> io::Result<()> {
        if self.form != Form::Json {
            return Ok(());
        }
        let end = if self.shown == 0 { "[]" } else { "]" };
        output::forgive_closed_pipe(writeln!(io::stdout().lock(), "{end}"))
    }
}
