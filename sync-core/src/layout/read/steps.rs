//! `[[step]]`.
//!
//! Owns the fields of every step.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::absolute;
use crate::{
    layout::{
        glob::Glob,
        reader::{Context, Fields, list},
        step::{Need, PullStep, RunStep, Step},
        tree::Table,
    },
    path::{ObjectKey, RelPath},
};

/// The wait before a retry where a step names none.
const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The mounts of the layout.
pub(super) struct Names<'n> {
    /// All of them.
    pub(super) declared: BTreeSet<&'n str>,
    /// Those that this worker has.
    pub(super) active: BTreeSet<&'n str>,
}

/// Reads the steps, in order; those that are wrong or have nothing to do for this worker are left out.
pub(super) fn steps(
    context: &Context<'_>,
    layout: &Fields<'_, '_>,
    names: &Names<'_>,
) -> Vec<Step> {
    layout
        .tables("step")
        .into_iter()
        .filter_map(|table| step(context, table, names))
        .collect()
}

/// One reader for each word after `do =`.
type Reader = fn(&StepFields<'_, '_, '_>) -> Option<Step>;

const READERS: [(&str, Reader); 11] = [
    ("timezone", |_| Some(Step::Timezone)),
    ("pull", pull),
    ("copy-skills", copy_skills),
    ("link", link),
    ("remove-circular-link", |step| {
        Some(Step::RemoveCircularLink {
            path: step.path("path")?,
        })
    }),
    ("run", run),
    ("executable", |step| {
        Some(Step::Executable {
            paths: step.globs()?,
        })
    }),
    ("move-and-link", move_and_link),
    ("mirror", |_| Some(Step::Mirror)),
    ("delete", |step| {
        Some(Step::Delete {
            paths: step.globs()?,
        })
    }),
    ("matrix-login", matrix_login),
];

struct StepFields<'c, 't, 'n> {
    context: &'c Context<'c>,
    fields: Fields<'c, 't>,
    names: &'n Names<'n>,
}

fn step(context: &Context<'_>, table: &Table, names: &Names<'_>) -> Option<Step> {
    let fields = Fields::new(context, "this step", table);
    let Some(read) = fields.choice("do", &READERS) else {
        if fields.node("do").is_none() {
            let words = list(READERS.iter().map(|(word, _)| *word));
            context.mistake(
                fields.place(),
                format!("[[step]] has no `do`; it is one of {words}"),
            );
        }
        return None;
    };
    let step = StepFields {
        context,
        fields,
        names,
    };
    let read = read(&step);
    step.fields.finish();
    read
}

impl StepFields<'_, '_, '_> {
    fn required(&self, name: &str) {
        let word = self.fields.text("do").unwrap_or_default();
        self.context.mistake(
            self.fields.place(),
            format!("step `{word}` has no `{name}`"),
        );
    }

    fn path(&self, name: &'static str) -> Option<RelPath> {
        if self.fields.node(name).is_none() {
            self.required(name);
        }
        self.fields.rel_path(name)
    }

    fn globs(&self) -> Option<Vec<Glob>> {
        let globs = self.fields.globs("paths");
        if self.fields.lacks_items("paths") {
            self.required("paths");
            return None;
        }
        Some(globs)
    }
}

fn pull(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    let fields = &step.fields;
    let mut mounts = Vec::new();
    for (name, place) in fields.texts("mounts") {
        if step.names.active.contains(name) {
            mounts.push(name.to_owned());
        } else if !step.names.declared.contains(name)
            && step.context.extent == crate::layout::reader::Extent::Whole
        {
            let known = list(step.names.declared.iter().copied());
            step.context.mistake(
                place,
                format!("there is no mount `{name}`; there are {known}"),
            );
        }
    }
    if fields.lacks_items("mounts") {
        step.required("mounts");
    }
    let pull = PullStep {
        mounts,
        require: fields.rel_paths("require"),
        retries: fields.number("retries").unwrap_or(0),
        retry_delay: fields
            .duration("retry_delay")
            .unwrap_or(DEFAULT_RETRY_DELAY),
        missing: fields.text("missing").map(str::to_owned),
        need: if fields.flag("optional") == Some(true) {
            Need::Optional
        } else {
            Need::Required
        },
    };
    (!pull.mounts.is_empty()).then_some(Step::Pull(pull))
}

fn link(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    // Both are read before either may end the reading: a field that was not asked for counts as unknown.
    let (at, to) = (step.path("at"), step.path("to"));
    Some(Step::Link { at: at?, to: to? })
}

fn move_and_link(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    let (from, to) = (step.path("from"), step.path("to"));
    Some(Step::MoveAndLink {
        from: from?,
        to: to?,
    })
}

fn copy_skills(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    let directory = |(text, place)| {
        let path = step.context.fill(text, place)?;
        absolute(&path)
            .map_err(|error| step.context.mistake(place, format!("`from` {error}")))
            .ok()
    };
    let from: Vec<PathBuf> = step
        .fields
        .texts("from")
        .into_iter()
        .filter_map(directory)
        .collect();
    if step.fields.lacks_items("from") {
        step.required("from");
    }
    Some(Step::CopySkills {
        from,
        to: step.path("to")?,
    })
}

fn run(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    if step.fields.node("command").is_none() {
        step.required("command");
    }
    let when_file = step.fields.rel_path("when_file");
    let when_empty = step.fields.rel_path("when_empty");
    let except = step.fields.texts("when_empty_except").into_iter();
    Some(Step::Run(RunStep {
        when_file,
        when_empty,
        when_empty_except: except.map(|(name, _)| name.to_owned()).collect(),
        command: step.fields.command("command")?,
    }))
}

fn matrix_login(step: &StepFields<'_, '_, '_>) -> Option<Step> {
    if step.fields.node("password_key").is_none() {
        step.required("password_key");
    }
    let config = step.path("config");
    let key = step.fields.filled("password_key")?;
    let password_key = step.fields.parsed("password_key", ObjectKey::new(key))?;
    Some(Step::MatrixLogin {
        password_key,
        config: config?,
    })
}
