//! Guarantees of planning for any input: applying the plan reaches the desired state, the next plan is empty, and
//! nothing unmanaged is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use proptest::{
    collection::{btree_map, btree_set},
    option,
    prelude::*,
};

use super::{
    Decision, GroupTable, NameHolder, Planned, Presence, ProviderAnswer, Situation, decide,
    fixtures::{
        GROUP_RULES, LEAVER_RULES, NO_ATTRIBUTES, OwnedSituation, account, capabilities, present, source_group, user,
    },
};
use crate::{
    capabilities::{Capabilities, Deactivation},
    model::{
        Account, AccountRules, AccountTemplates, AttributeRules, DriftRule, GroupMapping, GroupState, Limited, Link,
        ManagedGroup, Operation, Pair, TargetGroupId, UserOrganizations, UserRoles, UserState,
    },
    policy,
};

mod drift;
mod group_rules;
mod leavers;
mod linked;
mod logins;
mod matching;
mod memberships;
mod unlinked;

/// Source groups `0` to `3` feed target groups `g0` to `g3`; `g4` is managed for another connector, `g5` is unmanaged.
const FED: usize = 4;
const GROUPS: usize = 6;
/// More rounds than any plan needs.
const ROUNDS: usize = 6;

/// Three attributes: an empty value clears the first and keeps the second; the third is written to new accounts only.
static RULES: LazyLock<AttributeRules> = LazyLock::new(|| {
    serde_json::from_value(serde_json::json!({
        "title": { "template": "{{ attributes.title }}", "empty": "clear" },
        "nick": "{{ attributes.nick | lower }}",
        "locale": { "template": "en", "when": "create" },
    }))
    .expect("rules")
});

/// No templates, templates for all values, and templates for new accounts only.
static TEMPLATES: LazyLock<[AccountTemplates; 3]> = LazyLock::new(|| {
    let always = serde_json::json!({
        "login": "{{ username }}.{{ attributes.title | default('none', true) }}",
        "display_name": "{{ last_name | default('-', true) }}, {{ first_name }}",
        "email": "{{ email | upper }}",
    });
    let create = |template: &str| serde_json::json!({ "template": template, "when": "create" });
    let once = serde_json::json!({
        "login": create("new-{{ username }}"), "display_name": create("New"), "email": create("new@example.org"),
    });
    [serde_json::json!({}), always, once].map(|json| serde_json::from_value(json).expect("templates"))
});

fn pair() -> Pair {
    Pair::new("acme", "target")
}

fn group(nth: usize) -> TargetGroupId {
    format!("g{nth}").into()
}

/// Returns a source group by its number.
fn source_group_of(nth: usize) -> Arc<GroupState> {
    source_group(&nth.to_string(), &format!("n{nth}"))
}

fn table() -> GroupTable {
    let managed = |nth: usize, connector: &str| ManagedGroup {
        id: group(nth),
        name: format!("G{nth}"),
        adopted: false,
        removals_approved: false,
        sources: vec![(connector.into(), nth.to_string().into())],
    };
    let groups = (0..FED).map(|nth| managed(nth, "acme")).chain([managed(FED, "other")]).collect();
    let mapping = |nth| GroupMapping::Managed { group: group(nth), name: format!("n{nth}") };
    GroupTable::new(groups, (0..FED).map(|nth| (nth.to_string().into(), mapping(nth))).collect())
}

/// A user at the source, with or without a linked account.
#[derive(Clone, Debug)]
struct Case {
    user: UserState,
    there: Option<(Account, Link)>,
    access: bool,
    /// The index of its templates.
    templates: usize,
}

impl Case {
    fn capabilities(&self) -> Capabilities {
        let deactivate = if self.access { Deactivation::Access } else { Deactivation::Switch };
        Capabilities { deactivate, attributes: true, ..capabilities() }
    }

