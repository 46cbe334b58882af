//! Random histories from a seed.

use fastrand::Rng;
use sync_core::{failpoint::Point, session::Direction};

use super::{
    history::{
        Act, Approve, BaselineFate, Conditions, Effect, EndOfEngine, Event, Fault, Happening,
        History, HowToWrite, LocalOp, MassOp, Moment, Mounts, News, Obstacle, Order, PathName,
        RemoteOp, Size, Step, StoreKind,
    },
    rules::{MERGED, UNSAFE_KEYS, groups, related},
    tour,
};

/// The history of a seed.
pub(crate) fn history(seed: u64) -> History {
    let mut random = Rng::with_seed(seed);
    let mounts = if random.u8(..3) == 0 {
        Mounts::Two
    } else {
        Mounts::One
    };
    let paths = paths(&mut random, mounts);
    let mass = random.u8(..30) == 0;
    let mut generator = Generator {
        random,
        paths,
        mass,
    };
    let store = generator.store();
    let mut steps = if seed.is_multiple_of(6) {
        let turn = usize::try_from(seed / 6).unwrap();
        tour::ending_at(Point::ALL[turn % Point::ALL.len()])
    } else if mass {
        generator.mass_delete()
    } else if generator.one_in(3) {
        generator.crash_at_work()
    } else {
        Vec::new()
    };
    let more = generator.random.usize(4..14) - steps.len().min(4);
    steps.extend((0..more).map(|_| generator.step()));
    History {
        store,
        mounts,
        steps,
    }
}

/// A few paths, so that both writers meet often.
fn paths(random: &mut Rng, mounts: Mounts) -> Vec<PathName> {
    let count = random.usize(1..5);
    let mut paths = Vec::new();
    let groups = groups(mounts);
    let mut group = groups[0];
    for _ in 0..count {
        if random.u8(..2) == 0 {
            group = groups[random.usize(..groups.len())];
        }
        paths.push(group[random.usize(..group.len())]);
    }
    paths.sort_unstable();
    paths.dedup();
    paths
}

pub(crate) fn peaceful_pass() -> Step {
    Step::Pass {
        direction: Direction::Sync,
        scope: None,
        approval: Approve::No,
        events: Vec::new(),
    }
}

struct Generator {
    random: Rng,
    paths: Vec<PathName>,
    /// Whether many files of one directory come and go.
    mass: bool,
}

impl Generator {
    fn one_in(&mut self, many: u8) -> bool {
        self.random.u8(..many) == 0
    }

    fn path(&mut self) -> PathName {
        self.paths[self.random.usize(..self.paths.len())]
    }

    fn store(&mut self) -> StoreKind {
        let conditions = match self.random.u8(..12) {
            0 | 1 => Conditions::Ignored,
            2 => Conditions::IgnoredByDelete,
            _ => Conditions::Honoured,
        };
        // Side by side, any request may fall between the HEAD and the write that stand in for a condition.
        let side_by_side = conditions == Conditions::Honoured && self.one_in(8);
        StoreKind {
            page_objects: if self.one_in(2) { 1000 } else { 2 },
            order: match self.random.u8(..10) {
                0 | 1 => Order::Tree,
                2 => Order::Shuffled,
                _ => Order::Bytes,
            },
            conditions,
            concurrency: if side_by_side { 4 } else { 1 },
            part_tasks: if conditions == Conditions::Honoured && self.one_in(8) {
                1
            } else {
                1000
            },
        }
    }

    fn step(&mut self) -> Step {
        if self.mass && self.one_in(4) {
            return Step::Mass(self.mass_op());
        }
        if self.one_in(12) {
            return self.resident();
        }
        match self.random.u8(..100) {
            0..28 => Step::Local(self.local_op()),
            28..50 => Step::Remote(self.remote_op()),
            50..80 => self.pass(),
            80..90 => Step::PushDirty {
                events: self.events(),
            },
            90..92 => Step::Plan,
            92..94 => Step::Deny(self.path()),
            94..97 => Step::Reopen(BaselineFate::Kept),
            97 => Step::Reopen(BaselineFate::Lost),
            98 => Step::Reopen(BaselineFate::Damaged),
            _ => Step::Reopen(BaselineFate::RolledBack),
        }
    }

    /// Many files on both sides, most of them deleted on one, and a pass that nobody approved.
    fn mass_delete(&mut self) -> Vec<Step> {
        let here = self.one_in(2);
        let (create, delete) = if here {
            (MassOp::CreateThere, MassOp::DeleteMostHere)
        } else {
            (MassOp::CreateHere, MassOp::DeleteMostThere)
        };
        let delete = if self.one_in(4) {
            MassOp::RenameHere
        } else {
            delete
        };
        vec![
            Step::Mass(create),
            peaceful_pass(),
            Step::Mass(delete),
            peaceful_pass(),
        ]
    }

    fn mass_op(&mut self) -> MassOp {
        match self.random.u8(..8) {
            0 | 1 => MassOp::CreateHere,
            2 => MassOp::CreateThere,
            3 | 4 => MassOp::DeleteMostHere,
            5 => MassOp::DeleteMostThere,
            6 => MassOp::RenameThere,
            _ => MassOp::RenameHere,
        }
    }

