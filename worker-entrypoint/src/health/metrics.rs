//! The worker's numbers in Prometheus' text form.

use std::fmt::Write as _;

use sync_core::status::{EventStream, Status};

use super::{Stage, View};
use crate::reload::ReloadCounts;

/// A family of samples as it is written.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text can't fail.
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").unwrap_or(());
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        writeln!(self.0, "{name}{labels} {value}").unwrap_or(());
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, "", value);
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "counter", help);
        for (word, value) in values {
            self.sample(name, &format!("{{{label}=\"{word}\"}}"), *value);
        }
    }
}

pub(super) fn render(view: &View, reloads: &ReloadCounts) -> String {
    let mut page = Page(String::new());
    page.gauge("hiclaw_up", "The worker lives.", 1);
    page.gauge(
        "hiclaw_ready",
        "The worker is ready.",
        u64::from(view.readiness().is_ok()),
    );
    page.gauge(
        "hiclaw_draining",
        "The worker is being stopped.",
        u64::from(view.stage == Stage::Draining),
    );
    page.gauge(
        "hiclaw_uptime_seconds",
        "Time since the worker was started.",
        view.uptime_seconds,
    );
    let restarts = view.runtime.map_or(0, |runtime| runtime.restarts);
    page.counter(
        "hiclaw_runtime_restarts_total",
        "How often the runtime was started again.",
        restarts,
    );
    page.counter(
        "hiclaw_reloads_total",
        "How often the runtime was told of changed files.",
        reloads.done(),
    );
    page.counter(
        "hiclaw_reload_failures_total",
        "Reload actions that failed.",
        reloads.failed(),
    );
    engine(&mut page, view);
    page.0
}

fn engine(page: &mut Page, view: &View) {
    let Some(status) = &view.engine else { return };
    let totals = &status.totals;
    page.counter(
        "hiclaw_passes_total",
        "Passes over whole mounts.",
        totals.passes,
    );
    page.counter(
        "hiclaw_failed_passes_total",
        "Passes that could not go on.",
        totals.failed_passes,
    );
    let files = [
        ("downloaded", totals.downloaded),
        ("uploaded", totals.uploaded),
        ("merged", totals.merged),
        ("deleted", totals.deleted),
        ("conflict", totals.conflicts),
    ];
    page.counters("hiclaw_files_total", "Files handled.", "what", &files);
    page.counters(
        "hiclaw_bytes_total",
        "Bytes of content.",
        "direction",
        &[("in", totals.bytes_in), ("out", totals.bytes_out)],
    );
    let requests = totals.requests;
    let kinds = [
        ("list", requests.list),
        ("get", requests.get),
        ("put", requests.put),
        ("head", requests.head),
        ("delete", requests.delete),
    ];
    page.counters(
        "hiclaw_requests_total",
        "Requests to the store.",
        "kind",
        &kinds,
    );
    page.gauge(
        "hiclaw_pending_paths",
        "Changed paths that wait to be sent.",
        status.pending,
    );
    page.gauge(
        "hiclaw_lag_seconds",
        "Age of the oldest change that waits because the store fails.",
        status.lag_seconds,
    );
    page.gauge(
        "hiclaw_held_deletes",
        "Deletes that a brake holds.",
        status.held.len() as u64,
    );
    page.gauge(
        "hiclaw_conflict_copies",
        "Conflict copies in the mounts.",
        status.conflicts.len() as u64,
    );
    page.gauge(
        "hiclaw_problems",
        "Paths that could not be handled.",
        status.problems.len() as u64,
    );
    page.gauge(
        "hiclaw_degraded_groups",
        "Invalid new versions of which the last good one stays.",
        status.degraded.len() as u64,
    );
    page.gauge(
        "hiclaw_store_available",
        "The store can be used.",
        u64::from(status.outage.is_none()),
    );
    events(page, status);
    let times = [
        (
            "hiclaw_last_pull_timestamp_seconds",
            "When everything was last brought.",
            &status.last_pull,
        ),
        (
            "hiclaw_last_push_timestamp_seconds",
            "When changes were last sent.",
            &status.last_push,
        ),
    ];
    for (name, help, time) in times {
        let time = time
            .as_ref()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if let Some(seconds) = time.and_then(|time| u64::try_from(time.as_second()).ok()) {
            page.gauge(name, help, seconds);
        }
    }
}

/// How the bucket's changes are heard of.
fn events(page: &mut Page, status: &Status) {
    let is_heard = |stream: &EventStream| stream.state == "connected";
    page.gauge(
        "hiclaw_event_stream_connected",
        "The store tells of changes in the bucket.",
        u64::from(!status.events.is_empty() && status.events.iter().all(is_heard)),
    );
    page.counter(
        "hiclaw_events_total",
        "Changes that the store told of, our own among them.",
        status.totals.events,
    );
    let malformed = status.events.iter().map(|stream| stream.malformed).sum();
    page.counter(
        "hiclaw_malformed_events_total",
        "Words of the store's events that were not understood.",
        malformed,
    );
}
