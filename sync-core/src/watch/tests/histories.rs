//! Random changes of a tree, as fast as they go. Whoever looks at what is reported, and at nothing else, knows the tree.

use std::collections::BTreeMap;

use super::*;

const ROUNDS: u64 = 12;
const CHANGES: usize = 400;

/// What a consumer believes: the content of each file.
#[derive(Default)]
struct Belief(BTreeMap<String, String>);

impl Belief {
    fn look(&mut self, root: &Path, dirty: &DirtyPath) {
        match &dirty.scope {
            Scope::Mount => {
                self.0.clear();
                self.walk(root, root);
            }
            Scope::Subtree(dir) => {
                self.0
                    .retain(|path, _| !RelPath::new(path).unwrap().is_under(dir));
                self.walk(root, &root.join(dir.as_str()));
            }
            Scope::Path(path) => {
                self.0.remove(path.as_str());
                let at = root.join(path.as_str());
                if !at.is_dir() {
                    self.walk(root, &at);
                }
            }
        }
    }

    fn walk(&mut self, root: &Path, at: &Path) {
        if let Ok(entries) = fs::read_dir(at) {
            for entry in entries.flatten() {
                self.walk(root, &entry.path());
            }
        } else if let Ok(content) = fs::read_to_string(at) {
            let path = at.strip_prefix(root).unwrap().to_str().unwrap();
            self.0.insert(path.to_owned(), content);
        }
    }
}

/// A path of up to four components; few names, so that files and directories meet.
fn any_path(random: &mut fastrand::Rng) -> String {
    let names: Vec<&str> = (0..random.usize(1..5))
        .map(|_| ["a", "b", "a-b", "c"][random.usize(0..4)])
        .collect();
    names.join("/")
}

/// One change. That many of them fail is part of the game.
fn change(root: &Path, elsewhere: &Path, random: &mut fastrand::Rng, number: usize) {
    let (path, other) = (root.join(any_path(random)), root.join(any_path(random)));
    let away = elsewhere.join(["x", "y"][random.usize(0..2)]);
    let _failed = match random.u8(0..10) {
        0..3 => fs::create_dir_all(path.parent().unwrap())
            .and_then(|()| fs::write(&path, number.to_string())),
        3 => fs::create_dir_all(&path),
        4 | 5 => fs::rename(&path, &other),
        6 => fs::rename(&path, &away),
        7 => fs::rename(&away, &path),
        8 => fs::remove_dir_all(&path),
        _ => fs::remove_file(&path),
    };
}

#[test]
fn whoever_looks_at_what_is_reported_knows_the_tree() {
    for seed in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let elsewhere = tempfile::tempdir().unwrap();
        let mut scene = Scene::new(|root| fs::create_dir_all(root.join("a/b/c")).unwrap());
        let root = scene.root.path().to_owned();
        let mut belief = Belief::default();
        for number in 0..CHANGES {
            change(&root, elsewhere.path(), &mut random, number);
            if random.u8(0..100) == 0 {
                for dirty in scene.reported() {
                    belief.look(&root, &dirty);
                }
            }
        }
        for dirty in scene.reported() {
            belief.look(&root, &dirty);
        }
        let mut truth = Belief::default();
        truth.walk(&root, &root);
        truth.0.retain(|path, _| !path.starts_with("marker-"));
        belief.0.retain(|path, _| !path.starts_with("marker-"));
        assert_eq!(belief.0, truth.0, "seed {seed}");
        all_live(&mut scene, &root);
    }
}

/// Every directory that is there has its watch.
fn all_live(scene: &mut Scene, root: &Path) {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        if directory != root {
            let path = directory.strip_prefix(root).unwrap().to_str().unwrap();
            scene.is_live(path);
        }
        let entries = fs::read_dir(&directory).unwrap().flatten();
        directories.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
    }
}
