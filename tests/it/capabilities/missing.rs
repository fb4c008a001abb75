//! Accounts that the target does not find, temporarily or for good.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use usersync::{
    demo::{
        stack::StackOptions,
        targets::{OtherTarget, Product, SimulatedTarget},
    },
    engine::{EngineTimes, Report, RunOptions},
    model::{
        Account, AccountId, ApprovalItemState, ApprovalKind, Limited, Link, Operation, Pair, RunTrigger, TargetGroup,
        TargetGroupId,
    },
    store::{Decision, OperatorStore, StoreReads},
    targets::{Applied, Page, Target, TargetError, TargetErrorKind, TargetInfo},
};
use usersync_simulators::keycloak::UserChange;

use super::support::{STAFF, World, options, until, world_with};

/// A target that does not find some of its accounts, by login.
struct Forgetful {
    inner: Arc<dyn Target>,
    hidden: Mutex<BTreeSet<String>>,
}

impl Forgetful {
    fn hide(&self, logins: &[&str]) {
        self.hidden.lock().unwrap().extend(logins.iter().map(|login| (*login).to_owned()));
    }

    fn show_all(&self) {
        self.hidden.lock().unwrap().clear();
    }

    fn finds(&self, account: &Account) -> bool {
        !self.hidden.lock().unwrap().contains(&account.name)
    }

    /// Returns an existing account, whether the target finds it or not.
    async fn account_there(&self, login: &str) -> Option<Account> {
        self.inner.account_named(login).await.unwrap()
    }

    /// Deletes an account without usersync.
    async fn delete(&self, login: &str) {
        let account = self.account_there(login).await.unwrap();
        let delete = Operation::DeleteUser { account: account.id, name: account.name };
        self.inner.apply(&delete, Timestamp::now() + SignedDuration::from_secs(10)).await.unwrap();
    }
}

#[async_trait]
impl Target for Forgetful {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        self.inner.probe().await
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError> {
        Ok(self.inner.account(id).await?.filter(|account| self.finds(account)))
    }

    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError> {
        Ok(self.inner.account_named(name).await?.filter(|account| self.finds(account)))
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let mut page = self.inner.accounts(cursor).await?;
        page.items.retain(|account| self.finds(account));
        Ok(page)
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.inner.group_named(name).await
    }

    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.inner.members(group, cursor).await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        if let Some(id) = operation.account()
            && self.account(id).await?.is_none()
        {
            let kind = TargetErrorKind::NotFound;
            return Err(TargetError { kind, text: format!("there is no account {id}"), retry_after: None });
        }
        self.inner.apply(operation, deadline).await
    }
}

struct Place {
    w: World,
    target: Arc<Forgetful>,
    _server: SimulatedTarget,
}

fn pair() -> Pair {
    Pair::new("acme", "crowd")
}

async fn place() -> Place {
    place_with(options()).await
}

async fn place_with(options: StackOptions) -> Place {
    let server = Product::Crowd.simulate().await.expect("a free port");
    let inner = server.other_target().expect("a client").target;
    let target = Arc::new(Forgetful { inner, hidden: Mutex::default() });
    let other_target = OtherTarget { name: "crowd".into(), target: Arc::clone(&target) as _ };
    let w = world_with(StackOptions { other_targets: vec![other_target], ..options }).await;
    Place { w, target, _server: server }
}

impl Place {
    async fn run(&self) -> Report {
        let options = RunOptions::apply(RunTrigger::Schedule);
        let (_, report) = Box::pin(self.w.stack.engine.run(&pair(), &options)).await.expect("the run ends");
        report
    }

    async fn link(&self, login: &str) -> Option<Link> {
        self.w.stack.store.link(&pair(), &self.w.id(login).as_str().into()).await.unwrap()
    }

