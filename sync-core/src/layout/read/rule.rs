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

const MODES: [SyncMode; 5] = [
    SyncMode::Both,
    SyncMode::Pull,
    SyncMode::Push,
    SyncMode::Merge,
    SyncMode::None,
];
const WAYS: [Deletes; 4] = [Deletes::Both, Deletes::Pull, Deletes::Push, Deletes::None];

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
        let message = "`paths` of a rule is empty: it would never match";
        context.mistake(fields.place(), message);
    }
    let sync = fields
        .choice("sync", &MODES.map(|mode| (mode.name(), mode)))
        .unwrap_or(SyncMode::Both);
    let mut rule = Rule::new(paths, sync);
    if let Some(side) = fields.choice(
        "prefer",
        &[("local", Side::Local), ("remote", Side::Remote)],
    ) {
        rule.prefer = side;
    }
    if let Some(deletes) = fields.choice("deletes", &WAYS.map(|way| (way.name(), way))) {
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
    let meaningless: &[&'static str] = match rule.sync {
        SyncMode::Both | SyncMode::Pull | SyncMode::Push => &[],
        SyncMode::Merge => &["prefer", "deletes"],
        SyncMode::None => &["prefer", "deletes", "group", "executable"],
    };
    for name in meaningless
        .iter()
        .filter(|name| fields.node(name).is_some())
    {
        let message = format!("`{name}` has no meaning with `sync = \"{sync}\"`");
        context.mistake(place(name), message);
    }
    let one_way = (rule.deletes.pushes() && !rule.sync.pushes())
        || (rule.deletes.pulls() && !rule.sync.pulls());
    if one_way && meaningless.is_empty() {
        let deletes = rule.deletes.name();
        let message = format!(
            "with `sync = \"{sync}\"`, `deletes` must be \"{sync}\" or \"none\", not \"{deletes}\""
        );
        context.mistake(place("deletes"), message);
    }
    let wild = rule.paths.iter().find(|glob| glob.literal().is_none());
    if rule.legacy_key.is_some() && (rule.paths.len() != 1 || wild.is_some() || !rule.sync.pulls())
    {
        let message = "`legacy_key` needs a rule with one path without wildcards that is pulled";
        context.mistake(place("legacy_key"), message);
    }
    if let Some(glob) = wild.filter(|_| rule.sync == SyncMode::Merge) {
        let message = format!("`{glob}` has a wildcard; paths to be merged are named one by one");
        context.mistake(place("paths"), message);
    }
}
