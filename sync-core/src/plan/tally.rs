//! Problems that a plan comes by: the first of each kind are told one by one, the rest by number.

use std::collections::HashMap;

use crate::report::{Problem, ProblemKind};

/// Problems of one kind that are told one by one.
const TOLD: u64 = 1000;

/// Takes problems, however many.
#[derive(Debug, Default)]
pub(super) struct Tally {
    told: Vec<Problem>,
    counts: HashMap<ProblemKind, u64>,
}

impl Tally {
    pub(super) fn add(&mut self, problem: Problem) {
        let count = self.counts.entry(problem.kind).or_default();
        *count += 1;
        if *count <= TOLD {
            self.told.push(problem);
        }
    }

    /// Those to tell that were added since the last time.
    pub(super) fn take(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.told)
    }

    /// One problem for those of each kind that were not told.
    pub(super) fn rest(&self, mount: &str) -> impl Iterator<Item = Problem> {
        let mut rest: Vec<_> = self
            .counts
            .iter()
            .filter(|(_, count)| **count > TOLD)
            .map(|(kind, count)| Problem {
                mount: mount.to_owned(),
                path: String::new(),
                kind: *kind,
                message: format!("and {} more problems of this kind", count - TOLD),
            })
            .collect();
        rest.sort_by(|left, right| left.message.cmp(&right.message));
        rest.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_of_one_kind_are_told_by_number_and_hide_no_other_kind() {
        let problem = |kind, number: u64| Problem {
            mount: "m".to_owned(),
            path: number.to_string(),
            kind,
            message: String::new(),
        };
        let mut tally = Tally::default();
        for number in 0..TOLD + 5 {
            tally.add(problem(ProblemKind::UnsafePath, number));
        }
        tally.add(problem(ProblemKind::Io, 0));
        let told = tally.take();
        assert_eq!(told.len() as u64, TOLD + 1);
        assert_eq!(told.last().unwrap().kind, ProblemKind::Io);
        assert!(tally.take().is_empty());
        let rest: Vec<_> = tally.rest("m").collect();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].message, "and 5 more problems of this kind");
    }
}
