//! A resolved layout as TOML, for `layouts show`.
//!
//! Owns that text. It is a layout again: everything inherited is in it, every variable filled in, every default written
//! out; the built-in rules stand in comments.

use std::{fmt, num::NonZeroU32, time::Duration};

use super::{
    carry::Carry,
    resolved::{Mount, ResolvedLayout},
    rules::{Executable, Rule},
    runtime::{FileText, ReadyCheck, ReadyProbe, Reload, ReloadAction, RuntimeSpec},
    step::{Need, PullStep, Step},
};
use crate::merge::MergeRules;

impl fmt::Display for ResolvedLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        field(f, "name", &self.name)?;
        field(f, "description", &self.description)?;
        for mount in &self.mounts {
            show_mount(f, mount)?;
        }
        for (path, merge) in &self.merges {
            show_merge(f, path.as_str(), merge)?;
        }
        for mount in &self.mounts {
            (mount.rules.carries().iter()).try_for_each(|carry| show_carry(f, mount, carry))?;
        }
        for step in &self.steps {
            show_step(f, step)?;
        }
        show_runtime(f, &self.runtime)?;
        if let Some(ready) = &self.ready {
            show_ready(f, ready)?;
        }
        self.reload
            .iter()
            .try_for_each(|(group, reload)| show_reload(f, group, reload))
    }
}

fn show_mount(f: &mut fmt::Formatter<'_>, mount: &Mount) -> fmt::Result {
    writeln!(f, "\n[[mount]]")?;
    field(f, "name", &mount.name)?;
    field(f, "prefix", mount.prefix.as_str())?;
    field(f, "path", &mount.local.to_string_lossy())?;
    let (built_in_first, own, built_in_last) = mount.rules.parts();
    for rule in built_in_first {
        writeln!(f, "\n# built in: {}", one_line(rule))?;
    }
    for rule in own {
        writeln!(f, "\n[[mount.rule]]")?;
        writeln!(f, "{}", lines(rule).join("\n"))?;
    }
    writeln!(f, "\n# built in: {}", one_line(built_in_last))
}

fn one_line(rule: &Rule) -> String {
    lines(rule).join(", ")
}

fn lines(rule: &Rule) -> Vec<String> {
    let mut lines = vec![
        format!("paths = {}", list(&rule.paths)),
        format!("sync = {}", quoted(rule.sync.name())),
    ];
    if rule.sync.has_sides() {
        lines.push(format!("prefer = {}", quoted(&rule.prefer.to_string())));
        lines.push(format!("deletes = {}", quoted(rule.deletes.name())));
    }
    lines.extend(
        rule.group
            .iter()
            .map(|group| format!("group = {}", quoted(group))),
    );
    if rule.executable == Executable::Always {
        lines.push("executable = true".to_owned());
    }
    lines.extend(
        rule.legacy_key
            .iter()
            .map(|key| format!("legacy_key = {}", quoted(key.as_str()))),
    );
    lines
}

fn show_merge(f: &mut fmt::Formatter<'_>, path: &str, merge: &MergeRules) -> fmt::Result {
    writeln!(f, "\n[[merge]]")?;
    field(f, "path", path)?;
    field(f, "rest", &merge.rest.to_string())?;
    writeln!(f, "protect = {}", list(&merge.protect))?;
    writeln!(f, "fields = [")?;
    for row in &merge.fields {
        let (name, take) = (quoted(&row.field.to_string()), quoted(row.take.name()));
        writeln!(f, "  {{ field = {name}, take = {take} }},")?;
    }
    writeln!(f, "]")
}

fn show_carry(f: &mut fmt::Formatter<'_>, mount: &Mount, carry: &Carry) -> fmt::Result {
    writeln!(f, "\n[[carry]]")?;
    field(f, "mount", &mount.name)?;
    writeln!(f, "from = {}", list(&carry.from))?;
    field(f, "to", carry.to.as_str())
}

