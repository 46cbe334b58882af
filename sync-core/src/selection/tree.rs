//! The ignore files of a tree, read as they are needed.
//!
//! What was read stays; that a directory has no ignore file is forgotten when too many directories were asked about, and
//! found out again. So what is excluded stays excluded for as long as the value lives.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    IGNORE_FILES, is_ignore_file,
    patterns::{Kind, Patterns, Word},
};
use crate::{
    local::LocalKind,
    path::RelPath,
    report::ProblemKind,
    root::{LocalError, Root},
};

/// A longer ignore file is a mistake.
const MAX_BYTES: u64 = 1024 * 1024;
/// Directories without patterns of their own that are remembered.
const PLAIN_DIRECTORIES: usize = 4096;

/// What is wrong with an ignore file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreProblem {
    /// The file.
    pub path: RelPath,
    /// [`ProblemKind::Invalid`] for a line that is left out; [`ProblemKind::Incomplete`] for a file that can't be read,
    /// so that nobody knows what is ignored in its directory.
    pub kind: ProblemKind,
    /// What is wrong, for people.
    pub message: String,
}

#[derive(Debug)]
pub(super) struct IgnoreTree {
    root: Arc<Root>,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    /// With patterns of their own, or excluded as a whole.
    fixed: HashMap<String, Arc<Directory>>,
    plain: HashMap<String, Arc<Directory>>,
    /// The directory that was asked about last.
    last: Option<(String, Arc<Directory>)>,
    problems: Vec<IgnoreProblem>,
}

/// What is known of a directory's content.
#[derive(Debug)]
struct Directory {
    fate: Fate,
    /// The patterns that hold in it, the nearest first.
    layers: Option<Arc<Layer>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Each path is asked about.
    Open,
    /// Nothing in it travels: it is excluded, or nobody can tell what is.
    Excluded,
}

/// Patterns, where they hold, and those above them.
#[derive(Debug)]
struct Layer {
    /// With a `/` at its end; empty for the root.
    directory: String,
    patterns: Patterns,
    above: Option<Arc<Layer>>,
}

/// What reading a directory's ignore files gave.
enum Own {
    Nothing,
    Patterns(Patterns),
    Unknown,
}

impl IgnoreTree {
    pub(super) fn new(root: Arc<Root>) -> Self {
        Self {
            root,
            cache: Mutex::default(),
        }
    }

    /// True for a file that doesn't travel.
    pub(super) fn excludes(&self, path: &RelPath) -> bool {
        let directory = self.directory(parent(path.as_str()));
        match directory.fate {
            Fate::Excluded => true,
            Fate::Open => {
                !is_ignore_file(path) && is_excluded(&directory, path.as_str(), Kind::File)
            }
        }
    }

    /// True for a directory in which nothing travels.
    pub(super) fn excludes_all_in(&self, directory: &RelPath) -> bool {
        self.directory(directory.as_str()).fate == Fate::Excluded
    }

