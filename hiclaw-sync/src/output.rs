//! Results on standard output: for people, or one JSON document.
//!
//! Owns wording and layout. A reader that goes away early (a closed pipe) ends the output and nothing else.

use std::io::{self, Write};

use sync_core::{
    report::{Entry, Report, Side},
    session::MIRROR,
    status::{EventStream, Status},
};

/// Files of one kind that are listed one by one for people; more are counted.
const LISTED: usize = 200;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// For people who don't want to hear of success.
    Quiet,
    /// One JSON document.
    Json,
}

/// Whether a report tells what was done or what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It was done.
    Done,
    /// It would be done.
    Planned,
}

/// Shows what a pass did.
pub fn report(out: &mut dyn Write, form: Form, mood: Mood, report: &Report) -> io::Result<()> {
    forgive_closed_pipe(match form {
        Form::Json => json(out, report),
        Form::Quiet => problems(out, report),
        Form::Text => text(out, mood, report),
    })
}

/// Writes any document as one line of JSON.
pub fn json(out: &mut dyn Write, document: &impl serde::Serialize) -> io::Result<()> {
    forgive_closed_pipe(
        serde_json::to_writer(&mut *out, document)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    )
}

/// Text that does nothing to a terminal: names may hold escape sequences, line ends, and signs that turn the direction
/// of writing.
#[must_use]
pub fn printable(text: &str) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A time as RFC 3339 in UTC, to the second.
#[must_use]
pub fn time(time: std::time::SystemTime) -> Option<String> {
    let stamp = jiff::Timestamp::try_from(time).ok()?;
    Some(stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A pipe that nobody reads any more is no failure.
pub fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn text(out: &mut dyn Write, mood: Mood, report: &Report) -> io::Result<()> {
    files(out, "download", &report.downloaded)?;
    files(out, "upload", &report.uploaded)?;
    files(out, "merge", &report.merged)?;
    files(out, "delete here", &report.deleted_local)?;
    files(out, "delete in bucket", &report.deleted_remote)?;
    for conflict in &report.conflicts {
        let kept = match (conflict.copy.as_str(), conflict.winner) {
            ("", _) => {
                "the other version will be kept as a copy unless both are the same".to_owned()
            }
            (copy, Side::Local) => format!("the bucket's version is kept as {copy}"),
            (copy, Side::Remote) => format!("the local version is kept as {copy}"),
        };
        writeln!(
            out,
            "conflict         {}: {} wins, {kept}",
            place(&conflict.mount, &conflict.path),
            conflict.winner
        )?;
    }
    problems(out, report)?;
    summary(out, mood, report)
}

fn files(out: &mut dyn Write, verb: &str, entries: &[Entry]) -> io::Result<()> {
    for entry in entries.iter().take(LISTED) {
        write!(out, "{verb:<16} {}", place(&entry.mount, &entry.path))?;
        if entry.bytes > 0 {
            write!(out, " ({})", size(entry.bytes))?;
        }
        match &entry.reason {
            Some(reason) => writeln!(out, "  {reason}")?,
            None => writeln!(out)?,
        }
    }
    if entries.len() > LISTED {
        writeln!(out, "{verb:<16} … and {} more", entries.len() - LISTED)?;
    }
    Ok(())
}

pub(crate) fn problems(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for problem in &report.problems {
        writeln!(
            out,
            "problem          {}: {}",
            place(&problem.mount, &problem.path),
            problem.message
        )?;
    }
    if let Some(first) = report.held.first() {
        writeln!(
            out,
            "held             {}: {}",
            report.held.len(),
            first.reason
        )?;
        for held in report.held.iter().take(LISTED) {
            writeln!(out, "  {} ({})", place(&held.mount, &held.path), held.side)?;
        }
    }
    Ok(())
}

fn summary(out: &mut dyn Write, mood: Mood, report: &Report) -> io::Result<()> {
    let counts = [
        (report.downloaded.len(), "downloaded", "to download"),
        (report.uploaded.len(), "uploaded", "to upload"),
        (report.merged.len(), "merged", "to merge"),
        (report.deleted_local.len(), "deleted here", "to delete here"),
        (
            report.deleted_remote.len(),
            "deleted in the bucket",
            "to delete in the bucket",
        ),
        (report.conflicts.len(), "conflicts", "conflicts"),
        (report.problems.len(), "problems", "problems"),
        (report.held.len(), "held", "held"),
    ];
    let mut parts: Vec<_> = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, done, planned)| match mood {
            Mood::Done => format!("{count} {done}"),
            Mood::Planned => format!("{count} {planned}"),
        })
        .collect();
    if parts.is_empty() {
        parts.push("everything is up to date".to_owned());
    }
    let bytes = report.bytes_in + report.bytes_out;
    if bytes > 0 {
        parts.push(size(bytes));
    }
    let lead = match mood {
        Mood::Done => "",
        Mood::Planned => "plan: ",
    };
    writeln!(
        out,
        "{lead}{} in {:.1} s",
        parts.join(", "),
        report.duration.as_secs_f64()
    )
}

/// A path with its mount, which is left out for the agent's own files and for mirrors.
pub(crate) fn place(mount: &str, path: &str) -> String {
    match (mount, path) {
        ("workspace" | MIRROR | "", path) => printable(path),
        (mount, "") => mount.to_owned(),
        (mount, path) => printable(&format!("{mount}/{path}")),
    }
}

pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Shows the state of an engine.
pub fn status(out: &mut dyn Write, form: Form, status: &Status) -> io::Result<()> {
    forgive_closed_pipe(match form {
        Form::Json => json(out, status),
        Form::Text | Form::Quiet => status_text(out, status),
    })
}

