//! `[runtime]`, `[ready]` and `[reload.GROUP]`.
//!
//! Owns their fields and defaults.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};

use super::absolute;
use crate::layout::{
    reader::{Context, Fields},
    runtime::{
        FileText, ReadyCheck, ReadyProbe, Reload, ReloadAction, ReloadSignal, Restart, RuntimeSpec,
    },
    tree::{Table, Value},
    variables::Variable,
};

const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(20);
/// With the supervisor's waits about seven minutes: long enough for a store or homeserver to come back, and then the
/// platform's own restarts and alarms are better than ours.
const DEFAULT_CRASH_LIMIT: u32 = 10;
const DEFAULT_READY_INTERVAL: Duration = Duration::from_secs(5);
const DEFAULT_READY_TIMEOUT: Duration = Duration::from_mins(2);
const SIGNALS: [ReloadSignal; 3] = [ReloadSignal::Hup, ReloadSignal::Usr1, ReloadSignal::Usr2];

/// Reads `[runtime]`.
pub(super) fn runtime(context: &Context<'_>, layout: &Fields<'_, '_>) -> Option<RuntimeSpec> {
    let Some(table) = layout.table("runtime") else {
        layout.missing("[runtime]");
        return None;
    };
    let fields = Fields::new(context, "[runtime]", table);
    let command = fields.command_with_keys("command");
    if fields.node("command").is_none() {
        fields.missing("command");
    }
    let given = fields.node("cwd").map(|_| {
        fields
            .filled("cwd")
            .and_then(|text| fields.parsed("cwd", absolute(&text)))
    });
    let workspace = context.variables.get(Variable::Workspace).unwrap_or("/");
    let cwd = given.unwrap_or_else(|| Some(PathBuf::from(workspace)));
    let restarts = [Restart::Never, Restart::OnFailure, Restart::Always]
        .map(|restart| (restart.to_string(), restart));
    let words = restarts
        .each_ref()
        .map(|(word, restart)| (word.as_str(), *restart));
    let restart = fields
        .choice("restart", &words)
        .unwrap_or(Restart::OnFailure);
    let stop_grace = fields.duration("stop_grace").unwrap_or(DEFAULT_STOP_GRACE);
    let crash_limit = NonZeroU32::new(fields.number("crash_limit").unwrap_or(DEFAULT_CRASH_LIMIT));
    let variables = |name| {
        let table = fields.table(name);
        table
            .map(|table| environment(context, table))
            .unwrap_or_default()
    };
    let (env, default_env) = (variables("env"), variables("default_env"));
    fields.finish();
    Some(RuntimeSpec {
        command: command?,
        cwd: cwd?,
        env,
        default_env,
        restart,
        stop_grace,
        crash_limit,
    })
}

fn environment(context: &Context<'_>, table: &Table) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    for (name, field) in &table.fields {
        if name.is_empty() || name.contains(['=', '\0']) {
            context.mistake(
                &field.place,
                format!(
                    "\"{}\" is no name of an environment variable",
                    name.escape_debug()
                ),
            );
        }
        // A child takes a variable of its parent out.
        if matches!(field.node.value, Value::Boolean(false)) {
            continue;
        }
        let value = context.text(&format!("`{name}`"), &field.node);
        if let Some(value) = value.and_then(|text| context.fill_with_keys(text, &field.node.place))
        {
            environment.insert(name.clone(), value);
        }
    }
    environment
}

/// Reads `[ready]`, if it is there.
pub(super) fn ready(context: &Context<'_>, layout: &Fields<'_, '_>) -> Option<ReadyProbe> {
    // A child takes the probe of its parent out.
    if matches!(
        layout.node("ready").map(|node| &node.value),
        Some(Value::Boolean(false))
    ) {
        return None;
    }
    let table = layout.table("ready")?;
    let fields = Fields::new(context, "[ready]", table);
    let interval = fields
        .duration("interval")
        .unwrap_or(DEFAULT_READY_INTERVAL);
    let timeout = fields.duration("timeout").unwrap_or(DEFAULT_READY_TIMEOUT);
    let check = ready_check(context, &fields);
    fields.finish();
    Some(ReadyProbe {
        check: check?,
        interval,
        timeout,
    })
}

