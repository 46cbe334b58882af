//! The patterns of one directory: what its ignore files say.
//!
//! Pure. Gitignore's meaning is that of the `ignore` crate; a line that is no pattern is told and the rest holds.

use ignore::{
    Match,
    gitignore::{Gitignore, GitignoreBuilder},
};

/// Compiled patterns.
#[derive(Debug)]
pub(super) struct Patterns(Gitignore);

/// What patterns say of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It is excluded.
    Exclude,
    /// It is included again.
    Include,
    /// Nothing.
    Nothing,
}

/// A line that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) reason: String,
}

impl Patterns {
    /// Reads the texts of a directory's ignore files, the one with the last word last. Gives what is wrong with each.
    pub(super) fn read(texts: &[&str]) -> (Self, Vec<Vec<BadLine>>) {
        let mut builder = GitignoreBuilder::new("");
        // A bracket that is never closed would match nothing: that is worth a word.
        builder.allow_unclosed_class(false);
        let mut bad = Vec::new();
        for text in texts {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let mut of_this = Vec::new();
            for (at, line) in text.lines().enumerate() {
                if let Err(error) = builder.add_line(None, line) {
                    let reason = error.to_string();
                    let line = at + 1;
                    of_this.push(BadLine { line, reason });
                }
            }
            bad.push(of_this);
        }
        match builder.build() {
            Ok(patterns) => (Self(patterns), bad),
            Err(error) => {
                // Patterns that compile one by one but not together.
                let reason = error.to_string();
                if let Some(last) = bad.last_mut() {
                    last.push(BadLine { line: 1, reason });
                }
                (Self(Gitignore::empty()), bad)
            }
        }
    }

    /// True when no path is ever matched.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they say of `path`, relative to their directory, by itself: whether a directory above it is excluded is
    /// another question.
    pub(super) fn word(&self, path: &str, kind: Kind) -> Word {
        match self.0.matched(path, kind == Kind::Directory) {
            Match::Ignore(_) => Word::Exclude,
            Match::Whitelist(_) => Word::Include,
            Match::None => Word::Nothing,
        }
    }
}

/// What a pattern that ends in `/` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}
