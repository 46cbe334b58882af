//! From a tree to a [`ResolvedLayout`].
//!
//! Owns the top of the schema, mounts and merges, and what must hold between them. Every mistake is noted and reading goes
//! on, so that one check shows them all.

mod carry;
mod rule;
mod runtime;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    mistake::{Mistake, Place},
    reader::{Context, Extent, Fields, list},
    resolved::{Mount, ResolvedLayout},
    rules::{Rules, SyncMode},
    team::TeamRole,
    tree::Table,
    variables::{Variable, Variables},
};
use crate::{
    merge::{FieldPath, FieldRule, MergeRules, Take},
    path::{Prefix, RelPath},
    report::Side,
};

/// Reads a layout that nothing is missing from.
pub(super) fn whole(table: &Table, variables: &Variables) -> Result<ResolvedLayout, Vec<Mistake>> {
    let context = Context::new(variables, Extent::Whole);
    let layout = read(&context, table);
    let mistakes = context.into_mistakes();
    match layout {
        Some(layout) if mistakes.is_empty() => Ok(layout),
        _ => Err(mistakes),
    }
}

/// Looks for mistakes in a layout that may be completed by another one.
pub(super) fn check_part(table: &Table) -> Vec<Mistake> {
    let variables = Variables::made_up();
    let context = Context::new(&variables, Extent::Part);
    read(&context, table);
    context.into_mistakes()
}

fn read(context: &Context<'_>, table: &Table) -> Option<ResolvedLayout> {
    let fields = Fields::new(context, "the layout", table);
    // Known here, followed by the layout set.
    fields.text("extends");
    let name = fields.text("name");
    if fields.node("name").is_none() {
        // Needed even of a child: nothing could refer to it.
        context.mistake(fields.place(), "the layout has no `name`");
    }
    let description = fields.text("description").unwrap_or_default().to_owned();
    let mut placed = mounts(context, &fields);
    let declared = mount_names(&fields);
    carry::carries(context, &fields, &declared, &mut placed);
    overlaps(context, &placed);
    let merges = merges(context, &fields);
    let names = steps::Names {
        declared,
        active: placed
            .iter()
            .map(|placed| placed.mount.name.as_str())
            .collect(),
    };
    let steps = steps::steps(context, &fields, &names);
    let runtime = runtime::runtime(context, &fields);
    let ready = runtime::ready(context, &fields);
    let reload = runtime::reload(context, &fields);
    if context.extent == Extent::Whole {
        references(context, &placed, &merges, &reload);
    }
    fields.finish();
    Some(ResolvedLayout {
        name: name?.to_owned(),
        description,
        mounts: placed.into_iter().map(|placed| placed.mount).collect(),
        merges,
        steps,
        runtime: runtime?,
        ready,
        reload,
    })
}

/// A mount and where it was written.
struct Placed<'t> {
    mount: Mount,
    place: &'t Place,
    /// Reload groups and merged paths of its rules, with their places.
    groups: Vec<(String, &'t Place)>,
    merged: Vec<(RelPath, &'t Place)>,
}

/// The names of all mounts, inactive ones included. Two of one name are a mistake.
fn mount_names<'t>(fields: &Fields<'_, 't>) -> BTreeSet<&'t str> {
    fields
        .tables("mount")
        .into_iter()
        .filter_map(|table| table.text("name"))
        .collect()
}

fn mounts<'t>(context: &Context<'_>, layout: &Fields<'_, 't>) -> Vec<Placed<'t>> {
    let tables = layout.tables("mount");
    if tables.is_empty() {
        layout.missing("[[mount]]");
    }
    let mut seen = BTreeSet::new();
    for table in &tables {
        if let Some(name) = table.text("name").filter(|name| !seen.insert(*name)) {
            context.mistake(&table.place, format!("there are two mounts `{name}`"));
        }
    }
    tables
        .into_iter()
        .filter_map(|table| mount(context, table))
        .collect()
}

/// The mount, unless it is wrong or not for this worker.
fn mount<'t>(context: &Context<'_>, table: &'t Table) -> Option<Placed<'t>> {
    let fields = Fields::new(context, "[[mount]]", table);
    let name = fields.text("name").filter(|name| !name.is_empty());
    if name.is_none() {
        // A mount without a name cannot be one of a parent.
        context.mistake(fields.place(), "[[mount]] has no `name`");
    }
    let when = fields.choice(
        "when",
        &[("team-leader", When::Leader), ("never", When::Never)],
    );
    match when {
        Some(When::Leader) if context.variables.role() != TeamRole::Leader => return None,
        Some(When::Never) => return None,
        Some(When::Leader) | None => {}
    }
    let prefix = prefix(context, &fields);
    let local = fields
        .filled("path")
        .and_then(|text| fields.parsed("path", absolute(&text)));
    if fields.node("path").is_none() {
        fields.missing("path");
    }
    let read = rule::rules(context, &fields);
    fields.finish();
    let rules = Rules::new(read.rules)
        .map_err(|error| context.mistake(fields.place(), error.to_string()))
        .ok()?;
    let mount = Mount {
        name: name?.to_owned(),
        prefix: prefix?,
        local: local?,
        rules,
    };
    Some(Placed {
        mount,
        place: fields.place(),
        groups: read.groups,
        merged: read.merged,
    })
}

