//! Kill between a write and the commit, for each kind of target and each operation. Intents are resolved by reading the
//! target, nothing is done twice, and no account is left without a link.
//!
//! Each world has a target of each kind. A change in Keycloak is one write to each of them. All five are held back, and
//! the process is killed when the last one has arrived.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::targets::Product,
    model::{Operation, Subject},
    targets::TargetErrorKind,
};
use usersync_simulators::{
    Fault,
    fault::{FaultId, Gate},
};

use crate::{
    deeds::{Deed, Kind, RENAMED, When},
    scene::{Filled, Scene, until},
};

/// Delay that no answer outlasts: the process is dead by then.
const NEVER: Duration = Duration::from_hours(1);

pub async fn cut_off_every_write() {
    let began = Instant::now();
    let worlds = When::ALL.into_iter().flat_map(|when| Deed::WORLDS.map(|deeds| tokio::spawn(play(when, deeds))));
    let mut cut_off = 0;
    // Awaits all, so that each failure is reported.
    for world in futures::future::join_all(worlds).await {
        cut_off += world.unwrap_or_default();
    }
    println!("{cut_off} writes of 5 kinds cut off by a kill, in {} s", began.elapsed().as_secs());
    // Eleven changes in Keycloak, each once per moment of the kill, on five kinds; Confluence renames no user.
    assert_eq!(cut_off, (11 * 5 - 1) * 3);
}

/// Plays one world, one deed after the other; returns how many writes were cut off.
async fn play(when: When, deeds: &'static [Deed]) -> usize {
    let scene = Scene::set(when.call()).await;
    let mut cut_off = 0;
    for deed in deeds {
        cut_off += Cut::begin(&scene, *deed, when).await.and_settle().await;
    }
    cut_off
}

/// A deed with writes that are cut off.
struct Cut<'a> {
    scene: &'a Scene,
    deed: Deed,
    when: When,
    subject: Subject,
    /// Number of requests of each target before the deed.
    requests: Vec<usize>,
    /// Id of the newest change before the deed.
    change: i64,
}

impl<'a> Cut<'a> {
    /// Makes the change in Keycloak, kills the process when each capable target has the write, then starts the next.
    async fn begin(scene: &'a Scene, deed: Deed, when: When) -> Self {
        if deed == Deed::Activate {
            // usersync activates only accounts that it deactivated.
            Deed::keep_out(&scene.servers.realm).await;
            scene.quiet().await;
        }
        let change = scene.newest_change().await;
        let requests: Vec<usize> = scene.targets.iter().map(|target| target.journal.len()).collect();
        let gate = Gate::default();
        let held_back: Vec<(&Filled, FaultId)> = scene
            .targets
            .iter()
            .filter_map(|target| {
                let (method, path) = deed.write(target.kind)?;
                let fault = match when {
                    When::Done => Fault::delay_after(NEVER),
                    When::NeverDone => Fault::delay(NEVER),
                    When::DoneLater => Fault::late(&gate),
                };
                Some((target, target.faults.add(fault.method(method).path(path).once())))
            })
            .collect();
        let subject = deed.act(&scene.servers.realm).await;
        let cut = Self { scene, deed, when, subject, requests, change };
        for (target, fault) in &held_back {
            let what = format!("{}: the write to {}", cut.about(), target.pair.target);
            until(&what, || target.faults.hits(*fault) == 1).await;
        }
        if when == When::Done {
            cut.wait_for_effect().await;
        }
        scene.kill().await;
        cut.is_open(held_back.len()).await;
        for target in &scene.targets {
            // Neither repeated nor later writes are held back.
            target.faults.clear();
        }
        scene.start().await;
        if when == When::DoneLater {
            // The next process works, but does not read the target before the deadline.
            scene.works_on_others().await;
            cut.is_open(held_back.len()).await;
            gate.open();
            cut.wait_for_effect().await;
            cut.is_open(held_back.len()).await;
        }
        cut
    }

