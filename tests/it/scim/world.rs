//! A SCIM server with its client.

use std::collections::BTreeSet;

use secrecy::SecretString;
use usersync::{
    model::{Account, AccountId, Operation, TargetGroup, TargetGroupId},
    targets::{
        Applied, Credentials, Target, TargetError,
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{ScimOptions, ScimSwitches, SimulatedScim};

use super::operations::{create, soon};

pub struct World {
    pub server: SimulatedScim,
    pub scim: ScimTarget,
}

pub fn token(text: &str) -> Credentials {
    let secret = SecretString::from(text);
    Credentials::Token(std::sync::Arc::new(move || Ok(secret.clone())))
}

pub fn settings(server: &SimulatedScim) -> ScimSettings {
    let mut settings = ScimSettings::new(server.url().parse().expect("a URL"), token(server.token()));
    settings.http.call_timeout = std::time::Duration::from_secs(5);
    settings
}

impl World {
    pub async fn with(options: ScimOptions) -> Self {
        let server = SimulatedScim::start(options).await.expect("a free port");
        let scim = ScimTarget::new(settings(&server)).expect("good settings");
        Self { server, scim }
    }

    /// Starts a server with these switches.
    pub async fn switched(work: impl FnOnce(&mut ScimSwitches)) -> Self {
        let mut options = ScimOptions::default();
        work(&mut options.switches);
        Self::with(options).await
    }

    /// The same, with a client of another profile.
    pub async fn as_profile(profile: &str, work: impl FnOnce(&mut ScimSwitches)) -> Self {
        let mut world = Self::switched(work).await;
        let settings = ScimSettings { profile: Some(profile.to_owned()), ..settings(&world.server) };
        world.scim = ScimTarget::new(settings).expect("good settings");
        world
    }

    pub async fn apply(&self, operation: &Operation) -> Result<Applied, TargetError> {
        self.scim.apply(operation, soon()).await
    }

    pub async fn done(&self, operation: &Operation) {
        self.apply(operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"));
    }

    pub async fn account(&self, name: &str) -> Account {
        self.scim.account_named(name).await.expect("a look").unwrap_or_else(|| panic!("{name} is there"))
    }

    /// Returns the groups of an account, as the account shows them, or else as the groups do.
    pub async fn groups_of(&self, name: &str) -> Vec<TargetGroupId> {
        let account = self.account(name).await;
        if let Some(groups) = account.groups {
            return groups;
        }
        let mut all = BTreeSet::new();
        for name in self.server.snapshot().groups.keys() {
            all.insert(self.group(name).await.id);
        }
        self.scim.groups_among(&account.id, &all).await.expect("read")
    }

    /// Runs the work and counts the calls.
    pub async fn calls<T>(&self, work: impl Future<Output = T>) -> (T, usize) {
        let before = self.server.journal.entries().len();
        let came = work.await;
        (came, self.server.journal.entries().len() - before)
    }

    pub async fn group(&self, name: &str) -> TargetGroup {
        self.scim.group_named(name).await.expect("a look").unwrap_or_else(|| panic!("{name} is there"))
    }

    pub async fn create(&self, name: &str) -> Result<Account, TargetError> {
        match self.apply(&create(name)).await? {
            Applied::Account(account) => Ok(account),
            other => panic!("an account, not {other:?}"),
        }
    }

    pub async fn members(&self, group: &str) -> (BTreeSet<AccountId>, Option<String>) {
        let id = self.group(group).await.id;
        let page = self.scim.members(&id, None).await.expect("a page").expect("there");
        (page.items.into_iter().collect(), page.incomplete)
    }

    pub async fn join(&self, name: &str, group: &str) -> Operation {
        let (account, group) = (self.account(name).await, self.group(group).await);
        Operation::AddMember { group: group.id, group_name: group.name, account: account.id, name: account.name }
    }

    pub async fn leave(&self, name: &str, group: &str) -> Operation {
        let (account, group) = (self.account(name).await, self.group(group).await);
        Operation::RemoveMember { group: group.id, group_name: group.name, account: account.id, name: account.name }
    }

    /// Lists all accounts; returns the logins in order, and why the list may be incomplete.
    pub async fn list(&self) -> (Vec<String>, Vec<String>) {
        let (mut names, mut unconfirmed, mut cursor) = (Vec::new(), Vec::new(), None);
        loop {
            let page = self.scim.accounts(cursor.as_deref()).await.expect("a page");
            names.extend(page.items.into_iter().map(|account| account.name));
            unconfirmed.extend(page.incomplete);
            cursor = page.next;
            if cursor.is_none() {
                return (names, unconfirmed);
            }
        }
    }

    /// Returns the logins of a group's members from the server's state.
    pub fn inside(&self, group: &str) -> BTreeSet<String> {
        self.server.snapshot().groups[group].clone()
    }
}

pub fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&name| name.to_owned()).collect()
}
