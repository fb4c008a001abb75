//! The desired state and the plan of users in sync, with templates and rules and without, against decoding the same
//! JSON alone.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use usersync::{
    model::{
        Account, DriftRule, GroupMapping, GroupState, Link, ManagedGroup, Pair, Policy, TargetGroupId,
        UserOrganizations, UserRoles, UserState,
    },
    plan::{Decision, GroupTable, NameHolder, Presence, ProviderAnswer, Situation, decide},
    policy,
    targets::Capabilities,
};

const GROUPS: usize = 500;
const EACH: usize = 10;

/// A user as Keycloak lists it, with the numbers of its groups.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    username: String,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
    enabled: bool,
    #[serde(default)]
    attributes: BTreeMap<String, Vec<String>>,
    groups: Vec<usize>,
}

/// One side at the target, in sync with what this policy wants.
struct Realm {
    json: Vec<u8>,
    groups: Vec<Arc<GroupState>>,
    table: GroupTable,
    accounts: Vec<(Link, Account)>,
    policy: Policy,
}

fn target_group(number: usize) -> TargetGroupId {
    format!("g{number}").as_str().into()
}

fn rules() -> Policy {
    let json = serde_json::json!({
        "scope": { "excluded_logins": ["svc-*"], "excluded_groups": ["/left/**"] },
        "account": {
            "login": "{{ username | regex_replace('@.*$', '') }}",
            "display_name": "{{ last_name }}, {{ first_name }}",
            "email": "{{ attributes.mail | default(email, true) | lower }}",
        },
    });
    serde_json::from_value(json).expect("a policy")
}

impl Realm {
    fn new(users: usize, policy: Policy) -> Self {
        let groups: Vec<Arc<GroupState>> = (0..GROUPS)
            .map(|number| {
                let name = format!("group-{number:04}");
                let path = format!("/eng/{name}");
                Arc::new(GroupState::new(format!("{number:08}").as_str().into(), name, path))
            })
            .collect();
        let pair = pair();
        let managed = (0..GROUPS).map(|number| ManagedGroup {
            id: target_group(number),
            name: groups[number].name.clone(),
            adopted: false,
            removals_approved: true,
            sources: vec![(pair.connector.clone(), groups[number].id.clone())],
        });
        let mapped = groups.iter().enumerate().map(|(number, group)| {
            (group.id.clone(), GroupMapping::Managed { group: target_group(number), name: group.name.clone() })
        });
        let table = GroupTable::new(managed.collect(), mapped.collect());
        let listed: Vec<Listed> = (0..users).map(listed).collect();
        let json = serde_json::to_vec(&listed).expect("JSON");
        let accounts = listed.into_iter().map(|user| in_sync(&state(user, &groups), &policy)).collect();
        Self { json, groups, table, accounts, policy }
    }

    fn decode(&self) -> Vec<Listed> {
        serde_json::from_slice(&self.json).expect("JSON")
    }

    /// Decodes the list, and plans for each user. Returns the number of operations.
    fn plan(&self) -> usize {
        let (pair, capabilities) = (pair(), Capabilities::base());
        let rules = self.policy.account_rules(&pair.target);
        let planned = |(user, (link, account)): (Listed, &(Link, Account))| {
            let user = state(user, &self.groups);
            let verdict = policy::verdict(&user, &self.policy.scope);
            let presence = Presence::Present(user, verdict);
            let decision = decide(&Situation {
                pair: &pair,
                capabilities: &capabilities,
                presence: &presence,
                link: Some(link),
                account: Some(account),
                account_gone: false,
                holder: &NameHolder::NotAsked,
                groups: &self.table,
                rules,
                matched: None,
                same_login_as: None,
                same_account_as: None,
                group_rules: &self.policy.groups,
                leavers: &self.policy.leavers,
                now: Timestamp::UNIX_EPOCH,
                adopt_freely: false,
                wanted_by_other: false,
                in_ring: false,
                own_login: "usersync",
                provider: &ProviderAnswer::NotAsked,
                drift: DriftRule::Mend,
            });
            let Decision::Plan(plan) = decision else { panic!("{decision:?}") };
            plan.operations.len() + plan.holds.len() + plan.missing_groups.len()
        };
        self.decode().into_iter().zip(&self.accounts).map(planned).sum()
    }
}

fn pair() -> Pair {
    Pair::new("acme", "jira")
}

fn listed(number: usize) -> Listed {
    let attribute = |name: &str, value: String| (name.to_owned(), vec![value]);
    Listed {
        id: format!("{number:08x}-5a4c-4fa8-8f7e-3c1b2a9d0e6f"),
        username: format!("user-{number:06}@corp.example"),
        first_name: Some(format!("First{number}")),
        last_name: Some("Last".to_owned()),
        email: Some(format!("user-{number:06}@example.org")),
        enabled: true,
        attributes: [attribute("mail", format!("User-{number:06}@Corp.Example")), attribute("dept", "R&D".to_owned())]
            .into(),
        groups: (0..EACH).map(|nth| (number * 3 + nth * 7) % GROUPS).collect(),
    }
}

fn state(user: Listed, groups: &[Arc<GroupState>]) -> UserState {
    UserState {
        id: user.id.into(),
        username: user.username,
        first_name: user.first_name,
        last_name: user.last_name,
        email: user.email,
        email_verified: Some(false),
        enabled: user.enabled,
        federation_link: None,
        attributes: user.attributes,
        groups: user.groups.into_iter().map(|number| Arc::clone(&groups[number])).collect(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    }
}

/// Returns the link and the account that need no operation.
fn in_sync(user: &UserState, policy: &Policy) -> (Link, Account) {
    let capabilities = Capabilities::base();
    let desired = policy::desired_user(user, &capabilities, policy.account_rules(&pair().target), true);
    let id = format!("JIRAUSER{}", user.id);
    let name = desired.login.expect("a login");
    let number = |group: &Arc<GroupState>| group.id.as_str().parse::<usize>().expect("a number");
    let groups: Vec<TargetGroupId> = user.groups.iter().map(|group| target_group(number(group))).collect();
    let mut link = Link::new(user.id.clone(), id.as_str().into(), name.clone());
    link.given.extend(groups.iter().cloned());
    let account = Account {
        id: id.as_str().into(),
        name,
        display_name: desired.display_name.expect("a name"),
        email: desired.email,
        attributes: BTreeMap::new(),
        active: true,
        access: Vec::new(),
        groups: Some(groups),
        protected: None,
        immutable: None,
    };
    (link, account)
}

fn main() {
    let (users, rounds) = if support::is_smoke() {
        (1_000, 1)
    } else {
        (support::number("USERS", 100_000), support::number("ROUNDS", 9))
    };
    for (name, policy) in [("policy_100k_rules", rules()), ("policy_100k_plain", Policy::default())] {
        let realm = Realm::new(users, policy);
        let mut sides = support::Sides::default();
        for _ in 0..rounds {
            let began = Instant::now();
            assert_eq!(realm.decode().len(), users);
            let bare = support::ms(began.elapsed());
            let began = Instant::now();
            assert_eq!(realm.plan(), 0, "all is in sync");
            sides.push(support::ms(began.elapsed()), bare);
        }
        sides.print(name, "ms");
    }
}
