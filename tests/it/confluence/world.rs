//! A simulated Confluence with a client.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use usersync::{
    model::{Account, AccountId, ErrorClass, Operation, TargetGroupId, UserFields},
    targets::{
        Applied, Credentials, NoteState, Target, TargetError, TargetErrorKind, TargetInfo,
        confluence::{ConfluenceSettings, ConfluenceTarget},
    },
};
use usersync_simulators::{ConfluenceOptions, Entry, SimulatedConfluence};

use crate::support::{all_accounts, contract::Contract};

pub struct Wiki {
    pub simulator: SimulatedConfluence,
    pub target: ConfluenceTarget,
}

pub fn token(secret: &str) -> Credentials {
    let secret = SecretString::from(secret);
    Credentials::Token(Arc::new(move || Ok(secret.clone())))
}

pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(20)
}

pub const fn not_done(class: ErrorClass) -> TargetErrorKind {
    TargetErrorKind::NotDone(class)
}

impl Wiki {
    pub async fn version(version: &str) -> Self {
        let options = ConfluenceOptions { base_path: "/confluence".into(), ..ConfluenceOptions::version(version) };
        let credentials = token(&options.token);
        Self::start(options, credentials).await
    }

    pub async fn new() -> Self {
        Self::version("10.0.3").await
    }

    pub async fn start(options: ConfluenceOptions, credentials: Credentials) -> Self {
        let simulator = SimulatedConfluence::start(options).await.expect("a free port");
        let target = Self::client(&simulator, credentials);
        Self { simulator, target }
    }

    pub fn client(simulator: &SimulatedConfluence, credentials: Credentials) -> ConfluenceTarget {
        let mut settings = ConfluenceSettings::new(simulator.url().parse().expect("an address"), credentials);
        settings.http.call_timeout = Duration::from_secs(2);
        ConfluenceTarget::new(settings).expect("good settings")
    }

    pub async fn apply(&self, operation: Operation) -> Result<Applied, TargetError> {
        self.target.apply(&operation, soon()).await
    }

    pub async fn done(&self, operation: Operation) {
        let text = operation.to_string();
        self.apply(operation).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    pub async fn refused(&self, operation: Operation) -> TargetError {
        let text = operation.to_string();
        match self.apply(operation).await {
            Ok(applied) => panic!("{text} came to {applied:?}"),
            Err(error) => error,
        }
    }

    pub async fn create(&self, name: &str) -> Account {
        match self.apply(create(name)).await {
            Ok(Applied::Account(account)) => account,
            other => panic!("creating {name} came to {other:?}"),
        }
    }

    pub async fn group(&self, name: &str) -> TargetGroupId {
        match self.apply(Operation::CreateGroup { name: name.to_owned() }).await {
            Ok(Applied::Group(group)) => group.id,
            other => panic!("creating {name} came to {other:?}"),
        }
    }

    pub async fn account(&self, id: &AccountId) -> Account {
        self.target.account(id).await.expect("an answer").expect("there")
    }

    pub async fn probe(&self) -> TargetInfo {
        self.target.probe().await.expect("a first contact")
    }

    /// Returns all logins, and why the list may be incomplete.
    pub async fn logins(&self) -> (Vec<String>, Option<String>) {
        let (accounts, incomplete) = all_accounts(&self.target).await;
        (accounts.into_iter().map(|account| account.name).collect(), incomplete)
    }

    pub async fn members(&self, group: &TargetGroupId) -> Option<BTreeSet<AccountId>> {
        let (mut members, mut cursor) = (BTreeSet::new(), None);
        loop {
            let page = self.target.members(group, cursor.as_deref()).await.expect("a page")?;
            assert_eq!(page.incomplete, None);
            members.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Some(members);
            }
        }
    }

    /// Checks all requests so far against the description, except for what an older version lacks.
    pub fn assert_contract(&self) {
        let described = |entry: &Entry| {
            let lacking = entry.status == Some(405) || entry.answer_json()["status-code"] == 404;
            !lacking && !entry.path.to_lowercase().contains("%2f")
        };
        assert_eq!(contract().check(&self.simulator.journal.matching(described), "/confluence"), Vec::<String>::new());
    }
}

pub fn contract() -> Contract {
    let description = include_str!("../../contracts/confluence-10.0.openapi.json");
    // The client sends OPTIONS for its own account, so the path contains its own login.
    Contract::new(description, include_str!("../../contracts/confluence-deviations.json"), "")
        .alias("/admin/user/usersync", "/admin/user/admin")
}

pub fn fields(display_name: Option<&str>, email: Option<&str>) -> UserFields {
    UserFields {
        display_name: display_name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..UserFields::default()
    }
}

pub fn create(name: &str) -> Operation {
    let (shown, email) = (format!("{name} Shown"), format!("{name}@example.org"));
    Operation::CreateUser { name: name.to_owned(), fields: fields(Some(&shown), Some(&email)), external_id: None }
}

pub fn update(id: &AccountId, name: &str, fields: UserFields) -> Operation {
    Operation::UpdateUser { account: id.clone(), name: name.to_owned(), fields }
}

pub fn deactivate(id: &AccountId, name: &str) -> Operation {
    Operation::DeactivateUser { account: id.clone(), name: name.to_owned(), takes: Vec::new() }
}

pub fn activate(id: &AccountId, name: &str) -> Operation {
    Operation::ActivateUser { account: id.clone(), name: name.to_owned(), gives: Vec::new() }
}

pub fn delete(id: &AccountId, name: &str) -> Operation {
    Operation::DeleteUser { account: id.clone(), name: name.to_owned() }
}

pub fn rename(id: &AccountId, name: &str, to: &str) -> Operation {
    Operation::RenameUser { account: id.clone(), name: name.to_owned(), to: to.to_owned() }
}

pub fn join(id: &AccountId, name: &str, group: &str) -> Operation {
    let (group, group_name) = (TargetGroupId::from(group.to_lowercase()), group.to_owned());
    Operation::AddMember { group, group_name, account: id.clone(), name: name.to_owned() }
}

pub fn leave(id: &AccountId, name: &str, group: &str) -> Operation {
    let (group, group_name) = (TargetGroupId::from(group.to_lowercase()), group.to_owned());
    Operation::RemoveMember { group, group_name, account: id.clone(), name: name.to_owned() }
}

pub fn delete_group(name: &str) -> Operation {
    Operation::DeleteGroup { group: TargetGroupId::from(name.to_lowercase()), name: name.to_owned() }
}

/// Returns the sentences of a first contact about a topic.
pub fn reported(info: &TargetInfo, state: NoteState, about: &str) -> Vec<String> {
    let notes = info.notes.iter().filter(|note| note.state == state && note.about == about);
    notes.map(|note| note.text.clone()).collect()
}