    fn rules(&self) -> AccountRules<'static> {
        let AccountTemplates { login, display_name, email } = &TEMPLATES[self.templates];
        let (login, display_name, email) = (login.as_ref(), display_name.as_ref(), email.as_ref());
        AccountRules { login, display_name, email, ..AccountRules::of_attributes(&RULES) }
    }

    fn decide(&self, presence: &Presence) -> Decision {
        let (account, link) = self.there.clone().unzip();
        decide(&Situation {
            pair: &pair(),
            capabilities: &self.capabilities(),
            presence,
            link: link.as_ref(),
            account: account.as_ref(),
            account_gone: false,
            holder: &NameHolder::Free,
            groups: &table(),
            rules: self.rules(),
            matched: None,
            same_login_as: None,
            same_account_as: None,
            group_rules: &GROUP_RULES,
            leavers: &LEAVER_RULES,
            now: Timestamp::UNIX_EPOCH,
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: "usersync",
            provider: &ProviderAnswer::NotAsked,
            drift: DriftRule::Mend,
        })
    }

    /// Applies plans until one has no operations, and returns it.
    fn converge(&mut self, presence: &Presence) -> Planned {
        for _ in 0..ROUNDS {
            let Decision::Plan(planned) = self.decide(presence) else { panic!("nothing but a plan fits here") };
            if planned.operations.is_empty() {
                return planned;
            }
            for operation in &planned.operations {
                self.apply(operation);
            }
        }
        panic!("{ROUNDS} rounds did not settle it");
    }

    fn apply(&mut self, operation: &Operation) {
        if let Operation::CreateUser { name, fields, .. } = operation {
            let account = Account {
                id: "made".into(),
                name: name.clone(),
                display_name: fields.display_name.clone().unwrap_or_default(),
                email: fields.email.clone(),
                active: true,
                access: if self.access { vec!["group:licensed".into()] } else { Vec::new() },
                attributes: fields.attributes.clone(),
                groups: Some(Vec::new()),
                protected: None,
                immutable: None,
            };
            self.there = Some((account, Link::new(self.user.id.clone(), "made".into(), name.clone())));
            return;
        }
        let (account, link) = self.there.as_mut().expect("only an account that is there is worked on");
        link.will_lose(operation);
        account.apply(operation);
        link.learn(operation);
    }

    fn shown(&self, attribute: &str) -> Option<&String> {
        self.there.as_ref().and_then(|(account, _)| account.attributes.get(attribute))
    }

    fn groups(&self) -> BTreeSet<TargetGroupId> {
        let account = self.there.as_ref().map(|(account, _)| account);
        account.and_then(|account| account.groups.clone()).unwrap_or_default().into_iter().collect()
    }
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, String>> {
    let names = prop_oneof![Just("title"), Just("nick"), Just("other")].prop_map(str::to_owned);
    btree_map(names, "[A-B]{0,1}", 0..=3)
}

