//! A simulated Crowd with a client.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::{Account, AccountId, ErrorClass, Operation, UserFields},
    targets::{
        Applied, Target, TargetError, TargetErrorKind,
        crowd::{CrowdSettings, CrowdTarget},
    },
};
use usersync_simulators::{CrowdOptions, SimulatedCrowd};

use crate::support::all_accounts;

pub struct Place {
    pub simulator: SimulatedCrowd,
    pub crowd: CrowdTarget,
}

pub fn settings(simulator: &SimulatedCrowd) -> CrowdSettings {
    let (application, password) = simulator.application();
    let password = password.to_owned();
    let mut settings = CrowdSettings::new(
        simulator.url().parse().expect("a URL"),
        application,
        Arc::new(move || Ok(password.clone().into())),
    );
    settings.http.body_max = 4 << 20;
    settings
}

pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(20)
}

pub const fn not_done(class: ErrorClass) -> TargetErrorKind {
    TargetErrorKind::NotDone(class)
}

impl Place {
    pub async fn start(options: CrowdOptions) -> Self {
        Self::keeping(options, &[]).await
    }

    /// Starts a Crowd with a client that manages these attributes of accounts.
    pub async fn keeping(options: CrowdOptions, attributes: &[&str]) -> Self {
        let simulator = SimulatedCrowd::start(options).await.expect("a free port");
        let attributes = attributes.iter().map(|&name| name.to_owned()).collect();
        let settings = CrowdSettings { attributes, ..settings(&simulator) };
        Self { simulator, crowd: CrowdTarget::new(settings).expect("good settings") }
    }

    pub async fn new() -> Self {
        Self::start(CrowdOptions::default()).await
    }

    pub async fn version(version: &str) -> Self {
        Self::start(CrowdOptions::version(version)).await
    }

    pub async fn apply(&self, operation: &Operation) -> Result<Applied, TargetError> {
        self.crowd.apply(operation, soon()).await
    }

    pub async fn done(&self, operation: &Operation) {
        self.apply(operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"));
    }

    pub async fn refused(&self, operation: &Operation) -> TargetError {
        self.apply(operation).await.err().unwrap_or_else(|| panic!("{operation} is refused"))
    }

    pub async fn create(&self, name: &str) -> Account {
        match self.apply(&create(name)).await {
            Ok(Applied::Account(account)) => account,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub async fn named(&self, name: &str) -> Option<Account> {
        self.crowd.account_named(name).await.expect("a look")
    }

    /// Returns all accounts, and why the list may be incomplete.
    pub async fn all(&self) -> (Vec<Account>, Option<String>) {
        all_accounts(&self.crowd).await
    }
}

pub fn create(name: &str) -> Operation {
    let fields = UserFields {
        display_name: Some(format!("The great {name}")),
        email: Some(format!("{name}@example.org")),
        ..UserFields::default()
    };
    Operation::CreateUser { name: name.to_owned(), fields, external_id: None }
}

pub fn update(account: &Account, display_name: Option<&str>, email: Option<&str>) -> Operation {
    let fields = UserFields {
        display_name: display_name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..UserFields::default()
    };
    Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields }
}

pub fn values(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Sets these attributes of an account; an empty value removes one.
pub fn give(account: &Account, of: &[(&str, &str)]) -> Operation {
    let fields = UserFields { attributes: values(of), ..UserFields::default() };
    Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields }
}

pub fn rename(account: &Account, to: &str) -> Operation {
    Operation::RenameUser { account: account.id.clone(), name: account.name.clone(), to: to.to_owned() }
}

pub fn activate(account: &Account) -> Operation {
    Operation::ActivateUser { account: account.id.clone(), name: account.name.clone(), gives: Vec::new() }
}

pub fn deactivate(account: &Account) -> Operation {
    Operation::DeactivateUser { account: account.id.clone(), name: account.name.clone(), takes: Vec::new() }
}

pub fn delete(account: &Account) -> Operation {
    Operation::DeleteUser { account: account.id.clone(), name: account.name.clone() }
}

pub fn create_group(name: &str) -> Operation {
    Operation::CreateGroup { name: name.to_owned() }
}

pub fn delete_group(name: &str) -> Operation {
    Operation::DeleteGroup { group: name.to_lowercase().into(), name: name.to_owned() }
}

pub fn join(account: &AccountId, name: &str, group: &str) -> Operation {
    Operation::AddMember {
        group: group.to_lowercase().into(),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}

pub fn leave(account: &AccountId, name: &str, group: &str) -> Operation {
    Operation::RemoveMember {
        group: group.to_lowercase().into(),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}
