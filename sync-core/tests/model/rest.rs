//! The end of a history: nothing fails any more, and passes must bring everything to rest.

use sync_core::{
    report::{Entry, Problem, ProblemKind, Report},
    session::{Direction, PassRequest},
};

use super::{
    check::{self, Expectations},
    history::Approve,
    links::HOSTILE_LINK,
    run::{Run, request},
};

/// Passes in which everything must come to rest.
const PASSES_TO_REST: usize = 5;

impl Run {
    pub(crate) async fn come_to_rest(&mut self) {
        self.store.heal();
        self.world.clear_the_way();
        self.world.mend_merged();
        let expectations = Expectations::now(&self.world);
        let request = request(Direction::Sync, None, Approve::Yes);
        for attempt in 1..=PASSES_TO_REST {
            self.world.note(format!("pass {attempt} to rest"));
            let report = self.pass(&request, &[]).await;
            check::always(&self.world);
            let Some(report) = report else {
                return;
            };
            self.expect_no_trouble(&report, true);
            if self.failed() {
                return;
            }
            // A pass that only records what both sides hold already reports nothing, but may have asked.
            let requests = report.requests;
            let asked = requests.get + requests.put + requests.head + requests.delete;
            if asked == 0 && is_quiet(report) {
                break;
            }
            if attempt == PASSES_TO_REST {
                self.world.violation("it doesn't come to rest");
            }
        }
        let request = PassRequest::everything(Direction::Sync);
        match self.session().plan(&request, &self.progress()).await {
            Ok(report) if is_quiet(report.clone()) => {}
            other => self
                .world
                .violation(format!("there is still something to do: {other:?}")),
        }
        check::at_rest(&self.world);
        expectations.check(&self.world);
    }
}

/// Whether a problem is about an object that can be no file here, whatever is done.
pub(crate) fn is_expected(problem: &Problem) -> bool {
    problem.kind == ProblemKind::UnsafePath
        || (problem.kind == ProblemKind::Unsupported && problem.path == HOSTILE_LINK)
}

fn is_quiet(mut report: Report) -> bool {
    report.problems.retain(|problem| !is_expected(problem));
    report.is_quiet()
}

/// A report in a line.
pub(crate) fn summary(report: &Report) -> String {
    let names = |entries: &[Entry]| {
        let names: Vec<_> = entries.iter().map(|entry| &*entry.path).collect();
        names.join(" ")
    };
    let conflicts: Vec<_> = report
        .conflicts
        .iter()
        .map(|conflict| {
            format!(
                "{} won by {} copy {}",
                conflict.path, conflict.winner, conflict.copy
            )
        })
        .collect();
    let problems: Vec<_> = report
        .problems
        .iter()
        .map(|problem| format!("{} {:?} {}", problem.path, problem.kind, problem.message))
        .collect();
    format!(
        "down [{}] up [{}] deleted here [{}] there [{}] conflicts {conflicts:?} problems {problems:?} held {}",
        names(&report.downloaded),
        names(&report.uploaded),
        names(&report.deleted_local),
        names(&report.deleted_remote),
        report.held.len()
    )
}