fn status_text(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let never = || "never".to_owned();
    writeln!(out, "store        {}", status.store)?;
    for mount in &status.mounts {
        writeln!(
            out,
            "mount        {}: {} <-> {} ({} files)",
            mount.mount, mount.local, mount.prefix, mount.files
        )?;
        for aside in &mount.aside {
            writeln!(
                out,
                "set aside    {aside}: files that belong to another prefix; delete it when nobody wants them"
            )?;
        }
    }
    writeln!(
        out,
        "engine       {}",
        if status.resident {
            "resident"
        } else {
            "not running"
        }
    )?;
    writeln!(
        out,
        "last pull    {}",
        status.last_pull.clone().unwrap_or_else(never)
    )?;
    writeln!(
        out,
        "last push    {}",
        status.last_push.clone().unwrap_or_else(never)
    )?;
    if status.resident {
        writeln!(out, "changes      {}", status.watch)?;
        bucket_events(out, status)?;
        writeln!(out, "pending      {} paths", status.pending)?;
    }
    if let Some(outage) = &status.outage {
        writeln!(out, "outage       {outage} (for {} s)", status.lag_seconds)?;
    }
    for capability in &status.capabilities {
        writeln!(out, "store does   {capability}")?;
    }
    if let Some(order) = status.listing_order {
        writeln!(out, "listings     {}", order.name())?;
    }
    for copy in &status.conflicts {
        writeln!(out, "conflict     {}", place(&copy.mount, &copy.copy))?;
    }
    for problem in &status.problems {
        writeln!(
            out,
            "problem      {}: {}",
            place(&problem.mount, &problem.path),
            problem.message
        )?;
    }
    if let Some(first) = status.held.first() {
        writeln!(out, "held         {}: {}", status.held.len(), first.reason)?;
    }
    Ok(())
}

/// How changes in the bucket are heard of, in one line where all streams are the same.
fn bucket_events(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let every = status.pull_every_seconds;
    let Some(first) = status.events.first() else {
        return writeln!(out, "bucket       polled every {every} s; events are off");
    };
    let same = |one: &&EventStream| one.state == first.state && one.message == first.message;
    let shown = if status.events.iter().all(|one| same(&one)) {
        status.events.get(..1).unwrap_or_default()
    } else {
        &status.events
    };
    let is_all = shown.len() < status.events.len() || status.events.len() == 1;
    for stream in shown {
        let whose = if is_all { "" } else { &*stream.prefix };
        let colon = if is_all { "" } else { ": " };
        if stream.state == "connected" {
            let since = &stream.since;
            writeln!(
                out,
                "bucket       {whose}{colon}events, connected since {since}"
            )?;
        } else {
            let message = &stream.message;
            writeln!(
                out,
                "bucket       {whose}{colon}{message}; polled every {every} s"
            )?;
        }
    }
    let malformed: u64 = status.events.iter().map(|one| one.malformed).sum();
    if malformed > 0 {
        writeln!(
            out,
            "bucket       {malformed} words of its events were not understood"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, value: &Report) -> String {
        let mut out = Vec::new();
        report(&mut out, form, Mood::Done, value).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_quiet_pass_says_so_in_one_line() {
        assert_eq!(
            shown(Form::Text, &Report::default()),
            "everything is up to date in 0.0 s\n"
        );
        assert_eq!(shown(Form::Quiet, &Report::default()), "");
    }

    #[test]
    fn the_status_tells_how_the_bucket_is_heard() {
        let stream = |prefix: &str, state: &str, message: &str| EventStream {
            prefix: prefix.to_owned(),
            state: state.to_owned(),
            since: "2026-11-21T08:00:00Z".to_owned(),
            message: message.to_owned(),
            malformed: 0,
        };
        let connected = |prefix| stream(prefix, "connected", "connected");
        let denied = |prefix| stream(prefix, "denied", "denied: grant x");
        for (events, expected) in [
            (vec![], "polled every 300 s; events are off"),
            (
                vec![connected("a/"), connected("b/")],
                "events, connected since 2026-11-21T08:00:00Z",
            ),
            (
                vec![denied("a/"), denied("b/")],
                "denied: grant x; polled every 300 s",
            ),
            (
                vec![connected("a/"), denied("b/")],
                "b/: denied: grant x; polled every 300 s",
            ),
        ] {
            let value = Status {
                resident: true,
                pull_every_seconds: 300,
                events,
                ..Status::default()
            };
            let mut out = Vec::new();
            status(&mut out, Form::Text, &value).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(
                text.contains(&format!("bucket       {expected}\n")),
                "{text}"
            );
        }
    }

    #[test]
    fn json_is_one_document_with_every_list() {
        let text = shown(Form::Json, &Report::default());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for name in [
            "downloaded",
            "uploaded",
            "merged",
            "deleted_local",
            "deleted_remote",
            "conflicts",
            "problems",
            "held",
        ] {
            assert_eq!(value[name], serde_json::json!([]), "{name}");
        }
        assert_eq!(
            value["requests"],
            serde_json::json!({"list":0,"get":0,"put":0,"head":0,"delete":0})
        );
        assert_eq!(
            (&value["duration_ms"], &value["bytes_in"]),
            (&serde_json::json!(0), &serde_json::json!(0))
        );
    }

    #[test]
    fn names_do_nothing_to_a_terminal() {
        assert_eq!(
            printable("a b\u{1b}[31m\n\u{202e}é"),
            "a b\\u{1b}[31m\\n\\u{202e}é"
        );
    }

    #[test]
    fn paths_of_other_mounts_carry_their_name() {
        assert_eq!(place("workspace", "a"), "a");
        assert_eq!(place("shared", "a"), "shared/a");
    }
}
