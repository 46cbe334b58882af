//! The resident engine in a history: what changes while it runs, what it hears of that, and how it ends.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use sync_core::{
    debounce::{DebounceSettings, DirtyPath, MountIndex},
    events::{EventSettings, Listen},
    path::RelPath,
    resident::{Resident, ResidentSettings},
    session::{Direction, PassRequest},
    watch::WatchEvent,
};
use tokio::sync::mpsc::{self, Sender};

use super::{
    check,
    history::{Act, EndOfEngine, Event, LocalOp, News, PathName},
    rules::{locate, rule_for},
    run::Run,
};

/// Nothing waits: what is told is due at once.
const SETTINGS: ResidentSettings = ResidentSettings {
    pull_interval: Duration::from_hours(1),
    // Every request belongs to a step of the history.
    events: EventSettings {
        listen: Listen::Never,
        ..EventSettings::STANDARD
    },
    debounce: DebounceSettings {
        quiet: Duration::ZERO,
        max_delay: Duration::ZERO,
        max_paths: 8,
    },
};

impl Run {
    pub(crate) async fn resident(&mut self, acts: &[Act], end: EndOfEngine, events: &[Event]) {
        self.store.expect(events);
        let (sender, news) = mpsc::channel(256);
        let session = self.session.take().unwrap();
        let resident = Resident::start(session.clone(), SETTINGS, Some(news));
        let mut late = Vec::new();
        let mut told = Vec::new();
        for act in acts {
            self.world.note(format!("  {act:?}"));
            match act {
                Act::Local(op, news) => {
                    self.world.apply_local(*op);
                    match news {
                        News::Late => late.push(*op),
                        News::Lost => {}
                        News::Told | News::Twice | News::OfDirectory | News::Overflow => {
                            tell(&sender, *op, *news).await;
                        }
                    }
                    // What it was told of before is not what is there now.
                    told.retain(|path| !op.paths().contains(path));
                    if *news != News::Lost {
                        told.extend(op.paths());
                    }
                }
                Act::Remote(op) => self.world.apply_remote(*op),
                Act::Pass => {
                    let request = PassRequest::everything(Direction::Sync);
                    self.unless_it_ends(resident.pass(request)).await;
                }
            }
            self.until_it_is_idle(&resident).await;
            if self.store.has_ended() {
                break;
            }
            check::always(&self.world);
        }
        for op in late.into_iter().rev() {
            tell(&sender, op, News::Told).await;
        }
        self.until_it_is_idle(&resident).await;
        if events.is_empty() {
            self.expect_sent(&told);
        }
        if end == EndOfEngine::Stop {
            self.unless_it_ends(resident.stop()).await;
        }
        drop(resident);
        self.note_doubts(events);
        if end == EndOfEngine::Kill || self.store.has_ended() {
            drop(session);
            return self.open().await;
        }
        self.store.expect(&[]);
        self.session = Some(session);
        self.all_dirty = true;
    }

    /// Dry runs and dirty paths take turns: after the second one all that was told and was due has been looked at.
    async fn until_it_is_idle(&self, resident: &Resident) {
        for _ in 0..2 {
            let request = PassRequest::everything(Direction::Sync);
            self.unless_it_ends(resident.plan(request)).await;
        }
    }

    async fn unless_it_ends<T>(&self, work: impl Future<Output = T>) {
        if self.store.has_ended() {
            return;
        }
        tokio::select! {
            biased;
            _ = AssertUnwindSafe(work).catch_unwind() => {}
            () = self.store.crashed.notified() => {}
        }
    }

    /// What the engine was told of is in the bucket, where nothing stood in its way and nobody else wrote.
    fn expect_sent(&self, told: &[PathName]) {
        let obstructed = !self.world.state().obstacles.is_empty();
        if obstructed || self.store.denies_something() {
            return;
        }
        for path in told {
            let touched = self.world.state().touched.get(path).copied();
            let others = touched.is_some_and(|touched| touched.remote)
                || self.world.state().ignored.contains(path);
            let local = self.world.local_content(path);
            if !rule_for(path).sync.pushes() || others || local.is_none() {
                continue;
            }
            if self.world.remote_content(path) != local {
                self.world
                    .violation(format!("{path} was not sent, though the engine was told"));
            }
        }
    }
}

async fn tell(sender: &Sender<WatchEvent>, op: LocalOp, news: News) {
    for path in op.paths() {
        let (mount, path) = locate(path);
        let mount = MountIndex(u16::try_from(mount).unwrap());
        let path = RelPath::new(path).unwrap();
        let dirty = match (news, path.parent()) {
            (News::Overflow, _) => DirtyPath::mount(mount),
            (News::OfDirectory, Some(parent)) => DirtyPath::subtree(mount, parent),
            _ => DirtyPath::path(mount, path),
        };
        let times = if news == News::Twice { 2 } else { 1 };
        for _ in 0..times {
            // An engine that has ended hears nothing.
            sender.send(WatchEvent::Dirty(dirty.clone())).await.ok();
        }
    }
}
