//! The target as the engine reads and writes it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use usersync::{
    model::{Account, AccountId, ErrorClass, Operation, TargetGroup, TargetGroupId, TargetIdentity},
    targets::{AddedMembers, Applied, Capabilities, CaseRule, Page, Target, TargetError, TargetErrorKind, TargetInfo},
};

use crate::{
    gates::Opens,
    world::{Shared, World, too_late},
};

/// The only target of the simulated world.
pub struct SimulatedTarget {
    pub shared: Arc<Shared>,
    pub identity: String,
    /// Number of groups that one call can add a user to.
    pub groups_at_once: usize,
    /// Number of accounts that one call can add to a group.
    pub max_members_per_call: usize,
    /// Whether groups can be renamed.
    pub renames_groups: bool,
}

impl SimulatedTarget {
    async fn read<T>(&self, what: String, read: impl FnOnce(&mut World) -> T) -> Result<T, TargetError> {
        let failed = self.shared.reading(format!("reads {what} at the target")).await;
        let mut world = self.shared.world();
        if failed {
            world.say("    which fails");
            let kind = TargetErrorKind::NotDone(ErrorClass::Transient);
            return Err(TargetError { kind, text: format!("{what}: 503 Service Unavailable"), retry_after: None });
        }
        Ok(read(&mut world))
    }
}

fn describe(account: Option<&Account>) -> String {
    let Some(account) = account else { return "    none".into() };
    let state = if account.active { "active" } else { "inactive" };
    let groups: Vec<&str> = account.groups.iter().flatten().map(TargetGroupId::as_str).collect();
    format!("    {}: {} {state} {}", account.id, account.name, groups.join("+"))
}

/// Entries per page; few, so that lists have several pages.
const PAGE: usize = 3;

fn page<T: Clone>(all: &[T], cursor: Option<&str>) -> Page<T> {
    let first: usize = cursor.map_or(0, |cursor| cursor.parse().expect("it is one of ours"));
    let next = first + PAGE;
    Page {
        items: all.iter().skip(first).take(PAGE).cloned().collect(),
        next: (next < all.len()).then(|| next.to_string()),
        incomplete: None,
    }
}

/// Stops the wait for an answer when the sender is dropped.
struct Sender<'s> {
    shared: &'s Shared,
    request: u64,
}

impl Drop for Sender<'_> {
    fn drop(&mut self) {
        self.shared.world().orphan(self.request);
    }
}

#[async_trait]
impl Target for SimulatedTarget {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    async fn probe(&self) -> Result<TargetInfo, TargetError> {
        Ok(TargetInfo {
            identity: TargetIdentity::new(self.identity.clone(), None),
            product: "Simulated 1.0".into(),
            signed_in_as: "usersync".into(),
            capabilities: Capabilities {
                rename_group: self.renames_groups,
                groups_at_once: self.groups_at_once,
                login_case: CaseRule::Lower,
                ..Capabilities::base()
            },
            notes: vec![],
        })
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, TargetError> {
        self.read(format!("account {id}"), |world| {
            let found = world.accounts.get(id).filter(|account| world.finds(&account.id));
            let account = found.map(|account| world.read_account(account));
            world.say(describe(account.as_ref()));
            account
        })
        .await
    }

    async fn account_named(&self, name: &str) -> Result<Option<Account>, TargetError> {
        self.read(format!("account named {name}"), |world| {
            let found = world.account_named(name).filter(|account| world.finds(&account.id));
            let account = found.map(|account| world.read_account(account));
            world.say(describe(account.as_ref()));
            account
        })
        .await
    }

    async fn accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        self.read(format!("accounts from {} on", cursor.unwrap_or("0")), |world| {
            let found = world.accounts.values().filter(|account| world.finds(&account.id));
            let all: Vec<Account> = found.map(|account| Account { groups: None, ..account.clone() }).collect();
            let page = page(&all, cursor);
            for account in &page.items {
                world.say(describe(Some(account)));
            }
            page
        })
        .await
    }