    pub(super) fn take_problems(&self) -> Vec<IgnoreProblem> {
        std::mem::take(&mut self.cache().problems)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of that name; the root has none.
    fn directory(&self, name: &str) -> Arc<Directory> {
        let mut cache = self.cache();
        if let Some((last, directory)) = &cache.last
            && last == name
        {
            return directory.clone();
        }
        let directory = self.find(&mut cache, name);
        cache.last = Some((name.to_owned(), directory.clone()));
        directory
    }

    fn find(&self, cache: &mut Cache, name: &str) -> Arc<Directory> {
        if let Some(known) = cache.fixed.get(name).or_else(|| cache.plain.get(name)) {
            return known.clone();
        }
        let above = (!name.is_empty()).then(|| self.find(cache, parent(name)));
        if let Some(above) = &above {
            match above.fate {
                // Nothing below an excluded directory can be included again, so nothing in it is read.
                Fate::Excluded => return above.clone(),
                Fate::Open if is_excluded(above, name, Kind::Directory) => {
                    return cache.fix(name, Fate::Excluded, None);
                }
                Fate::Open => {}
            }
        }
        let layers = above.and_then(|above| above.layers.clone());
        match self.read(cache, name) {
            Own::Unknown => cache.fix(name, Fate::Excluded, None),
            Own::Patterns(patterns) => {
                let directory = if name.is_empty() {
                    String::new()
                } else {
                    format!("{name}/")
                };
                let layer = Layer {
                    directory,
                    patterns,
                    above: layers,
                };
                cache.fix(name, Fate::Open, Some(Arc::new(layer)))
            }
            Own::Nothing => {
                if cache.plain.len() >= PLAIN_DIRECTORIES {
                    cache.plain.clear();
                }
                let fate = Fate::Open;
                let directory = Arc::new(Directory { fate, layers });
                cache.plain.insert(name.to_owned(), directory.clone());
                directory
            }
        }
    }

    fn read(&self, cache: &mut Cache, directory: &str) -> Own {
        let mut files = Vec::new();
        for name in IGNORE_FILES {
            let path = if directory.is_empty() {
                RelPath::new(name)
            } else {
                RelPath::new(format!("{directory}/{name}"))
            };
            let Ok(path) = path else { continue };
            match self.text(&path) {
                Ok(Text::None) => {}
                Ok(Text::Some(text)) => files.push((path, text)),
                Ok(Text::Link) => cache.problems.push(IgnoreProblem {
                    path,
                    kind: ProblemKind::Invalid,
                    message:
                        "it is a symbolic link, which is not followed; nothing is ignored by it"
                            .to_owned(),
                }),
                Err(reason) => {
                    let message = format!(
                        "it can't be read, so nothing in its directory is synchronised: {reason}"
                    );
                    let kind = ProblemKind::Incomplete;
                    cache.problems.push(IgnoreProblem {
                        path,
                        kind,
                        message,
                    });
                    return Own::Unknown;
                }
            }
        }
        let texts: Vec<_> = files.iter().map(|(_, text)| text.as_str()).collect();
        let (patterns, bad) = Patterns::read(&texts);
        for ((path, _), lines) in files.iter().zip(bad) {
            cache
                .problems
                .extend(lines.into_iter().map(|bad| IgnoreProblem {
                    path: path.clone(),
                    kind: ProblemKind::Invalid,
                    message: format!("line {}: {}; the other lines hold", bad.line, bad.reason),
                }));
        }
        if patterns.is_empty() {
            Own::Nothing
        } else {
            Own::Patterns(patterns)
        }
    }

    fn text(&self, path: &RelPath) -> Result<Text, String> {
        let explain = |error: &LocalError| error.source.to_string();
        match self.root.open_file(path) {
            Ok((file, _)) => {
                let mut content = Vec::new();
                file.take(MAX_BYTES + 1)
                    .read_to_end(&mut content)
                    .map_err(|error| error.to_string())?;
                if content.len() as u64 > MAX_BYTES {
                    return Err(format!("it is longer than {MAX_BYTES} bytes"));
                }
                Ok(Text::Some(String::from_utf8_lossy(&content).into_owned()))
            }
            // A directory or device of that name is no ignore file.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput
                ) =>
            {
                Ok(Text::None)
            }
            Err(error) => match self.root.look(path) {
                Ok(Some((LocalKind::Symlink, _))) => Ok(Text::Link),
                Ok(Some((LocalKind::File | LocalKind::Special | LocalKind::Directory, _))) => {
                    Err(explain(&error))
                }
                // Its directory is a link, or can't be entered: the scan tells.
                Ok(None) | Err(_) => Ok(Text::None),
            },
        }
    }
}

/// The text of an ignore file.
enum Text {
    None,
    Link,
    Some(String),
}

impl Cache {
    fn fix(&mut self, name: &str, fate: Fate, layers: Option<Arc<Layer>>) -> Arc<Directory> {
        let directory = Arc::new(Directory { fate, layers });
        self.fixed.insert(name.to_owned(), directory.clone());
        directory
    }
}

/// Whether the patterns that hold in a directory exclude one of its entries: the nearest that says anything decides.
fn is_excluded(directory: &Directory, path: &str, kind: Kind) -> bool {
    let mut layer = directory.layers.as_ref();
    while let Some(here) = layer {
        let below = path.strip_prefix(&here.directory).unwrap_or(path);
        match here.patterns.word(below, kind) {
            Word::Exclude => return true,
            Word::Include => return false,
            Word::Nothing => layer = here.above.as_ref(),
        }
    }
    false
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}