    /// Waits until the link of this user matches.
    async fn until(&self, login: &str, fits: impl Fn(Option<&Link>) -> bool) {
        for _ in 0..1_000 {
            if fits(self.link(login).await.as_ref()) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the link of {login} stays {:?}", self.link(login).await);
    }

    async fn dropped(&self) -> Vec<String> {
        let changes = self.w.changes().await.into_iter().filter(|change| change.limited == Some(Limited::DropLink));
        changes.map(|change| change.name).collect()
    }
}

#[tokio::test]
async fn a_leaver_whose_account_is_not_found_for_a_while_is_deactivated_when_it_is_back() {
    let place = place().await;
    place.target.hide(&["staff1"]);
    place.w.realm().update_user(&place.w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    place.until("staff1", |link| link.is_some_and(|link| link.missing_since.is_some())).await;
    assert!(place.target.account_there("staff1").await.unwrap().active);

    place.target.show_all();
    place.w.settled().await;
    assert!(!place.target.account_there("staff1").await.unwrap().active);
    assert_eq!(place.link("staff1").await.unwrap().missing_since, None);
    assert_eq!(place.dropped().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_leaver_whose_account_was_reported_deleted_is_deactivated_without_a_full_reconcile_when_it_is_back() {
    let times = EngineTimes { dropped_recheck: SignedDuration::from_millis(100), ..EngineTimes::hasty() };
    for deleted in [false, true] {
        let place = place_with(StackOptions { times: times.clone(), ..options() }).await;
        let id = place.w.id("staff1");
        place.target.hide(&["staff1"]);
        if deleted {
            place.w.realm().delete_user(&id).await.unwrap();
        } else {
            place.w.realm().update_user(&id, UserChange::enabled(false)).await.unwrap();
        }
        let link = async || place.w.stack.store.link(&pair(), &id.as_str().into()).await.unwrap();
        until("the link is gone", async || link().await.is_none()).await;
        place.target.show_all();
        until("the link is back", async || link().await.is_some_and(|link| link.deactivated_by_us)).await;
        assert!(!place.target.account_there("staff1").await.unwrap().active);
        place.w.settled().await;
    }
}

#[tokio::test]
async fn an_account_that_stays_missing_is_not_read_again_after_a_day() {
    let day = SignedDuration::from_millis(400);
    let recheck = SignedDuration::from_millis(100);
    let times = EngineTimes { dropped_recheck: recheck, dropped_believed: day, ..EngineTimes::hasty() };
    let place = place_with(StackOptions { times, ..options() }).await;
    place.target.hide(&["staff1"]);
    place.w.realm().update_user(&place.w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    place.until("staff1", |link| link.is_none()).await;
    place.w.settled().await;
    assert_eq!(place.w.tasks().await, []);
}

#[tokio::test]
async fn a_leaver_whose_account_was_reported_deleted_is_deactivated_by_the_next_full_reconcile_when_it_is_back() {
    let place = place().await;
    place.target.hide(&["staff1"]);
    place.w.realm().update_user(&place.w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    place.until("staff1", |link| link.is_none()).await;
    place.w.settled().await;
    assert_eq!(place.dropped().await, ["staff1"]);

    place.target.show_all();
    let report = place.run().await;
    assert_eq!(report.done.get("deactivate"), Some(&1), "{report:?}");
    assert!(!place.target.account_there("staff1").await.unwrap().active);
    assert!(place.link("staff1").await.unwrap().deactivated_by_us);
    let idle = place.run().await;
    assert_eq!(idle.planned_total(), 0, "{idle:?}");
}

#[tokio::test]
async fn an_account_that_was_deleted_in_the_target_is_created_again_and_the_dropped_link_is_a_change() {
    let place = place().await;
    let before = place.link("staff1").await.unwrap();
    place.target.delete("staff1").await;
    let report = place.run().await;
    assert!(report.unconfirmed.iter().any(|text| text.contains("missing at the target")), "{report:?}");
    assert_eq!(place.link("staff1").await.unwrap().account, before.account, "one reading drops no link");
    place.w.settled().await;
    assert_eq!(place.dropped().await, ["staff1"]);
    assert!(place.target.account_there("staff1").await.unwrap().active);
    let groups = place.link("staff1").await.unwrap().given;
    assert_eq!(groups, before.given, "the new account is in the groups of the old one");
}

#[tokio::test]
async fn a_target_that_finds_none_of_the_linked_accounts_confirms_no_absence() {
    let place = place().await;
    let logins: Vec<String> = (0..STAFF).map(|number| format!("staff{number}")).collect();
    place.target.hide(&logins.iter().map(String::as_str).collect::<Vec<_>>());
    place.run().await;
    // Well past the time after which a single account would be reported as deleted.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    let is_doubted = async || {
        let errors = place.w.tasks().await.into_iter().filter_map(|task| task.error);
        errors.into_iter().any(|(_, text)| text.contains("no other linked account is found"))
    };
    for _ in 0..1_000 {
        if is_doubted().await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    assert!(is_doubted().await);
    assert_eq!(place.dropped().await, Vec::<String>::new());
    place.target.show_all();
    place.run().await;
    place.w.settled().await;
    for login in logins {
        assert_eq!(place.link(&login).await.unwrap().missing_since, None, "{login}");
    }
}

#[tokio::test]
async fn many_accounts_deleted_at_once_are_recreated_only_after_an_approval() {
    let place = place().await;
    // At most half of the accounts may be replaced in an hour; each dropped one lowers the total.
    let gone: Vec<String> = (0..STAFF - 2).map(|number| format!("staff{number}")).collect();
    for login in &gone {
        place.target.delete(login).await;
    }
    place.run().await;
    place.w.calm().await;
    let limit = place.dropped().await.len();
    assert!((1..=STAFF / 2).contains(&limit), "{:?}", place.dropped().await);
    let sets = place.w.stack.store.approvals(true).await.unwrap();
    let set =
        sets.into_iter().find(|set| set.kind == ApprovalKind::SafetyLimit(Limited::DropLink)).expect("the others wait");
    let (_, items) = place.w.stack.store.approval(set.id).await.unwrap();
    let open: Vec<_> = items.iter().filter(|item| item.state == ApprovalItemState::Open).collect();
    assert_eq!(open.len(), gone.len() - limit);
    assert!(open[0].item.what.contains("whose account is gone"), "{:?}", open[0]);

    let approve = Decision { set: set.id, items: Vec::new(), approve: true, by: "ann".to_owned(), note: None };
    place.w.stack.store.decide(&approve, Timestamp::now()).await.unwrap();
    place.w.settled().await;
    for login in gone {
        assert!(place.target.account_there(&login).await.is_some_and(|account| account.active), "{login}");
    }
}