    fn resident(&mut self) -> Step {
        let count = self.random.usize(1..5);
        let acts = (0..count).map(|_| match self.random.u8(..8) {
            0 | 1 => Act::Remote(self.remote_op()),
            2 => Act::Pass,
            _ => Act::Local(self.local_op(), self.news()),
        });
        Step::Resident {
            acts: acts.collect(),
            events: if self.one_in(2) {
                self.events()
            } else {
                Vec::new()
            },
            end: if self.one_in(2) {
                EndOfEngine::Kill
            } else {
                EndOfEngine::Stop
            },
        }
    }

    fn news(&mut self) -> News {
        match self.random.u8(..10) {
            0 => News::Twice,
            1 => News::Late,
            2 | 3 => News::Lost,
            4 => News::OfDirectory,
            5 => News::Overflow,
            _ => News::Told,
        }
    }

    fn pass(&mut self) -> Step {
        let direction = match self.random.u8(..6) {
            0 => Direction::Pull,
            1 => Direction::Push,
            _ => Direction::Sync,
        };
        let scope = self.one_in(8).then(|| self.scope());
        let approval = if self.one_in(3) {
            Approve::Yes
        } else {
            Approve::No
        };
        let events = self.events();
        Step::Pass {
            direction,
            scope,
            approval,
            events,
        }
    }

    fn scope(&mut self) -> PathName {
        let path = self.path();
        match path.split_once('/') {
            Some((directory, _)) if self.one_in(2) => directory,
            _ => path,
        }
    }

    fn local_op(&mut self) -> LocalOp {
        let path = self.path();
        if self.one_in(16) {
            return match self.random.u8(..8) {
                0 => LocalOp::BreakMerged,
                1 => LocalOp::Delete(MERGED),
                _ => LocalOp::SetField,
            };
        }
        match self.random.u8(..27) {
            22 => LocalOp::Ignore(path),
            23 => LocalOp::IgnoreNothing,
            0..10 => {
                let how = match self.random.u8(..3) {
                    0 => HowToWrite::InPlace,
                    1 => HowToWrite::Replace,
                    _ => HowToWrite::Stealthy,
                };
                LocalOp::Write(path, how, self.size())
            }
            10..14 | 20 if related(path).len() > 1 && self.one_in(2) => {
                LocalOp::Become(path, self.size())
            }
            10..14 | 20 => LocalOp::Delete(path),
            14..16 => LocalOp::Rename(path, self.path()),
            16 => LocalOp::Touch(path),
            17 => LocalOp::Rewrite(path),
            18 => LocalOp::Chmod(path, if self.one_in(2) { 0o755 } else { 0o640 }),
            19 => LocalOp::CopyFromRemote(path),
            24 | 25 => LocalOp::Link(path),
            26 => LocalOp::Chmod(path, 0o700),
            _ => {
                let obstacle = match self.random.u8(..4) {
                    0 => Obstacle::Directory,
                    1 => Obstacle::Link,
                    2 => Obstacle::ParentLink,
                    _ => Obstacle::ParentFile,
                };
                LocalOp::Obstruct(path, obstacle)
            }
        }
    }

    fn remote_op(&mut self) -> RemoteOp {
        let path = self.path();
        if self.one_in(12) {
            return match self.random.u8(..8) {
                0 => RemoteOp::BreakMerged,
                1 => RemoteOp::Delete(MERGED),
                _ => RemoteOp::SetField,
            };
        }
        match self.random.u8(..26) {
            0..11 => RemoteOp::Put(path, self.size()),
            11..17 if related(path).len() > 1 && self.one_in(2) => {
                RemoteOp::Become(path, self.size())
            }
            11..17 => RemoteOp::Delete(path),
            17..19 => RemoteOp::CopyFromLocal(path),
            19 if self.one_in(2) => RemoteOp::Ignore(path),
            19 => RemoteOp::IgnoreNothing,
            20 | 21 => RemoteOp::PutLink(path),
            22 | 23 => RemoteOp::Chmod(path, if self.one_in(2) { 0o755 } else { 0o600 }),
            24 => RemoteOp::PutHostileLink,
            _ => RemoteOp::PutUnsafe(UNSAFE_KEYS[self.random.usize(..UNSAFE_KEYS.len())]),
        }
    }

