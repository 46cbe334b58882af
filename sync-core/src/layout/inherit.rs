//! `extends`: one layout put onto another.
//!
//! Owns what a child replaces and what it adds to:
//! - single fields, `ready`, the list of steps and each reload group are replaced
//! - a mount of the same name keeps what the child does not say; the child's rules come before the parent's
//! - a merge of the same path gets the child's rows before the parent's, and the protected fields of both
//! - the runtime keeps what the child does not say; environment variables are added or replaced one by one
//! - a carry to the same file is replaced
//! - other mounts, merges and carries are added at the end
//!
//! Works on trees, so that every value keeps the place where it was written. What has the wrong shape is passed on: the
//! readers report it.

use super::tree::{Field, Node, Table, Value};

/// `child` with everything from `parent` that it does not replace.
pub(super) fn inherit(child: &Table, parent: &Table) -> Table {
    overlay(child, parent, |name, ours, theirs| match name {
        "mount" => by_key("name", ours, theirs, &merge_mount),
        "merge" => by_key("path", ours, theirs, &merge_merge),
        "carry" => by_key("to", ours, theirs, &|child, _| child.clone()),
        "runtime" => tables(ours, theirs, &merge_runtime),
        "reload" => tables(ours, theirs, &|child, parent| {
            overlay(child, parent, |_, ours, _| ours.clone())
        }),
        _ => ours.clone(),
    })
}

fn merge_mount(child: &Table, parent: &Table) -> Table {
    overlay(child, parent, |name, ours, theirs| {
        if name == "rule" {
            concatenate(ours, theirs)
        } else {
            ours.clone()
        }
    })
}

fn merge_merge(child: &Table, parent: &Table) -> Table {
    overlay(child, parent, |name, ours, theirs| match name {
        "fields" | "protect" => concatenate(ours, theirs),
        _ => ours.clone(),
    })
}

fn merge_runtime(child: &Table, parent: &Table) -> Table {
    overlay(child, parent, |name, ours, theirs| match name {
        "env" | "default_env" => tables(ours, theirs, &|child, parent| {
            overlay(child, parent, |_, ours, _| ours.clone())
        }),
        _ => ours.clone(),
    })
}

/// The fields of both; `both` makes one of two of the same name.
fn overlay(child: &Table, parent: &Table, both: impl Fn(&str, &Node, &Node) -> Node) -> Table {
    let mut fields = parent.fields.clone();
    for (name, ours) in &child.fields {
        let node = match parent.fields.get(name) {
            Some(theirs) => both(name, &ours.node, &theirs.node),
            None => ours.node.clone(),
        };
        fields.insert(
            name.clone(),
            Field {
                place: ours.place.clone(),
                node,
            },
        );
    }
    Table {
        place: child.place.clone(),
        fields,
    }
}

fn tables(ours: &Node, theirs: &Node, both: &dyn Fn(&Table, &Table) -> Table) -> Node {
    match (ours.as_table(), theirs.as_table()) {
        (Some(child), Some(parent)) => with_value(ours, Value::Table(both(child, parent))),
        _ => ours.clone(),
    }
}

fn concatenate(ours: &Node, theirs: &Node) -> Node {
    match (&ours.value, &theirs.value) {
        (Value::List(first), Value::List(second)) => with_value(
            ours,
            Value::List(first.iter().chain(second).cloned().collect()),
        ),
        _ => ours.clone(),
    }
}

/// Two lists of tables: those with the same text in `key` become one, in the parent's order; then the child's others.
fn by_key(key: &str, ours: &Node, theirs: &Node, both: &dyn Fn(&Table, &Table) -> Table) -> Node {
    let (Value::List(ours_list), Value::List(theirs_list)) = (&ours.value, &theirs.value) else {
        return ours.clone();
    };
    let key_of = |node: &Node| {
        node.as_table()
            .and_then(|table| table.text(key))
            .map(str::to_owned)
    };
    let same = |node: &Node, list: &[Node]| {
        let wanted = key_of(node)?;
        list.iter()
            .find(|other| key_of(other).as_ref() == Some(&wanted))
            .cloned()
    };
    let merged = theirs_list
        .iter()
        .map(|parent| match same(parent, ours_list) {
            Some(child) => tables(&child, parent, both),
            None => parent.clone(),
        });
    let added = ours_list
        .iter()
        .filter(|child| same(child, theirs_list).is_none())
        .cloned();
    with_value(ours, Value::List(merged.chain(added).collect()))
}

fn with_value(node: &Node, value: Value) -> Node {
    Node {
        value,
        place: node.place.clone(),
    }
}
