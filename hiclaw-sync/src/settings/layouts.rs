//! Which layouts there are: those of the binary, those of the container, and a file named on the command line.
//!
//! Owns where layout files are looked for. This is the one part of the settings that reads files.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use sync_core::layout::{Layout, LayoutError, LayoutSet, ResolvedLayout, Team, Variables};

use super::{lookup::Lookup, options::GlobalOptions, resolve::Settings};

/// Where a container's own layouts are; one of a name hides the embedded one.
pub const LAYOUT_DIRECTORY: &str = "/etc/hiclaw/layouts";
const DEFAULT_LAYOUT: &str = "openclaw";

/// Which layout to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutChoice {
    /// A known one.
    Named(String),
    /// The one in a file.
    File(PathBuf),
}

impl LayoutChoice {
    pub(super) fn read(lookup: &Lookup<'_>, options: &GlobalOptions) -> Self {
        let (name, text) = match (&options.layout, lookup.prefixed("WORKER_RUNTIME")) {
            (Some(text), _) => ("--layout".to_owned(), text.clone()),
            (None, Some(found)) => (found.name, found.value),
            (None, None) => return Self::Named(DEFAULT_LAYOUT.to_owned()),
        };
        let is_file = text.contains('/')
            || Path::new(&text)
                .extension()
                .is_some_and(|extension| extension == "toml");
        if !is_file {
            return Self::Named(text);
        }
        Self::File(lookup.absolute(&name, Path::new(&text)).unwrap_or_default())
    }
}

impl fmt::Display for LayoutChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why there is no layout to work with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutFileError {
    /// A file or directory of layouts cannot be read.
    #[error("layout file {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The layout has mistakes, or there is none of its name.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// The layouts that are known.
#[derive(Debug, Default)]
pub struct KnownLayouts {
    /// Those that can be used.
    pub set: LayoutSet,
    /// Files that are no layouts, and why.
    pub broken: Vec<(PathBuf, LayoutFileError)>,
}

impl KnownLayouts {
    /// The embedded layouts, and over them every `*.toml` of `directory`, if there is such a directory. A broken file does
    /// not keep the others from being used.
    pub fn load(directory: &Path) -> Result<Self, LayoutFileError> {
        let mut known = Self {
            set: LayoutSet::embedded()?,
            broken: Vec::new(),
        };
        for path in toml_files(directory)? {
            match layout_file(&path) {
                Ok(layout) => known.set.add(layout),
                Err(error) => known.broken.push((path, error)),
            }
        }
        Ok(known)
    }

    /// Resolves the layout that was chosen.
    pub fn resolve(
        mut self,
        choice: &LayoutChoice,
        variables: &Variables,
    ) -> Result<ResolvedLayout, LayoutFileError> {
        let name = match choice {
            LayoutChoice::Named(name) => name.clone(),
            LayoutChoice::File(path) => {
                let layout = layout_file(path)?;
                let name = layout.name().to_owned();
                self.set.add(layout);
                name
            }
        };
        // The file of that name may be there and broken: that is what to tell, not that another one is unknown.
        let stem_is_name = |path: &Path| {
            path.file_stem()
                .is_some_and(|stem| stem.to_str() == Some(&name))
        };
        if matches!(choice, LayoutChoice::Named(_))
            && let Some(at) = self.broken.iter().position(|(path, _)| stem_is_name(path))
        {
            return Err(self.broken.swap_remove(at).1);
        }
        Ok(self.set.resolve(&name, variables)?)
    }
}

impl Settings {
    /// The worker's layout, with everything filled in for a member or leader of `team`.
    pub fn load_layout(&self, team: &Team) -> Result<ResolvedLayout, LayoutFileError> {
        self.load_layout_with(&self.variables(team))
    }

    /// The same with more variables than the settings know, such as the gateway's port.
    pub fn load_layout_with(
        &self,
        variables: &Variables,
    ) -> Result<ResolvedLayout, LayoutFileError> {
        KnownLayouts::load(Path::new(LAYOUT_DIRECTORY))?.resolve(&self.layout, variables)
    }
}

fn layout_file(path: &Path) -> Result<Layout, LayoutFileError> {
    let text = std::fs::read_to_string(path).map_err(|source| LayoutFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Layout::parse(&text, &path.to_string_lossy())?)
}

/// The layout files of a directory, by name; none when there is no such directory.
fn toml_files(directory: &Path) -> Result<Vec<PathBuf>, LayoutFileError> {
    let failed = |source| LayoutFileError::Read {
        path: directory.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::new("alice", "/root/fs", "/root/fs/agents/alice")
    }

    #[test]
    fn a_layout_of_the_container_hides_the_embedded_one_and_may_extend_it() {
        let directory = tempfile::tempdir().unwrap();
        let text =
            "name = \"openclaw\"\nextends = \"openclaw\"\n[runtime]\ncommand = [\"other\"]\n";
        std::fs::write(directory.path().join("openclaw.toml"), text).unwrap();
        std::fs::write(directory.path().join("notes.txt"), "no layout").unwrap();
        let known = KnownLayouts::load(directory.path()).unwrap();
        let layout = known
            .resolve(&LayoutChoice::Named("openclaw".into()), &variables())
            .unwrap();
        assert_eq!(layout.runtime.command, ["other"]);
        assert!(layout.mount("workspace").is_some());
    }

    #[test]
    fn a_broken_file_is_reported_only_when_it_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("mine.toml"), "name = 5\n").unwrap();
        let known = || KnownLayouts::load(directory.path()).unwrap();
        assert_eq!(known().broken.len(), 1);
        assert!(
            known()
                .resolve(&LayoutChoice::Named("openclaw".into()), &variables())
                .is_ok()
        );
        let error = known()
            .resolve(&LayoutChoice::Named("mine".into()), &variables())
            .unwrap_err()
            .to_string();
        assert!(error.contains("mine.toml:1:8"), "{error}");
    }

    #[test]
    fn a_name_nobody_knows_is_answered_with_those_that_exist() {
        let known = KnownLayouts::load(Path::new("/nonexistent/layouts")).unwrap();
        let error = known
            .resolve(&LayoutChoice::Named("opnclaw".into()), &variables())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(
                "there is no layout `opnclaw`; known are clawmatrix, clawster, copaw, "
            ),
            "{error}"
        );
    }

    #[test]
    fn a_file_is_taken_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.toml");
        std::fs::write(&path, "name = \"x\"\nextends = \"openclaw\"\n").unwrap();
        let known = || KnownLayouts::load(Path::new("/nonexistent/layouts")).unwrap();
        assert_eq!(
            known()
                .resolve(&LayoutChoice::File(path), &variables())
                .unwrap()
                .name,
            "x"
        );
        let missing = LayoutChoice::File(directory.path().join("y.toml"));
        assert!(matches!(
            known().resolve(&missing, &variables()),
            Err(LayoutFileError::Read { .. })
        ));
    }
}