    fn size(&mut self) -> Size {
        match self.random.u8(..100) {
            0 => Size::Large,
            1..20 => Size::Odd(self.random.u8(..)),
            _ => Size::Small,
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let count = match self.random.u8(..10) {
            0..4 => 0,
            4..7 => 1,
            7..9 => 2,
            _ => 4,
        };
        if self.one_in(8) {
            return self.edit_and_crash();
        }
        (0..count).map(|_| self.event()).collect()
    }

    /// Both sides agree, then move on everywhere, and the pass that has to deal with it crashes somewhere.
    fn crash_at_work(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for path in self.paths.clone() {
            steps.push(self.write_somewhere(path));
        }
        let merged = self.one_in(2);
        if merged {
            steps.push(Step::Local(LocalOp::SetField));
            steps.push(Step::Remote(RemoteOp::SetField));
        }
        steps.push(peaceful_pass());
        for path in self.paths.clone() {
            let step = match self.random.u8(..6) {
                0 | 1 => Step::Remote(RemoteOp::Delete(path)),
                2 => Step::Local(LocalOp::Delete(path)),
                _ => self.write_somewhere(path),
            };
            steps.push(step);
            if self.one_in(3) {
                steps.push(self.write_somewhere(path));
            }
        }
        if merged {
            steps.push(Step::Remote(RemoteOp::SetField));
        }
        let events = if self.one_in(3) {
            self.edit_and_crash()
        } else {
            let at = Moment::AnyPoint(self.random.usize(..24));
            let what = Happening::Crash(Effect::None);
            vec![Event { at, what }]
        };
        steps.push(Step::Pass {
            direction: Direction::Sync,
            scope: None,
            approval: Approve::Yes,
            events,
        });
        steps
    }

    fn write_somewhere(&mut self, path: PathName) -> Step {
        if self.one_in(2) {
            Step::Local(LocalOp::Write(path, HowToWrite::Replace, Size::Small))
        } else {
            Step::Remote(RemoteOp::Put(path, Size::Small))
        }
    }

    /// An edit in the moment in which it hurts most, a crash soon after that, and perhaps one in the recovery.
    fn edit_and_crash(&mut self) -> Vec<Event> {
        const EXCHANGE: [Point; 3] = [Point::Exchanged, Point::LocalCopyKept, Point::PutBack];
        const DELETE: [Point; 3] = [Point::MovedAway, Point::MovedBack, Point::DeletedLocally];
        const COPY: [Point; 4] = [
            Point::RecoveredCopyKept,
            Point::RecoveredCopyKept,
            Point::Swept,
            Point::BaselineOpened,
        ];
        const PUT_BACK: [Point; 4] = [
            Point::RecoveredPutBack,
            Point::RecoveredPutBack,
            Point::Swept,
            Point::BaselineOpened,
        ];
        let path = self.path();
        let write = LocalOp::Write(path, HowToWrite::Replace, Size::Small);
        let (edited, op, crashes, recoveries) = match self.random.u8(..6) {
            0 | 1 => (Point::BeforeExchange, LocalOp::SetField, EXCHANGE, PUT_BACK),
            2 | 3 => (Point::BeforeExchange, write, EXCHANGE, COPY),
            _ => (Point::BeforeMovedAway, write, DELETE, PUT_BACK),
        };
        let crash = crashes[self.random.usize(..3)];
        let recovery = recoveries[self.random.usize(..4)];
        let at = |point, what| Event {
            at: Moment::Point(point, 0),
            what,
        };
        let mut events = vec![
            at(edited, Happening::Local(op)),
            at(crash, Happening::Crash(Effect::None)),
        ];
        if self.one_in(2) {
            events.push(at(recovery, Happening::Crash(Effect::None)));
        }
        events
    }

    fn event(&mut self) -> Event {
        if self.one_in(3) {
            return self.event_at_a_point();
        }
        if self.one_in(4) {
            let what = match self.random.u8(..4) {
                0 | 1 => Happening::Local(self.local_op()),
                2 => Happening::Remote(self.remote_op()),
                _ => Happening::Crash(Effect::None),
            };
            let at = Moment::FileDone(self.random.usize(..3));
            return Event { at, what };
        }
        let effect = if self.one_in(2) {
            Effect::None
        } else {
            Effect::Done
        };
        let what = match self.random.u8(..20) {
            0..6 => Happening::Local(self.local_op()),
            6..12 => Happening::Remote(self.remote_op()),
            12..16 => Happening::Fail(self.fault(), effect),
            16 => Happening::BreakOff,
            _ => Happening::Crash(effect),
        };
        let at = Moment::Call(self.random.usize(..7));
        Event { at, what }
    }

    fn event_at_a_point(&mut self) -> Event {
        let point = Point::ALL[self.random.usize(..Point::ALL.len())];
        let what = match self.random.u8(..6) {
            0 | 1 => Happening::Local(self.local_op_at_a_point()),
            2 => Happening::Remote(self.remote_op()),
            _ => Happening::Crash(Effect::None),
        };
        let at = if self.one_in(4) {
            Moment::Point(point, self.random.usize(..2))
        } else {
            Moment::AnyPoint(self.random.usize(..16))
        };
        Event { at, what }
    }

    /// A write that leaves no trace in the stat, within the microseconds between a rename and the look that follows it,
    /// is not found by anybody.
    fn local_op_at_a_point(&mut self) -> LocalOp {
        let op = self.local_op();
        if let LocalOp::Write(path, HowToWrite::Stealthy, size) = op {
            LocalOp::Write(path, HowToWrite::InPlace, size)
        } else {
            op
        }
    }

    fn fault(&mut self) -> Fault {
        match self.random.u8(..4) {
            0 => Fault::Unavailable,
            1 => Fault::Unreachable,
            2 => Fault::Denied,
            _ => Fault::Other,
        }
    }
}
