//! A realm with users from LDAP: a real Keycloak with a real LDAP server, or the simulator.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use usersync_simulators::keycloak::{FederationState, GroupMapper, NewUser, RealmHandle, UserChange};

use super::keycloak::{Answer, Keycloak};
use super::slapd::{SUFFIX, Slapd};

/// LDAP users, `u00` and so on. All are in group `all`, every second one is in `even`.
pub const USERS: usize = 20;
/// The component's id in the simulator.
const COMPONENT: &str = "nb257GZQSv-BfZ9S1BnoiQ";
/// The time limit of each question to LDAP, in milliseconds.
pub const QUESTION_LIMIT: u64 = 500;

/// How long an administrator's token is used.
const TOKEN_LIFE: Duration = Duration::from_secs(30);

/// The directory behind the realm.
enum Directory {
    Ldap { server: Slapd, mapper: String },
    Simulated(RealmHandle),
}

/// A realm with users from LDAP and the local user `local1`.
pub struct Federated {
    pub keycloak: Keycloak,
    pub realm: String,
    pub component: String,
    pub imported: bool,
    reader: String,
    /// The administrator's token, which is valid for a minute, and when it was issued.
    administrator: Mutex<Option<(String, Instant)>>,
    state: FederationState,
    directory: Directory,
}

/// Returns the LDAP name of a user.
fn person(login: &str) -> String {
    format!("uid={login},ou=people,{SUFFIX}")
}

/// Returns the login of the LDAP user with this number.
pub fn login(number: usize) -> String {
    format!("u{number:02}")
}

fn config(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), json!([value]))).collect::<serde_json::Map<_, _>>().into()
}

impl Federated {
    /// Creates a realm, and its users in the directory. Keycloak has not read them yet.
    pub async fn new(keycloak: Keycloak, imported: bool) -> Self {
        let realm = keycloak.new_realm().await;
        let reader = keycloak.client_with(&realm, &["view-users"]).await;
        let simulated = keycloak.simulated_realm(&realm);
        let mut made = Self {
            keycloak,
            realm,
            component: COMPONENT.to_owned(),
            imported,
            reader,
            administrator: Mutex::new(None),
            state: FederationState::Available,
            directory: match simulated {
                Some(realm) => Directory::Simulated(realm),
                None => Directory::Ldap { server: Slapd::start(), mapper: String::new() },
            },
        };
        match &made.directory {
            Directory::Simulated(realm) => simulate(realm, imported),
            Directory::Ldap { server, .. } => {
                server.add(&entries());
                let url = server.url.clone();
                made.connect(&url).await;
            }
        }
        let local = json!({ "username": "local1", "enabled": true });
        made.admin("POST", "/users", Some(local)).await.id();
        made
    }

    /// Adds the LDAP component and its group mapper to the realm.
    async fn connect(&mut self, url: &str) {
        let realm = self.admin("GET", "", None).await.json();
        let import = self.imported.to_string();
        let limit = QUESTION_LIMIT.to_string();
        let (people, admin) = (format!("ou=people,{SUFFIX}"), format!("cn=admin,{SUFFIX}"));
        let ldap = json!({
            "name": "ldap", "providerId": "ldap", "providerType": "org.keycloak.storage.UserStorageProvider",
            "parentId": realm["id"],
            "config": config(&[
                ("enabled", "true"), ("importEnabled", &import), ("editMode", "READ_ONLY"), ("vendor", "other"),
                ("usernameLDAPAttribute", "uid"), ("rdnLDAPAttribute", "uid"), ("uuidLDAPAttribute", "entryUUID"),
                ("userObjectClasses", "inetOrgPerson"), ("connectionUrl", url), ("usersDn", &people),
                ("authType", "simple"), ("bindDn", &admin), ("bindCredential", "admin"), ("searchScope", "1"),
                ("pagination", "true"), ("connectionTimeout", &limit), ("readTimeout", &limit),
                ("fullSyncPeriod", "-1"), ("changedSyncPeriod", "-1"), ("trustEmail", "true"),
            ]),
        });
        self.component = self.admin("POST", "/components", Some(ldap)).await.id();
        let groups = format!("ou=groups,{SUFFIX}");
        let mapper = json!({
            "name": "groups", "providerId": "group-ldap-mapper",
            "providerType": "org.keycloak.storage.ldap.mappers.LDAPStorageMapper", "parentId": self.component,
            "config": config(&[
                ("groups.dn", &groups), ("group.name.ldap.attribute", "cn"), ("group.object.classes", "groupOfNames"),
                ("preserve.group.inheritance", "false"), ("membership.ldap.attribute", "member"),
                ("membership.attribute.type", "DN"), ("membership.user.ldap.attribute", "uid"), ("mode", "READ_ONLY"),
                ("user.roles.retrieve.strategy", "LOAD_GROUPS_BY_MEMBER_ATTRIBUTE"), ("groups.path", "/"),
            ]),
        });
        let made = self.admin("POST", "/components", Some(mapper)).await.id();
        let sync = format!("/user-storage/{}/mappers/{made}/sync?direction=fedToKeycloak", self.component);
        assert_eq!(self.admin("POST", &sync, None).await.status, 200);
        if let Directory::Ldap { mapper, .. } = &mut self.directory {
            *mapper = made;
        }
    }