fn users() -> impl Strategy<Value = UserState> {
    let name = || option::of("[A-Za-zÀ-ž ]{0,8}");
    let groups = btree_set(0..FED, 0..=FED);
    let attributes = attributes().prop_map(|all| all.into_iter().map(|(name, value)| (name, vec![value])).collect());
    (any::<bool>(), name(), name(), "[a-z]{1,6}@example\\.org", attributes, groups).prop_map(
        |(enabled, first_name, last_name, email, attributes, groups)| UserState {
            id: "1".into(),
            username: "alice".into(),
            first_name,
            last_name,
            email: Some(email),
            email_verified: Some(false),
            enabled,
            federation_link: None,
            attributes,
            groups: groups.into_iter().map(source_group_of).collect(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        },
    )
}

/// Generates users, with a linked account sometimes or always.
fn cases(always: bool) -> impl Strategy<Value = Case> {
    let strings = || prop_oneof![Just("alice"), Just("other"), Just("Ünï")].prop_map(str::to_owned);
    let present = btree_set(0..GROUPS, 0..=GROUPS);
    let given = btree_set(0..GROUPS, 0..=GROUPS);
    let there = (strings(), strings(), option::of(strings()), any::<[bool; 3]>(), attributes(), present, given);
    let there = if always { there.prop_map(Some).boxed() } else { option::of(there).boxed() };
    (users(), there, any::<bool>(), 0..TEMPLATES.len()).prop_map(|(user, there, access, templates)| {
        let there = there.map(|(name, display_name, email, [active, by_us, adopted], attributes, present, given)| {
            let account = Account {
                id: "a".into(),
                name: name.clone(),
                display_name,
                email,
                active,
                access: if access && active { vec!["group:licensed".into()] } else { Vec::new() },
                attributes,
                groups: Some(present.into_iter().map(group).collect()),
                protected: None,
                immutable: None,
            };
            let mut link = Link::new("1".into(), "a".into(), name);
            link.adopted = adopted;
            // An account that usersync deactivated had its access revoked.
            link.deactivated_by_us = by_us && !active;
            if link.deactivated_by_us && access {
                link.taken = ["group:licensed".to_owned()].into();
            }
            link.given = given.into_iter().map(group).collect();
            (account, link)
        });
        Case { user, there, access, templates }
    })
}

proptest! {
    #[test]
    fn applying_the_plan_reaches_the_desired_state_and_the_next_plan_is_empty(case in cases(false)) {
        let before = case.clone();
        let mut case = case;
        let presence = present(case.user.clone());
        let left = case.converge(&presence);
        prop_assert!(left.operations.is_empty());
        let wanted: BTreeSet<_> = case.user.groups.iter().map(|one| TargetGroupId::from(format!("g{}", one.id))).collect();
        let Some((account, link)) = &case.there else {
            prop_assert!(!case.user.enabled, "an enabled user has an account");
            return Ok(());
        };
        if !case.user.enabled {
            prop_assert!(!account.active, "who is disabled cannot sign in");
            prop_assert!(account.access.is_empty());
            prop_assert_eq!(case.groups(), before.groups(), "groups are kept");
            return Ok(());
        }
        let new = before.there.is_none();
        let desired = policy::desired_user(&case.user, &case.capabilities(), case.rules(), new);
        for (name, wanted) in &desired.attributes {
            prop_assert_eq!(account.attributes.get(name).map_or("", String::as_str), wanted.as_str());
        }
        prop_assert_eq!(account.attributes.get("other"), before.shown("other"), "nobody speaks of it");
        prop_assert_eq!(account.attributes.contains_key("locale"), new);
        prop_assert_eq!(&desired.faults, &[] as &[String]);
        // A value without a wanted one stays.
        let was = before.there.as_ref().map(|(account, _)| account);
        prop_assert_eq!(Some(&account.name), desired.login.as_ref().or(was.map(|was| &was.name)));
        prop_assert_eq!(Some(&account.display_name), desired.display_name.as_ref().or(was.map(|was| &was.display_name)));
        prop_assert_eq!(account.email.as_ref(), desired.email.as_ref().or(was.and_then(|was| was.email.as_ref())));
        // A deactivation outside usersync stands until an operator decides; all other accounts are active.
        let by_others = before.there.as_ref().is_some_and(|(account, link)| !account.active && !link.deactivated_by_us);
        prop_assert_eq!(account.active, !by_others);
        prop_assert_eq!(left.holds.len(), usize::from(by_others && !case.access));
        let present = case.groups();
        prop_assert!(present.is_superset(&wanted));
        prop_assert!(link.given.is_superset(&wanted.difference(&before.groups()).cloned().collect()));
        // Removed are only memberships that usersync granted or manages; managed ones that are not in Keycloak are
        // removed.
        let kept: BTreeSet<_> = (0..GROUPS).map(group).filter(|one| present.contains(one) && !wanted.contains(one)).collect();
        for nth in 0..GROUPS {
            let id = group(nth);
            let ours = nth < FED || before.there.as_ref().is_some_and(|(_, link)| link.given.contains(&id));
            let stays = before.groups().contains(&id) && !wanted.contains(&id) && !ours;
            prop_assert_eq!(kept.contains(&id), stays, "group {}", nth);
        }
    }

    #[test]
    fn who_is_gone_is_deactivated_and_gets_back_all_that_was_taken(case in cases(true)) {
        let mut case = case;
        case.user.enabled = true;
        case.converge(&present(case.user.clone()));
        let (before, _) = case.there.clone().expect("it is there");
        case.converge(&Presence::Gone);
        let (gone, link) = case.there.clone().expect("nothing is deleted");
        prop_assert!(!gone.active && gone.access.is_empty());
        prop_assert_eq!(&link.taken, &before.access.iter().cloned().collect::<BTreeSet<_>>());
        case.converge(&present(case.user.clone()));
        let (back, link) = case.there.expect("nothing is deleted");
        prop_assert_eq!(back, before);
        prop_assert!(link.taken.is_empty());
    }
}

#[test]
fn what_was_taken_is_merged_when_it_is_taken_in_two_goes_and_given_back_whole() {
    let takes = |takes: &[&str]| Operation::DeactivateUser {
        account: "a".into(),
        name: "alice".into(),
        takes: takes.iter().map(|one| (*one).to_owned()).collect(),
    };
    let mut link = Link::new("1".into(), "a".into(), "alice");
    assert!(link.will_lose(&takes(&["group:one", "group:two"])));
    // After a crash in between, a second read sees less.
    assert!(!link.will_lose(&takes(&["group:two"])));
    assert!(link.will_lose(&takes(&["permission:LICENSED_USER"])));
    assert_eq!(link.taken.len(), 3);
}

/// Plans for alice with this title and nick, this account and this link; includes unconfirmed findings.
fn planned_attributes(title: &str, nick: &str, federated: bool, account: &Account, link: &Link) -> Planned {
    let attributes = [("title".to_owned(), vec![title.to_owned()]), ("nick".to_owned(), vec![nick.to_owned()])];
    let user = UserState {
        id: "1".into(),
        username: "alice".into(),
        first_name: None,
        last_name: None,
        email: None,
        email_verified: Some(false),
        enabled: true,
        federation_link: federated.then(|| "ldap".to_owned()),
        attributes: attributes.into(),
        groups: Vec::new(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    };
    let decision = decide(&Situation {
        pair: &pair(),
        capabilities: &Capabilities { attributes: true, ..capabilities() },
        presence: &present(user),
        link: Some(link),
        account: Some(account),
        account_gone: false,
        holder: &NameHolder::Own,
        groups: &table(),
        rules: AccountRules::of_attributes(&RULES),
        matched: None,
        same_login_as: None,
        same_account_as: None,
        group_rules: &GROUP_RULES,
        leavers: &LEAVER_RULES,
        now: Timestamp::UNIX_EPOCH,
        adopt_freely: true,
        wanted_by_other: false,
        in_ring: false,
        own_login: "usersync",
        provider: &ProviderAnswer::NotAsked,
        drift: DriftRule::Mend,
    });
    let Decision::Plan(planned) = decision else { panic!("nothing but a plan fits here") };
    planned
}

/// Returns the planned operations as texts.
fn operations(planned: &Planned) -> Vec<String> {
    planned.operations.iter().map(ToString::to_string).collect()
}

fn alice() -> (Account, Link) {
    let account = Account {
        id: "a".into(),
        name: "alice".into(),
        display_name: "alice".into(),
        email: None,
        active: true,
        access: Vec::new(),
        attributes: BTreeMap::new(),
        groups: Some(Vec::new()),
        protected: None,
        immutable: None,
    };
    (account, Link::new("1".into(), "a".into(), "alice"))
}

#[test]
fn an_attribute_that_a_target_does_not_show_is_written_once() {
    let (mut account, mut link) = alice();
    let planned =
        |title, account: &Account, link: &Link| operations(&planned_attributes(title, "", false, account, link));
    assert_eq!(planned("Dr", &account, &link), ["update alice: title"]);
    link.written.attributes.insert("title".into(), "Dr".into());
    assert_eq!(planned("Dr", &account, &link), [""; 0]);
    assert_eq!(planned("Prof", &account, &link), ["update alice: title"]);
    // A value that is known to be empty was cleared outside usersync.
    account.attributes.insert("title".into(), String::new());
    assert_eq!(planned("Dr", &account, &link), ["update alice: title"]);
}

#[test]
fn what_takes_a_value_away_is_a_removal_of_its_own_and_comes_last() {
    let (mut account, link) = alice();
    account.display_name = "Old".into();
    account.groups = Some(vec![group(0)]);
    account.attributes.insert("title".into(), "Dr".into());
    let planned = planned_attributes("", "Al", false, &account, &link);
    let all = ["remove alice from G0", "update alice: display name", "update alice: nick", "update alice: title"];
    assert_eq!(operations(&planned), all);
    assert_eq!(planned.operations[3].limited(), Some(Limited::ClearAttributes));
    assert_eq!((planned.operations[2].removes(), planned.operations[2].limited()), (false, None));
    // An empty value of a federated user may only mean that the federation is down.
    let planned = planned_attributes("", "Al", true, &account, &link);
    assert_eq!(operations(&planned), ["update alice: display name", "update alice: nick"]);
    assert!(planned.findings.unconfirmed.iter().any(|incomplete| incomplete.contains("alice: title would be cleared")));
}

#[test]
fn what_a_target_cannot_update_is_told_and_not_planned() {
    let user: UserState = UserState {
        id: "1".into(),
        username: "alice".into(),
        first_name: Some("Alice".into()),
        last_name: Some("Ng".into()),
        email: Some("alice@example.org".into()),
        email_verified: Some(false),
        enabled: true,
        federation_link: None,
        attributes: [].into(),
        groups: Vec::new(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    };
    let account = Account {
        id: "a".into(),
        name: "alice".into(),
        display_name: "Alice Ng".into(),
        email: None,
        active: true,
        access: Vec::new(),
        attributes: BTreeMap::new(),
        groups: Some(Vec::new()),
        protected: None,
        immutable: None,
    };
    let link = Link::new("1".into(), "a".into(), "alice");
    let reported = |account: &Account, link: &Link| {
        let decision = decide(&Situation {
            pair: &pair(),
            capabilities: &Capabilities { update: false, reads_email: false, ..capabilities() },
            presence: &present(user.clone()),
            link: Some(link),
            account: Some(account),
            account_gone: false,
            holder: &NameHolder::Own,
            groups: &table(),
            rules: AccountRules::of_attributes(&RULES),
            matched: None,
            same_login_as: None,
            same_account_as: None,
            group_rules: &GROUP_RULES,
            leavers: &LEAVER_RULES,
            now: Timestamp::UNIX_EPOCH,
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: "usersync",
            provider: &ProviderAnswer::NotAsked,
            drift: DriftRule::Mend,
        });
        let Decision::Plan(planned) = decision else { panic!("nothing but a plan fits here") };
        assert_eq!(planned.operations, []);
        planned.findings.unsupported.join("\n")
    };
    assert_eq!(reported(&account, &link), "", "an address that nobody knows may be the right one");
    let renamed = Account { display_name: "Alice".into(), ..account.clone() };
    let text = reported(&renamed, &link);
    assert!(text.contains("alice: its display name should be Alice Ng"), "{text}");
    assert!(text.contains("manually at the target"), "{text}");
    let mut written = link;
    written.written.email = Some("old@example.org".into());
    assert!(reported(&account, &written).contains("e-mail address"));
}

#[test]
fn a_link_is_dropped_only_if_its_account_is_confirmed_to_be_gone() {
    let linked = OwnedSituation::linked(user(), account());
    for given in [linked, OwnedSituation::deleted(account())] {
        let decide = |account_gone| OwnedSituation { account: None, account_gone, ..given.clone() }.decide();
        assert_eq!((decide(false), decide(true)), (Decision::Missing, Decision::DropLink));
    }
}

#[test]
fn removals_come_first_and_a_conflict_of_logins_holds_up_nothing_else() {
    let user = UserState {
        id: "1".into(),
        username: "alice.new".to_owned(),
        first_name: Some("Alice".to_owned()),
        last_name: Some("Jones".to_owned()),
        email: None,
        email_verified: Some(false),
        enabled: true,
        federation_link: None,
        attributes: BTreeMap::new(),
        groups: Vec::new(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    };
    let account = Account {
        id: "a".into(),
        name: "alice".to_owned(),
        display_name: "Alice".to_owned(),
        email: None,
        attributes: BTreeMap::new(),
        active: true,
        access: Vec::new(),
        groups: Some(vec!["g1".into()]),
        protected: None,
        immutable: None,
    };
    let link = Link { given: ["g1".into()].into(), ..Link::new("1".into(), "a".into(), "alice") };
    let other = Account { id: "b".into(), name: "alice.new".to_owned(), ..account.clone() };
    let decision = decide(&Situation {
        pair: &pair(),
        capabilities: &capabilities(),
        presence: &present(user),
        link: Some(&link),
        account: Some(&account),
        account_gone: false,
        holder: &NameHolder::Unlinked(other),
        groups: &table(),
        rules: AccountRules::of_attributes(&NO_ATTRIBUTES),
        matched: None,
        same_login_as: None,
        same_account_as: None,
        group_rules: &GROUP_RULES,
        leavers: &LEAVER_RULES,
        now: Timestamp::UNIX_EPOCH,
        adopt_freely: true,
        wanted_by_other: false,
        in_ring: false,
        own_login: "usersync",
        provider: &ProviderAnswer::NotAsked,
        drift: DriftRule::Mend,
    });
    let Decision::Plan(planned) = decision else { panic!("nothing but a plan fits here") };
    let verbs: Vec<&str> = planned.operations.iter().map(Operation::verb).collect();
    assert_eq!(verbs, ["remove_member", "update"]);
    assert!(matches!(planned.afterwards.as_deref(), Some(Decision::Conflict(_))), "{planned:?}");
}

/// Plans for alice with these groups in Keycloak, on a target with these capabilities.
fn planned_in(groups: &[usize], capabilities: &Capabilities, there: Option<(&Account, &Link)>) -> Planned {
    let user = UserState {
        id: "1".into(),
        username: "alice".into(),
        first_name: None,
        last_name: None,
        email: Some("alice@example.org".into()),
        email_verified: Some(false),
        enabled: true,
        federation_link: None,
        attributes: BTreeMap::new(),
        groups: groups.iter().copied().map(source_group_of).collect(),
        parent_groups: Vec::new(),
        roles: UserRoles::default(),
        organizations: UserOrganizations::default(),
    };
    let decision = decide(&Situation {
        pair: &pair(),
        capabilities,
        presence: &present(user),
        link: there.map(|(_, link)| link),
        account: there.map(|(account, _)| account),
        account_gone: false,
        holder: &NameHolder::Free,
        groups: &table(),
        rules: AccountRules::of_attributes(&NO_ATTRIBUTES),
        matched: None,
        same_login_as: None,
        same_account_as: None,
        group_rules: &GROUP_RULES,
        leavers: &LEAVER_RULES,
        now: Timestamp::UNIX_EPOCH,
        adopt_freely: true,
        wanted_by_other: false,
        in_ring: false,
        own_login: "usersync",
        provider: &ProviderAnswer::NotAsked,
        drift: DriftRule::Mend,
    });
    let Decision::Plan(planned) = decision else { panic!("nothing but a plan fits here") };
    planned
}

#[test]
fn nobody_is_added_to_or_removed_from_a_protected_group_whose_members_are_changed_otherwise() {
    let (mut account, mut link) = alice();
    account.groups = Some(vec![group(0)]);
    link.given = [group(0)].into();
    let mut capabilities = capabilities();
    let why = "protected_groups names it".to_owned();
    // One group by its name, one by its id.
    capabilities.protected_groups.by_name.insert("g0".to_owned(), why.clone());
    capabilities.protected_groups.left_alone.insert("g0".to_owned());
    capabilities.protected_groups.by_id.insert(group(1), why);
    let planned = planned_in(&[1, 2], &capabilities, Some((&account, &link)));
    assert_eq!(operations(&planned), ["update alice: e-mail", "add alice to G2"]);
    assert_eq!(planned.findings.kept, ["G0: protected_groups names it; no member is removed"]);
    assert_eq!(planned.findings.unsupported, ["group G1: protected_groups names it; no member is added"]);
    assert_eq!(planned.findings.protected, None);

    account.groups = Some(Vec::new());
    let planned = planned_in(&[0, 2], &capabilities, Some((&account, &link)));
    assert_eq!(planned.findings.kept, ["G0: protected_groups names it; no member is added"]);
    assert_eq!(planned.findings.unsupported, [""; 0], "an operator wants it so");

    let created = planned_in(&[0, 1, 2], &capabilities, None);
    assert_eq!(created.adds_after_create.keys().collect::<Vec<_>>(), [&group(2)]);
}
