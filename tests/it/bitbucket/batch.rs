//! Concurrent additions to one group: few calls, and each addition gets its own answer.

use futures::future::join_all;
use jiff::SignedDuration;
use usersync::{
    model::{
        ErrorClass::{Permanent, Throttled},
        Operation,
    },
    targets::{
        Applied, Target, TargetError,
        TargetErrorKind::{NotFound, Unanswered},
    },
};
use usersync_simulators::{
    Fault,
    bitbucket::{NewAccount, Permission},
    fault::Gate,
};

use super::world::{Place, join, not_done, place, rename};

const CALL: &str = "/admin/groups/add-users";

type Came = Vec<Result<Applied, TargetError>>;

/// Returns a place with this many accounts, all read recently, and the operations that add them to `crowd`.
async fn crowd(people: usize) -> (Place, Vec<Operation>) {
    let place = place().await;
    place.server.add_group("crowd");
    let names: Vec<String> = (0..people).map(|number| format!("p{number:03}")).collect();
    let ids = place.server.add_accounts(names.iter().map(NewAccount::named));
    let mut cursor = None;
    loop {
        let page = place.target.accounts(cursor.as_deref()).await.expect("a page");
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let adds = ids.into_iter().zip(&names).map(|(id, name)| join("crowd", &id.into(), name)).collect();
    (place, adds)
}

impl Place {
    /// Starts all additions. The first is held back until the others wait and `then` is done.
    async fn side_by_side(&self, adds: &[Operation], then: impl Future<Output = ()>) -> Came {
        let gate = Gate::default();
        let held = self.server.faults.add(Fault::late(&gate).path(CALL).once());
        let all = join_all(adds.iter().map(|join| self.apply(join)));
        let open = async {
            while self.server.faults.hits(held) == 0 {
                tokio::task::yield_now().await;
            }
            then.await;
            gate.open();
        };
        futures::join!(all, open).0
    }

    fn crowd(&self) -> usize {
        self.server.snapshot().groups["crowd"].len()
    }

    fn calls(&self) -> usize {
        self.server.journal.count("POST", CALL)
    }

    /// Returns the users that each call names, in the order of the calls.
    fn named(&self) -> Vec<Vec<String>> {
        let calls = self.server.journal.matching(|entry| entry.path.ends_with(CALL));
        let users = |entry: &usersync_simulators::Entry| entry.json()["users"].as_array().cloned().unwrap_or_default();
        let text = |user: &serde_json::Value| user.as_str().unwrap_or_default().to_owned();
        calls.iter().map(|entry| users(entry).iter().map(text).collect()).collect()
    }
}

fn all_done(came: &Came) -> bool {
    came.iter().all(|came| *came == Ok(Applied::Done))
}

#[tokio::test]
async fn two_hundred_members_are_added_by_three_calls() {
    let (place, adds) = crowd(200).await;
    let came = place.side_by_side(&adds, async {}).await;
    assert!(all_done(&came), "{came:?}");
    assert_eq!(place.crowd(), 200);
    let named = place.named();
    assert!(named.len() <= 3, "{} calls", named.len());
    assert_eq!(named.concat().len(), 200, "each is named once");
    place.keeps_to_the_description();
}

#[tokio::test]
async fn one_deleted_user_is_reported_and_the_others_are_added() {
    let (place, adds) = crowd(20).await;
    place.server.remove_account("p007");
    let came = place.side_by_side(&adds, async {}).await;
    for (number, came) in came.iter().enumerate() {
        match came {
            Err(error) if number == 7 => {
                assert_eq!(error.kind, NotFound);
                assert!(error.text.starts_with("adding p007 to crowd: "), "{error}");
            }
            came => assert_eq!(*came, Ok(Applied::Done), "p{number:03}"),
        }
    }
    assert_eq!(place.crowd(), 19);
    assert_eq!(place.calls(), 1 + 1 + 19, "after the refusal each goes by itself, once");
}

#[tokio::test]
async fn an_existing_member_does_not_prevent_other_additions() {
    let (place, adds) = crowd(20).await;
    place.server.set_strict_members(true);
    place.server.add_member("crowd", "p007");
    let came = place.side_by_side(&adds, async {}).await;
    assert!(all_done(&came), "{came:?}");
    assert_eq!(place.crowd(), 20);
}

#[tokio::test]
async fn with_too_few_seats_some_users_get_one() {
    let (place, adds) = crowd(20).await;
    place.server.set_group_permission("crowd", Some(Permission::LicensedUser));
    let licensed = place.server.snapshot().accounts.values().filter(|account| account.licensed).count();
    place.server.set_seats(Some(licensed + 12));
    let came = place.side_by_side(&adds, async {}).await;
    let refused: Vec<_> = came.iter().filter_map(|came| came.as_ref().err()).collect();
    assert_eq!((refused.len(), place.crowd()), (8, 12));
    for error in refused {
        assert_eq!(error.kind, not_done(Permanent), "{error}");
        assert!(error.text.starts_with("adding p") && error.text.contains("no seat left"), "{error}");
    }
}

#[tokio::test]
async fn after_a_call_without_an_answer_all_members_are_checked() {
    for (fault, members) in [(Fault::cut(), 1), (Fault::cut_after(), 20), (Fault::status(502, ""), 1)] {
        let (place, adds) = crowd(20).await;
        place.server.faults.add(fault.path(CALL).after(1).once());
        let came = place.side_by_side(&adds, async {}).await;
        assert_eq!(came[0], Ok(Applied::Done));
        for came in &came[1..] {
            assert_eq!(came.as_ref().expect_err("no answer").kind, Unanswered);
        }
        assert_eq!((place.calls(), place.crowd()), (2, members));
        let again = place.side_by_side(&adds, async {}).await;
        assert!(all_done(&again), "{again:?}");
        assert_eq!(place.crowd(), 20);
    }
}

#[tokio::test]
async fn a_rate_limited_batch_is_not_retried_for_each_user() {
    for fault in [Fault::too_many(7), Fault::status(503, "").header("retry-after", "7")] {
        let (place, adds) = crowd(20).await;
        place.server.faults.add(fault.path(CALL).after(1));
        let came = place.side_by_side(&adds, async {}).await;
        for came in &came[1..] {
            let error = came.as_ref().expect_err("too many");
            assert_ne!(error.kind, Unanswered);
            assert_eq!(error.retry_after, Some(SignedDuration::from_secs(7)), "{error}");
        }
        assert_eq!((place.calls(), place.crowd()), (2, 1));
    }
    let (place, adds) = crowd(3).await;
    place.server.faults.add(Fault::too_many(7).path(CALL).after(1));
    let came = place.side_by_side(&adds, async {}).await;
    assert_eq!(came[1].as_ref().expect_err("too many").kind, not_done(Throttled));
}

#[tokio::test]
async fn a_user_renamed_before_the_call_is_not_added_by_the_old_login() {
    let (place, adds) = crowd(20).await;
    let seven = place.id("p007");
    let came = place
        .side_by_side(&adds, async {
            place.done(&rename(&seven, "p007", "renamed")).await;
            place.server.add_account(NewAccount::named("p007"));
        })
        .await;
    for (number, came) in came.iter().enumerate() {
        assert_eq!(came.as_ref().err().map(|error| error.kind), (number == 7).then_some(NotFound), "p{number:03}");
    }
    assert!(!place.named().concat().contains(&"p007".to_owned()), "whoever has his login now is not named");
    assert_eq!((place.calls(), place.crowd()), (2, 19));
}
