//! `[[mount.rule]]`.
//!
//! Owns its fields, and which of them go together.

use crate::{
    layout::{
        mistake::Place,
        reader::{Context, Fields},
        rules::{Deletes, Executable, Rule, SyncMode},
        tree::Table,
    },
    path::RelPath,
    report::Side,
};

/// The rules of a mount, and what they refer to.
#[derive(Default)]
pub(super) struct Read<'t> {
    pub(super) rules: Vec<Rule>,
    /// Reload groups and where they are named.
    pub(super) groups: Vec<(String, &'t Place)>,
    /// Paths to be merged and where they are named.
    pub(super) merged: Vec<(RelPath, &'t Place)>,
}

/// Reads the rules of a mount, in order.
pub(super) fn rules<'t>(context: &Context<'_>, mount: &Fields<'_, 't>) -> Read<'t> {
    let mut read = Read::default();
    for table in mount.tables("rule") {
        let rule = rule(context, table);
        if let (Some(group), Some(node)) = (&rule.group, table.get("group")) {
            read.groups.push((group.clone(), &node.place));
        }
        if rule.sync == SyncMode::Merge {
            let place = table.get("paths").map_or(&table.place, |node| &node.place);
            read.merged.extend(
                rule.paths
                    .iter()
                    .filter_map(|glob| Some((glob.literal()?, place))),
            );
        }
        read.rules.push(rule);
    }
    read
}

fn rule(context: &Context<'_>, table: &Table) -> Rule {
    let fields = Fields::new(context, "[[mount.rule]]", table);
    let paths = fields.globs("paths");
    if fields.node("paths").is_none() {
        context.mistake(fields.place(), "[[mount.rule]] has no `paths`");
    } else if fields.lacks_items("paths") {
        context.mistake(
            fields.place(),
            "`paths` of a rule is empty: it would never match",
        );
    }
    let modes = [
        SyncMode::Both,
        SyncMode::Pull,
        SyncMode::Push,
        SyncMode::Merge,
        SyncMode::None,
    ];
    let sync = fields
        .choice("sync", &modes.map(|mode| (mode.name(), mode)))
        .unwrap_or(SyncMode::Both);
    let mut rule = Rule::new(paths, sync);
    if let Some(side) = fields.choice(
        "prefer",
        &[("local", Side::Local), ("remote", Side::Remote)],
    ) {
        rule.prefer = side;
    }
    let ways = [Deletes::Both, Deletes::Pull, Deletes::Push, Deletes::None];
    if let Some(deletes) = fields.choice("deletes", &ways.map(|way| (way.name(), way))) {
        rule.deletes = deletes;
    }
    rule.group = fields.text("group").map(str::to_owned);
    if fields.flag("executable") == Some(true) {
        rule.executable = Executable::Always;
    }
    rule.legacy_key = fields.rel_path("legacy_key");
    fields.finish();
    contradictions(context, &fields, &rule);
    rule
}

/// Fields that cannot be together mean that the rule does not do what its author thinks.
fn contradictions(context: &Context<'_>, fields: &Fields<'_, '_>, rule: &Rule) {
    let place = |name: &'static str| fields.node(name).map_or(fields.place(), |node| &node.place);
    let sync = rule.sync.name();
    if !rule.sync.has_sides() {
        for name in ["prefer", "deletes"] {
            if fields.node(name).is_some() {
                context.mistake(
                    place(name),
                    format!("`{name}` has no meaning with `sync = \"{sync}\"`"),
                );
            }
        }
    } else if (rule.deletes.pushes() && !rule.sync.pushes())
        || (rule.deletes.pulls() && !rule.sync.pulls())
    {
        let deletes = rule.deletes.name();
        let message = format!(
            "with `sync = \"{sync}\"`, `deletes` must be \"{sync}\" or \"none\", not \"{deletes}\""
        );
        context.mistake(place("deletes"), message);
    }
    let literal = rule.paths.len() == 1 && rule.paths.iter().all(|glob| glob.literal().is_some());
    if rule.legacy_key.is_some() && !(literal && rule.sync.pulls()) {
        let message = "`legacy_key` needs a rule with one path without wildcards that is pulled";
        context.mistake(place("legacy_key"), message);
    }
    if rule.sync == SyncMode::Merge
        && let Some(glob) = rule.paths.iter().find(|glob| glob.literal().is_none())
    {
        context.mistake(
            place("paths"),
            format!("`{glob}` has a wildcard; paths to be merged are named one by one"),
        );
    }
    if rule.sync == SyncMode::None
        && (rule.group.is_some() || rule.executable == Executable::Always)
    {
        context.mistake(
            fields.place(),
            "`group` and `executable` have no meaning with `sync = \"none\"`",
        );
    }
}