/// Which workers have a mount.
#[derive(Clone, Copy)]
enum When {
    /// Leaders of a team.
    Leader,
    /// None: a child takes a mount of its parent out.
    Never,
}

/// The prefix; that of the team for the members of one.
fn prefix(context: &Context<'_>, fields: &Fields<'_, '_>) -> Option<Prefix> {
    let in_team = context.variables.get(Variable::Team).is_some();
    let for_team = fields.node("team_prefix").filter(|_| in_team);
    let name = for_team.map_or("prefix", |_| "team_prefix");
    if fields.node("prefix").is_none() {
        fields.missing("prefix");
    }
    let text = fields.filled(name)?;
    let prefix = Prefix::new(&text)
        .map_err(|error| format!("is \"{text}\", which is no safe prefix: {}", error.reason()));
    fields.parsed(name, prefix)
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|component| !matches!(component, std::path::Component::ParentDir));
    if path.is_absolute() && plain {
        Ok(path.components().collect())
    } else {
        Err(format!("is \"{text}\", not an absolute path without `..`"))
    }
}

/// A directory belongs to one mount: a mount within another's directory needs the outer one to leave it alone.
fn overlaps(context: &Context<'_>, mounts: &[Placed<'_>]) {
    for (at, inner) in mounts.iter().enumerate() {
        for (outer_at, outer) in mounts.iter().enumerate() {
            let Ok(below) = inner.mount.local.strip_prefix(&outer.mount.local) else {
                continue;
            };
            // Of two mounts with one directory the later one is the mistake.
            if at == outer_at || (below.as_os_str().is_empty() && at < outer_at) {
                continue;
            }
            let left_alone = below.to_str().and_then(|text| RelPath::new(text).ok());
            if !left_alone.is_some_and(|path| outer.mount.rules.prunes(&path)) {
                let (inner_name, outer_name) = (&inner.mount.name, &outer.mount.name);
                let message = format!(
                    "the directory of mount `{inner_name}` lies in that of mount `{outer_name}`, which would synchronise it too; \
                     give `{outer_name}` a rule with `sync = \"none\"` for it"
                );
                context.mistake(inner.place, message);
            }
        }
    }
}

fn merges(context: &Context<'_>, layout: &Fields<'_, '_>) -> BTreeMap<RelPath, MergeRules> {
    let mut merges = BTreeMap::new();
    for table in layout.tables("merge") {
        let fields = Fields::new(context, "[[merge]]", table);
        let path = fields.rel_path("path");
        if fields.node("path").is_none() {
            context.mistake(fields.place(), "[[merge]] has no `path`");
        }
        let rest = fields
            .choice("rest", &[("local", Side::Local), ("remote", Side::Remote)])
            .unwrap_or(Side::Local);
        let protect = fields.each("protect", |text| {
            FieldPath::new(text).map_err(|error| error.to_string())
        });
        let rows = fields
            .tables("fields")
            .into_iter()
            .filter_map(|row| field_rule(context, row))
            .collect();
        fields.finish();
        let Some(path) = path else { continue };
        if merges
            .insert(
                path.clone(),
                MergeRules {
                    fields: rows,
                    rest,
                    protect,
                },
            )
            .is_some()
        {
            context.mistake(
                fields.place(),
                format!("there are two [[merge]] for `{path}`"),
            );
        }
    }
    merges
}

fn field_rule(context: &Context<'_>, table: &Table) -> Option<FieldRule> {
    let fields = Fields::new(context, "a row of `fields`", table);
    let field = fields
        .text("field")
        .and_then(|text| fields.parsed("field", FieldPath::new(text)));
    let take = fields.choice("take", &Take::ALL.map(|take| (take.name(), take)));
    for name in ["field", "take"] {
        if table.get(name).is_none() {
            context.mistake(fields.place(), format!("a row of `fields` has no `{name}`"));
        }
    }
    fields.finish();
    Some(FieldRule {
        field: field?,
        take: take?,
    })
}

/// What rules refer to must be there.
fn references(
    context: &Context<'_>,
    mounts: &[Placed<'_>],
    merges: &BTreeMap<RelPath, MergeRules>,
    reload: &BTreeMap<String, super::runtime::Reload>,
) {
    for placed in mounts {
        for (path, place) in placed
            .merged
            .iter()
            .filter(|(path, _)| !merges.contains_key(path))
        {
            context.mistake(
                place,
                format!(
                    "`{path}` has `sync = \"{}\"` but there is no [[merge]] for it",
                    SyncMode::Merge.name()
                ),
            );
        }
        for (group, place) in placed
            .groups
            .iter()
            .filter(|(group, _)| !reload.contains_key(group))
        {
            let known = if reload.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are {}", list(reload.keys().map(String::as_str)))
            };
            context.mistake(
                place,
                format!("there is no [reload.{group}] for `group`; {known}"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
