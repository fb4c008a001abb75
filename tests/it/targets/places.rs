//! One simulator of each kind, with a client.

use std::{any::Any, collections::BTreeSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use url::Url;
use usersync::{
    model::{Account, AccountId, Operation, TargetGroup, TargetGroupId, UserFields},
    targets::{
        Applied, Credentials, Target, TargetError, TargetInfo,
        bitbucket::{BitbucketSettings, BitbucketTarget},
        confluence::{ConfluenceSettings, ConfluenceTarget},
        crowd::{CrowdSettings, CrowdTarget},
        http::HttpSettings,
        jira::{JiraSettings, JiraTarget},
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{
    BitbucketOptions, ConfluenceOptions, CrowdOptions, Faults, JiraOptions, Journal, ScimOptions, SimulatedBitbucket,
    SimulatedConfluence, SimulatedCrowd, SimulatedJira, SimulatedScim, crowd::NewCrowdUser,
};

/// A server with its client.
pub struct Place {
    pub target: Arc<dyn Target>,
    /// URL of the server.
    pub url: Url,
    /// Creates a separate client for a URL.
    client: Box<dyn Fn(Url, HttpSettings) -> Arc<dyn Target> + Send + Sync>,
    pub info: TargetInfo,
    pub faults: Faults,
    pub journal: Journal,
    /// Login of an administrator's account, if the product has such accounts.
    pub administrator: Option<&'static str>,
    /// Secret of the client.
    pub secret: String,
    /// Limits the page size of the server.
    cap_pages: Box<dyn Fn(usize) + Send + Sync>,
    /// Kept alive with this value.
    _server: Box<dyn Any + Send + Sync>,
}

/// Further attributes of accounts here, if the kind supports them.
const ATTRIBUTES: [&str; 2] = ["nickName", "title"];

/// Timeout of a call here: long enough for a busy machine.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(2);

pub async fn jira() -> Place {
    let options = JiraOptions::default();
    let secret = options.token.clone();
    let simulator = SimulatedJira::start(options).await.expect("a free port");
    simulator.set_credentials("jsync", "sync-password", "sync-token");
    let credentials = token(&secret);
    let client = move |url, http| -> Arc<dyn Target> {
        let mut settings = JiraSettings::new(url, credentials.clone());
        settings.http = http;
        settings.applications = Some(vec!["jira-software".to_owned()]);
        Arc::new(JiraTarget::new(settings).expect("good settings"))
    };
    let simulator = Arc::new(simulator);
    let capped = Arc::clone(&simulator);
    let (faults, journal) = (simulator.faults.clone(), simulator.journal.clone());
    let cap_pages = move |cap| capped.set_list_cap(cap);
    Place::new(client, url(&simulator.url()), faults, journal, Some("admin"), secret, cap_pages, simulator).await
}

pub async fn confluence() -> Place {
    let options = ConfluenceOptions::default();
    let secret = options.token.clone();
    let simulator = SimulatedConfluence::start(options).await.expect("a free port");
    let credentials = token(&secret);
    let client = move |url, http| -> Arc<dyn Target> {
        let mut settings = ConfluenceSettings::new(url, credentials.clone());
        settings.http = http;
        Arc::new(ConfluenceTarget::new(settings).expect("good settings"))
    };
    let simulator = Arc::new(simulator);
    let capped = Arc::clone(&simulator);
    let (faults, journal) = (simulator.faults.clone(), simulator.journal.clone());
    let cap_pages = move |cap| capped.set_page_cap(cap);
    Place::new(client, url(&simulator.url()), faults, journal, Some("admin"), secret, cap_pages, simulator).await
}

pub async fn crowd() -> Place {
    let simulator = SimulatedCrowd::start(CrowdOptions::default()).await.expect("a free port");
    simulator.add_user(NewCrowdUser::named("admin").in_groups(&["crowd-administrators"]));
    let (application, secret) = simulator.application();
    let secret = secret.to_owned();
    let password = SecretString::from(secret.as_str());
    let application = application.to_owned();
    let client = move |url, http| -> Arc<dyn Target> {
        let password = password.clone();
        let mut settings = CrowdSettings::new(url, &application, Arc::new(move || Ok(password.clone())));
        settings.http = http;
        settings.attributes = ATTRIBUTES.map(str::to_owned).into();
        Arc::new(CrowdTarget::new(settings).expect("good settings"))
    };
    let simulator = Arc::new(simulator);
    let capped = Arc::clone(&simulator);
    let (faults, journal) = (simulator.faults.clone(), simulator.journal.clone());
    let cap_pages = move |cap| capped.set_page_cap(cap);
    Place::new(client, url(&simulator.url()), faults, journal, Some("admin"), secret, cap_pages, simulator).await
}

pub async fn bitbucket() -> Place {
    // Not a word that occurs in URLs or messages, so that a leak is found.
    let admin = ("admin".to_owned(), "simulator-password".to_owned());
    let options = BitbucketOptions { admin: admin.clone(), ..BitbucketOptions::default() };
    let simulator = Arc::new(SimulatedBitbucket::start(options).await.expect("a free port"));
    let (user, secret) = admin;
    let password = SecretString::from(secret.as_str());
    let credentials = Credentials::Basic { user, password: Arc::new(move || Ok(password.clone())) };
    let client = move |url, http| -> Arc<dyn Target> {
        let mut settings = BitbucketSettings::new(url, credentials.clone());
        settings.http = http;
        Arc::new(BitbucketTarget::new(settings).expect("good settings"))
    };
    let capped = Arc::clone(&simulator);
    let (faults, journal) = (simulator.faults.clone(), simulator.journal.clone());
    let cap_pages = move |cap| capped.set_page_cap(cap);
    Place::new(client, url(&simulator.url()), faults, journal, Some("admin"), secret, cap_pages, simulator).await
}

/// Follows the standard.
pub async fn scim() -> Place {
    scim_as(ScimOptions::default()).await
}

/// Behaves as Keycloak's SCIM server.
pub async fn scim_keycloak() -> Place {
    scim_as(ScimOptions::keycloak()).await
}

async fn scim_as(options: ScimOptions) -> Place {
    let secret = options.token.clone();
    let simulator = Arc::new(SimulatedScim::start(options).await.expect("a free port"));
    let credentials = token(&secret);
    let client = move |url, http| -> Arc<dyn Target> {
        let mut settings = ScimSettings::new(url, credentials.clone());
        settings.http = http;
        settings.attributes = ATTRIBUTES.map(str::to_owned).into();
        Arc::new(ScimTarget::new(settings).expect("good settings"))
    };
    let capped = Arc::clone(&simulator);
    let (faults, journal) = (simulator.faults.clone(), simulator.journal.clone());
    let cap_pages = move |cap| capped.switch(|switches| switches.page_cap = cap);
    Place::new(client, url(&simulator.url()), faults, journal, None, secret, cap_pages, simulator).await
}

fn url(text: &str) -> Url {
    text.parse().expect("an address")
}

fn token(secret: &str) -> Credentials {
    let secret = SecretString::from(secret);
    Credentials::Token(Arc::new(move || Ok(secret.clone())))
}

fn patient() -> HttpSettings {
    HttpSettings { call_timeout: STEP_TIMEOUT, body_max: 1 << 20, ..HttpSettings::default() }
}

/// Returns a deadline for an operation.
pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(30)
}

impl Place {
    #[expect(clippy::too_many_arguments, reason = "one for each field")]
    async fn new(
        client: impl Fn(Url, HttpSettings) -> Arc<dyn Target> + Send + Sync + 'static,
        url: Url,
        faults: Faults,
        journal: Journal,
        administrator: Option<&'static str>,
        secret: String,
        cap_pages: impl Fn(usize) + Send + Sync + 'static,
        server: impl Any + Send + Sync,
    ) -> Self {
        let target = client(url.clone(), patient());
        let info = target.probe().await.expect("a first contact");
        let (client, cap_pages, server) = (Box::new(client), Box::new(cap_pages), Box::new(server));
        Self { target, url, client, info, faults, journal, administrator, secret, cap_pages, _server: server }
    }

    /// Returns another client of the same server, for this URL and these settings.
    pub fn client(&self, url: Url, way: impl FnOnce(&mut HttpSettings)) -> Arc<dyn Target> {
        let mut http = patient();
        way(&mut http);
        (self.client)(url, http)
    }

    pub fn cap_pages(&self, cap: usize) {
        (self.cap_pages)(cap);
    }

    pub async fn apply(&self, operation: &Operation) -> Result<Applied, TargetError> {
        self.target.apply(operation, soon()).await
    }

    /// Applies an operation twice: the second time has the same result.
    pub async fn twice(&self, operation: &Operation) {
        for time in ["the first", "the second"] {
            self.apply(operation).await.unwrap_or_else(|error| panic!("{operation}, {time} time: {error}"));
        }
    }

    /// Creates an account; returns it as read back.
    pub async fn user(&self, login: &str) -> Account {
        let operation = Operation::CreateUser {
            name: login.to_owned(),
            fields: fields(&format!("Shown {login}"), login),
            external_id: None,
        };
        let applied = self.apply(&operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"));
        let Applied::Account(made) = applied else { panic!("{operation} gives the account") };
        let account = self.account(&made.id).await;
        assert_eq!((&account.id, &account.name), (&made.id, &made.name));
        account
    }

    /// Creates a group.
    pub async fn group(&self, name: &str) -> TargetGroup {
        let operation = Operation::CreateGroup { name: name.to_owned() };
        let applied = self.apply(&operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"));
        let Applied::Group(group) = applied else { panic!("{operation} gives the group") };
        group
    }

    /// Returns an existing account.
    pub async fn account(&self, id: &AccountId) -> Account {
        let mut account = self.target.account(id).await.expect("a look").unwrap_or_else(|| panic!("{id} is there"));
        if self.target.reads_memberships_by_group() {
            // No account has shown groups so far, so this one has none.
            account.groups.get_or_insert_default();
        }
        account
    }

    pub async fn join(&self, account: &Account, group: &TargetGroup) {
        let operation = join(account, group);
        self.apply(&operation).await.unwrap_or_else(|error| panic!("{operation}: {error}"));
    }

    /// Returns all members of a group, page by page; `None`: there is no such group.
    pub async fn members(&self, group: &TargetGroupId) -> Option<BTreeSet<AccountId>> {
        let mut members = BTreeSet::new();
        let mut cursor = None;
        loop {
            let page = self.target.members(group, cursor.as_deref()).await.expect("a page of members")?;
            assert_eq!(page.incomplete, None);
            members.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Some(members);
            }
        }
    }

    /// Returns all accounts, page by page, and the number of pages.
    pub async fn accounts(&self) -> (Vec<Account>, usize) {
        let (mut accounts, mut pages, mut cursor) = (Vec::new(), 0, None);
        loop {
            let page = self.target.accounts(cursor.as_deref()).await.expect("a page of accounts");
            assert_eq!(page.incomplete, None);
            accounts.extend(page.items);
            pages += 1;
            cursor = page.next;
            if cursor.is_none() {
                return (accounts, pages);
            }
        }
    }

    /// Returns the login as this target writes it.
    pub fn written(&self, login: &str) -> String {
        self.info.capabilities.login_case.written(login)
    }
}

pub fn fields(display_name: &str, login: &str) -> UserFields {
    let email = format!("{}@example.org", login.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    UserFields { display_name: Some(display_name.to_owned()), email: Some(email), ..UserFields::default() }
}

/// Sets an attribute of an account; an empty value removes it.
pub fn give(account: &Account, name: &str, value: &str) -> Operation {
    let attributes = [(name.to_owned(), value.to_owned())].into();
    let fields = UserFields { attributes, ..UserFields::default() };
    Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields }
}

pub fn join(account: &Account, group: &TargetGroup) -> Operation {
    Operation::AddMember {
        group: group.id.clone(),
        group_name: group.name.clone(),
        account: account.id.clone(),
        name: account.name.clone(),
    }
}

pub fn leave(account: &Account, group: &TargetGroup) -> Operation {
    Operation::RemoveMember {
        group: group.id.clone(),
        group_name: group.name.clone(),
        account: account.id.clone(),
        name: account.name.clone(),
    }
}

pub fn deactivate(account: &Account) -> Operation {
    Operation::DeactivateUser { account: account.id.clone(), name: account.name.clone(), takes: account.access.clone() }
}

/// Activates an account that had this access.
pub fn activate(account: &Account) -> Operation {
    Operation::ActivateUser { account: account.id.clone(), name: account.name.clone(), gives: account.access.clone() }
}

pub fn delete(account: &Account) -> Operation {
    Operation::DeleteUser { account: account.id.clone(), name: account.name.clone() }
}

pub fn rename_group(group: &TargetGroup, to: &str) -> Operation {
    Operation::RenameGroup { group: group.id.clone(), name: group.name.clone(), to: to.to_owned() }
}

pub fn rename(account: &Account, to: &str) -> Operation {
    Operation::RenameUser { account: account.id.clone(), name: account.name.clone(), to: to.to_owned() }
}