/// The first of `http`, `command` and `file` that can be used: a URL cannot when one of its variables has no value and
/// there is a command to fall back to.
fn ready_check(context: &Context<'_>, fields: &Fields<'_, '_>) -> Option<ReadyCheck> {
    let command = fields.command("command");
    let status = fields.number("status").unwrap_or(200);
    let path = fields.rel_path("file");
    let text = file_text(context, fields);
    if let Some(url) = fields.text("http") {
        let known = context.variables.fill(url).is_ok();
        if known || command.is_none() {
            return Some(ReadyCheck::Http {
                url: fields.filled("http")?,
                status,
            });
        }
    }
    if fields.node("file").is_some() && text.is_none() {
        let message = "[ready] with `file` needs `contains` or `line_starts_with`";
        context.mistake(fields.place(), message);
    }
    if ["command", "http", "file"]
        .iter()
        .all(|name| fields.node(name).is_none())
    {
        context.mistake(fields.place(), "[ready] needs `command`, `http` or `file`");
    }
    match (command, path, text) {
        (Some(command), ..) => Some(ReadyCheck::Command { command }),
        (None, Some(path), Some(text)) => Some(ReadyCheck::File { path, text }),
        (None, ..) => None,
    }
}

/// What a file must hold: one of two fields.
fn file_text(context: &Context<'_>, fields: &Fields<'_, '_>) -> Option<FileText> {
    let contains = fields.text("contains");
    let starts = fields.text("line_starts_with");
    if contains.is_some() && starts.is_some() {
        let message = "[ready] takes `contains` or `line_starts_with`, not both";
        context.mistake(fields.place(), message);
    }
    let starts = starts.map(|text| FileText::LineStartsWith(text.to_owned()));
    starts.or_else(|| contains.map(|text| FileText::Contains(text.to_owned())))
}

/// Reads all `[reload.GROUP]`.
pub(super) fn reload(context: &Context<'_>, layout: &Fields<'_, '_>) -> BTreeMap<String, Reload> {
    let mut groups = BTreeMap::new();
    for (group, field) in layout
        .table("reload")
        .into_iter()
        .flat_map(|table| &table.fields)
    {
        let Value::Table(table) = &field.node.value else {
            let message = format!("`{group}` must be a table: write [reload.{group}]");
            context.mistake(&field.node.place, message);
            continue;
        };
        if let Some(reload) = reload_group(context, table) {
            groups.insert(group.clone(), reload);
        }
    }
    groups
}

#[derive(Clone, Copy)]
enum Kind {
    Watched,
    Signal,
    Http,
    Exec,
    Restart,
}

fn reload_group(context: &Context<'_>, table: &Table) -> Option<Reload> {
    let fields = Fields::new(context, "[reload]", table);
    let kinds = [
        ("watched", Kind::Watched),
        ("signal", Kind::Signal),
        ("http", Kind::Http),
        ("exec", Kind::Exec),
        ("restart", Kind::Restart),
    ];
    let kind = fields.choice("action", &kinds);
    if fields.node("action").is_none() {
        needs(context, &fields, "action");
    }
    let validate = fields.command("validate");
    let action = kind.and_then(|kind| reload_action(context, &fields, kind));
    if kind.is_some() {
        fields.finish();
    }
    Some(Reload {
        action: action?,
        validate,
    })
}

fn reload_action(
    context: &Context<'_>,
    fields: &Fields<'_, '_>,
    kind: Kind,
) -> Option<ReloadAction> {
    let required = |name: &'static str| {
        if fields.node(name).is_none() {
            needs(context, fields, name);
        }
        name
    };
    match kind {
        Kind::Watched => Some(ReloadAction::Watched),
        Kind::Restart => Some(ReloadAction::Restart),
        Kind::Signal => {
            let signals = SIGNALS.map(|signal| (signal.name(), signal));
            let signal = fields.choice(required("signal"), &signals)?;
            Some(ReloadAction::Signal(signal))
        }
        Kind::Http => {
            let method = fields.text("method").unwrap_or("POST").to_ascii_uppercase();
            let url = fields.filled(required("url"))?;
            Some(ReloadAction::Http { method, url })
        }
        Kind::Exec => {
            let command = fields.command(required("command"))?;
            Some(ReloadAction::Exec { command })
        }
    }
}

fn needs(context: &Context<'_>, fields: &Fields<'_, '_>, name: &str) {
    let message = format!("this [reload] action needs `{name}`");
    context.mistake(fields.place(), message);
}
