//! Putting a conflict copy at the path that it is a copy of.

use std::io;

use rustix::fs::RenameFlags;

use crate::{
    local::{Fingerprint, LocalKind},
    path::RelPath,
    root::{self, LocalError, Root},
};

/// How putting a copy at its path ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It stands at its path; nothing was there.
    Placed,
    /// It stands at its path; the version that stood there has the copy's name now, and this fingerprint.
    Exchanged(Fingerprint),
    /// One of both isn't the version that was looked at; nothing was touched.
    Changed,
}

/// Exchanges a copy and the version at its path by one rename, so that both stand somewhere at any moment. `standing` is
/// the version that was looked at; `None` for nothing.
///
/// RACE: a version that is written between the exchange and the look goes back to its place; one that is written
/// between that look and the second exchange ends up under the copy's name, and is not deleted.
pub fn take_copy(
    root: &Root,
    copy: &RelPath,
    expected: &Fingerprint,
    path: &RelPath,
    standing: Option<&Fingerprint>,
) -> Result<Taken, LocalError> {
    let failed = |error: io::Error| LocalError::new("put a conflict copy at", path, error);
    if look(root, copy)? != Some(*expected) || look(root, path)? != standing.copied() {
        return Ok(Taken::Changed);
    }
    let from = root.open_parent(copy).map_err(failed)?;
    let to = root.make_parent(path).map_err(failed)?;
    let flags = match standing {
        Some(_) => RenameFlags::EXCHANGE,
        None => RenameFlags::NOREPLACE,
    };
    let exchange = || root::rename(&from, copy.file_name(), &to, path.file_name(), flags);
    match exchange() {
        Ok(()) => {}
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::EXIST) => return Ok(Taken::Changed),
        Err(error) => return Err(failed(error.into())),
    }
    let Some(standing) = standing else {
        root.prune_parents(copy).map_err(failed)?;
        return Ok(Taken::Placed);
    };
    match look(root, copy)? {
        Some(displaced) if displaced.is_same_but_renamed(standing) => {
            Ok(Taken::Exchanged(displaced))
        }
        _ => {
            exchange().map_err(|error| failed(error.into()))?;
            Ok(Taken::Changed)
        }
    }
}

/// The fingerprint of a file or link; `None` for nothing.
fn look(root: &Root, path: &RelPath) -> Result<Option<Fingerprint>, LocalError> {
    match root.look(path)? {
        None => Ok(None),
        Some((LocalKind::File | LocalKind::Symlink, fingerprint)) => Ok(Some(fingerprint)),
        Some((LocalKind::Directory | LocalKind::Special, _)) => {
            let error = io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is neither a file nor a link",
            );
            Err(LocalError::new("put a conflict copy at", path, error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        root: Root,
    }

    const COPY: &str = ".sync-conflicts/f.20261121T040506Z.remote";

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join(".sync-conflicts")).unwrap();
        std::fs::write(dir.path().join(COPY), "copy").unwrap();
        Fixture { dir, root }
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    impl Fixture {
        fn seen(&self, text: &str) -> Fingerprint {
            look(&self.root, &path(text)).unwrap().unwrap()
        }

        fn read(&self, text: &str) -> Option<String> {
            std::fs::read_to_string(self.dir.path().join(text)).ok()
        }

        fn take(&self, expected: Fingerprint, standing: Option<Fingerprint>) -> Taken {
            let (copy, path) = (path(COPY), path("f"));
            take_copy(&self.root, &copy, &expected, &path, standing.as_ref()).unwrap()
        }
    }

    #[test]
    fn both_versions_change_places() {
        let fixture = fixture();
        std::fs::write(fixture.dir.path().join("f"), "standing").unwrap();
        let taken = fixture.take(fixture.seen(COPY), Some(fixture.seen("f")));
        assert_eq!(taken, Taken::Exchanged(fixture.seen(COPY)));
        assert_eq!(fixture.read("f").unwrap(), "copy");
        assert_eq!(fixture.read(COPY).unwrap(), "standing");
    }

    #[test]
    fn where_nothing_stands_the_copy_moves_and_its_directory_goes() {
        let fixture = fixture();
        assert_eq!(fixture.take(fixture.seen(COPY), None), Taken::Placed);
        assert_eq!(fixture.read("f").unwrap(), "copy");
        assert!(!fixture.dir.path().join(".sync-conflicts").exists());
    }

    #[test]
    fn what_changed_since_it_was_looked_at_stays_where_it_is() {
        let fixture = fixture();
        std::fs::write(fixture.dir.path().join("f"), "standing").unwrap();
        let (copy, standing) = (fixture.seen(COPY), fixture.seen("f"));
        std::fs::write(fixture.dir.path().join("f"), "longer than before").unwrap();
        assert_eq!(fixture.take(copy, Some(standing)), Taken::Changed);
        assert_eq!(fixture.take(copy, None), Taken::Changed);
        let now = fixture.seen("f");
        std::fs::write(fixture.dir.path().join(COPY), "longer than before").unwrap();
        assert_eq!(fixture.take(copy, Some(now)), Taken::Changed);
        assert_eq!(fixture.read("f").unwrap(), "longer than before");
    }

    #[test]
    fn a_directory_at_the_path_is_an_error() {
        let fixture = fixture();
        std::fs::create_dir(fixture.dir.path().join("f")).unwrap();
        let (copy, target) = (path(COPY), path("f"));
        let taken = take_copy(&fixture.root, &copy, &fixture.seen(COPY), &target, None);
        assert!(taken.is_err());
    }
}