    async fn admin_token(&self) -> String {
        let mut held = self.administrator.lock().await;
        if let Some((token, _)) = held.as_ref().filter(|(_, issued)| issued.elapsed() < TOKEN_LIFE) {
            return token.clone();
        }
        let token = self.keycloak.admin_token().await;
        *held = Some((token.clone(), Instant::now()));
        token
    }

    /// Asks as an administrator.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let token = self.admin_token().await;
        self.keycloak.call(&token, method, &format!("/admin/realms/{}{path}", self.realm), body).await
    }

    /// Reads with the right `view-users` alone.
    pub async fn get(&self, path: &str) -> Answer {
        self.keycloak.call(&self.reader, "GET", &format!("/admin/realms/{}{path}", self.realm), None).await
    }

    /// Returns the path of a user by the id that names its login.
    pub fn probe(&self, login: &str) -> String {
        format!("/users/f%3A{}%3A{login}", self.component)
    }

    /// Returns a user's id, encoded for a path.
    pub async fn id(&self, login: &str) -> String {
        let found = self.get(&format!("/users?username={login}&exact=true")).await.json();
        found[0]["id"].as_str().unwrap_or_else(|| panic!("no {login}: {found}")).replace(':', "%3A")
    }

    /// Changes settings of a component of the realm.
    async fn configure(&self, component: &str, pairs: &[(&str, &str)]) {
        let path = format!("/components/{component}");
        let mut shown = self.admin("GET", &path, None).await.json();
        for (name, value) in pairs {
            shown["config"][*name] = json!([value]);
        }
        assert_eq!(self.admin("PUT", &path, Some(shown)).await.status, 204);
    }

    /// Brings the federation into a state, from any other but `Removed`.
    pub async fn set(&mut self, state: FederationState) {
        match &self.directory {
            Directory::Simulated(realm) => realm.set_federation(&self.component, state),
            Directory::Ldap { .. } => {
                self.change(self.state, false).await;
                self.change(state, true).await;
            }
        }
        self.state = state;
    }

    /// Begins or ends a state of the real server.
    async fn change(&self, state: FederationState, on: bool) {
        let Directory::Ldap { server, .. } = &self.directory else { return };
        let password = if on { "wrong" } else { "admin" };
        let paged = if on { "false" } else { "true" };
        let branch = format!("ou={},{SUFFIX}", if on { "empty" } else { "people" });
        let path = format!("/components/{}", self.component);
        match (state, on) {
            (FederationState::Available, _) => {}
            (FederationState::Unreachable, true) => server.halt(),
            (FederationState::Unreachable, false) => server.again(),
            (FederationState::Frozen(_), true) => server.freeze(),
            (FederationState::Frozen(_), false) => server.thaw(),
            (FederationState::Misconfigured, _) => {
                self.configure(&self.component, &[("bindCredential", password)]).await;
            }
            (FederationState::MisconfiguredUnpaged, _) => {
                self.configure(&self.component, &[("bindCredential", password), ("pagination", paged)]).await;
            }
            (FederationState::Disabled, _) => {
                self.configure(&self.component, &[("enabled", if on { "false" } else { "true" })]).await;
            }
            (FederationState::Empty, _) => self.configure(&self.component, &[("usersDn", &branch)]).await,
            (FederationState::Removed, true) => assert_eq!(self.admin("DELETE", &path, None).await.status, 204),
            (FederationState::Removed, false) => panic!("a component is removed for good"),
        }
    }

    /// Sets whether a read deletes an imported user that LDAP does not have.
    pub async fn set_removes_invalid(&self, on: bool) {
        match &self.directory {
            Directory::Simulated(realm) => realm.set_removes_invalid_users(&self.component, on).expect("set"),
            Directory::Ldap { .. } => {
                self.configure(&self.component, &[("removeInvalidUsersEnabled", &on.to_string())]).await;
            }
        }
    }

    /// Sets the state of the group mapper.
    pub async fn set_group_mapper(&self, state: GroupMapper) {
        match &self.directory {
            Directory::Simulated(realm) => realm.set_group_mapper(&self.component, state).expect("set"),
            Directory::Ldap { mapper, .. } => {
                let branch = match state {
                    GroupMapper::Empty => "ou=empty",
                    GroupMapper::Missing => "ou=nowhere",
                    GroupMapper::Mapped | GroupMapper::Stored => "ou=groups",
                };
                let mode = if state == GroupMapper::Stored { "IMPORT" } else { "READ_ONLY" };
                self.configure(mapper, &[("groups.dn", &format!("{branch},{SUFFIX}")), ("mode", mode)]).await;
            }
        }
    }

    /// Makes every next read ask LDAP.
    pub async fn clear_cache(&self) {
        assert_eq!(self.admin("POST", "/clear-user-cache", None).await.status, 204);
    }

    /// Runs an action of the component: `sync?action=triggerFullSync`, `unlink-users` or `remove-imported-users`.
    pub async fn act(&self, action: &str) {
        let answer = self.admin("POST", &format!("/user-storage/{}/{action}", self.component), None).await;
        assert!(matches!(answer.status, 200 | 204), "{action}: {} {}", answer.status, answer.body);
    }

    /// Returns the simulated realm and the user's id in it.
    fn simulated<'a>(realm: &'a RealmHandle, login: &str) -> (&'a RealmHandle, String) {
        let id = realm.snapshot().user(login).unwrap_or_else(|| panic!("no {login}")).id.clone();
        (realm, id)
    }

    /// Deletes a user's entry in LDAP.
    pub fn delete_entry(&self, login: &str) {
        match &self.directory {
            Directory::Ldap { server, .. } => server.delete(&person(login)),
            Directory::Simulated(realm) => {
                let (realm, id) = Self::simulated(realm, login);
                realm.remove_from_ldap(&id).expect("removed");
            }
        }
    }

    /// Changes a user's login in LDAP.
    pub fn rename_entry(&self, login: &str, to: &str) {
        match &self.directory {
            Directory::Ldap { server, .. } => {
                let dn = person(login);
                server.modify(&format!("dn: {dn}\nchangetype: modrdn\nnewrdn: uid={to}\ndeleteoldrdn: 1\n"));
            }
            Directory::Simulated(realm) => {
                let (realm, id) = Self::simulated(realm, login);
                realm.rename_in_ldap(&id, to).expect("renamed");
            }
        }
    }

    /// Changes a user's e-mail address in LDAP.
    pub fn change_email(&self, login: &str, email: &str) {
        match &self.directory {
            Directory::Ldap { server, .. } => {
                let dn = person(login);
                server.modify(&format!("dn: {dn}\nchangetype: modify\nreplace: mail\nmail: {email}\n"));
            }
            Directory::Simulated(realm) => {
                let (realm, id) = Self::simulated(realm, login);
                realm.change_in_ldap(&id, &UserChange::email(email)).expect("changed");
            }
        }
    }

    /// Removes a user from a group in LDAP.
    pub fn remove_member(&self, login: &str, group: &str) {
        match &self.directory {
            Directory::Ldap { server, .. } => {
                let (dn, member) = (format!("cn={group},ou=groups,{SUFFIX}"), person(login));
                server.modify(&format!("dn: {dn}\nchangetype: modify\ndelete: member\nmember: {member}\n"));
            }
            Directory::Simulated(realm) => {
                let (realm, id) = Self::simulated(realm, login);
                let group = realm.snapshot().group(&format!("/{group}")).expect("the group").id.clone();
                realm.set_member_in_ldap(&id, &group, false).expect("removed");
            }
        }
    }

    /// Deletes the realm.
    pub async fn leave(self) {
        assert_eq!(self.admin("DELETE", "", None).await.status, 204);
    }
}

