//! A Bitbucket with usersync's own account, another administrator, and a few users.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::{Account, AccountId, ErrorClass, Operation, UserFields},
    targets::{
        Applied, Credentials, Target, TargetError, TargetErrorKind,
        bitbucket::{BitbucketSettings, BitbucketTarget},
    },
};
use usersync_simulators::{
    BitbucketOptions, SimulatedBitbucket,
    bitbucket::{NewAccount, Permission},
};

use crate::support::contract::Contract;

const DESCRIPTION: &str = include_str!("../../contracts/bitbucket-10.0.openapi.json");
const DEVIATIONS: &str = include_str!("../../contracts/bitbucket-deviations.json");

/// The server, and the client that is signed in to it as `bsync`, a system administrator.
pub struct Place {
    pub server: SimulatedBitbucket,
    pub target: BitbucketTarget,
}

pub fn options() -> BitbucketOptions {
    BitbucketOptions {
        admin: ("bsync".into(), "s3cr3t-pass".into()),
        token: "s3cr3t-token".into(),
        ..Default::default()
    }
}

pub fn password(user: &str, text: &'static str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: Arc::new(move || Ok(text.to_owned().into())) }
}

pub fn settings(server: &SimulatedBitbucket) -> BitbucketSettings {
    let credentials = password("bsync", "s3cr3t-pass");
    let mut settings = BitbucketSettings::new(server.url().parse().expect("a URL"), credentials);
    settings.http.call_timeout = Duration::from_secs(20);
    settings
}

pub fn client(settings: BitbucketSettings) -> BitbucketTarget {
    BitbucketTarget::new(settings).expect("good settings")
}

/// Starts a place. `bsync` and `root` are administrators; `ada` may sign in by two groups, `eve` by her own permission,
/// `joe` may not.
pub async fn place() -> Place {
    let server = SimulatedBitbucket::start(options()).await.expect("a free port");
    server.set_group_permission("Developers", Some(Permission::ProjectCreate));
    server.add_account(NewAccount::named("root").in_groups(&["stash-admins"]));
    server.add_account(NewAccount::named("ada").in_groups(&["stash-users", "Developers", "readers"]));
    server.add_account(NewAccount::named("eve").in_groups(&["readers"]));
    server.set_user_permission("eve", Some(Permission::LicensedUser));
    server.add_account(NewAccount::named("joe").in_groups(&["readers"]));
    let target = client(settings(&server));
    Place { server, target }
}

impl Place {
    /// Returns the account with a login, as the client reads it.
    pub async fn see(&self, name: &str) -> Account {
        self.target.account_named(name).await.expect("an answer").expect("it is there")
    }

    pub fn id(&self, name: &str) -> AccountId {
        let snapshot = self.server.snapshot();
        snapshot.account(name).expect("it is there").id.clone().into()
    }

    pub async fn apply(&self, operation: &Operation) -> Result<Applied, TargetError> {
        self.target.apply(operation, soon()).await
    }

    /// Applies an operation that must succeed.
    pub async fn done(&self, operation: &Operation) -> Applied {
        self.apply(operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
    }

    /// Applies an operation that must be refused with this kind and these words.
    pub async fn refused(&self, operation: &Operation, kind: TargetErrorKind, words: &str) {
        let error = self.apply(operation).await.expect_err("refused");
        assert_eq!(error.kind, kind, "{operation}: {}", error.text);
        assert!(error.text.contains(words), "{operation}: {}", error.text);
    }

    pub fn groups(&self, name: &str) -> Vec<String> {
        self.server.snapshot().account(name).expect("it is there").groups.iter().cloned().collect()
    }

    /// Returns the number of write requests.
    pub fn writes(&self) -> usize {
        self.server.journal.writes().len()
    }

    /// Checks all requests and answers so far against the description; returns the unused deviations.
    pub fn keeps_to_the_description(&self) -> Vec<String> {
        let mut contract = Contract::new(DESCRIPTION, DEVIATIONS, "/rest").alias("/api/1.0/", "/api/latest/");
        let problems = contract.check(&self.server.journal.entries(), "");
        assert_eq!(problems, Vec::<String>::new());
        contract.unused()
    }
}

pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(20)
}

pub const fn not_done(class: ErrorClass) -> TargetErrorKind {
    TargetErrorKind::NotDone(class)
}

pub fn fields(name: &str) -> UserFields {
    UserFields {
        display_name: Some(format!("{name} Shown")),
        email: Some(format!("{name}@example.com")),
        ..UserFields::default()
    }
}

pub fn create(name: &str) -> Operation {
    Operation::CreateUser { name: name.to_owned(), fields: fields(name), external_id: None }
}

pub fn update(account: &AccountId, name: &str, fields: UserFields) -> Operation {
    Operation::UpdateUser { account: account.clone(), name: name.to_owned(), fields }
}

pub fn rename(account: &AccountId, name: &str, to: &str) -> Operation {
    Operation::RenameUser { account: account.clone(), name: name.to_owned(), to: to.to_owned() }
}

pub fn activate(account: &AccountId, name: &str, gives: &[&str]) -> Operation {
    let gives = gives.iter().map(|&one| one.to_owned()).collect();
    Operation::ActivateUser { account: account.clone(), name: name.to_owned(), gives }
}

pub fn deactivate(account: &AccountId, name: &str, takes: &[&str]) -> Operation {
    let takes = takes.iter().map(|&one| one.to_owned()).collect();
    Operation::DeactivateUser { account: account.clone(), name: name.to_owned(), takes }
}

pub fn delete(account: &AccountId, name: &str) -> Operation {
    Operation::DeleteUser { account: account.clone(), name: name.to_owned() }
}

pub fn create_group(name: &str) -> Operation {
    Operation::CreateGroup { name: name.to_owned() }
}

pub fn delete_group(name: &str) -> Operation {
    Operation::DeleteGroup { group: name.to_lowercase().into(), name: name.to_owned() }
}

pub fn join(group: &str, account: &AccountId, name: &str) -> Operation {
    Operation::AddMember {
        group: group.to_lowercase().into(),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}

pub fn leave(group: &str, account: &AccountId, name: &str) -> Operation {
    Operation::RemoveMember {
        group: group.to_lowercase().into(),
        group_name: group.to_owned(),
        account: account.clone(),
        name: name.to_owned(),
    }
}

/// Number of writes.
pub const WRITES: usize = 10;

/// Returns every write, on the users of [`place`], with its method and a part of its path.
pub fn writes(place: &Place) -> [(Operation, &'static str, &'static str); WRITES] {
    let (ada, joe) = (place.id("ada"), place.id("joe"));
    [
        (create("bob"), "POST", "/admin/users?name=bob"),
        (update(&ada, "ada", fields("ada")), "PUT", "/admin/users"),
        (rename(&ada, "ada", "ada.l"), "POST", "/admin/users/rename"),
        (activate(&joe, "joe", &["group:stash-users"]), "POST", "/admin/users/add-groups"),
        (deactivate(&ada, "ada", &["group:stash-users", "group:Developers"]), "POST", "/admin/users/remove-group"),
        (delete(&ada, "ada"), "DELETE", "/admin/users?name=ada"),
        (create_group("new"), "POST", "/admin/groups?name=new"),
        (delete_group("readers"), "DELETE", "/admin/groups?name=readers"),
        (join("Developers", &joe, "joe"), "POST", "/admin/groups/add-users"),
        (leave("readers", &joe, "joe"), "POST", "/admin/users/remove-group"),
    ]
}