    async fn group_named(&self, name: &str) -> Result<Option<TargetGroup>, TargetError> {
        self.read(format!("group {name}"), |world| {
            let found = world.group_named(name);
            world.say(format!("    {}", found.as_ref().map_or("none", |group| group.id.as_str())));
            found
        })
        .await
    }

    async fn members(
        &self,
        group: &TargetGroupId,
        cursor: Option<&str>,
    ) -> Result<Option<Page<AccountId>>, TargetError> {
        self.read(format!("members of {group} from {} on", cursor.unwrap_or("0")), |world| {
            let (_, members) = world.groups.get(group)?;
            let page = page(&members.iter().cloned().collect::<Vec<_>>(), cursor);
            let names: Vec<&str> = page.items.iter().map(AccountId::as_str).collect();
            let text = format!("    {}", names.join("+"));
            world.say(text);
            Some(page)
        })
        .await
    }

    async fn apply(&self, operation: &Operation, deadline: Timestamp) -> Result<Applied, TargetError> {
        let gates = &self.shared.gates;
        let sender = gates.actor();
        gates.pass(format!("sends: {operation}"), Opens::Chosen).await;
        if self.shared.world().now > deadline {
            return Err(too_late(operation));
        }
        let request = self.shared.world().send(operation, deadline, sender);
        let waiting = Sender { shared: &self.shared, request };
        gates.pass(format!("hears of: {operation}"), Opens::Answered(request)).await;
        let answer = self.shared.world().answers.remove(&request);
        drop(waiting);
        answer.expect("the gate opens once there is an answer")
    }

    async fn add_to_groups(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let join = |(group, spelled): &(&TargetGroupId, &str)| Operation::AddMember {
            group: (*group).clone(),
            group_name: (*spelled).to_owned(),
            account: account.clone(),
            name: name.to_owned(),
        };
        let operations: Vec<Operation> = groups.iter().map(join).collect();
        let gates = &self.shared.gates;
        let sender = gates.actor();
        gates.pass(format!("sends together: {} and others", operations[0]), Opens::Chosen).await;
        if self.shared.world().now > deadline {
            return Err(too_late(&operations[0]));
        }
        let request = self.shared.world().send_batch(&operations, deadline, sender);
        let waiting = Sender { shared: &self.shared, request };
        gates.pass(format!("hears of: {} and others", operations[0]), Opens::Answered(request)).await;
        let answer = self.shared.world().answers.remove(&request);
        drop(waiting);
        answer.expect("the gate opens once there is an answer")?;
        Ok(self.shared.world().refused.remove(&request).unwrap_or_default())
    }

    fn max_members_per_call(&self) -> usize {
        self.max_members_per_call
    }

    async fn add_members(
        &self,
        group: &TargetGroupId,
        group_name: &str,
        accounts: &[AccountId],
        deadline: Timestamp,
    ) -> Result<AddedMembers, TargetError> {
        let gates = &self.shared.gates;
        let sender = gates.actor();
        let names: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
        let what = format!("{} to {group_name}", names.join("+"));
        gates.pass(format!("sends additions: {what}"), Opens::Chosen).await;
        let late = {
            let mut world = self.shared.world();
            let late = world.now > deadline;
            (!late).then(|| world.send_additions(group, accounts, deadline, sender))
        };
        let Some(request) = late else {
            let kind = TargetErrorKind::NotDone(ErrorClass::Transient);
            return Err(TargetError { kind, text: format!("{what}: it was too late to send it"), retry_after: None });
        };
        let waiting = Sender { shared: &self.shared, request };
        gates.pass(format!("hears of additions: {what}"), Opens::Answered(request)).await;
        let answer = self.shared.world().answers.remove(&request);
        drop(waiting);
        answer.expect("the gate opens once there is an answer")?;
        let refused = self.shared.world().refused.remove(&request).is_some();
        Ok(if refused { AddedMembers::Refused } else { AddedMembers::All })
    }
}