    fn about(&self) -> String {
        format!("{:?}, {:?}", self.deed, self.when)
    }

    /// Waits until each capable target has done the write, whose sender is gone.
    async fn wait_for_effect(&self) {
        for (target, since) in self.scene.targets.iter().zip(&self.requests) {
            let Some(write) = self.deed.write(target.kind) else { continue };
            let what = format!("{}: {} to do it", self.about(), target.pair.target);
            until(&what, || target.wrote(*since, write) == 1).await;
        }
    }

    /// Checks that the intents on this many targets are open and not late; otherwise it was not the kill that cut them
    /// off.
    async fn is_open(&self, targets: usize) {
        let (open, now) = (self.scene.open().await, Timestamp::now());
        let kind =
            |name: &str| self.scene.targets.iter().find(|one| one.pair.target.as_str() == name).map(|one| one.kind);
        let of_it = open.iter().filter(|one| {
            one.subject == self.subject.to_string()
                && kind(&one.target).is_some_and(|kind| one.verb == self.deed.verb(kind))
                && one.arrives_until > now
        });
        let met: BTreeSet<&str> = of_it.clone().map(|one| one.target.as_str()).collect();
        let about = self.about();
        assert_eq!(met.len(), targets, "{about}: at {now} there is open: {open:#?}");
        assert_eq!(of_it.count(), targets * self.deed.stored_intents(), "{about}: {open:#?}");
        assert_eq!(open.len(), targets * self.deed.stored_intents(), "{about}: {open:#?}");
    }

    /// Waits until all is done, and checks each target; returns how many writes were cut off.
    async fn and_settle(self) -> usize {
        let (scene, about) = (self.scene, self.about());
        scene.quiet().await;
        assert_eq!(scene.dead().await, Vec::<String>::new(), "{about}");
        let mut cut_off = 0;
        for (target, since) in scene.targets.iter().zip(&self.requests) {
            let about = format!("{about}, {}", target.pair.target);
            let changes = scene.changes(&target.pair, &self.subject, self.change).await;
            let changes: Vec<_> = changes.into_iter().map(|change| (change.verb, change.outcome)).collect();
            let writes = target.writes(*since);
            if let Some(write) = self.deed.write(target.kind) {
                let expected = self.deed.expected(target.kind, self.when);
                let outcomes: Vec<_> = expected.changes.into_iter().map(|(verb, how)| (verb.to_owned(), how)).collect();
                assert_eq!(changes, outcomes, "{about}: {writes:#?}");
                assert_eq!(writes.len(), expected.writes, "{about}: {writes:#?}");
                assert!(target.wrote(*since, write) > 0, "{about}: {writes:#?}");
                assert_eq!(scene.differences(target), Vec::<String>::new(), "{about}");
                cut_off += 1;
            } else {
                assert_eq!((changes, writes), (Vec::new(), Vec::new()), "{about}");
                self.is_unsupported(target).await;
            }
            assert_eq!(scene.unmanaged(target).await, Vec::<String>::new(), "{about}");
        }
        cut_off
    }

    /// Checks that the target reports the operation as unsupported and is unchanged.
    async fn is_unsupported(&self, target: &Filled) {
        assert_eq!((target.kind, self.deed), (Kind::Other(Product::Confluence), Deed::Rename), "all else is possible");
        let (former, later) = RENAMED;
        let differences = [
            format!("{later} has no account in Confluence"),
            format!("{former} is active in Confluence, but not in Keycloak"),
        ];
        assert_eq!(self.scene.differences(target), differences);
        let client = self.scene.client(Product::Confluence);
        assert!(!client.probe().await.expect("a first contact").capabilities.rename);
        let account = client.account_named(former).await.expect("a look").expect("it is there");
        let rename = Operation::RenameUser { account: account.id, name: account.name, to: later.to_owned() };
        let refused = client.apply(&rename, Timestamp::now() + SignedDuration::from_secs(30)).await;
        assert_eq!(refused.expect_err("not possible").kind, TargetErrorKind::Unsupported);
    }
}
