//! Concurrent additions to one group: few writes, and each addition gets its own answer.

use futures::future::join_all;
use jiff::SignedDuration;
use usersync::{
    model::Operation,
    targets::{Applied, TargetError, TargetErrorKind},
};
use usersync_simulators::{Fault, ScimSwitches, fault::Gate, scim::NewAccount};

use super::world::World;

type Came = Vec<Result<Applied, TargetError>>;

/// Starts a server with this many users; returns the operations that add all of them to `crowd`.
async fn crowd(people: usize, work: impl FnOnce(&mut ScimSwitches)) -> (World, Vec<Operation>) {
    let world = World::switched(work).await;
    // A group created by the client is known to be empty.
    world.done(&Operation::CreateGroup { name: "crowd".into() }).await;
    let group = world.group("crowd").await;
    let join = |number| {
        let name = format!("p{number:03}");
        let account = world.server.add_account(NewAccount::named(&name)).into();
        Operation::AddMember { group: group.id.clone(), group_name: group.name.clone(), account, name }
    };
    let adds = (0..people).map(join).collect();
    (world, adds)
}

impl World {
    /// Starts all additions; the first write is held back until the others wait.
    async fn side_by_side(&self, adds: &[Operation]) -> Came {
        let gate = Gate::default();
        let late = |method: &str| Fault::late(&gate).method(method).path("/Groups/").once();
        let held = [self.server.faults.add(late("PATCH")), self.server.faults.add(late("PUT"))];
        let all = join_all(adds.iter().map(|join| self.apply(join)));
        let open = async {
            while held.iter().all(|held| self.server.faults.hits(*held) == 0) {
                tokio::task::yield_now().await;
            }
            gate.open();
        };
        futures::join!(all, open).0
    }

    fn writes(&self) -> usize {
        self.server.journal.count("PATCH", "/Groups/") + self.server.journal.count("PUT", "/Groups/")
    }
}

fn all_done(came: &Came) -> bool {
    came.iter().all(|came| *came == Ok(Applied::Done))
}

#[tokio::test]
async fn two_hundred_members_are_added_by_five_writes() {
    let (world, adds) = crowd(200, |_| {}).await;
    let came = world.side_by_side(&adds).await;
    assert!(all_done(&came), "{came:?}");
    assert_eq!(world.inside("crowd").len(), 200);
    assert!(world.writes() <= 5, "{} writes", world.writes());
    let named =
        |entry: &usersync_simulators::Entry| entry.json()["Operations"][0]["value"].as_array().map_or(0, Vec::len);
    let named: usize = world.server.journal.writes().iter().map(named).sum();
    assert_eq!(named, 200, "each is named once");
}

#[tokio::test]
async fn a_group_that_is_written_back_whole_is_written_back_few_times() {
    for announced in [false, true] {
        let (world, adds) = crowd(50, |switches| {
            switches.patch = false;
            switches.patch_announced = announced;
            switches.etag = true;
        })
        .await;
        let came = world.side_by_side(&adds).await;
        assert!(all_done(&came), "{came:?}");
        assert_eq!(world.inside("crowd").len(), 50);
        assert!(world.server.journal.count("PUT", "/Groups/") <= 2);
        assert_eq!(world.server.journal.count("PATCH", "/Groups/"), usize::from(announced));
    }
}

#[tokio::test]
async fn one_deleted_user_is_reported_and_the_others_are_added() {
    for patch in [true, false] {
        let (world, adds) = crowd(20, |switches| {
            switches.patch = patch;
            switches.patch_announced = patch;
        })
        .await;
        world.server.remove_account("p007");
        let came = world.side_by_side(&adds).await;
        for (number, came) in came.iter().enumerate() {
            match came {
                Err(error) if number == 7 => assert!(error.text.starts_with("adding p007 to crowd: "), "{error}"),
                came => assert_eq!(*came, Ok(Applied::Done), "p{number:03}"),
            }
        }
        assert_eq!(world.inside("crowd").len(), 19);
        assert_eq!(world.writes(), 1 + 1 + 19, "after the refusal each goes by itself, once");
    }
}

#[tokio::test]
async fn a_server_that_accepts_few_members_at_once_gets_them_one_by_one() {
    let (world, adds) = crowd(20, |switches| switches.members_per_patch = 10).await;
    let came = world.side_by_side(&adds).await;
    assert!(all_done(&came), "{came:?}");
    assert_eq!((world.inside("crowd").len(), world.writes()), (20, 1 + 1 + 19));
}

#[tokio::test]
async fn a_write_after_a_concurrent_change_is_retried() {
    let (world, adds) = crowd(20, |_| {}).await;
    world.server.faults.add(Fault::status(412, "").method("PATCH").path("/Groups/").after(1).once());
    let came = world.side_by_side(&adds).await;
    assert!(all_done(&came), "{came:?}");
    assert_eq!((world.inside("crowd").len(), world.writes()), (20, 3));
    // Not forever.
    let (world, adds) = crowd(20, |_| {}).await;
    world.server.faults.add(Fault::status(412, "").method("PATCH").path("/Groups/").after(1));
    let came = world.side_by_side(&adds).await;
    for came in &came[1..] {
        let error = came.as_ref().expect_err("overtaken");
        assert!(error.text.contains("another client changed it"), "{error}");
    }
    assert_eq!((world.inside("crowd").len(), world.writes()), (1, 5));
}

#[tokio::test]
async fn after_a_write_without_an_answer_all_members_are_checked() {
    for (fault, members) in [(Fault::cut(), 1), (Fault::cut_after(), 20), (Fault::status(502, ""), 1)] {
        let (world, adds) = crowd(20, |_| {}).await;
        world.server.faults.add(fault.method("PATCH").after(1).once());
        let came = world.side_by_side(&adds).await;
        assert_eq!(came[0], Ok(Applied::Done));
        for came in &came[1..] {
            assert_eq!(came.as_ref().expect_err("no answer").kind, TargetErrorKind::Unanswered);
        }
        assert_eq!((world.writes(), world.inside("crowd").len()), (2, members));
        let again = world.side_by_side(&adds).await;
        assert!(all_done(&again), "{again:?}");
        assert_eq!(world.inside("crowd").len(), 20);
    }
}

#[tokio::test]
async fn a_rate_limited_batch_is_not_retried_for_each_user() {
    let (world, adds) = crowd(20, |_| {}).await;
    world.server.faults.add(Fault::too_many(7).method("PATCH").after(1));
    let came = world.side_by_side(&adds).await;
    for came in &came[1..] {
        let error = came.as_ref().expect_err("too many");
        assert_eq!(error.retry_after, Some(SignedDuration::from_secs(7)), "{error}");
    }
    assert_eq!((world.writes(), world.inside("crowd").len()), (2, 1));
}