/// Adds the users to a simulated directory.
fn simulate(realm: &RealmHandle, imported: bool) {
    realm.set_user_cache(true);
    let users = (0..USERS).map(|number| {
        let groups: &[&str] = if number % 2 == 0 { &["/all", "/even"] } else { &["/all"] };
        let user = NewUser::named(login(number)).in_groups(groups);
        if imported { user.federated(COMPONENT) } else { user.not_imported(COMPONENT) }
    });
    realm.add_to_ldap(users).expect("added");
}

/// Returns the users and groups in LDIF.
fn entries() -> String {
    let user = |number: usize| {
        let (login, dn) = (login(number), person(&login(number)));
        let names = format!("uid: {login}\ncn: {login}\nsn: Example\nmail: {login}@example.org");
        format!("dn: {dn}\nobjectClass: inetOrgPerson\n{names}\n\n")
    };
    let group = |name: &str, step: usize| {
        let members: Vec<String> =
            (0..USERS).step_by(step).map(|number| format!("member: {}\n", person(&login(number)))).collect();
        format!("dn: cn={name},ou=groups,{SUFFIX}\nobjectClass: groupOfNames\ncn: {name}\n{}\n", members.concat())
    };
    let users: Vec<String> = (0..USERS).map(user).collect();
    format!("{}{}{}", users.concat(), group("all", 1), group("even", 2))
}
