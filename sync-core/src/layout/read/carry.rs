//! `[[carry]]`.
//!
//! Owns its fields, and what must hold between it and the rules of its mount.

use super::Placed;
use crate::layout::{
    carry::Carry,
    reader::{Context, Extent, Fields, list},
    rules::SyncMode,
    tree::Table,
};

/// Reads all `[[carry]]` and gives each to its mount: the first one unless it names another.
pub(super) fn carries(
    context: &Context<'_>,
    layout: &Fields<'_, '_>,
    declared: &std::collections::BTreeSet<&str>,
    mounts: &mut [Placed<'_>],
) {
    for table in layout.tables("carry") {
        let fields = Fields::new(context, "[[carry]]", table);
        let name = fields.text("mount");
        let carry = carry(context, &fields);
        fields.finish();
        let Some(carry) = carry else { continue };
        let placed = match name {
            None => mounts.first_mut(),
            Some(name) => {
                if context.extent == Extent::Whole && !declared.contains(name) {
                    let known = list(declared.iter().copied());
                    let message = format!("there is no mount `{name}`; there are {known}");
                    context.mistake(place(table, "mount"), message);
                }
                mounts.iter_mut().find(|placed| placed.mount.name == name)
            }
        };
        // A mount that this worker has not got carries nothing.
        let Some(placed) = placed else { continue };
        if context.extent == Extent::Whole {
            check(context, table, &carry, placed);
        }
        placed.mount.rules.add_carry(carry);
    }
}

fn carry(context: &Context<'_>, fields: &Fields<'_, '_>) -> Option<Carry> {
    let from = fields.rel_paths("from");
    if fields.lacks_items("from") {
        context.mistake(fields.place(), "[[carry]] has no `from`");
    }
    let to = fields.rel_path("to");
    if fields.node("to").is_none() {
        context.mistake(fields.place(), "[[carry]] has no `to`");
    }
    Some(Carry { from, to: to? }).filter(|carry| !carry.from.is_empty())
}

fn check(context: &Context<'_>, table: &Table, carry: &Carry, placed: &Placed<'_>) {
    let rules = &placed.mount.rules;
    let to = &carry.to;
    for inner in &carry.from {
        let sync = rules.rule_for(inner).sync;
        if sync != SyncMode::None {
            let message = format!(
                "`{inner}` is carried to `{to}` and would travel itself as well; give it a rule with `sync = \"none\"`, \
                 it has `sync = \"{}\"`",
                sync.name()
            );
            context.mistake(place(table, "from"), message);
        }
    }
    let sync = rules.rule_for(to).sync;
    if !sync.pushes() {
        let message = format!(
            "what is carried to `{to}` would go nowhere: it has `sync = \"{}\"`, and must be pushed",
            sync.name()
        );
        context.mistake(place(table, "to"), message);
    }
    if rules.carries().iter().any(|other| other.to == *to) {
        let message = format!("there are two [[carry]] to `{to}`");
        context.mistake(place(table, "to"), message);
    }
}

fn place<'t>(table: &'t Table, name: &str) -> &'t crate::layout::mistake::Place {
    table.get(name).map_or(&table.place, |node| &node.place)
}