fn show_step(f: &mut fmt::Formatter<'_>, step: &Step) -> fmt::Result {
    writeln!(f, "\n[[step]]")?;
    field(f, "do", step.name())?;
    match step {
        Step::Timezone | Step::Mirror => Ok(()),
        Step::Pull(pull) => show_pull(f, pull),
        Step::CopySkills { from, to } => {
            writeln!(
                f,
                "from = {}",
                list(from.iter().map(|path| path.to_string_lossy().into_owned()))
            )?;
            field(f, "to", to.as_str())
        }
        Step::Link { at, to } => {
            field(f, "at", at.as_str())?;
            field(f, "to", to.as_str())
        }
        Step::RemoveCircularLink { path } => field(f, "path", path.as_str()),
        Step::Run(run) => {
            optional(f, "when_file", run.when_file.as_ref())?;
            optional(f, "when_empty", run.when_empty.as_ref())?;
            if !run.when_empty_except.is_empty() {
                writeln!(f, "when_empty_except = {}", list(&run.when_empty_except))?;
            }
            writeln!(f, "command = {}", list(&run.command))
        }
        Step::Executable { paths } | Step::Delete { paths } => {
            writeln!(f, "paths = {}", list(paths))
        }
        Step::MoveAndLink { from, to } => {
            field(f, "from", from.as_str())?;
            field(f, "to", to.as_str())
        }
        Step::MatrixLogin {
            password_key,
            config,
        } => {
            field(f, "password_key", password_key.as_str())?;
            field(f, "config", config.as_str())
        }
    }
}

fn show_pull(f: &mut fmt::Formatter<'_>, pull: &PullStep) -> fmt::Result {
    writeln!(f, "mounts = {}", list(&pull.mounts))?;
    writeln!(f, "require = {}", list(&pull.require))?;
    writeln!(f, "retries = {}", pull.retries)?;
    duration(f, "retry_delay", pull.retry_delay)?;
    optional(f, "missing", pull.missing.as_ref())?;
    writeln!(f, "optional = {}", pull.need == Need::Optional)
}

fn show_runtime(f: &mut fmt::Formatter<'_>, runtime: &RuntimeSpec) -> fmt::Result {
    writeln!(f, "\n[runtime]")?;
    writeln!(f, "command = {}", list(&runtime.command))?;
    field(f, "cwd", &runtime.cwd.to_string_lossy())?;
    field(f, "restart", &runtime.restart.to_string())?;
    duration(f, "stop_grace", runtime.stop_grace)?;
    let crash_limit = runtime.crash_limit.map_or(0, NonZeroU32::get);
    writeln!(f, "crash_limit = {crash_limit}")?;
    for (table, variables) in [("env", &runtime.env), ("default_env", &runtime.default_env)] {
        writeln!(f, "\n[runtime.{table}]")?;
        for (name, value) in variables {
            field(f, &key(name), value)?;
        }
    }
    Ok(())
}

fn show_ready(f: &mut fmt::Formatter<'_>, ready: &ReadyProbe) -> fmt::Result {
    writeln!(f, "\n[ready]")?;
    match &ready.check {
        ReadyCheck::Command { command } => writeln!(f, "command = {}", list(command))?,
        ReadyCheck::Http { url, status } => {
            field(f, "http", url)?;
            writeln!(f, "status = {status}")?;
        }
        ReadyCheck::File { path, text } => {
            field(f, "file", path.as_str())?;
            match text {
                FileText::Contains(text) => field(f, "contains", text)?,
                FileText::LineStartsWith(text) => field(f, "line_starts_with", text)?,
            }
        }
    }
    duration(f, "interval", ready.interval)?;
    duration(f, "timeout", ready.timeout)
}

fn show_reload(f: &mut fmt::Formatter<'_>, group: &str, reload: &Reload) -> fmt::Result {
    writeln!(f, "\n[reload.{}]", key(group))?;
    match &reload.action {
        ReloadAction::Watched => field(f, "action", "watched")?,
        ReloadAction::Restart => field(f, "action", "restart")?,
        ReloadAction::Signal(signal) => {
            field(f, "action", "signal")?;
            field(f, "signal", signal.name())?;
        }
        ReloadAction::Http { method, url } => {
            field(f, "action", "http")?;
            field(f, "method", method)?;
            field(f, "url", url)?;
        }
        ReloadAction::Exec { command } => {
            field(f, "action", "exec")?;
            writeln!(f, "command = {}", list(command))?;
        }
    }
    reload
        .validate
        .iter()
        .try_for_each(|command| writeln!(f, "validate = {}", list(command)))
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "{name} = {}", quoted(value))
}

fn optional<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<&T>,
) -> fmt::Result {
    value.map_or(Ok(()), |value| field(f, name, &value.to_string()))
}

fn duration(f: &mut fmt::Formatter<'_>, name: &str, value: Duration) -> fmt::Result {
    if value.subsec_nanos() == 0 {
        writeln!(f, "{name} = \"{}s\"", value.as_secs())
    } else {
        writeln!(f, "{name} = \"{}ms\"", value.as_millis())
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name as TOML takes it on the left of `=`.
fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { name.to_owned() } else { quoted(name) }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items
        .into_iter()
        .map(|item| quoted(&item.to_string()))
        .collect();
    format!("[{}]", items.join(", "))
}
