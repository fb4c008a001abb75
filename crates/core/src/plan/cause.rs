//! Explains why each operation of a plan is needed: pure.

use std::sync::Arc;

use super::{
    ChangedAt, Situation, changed_at,
    leaver::{ended_at, leaving},
    user::own_login,
};
use crate::{
    model::{
        Action, ConstantGroup, GroupMapping, GroupState, Linking, MatchedBy, Operation, TargetGroupId, UserState,
        parent_paths, path_names,
    },
    policy,
};

/// Returns, in a few words, why an action is in the plan for this situation.
pub fn cause(action: &Action, situation: &Situation<'_>) -> String {
    let present = situation.presence.user();
    let given = |group: &TargetGroupId| situation.link.is_some_and(|link| link.given.contains(group));
    let left = leaving(situation).map(|leaving| leaving.why);
    let operation = match action {
        Action::Write(operation) => operation,
        Action::Link(Linking::AdoptUser { matched_by, .. }) => return matched(matched_by),
        Action::Link(Linking::RelinkUser { .. }) => return "the former user of this login was deleted".to_owned(),
        Action::Link(Linking::DropLink { .. }) => return "its account is gone".to_owned(),
        Action::Link(Linking::AdoptGroup { .. }) => {
            return "the group has the name of the group in Keycloak".to_owned();
        }
        Action::Link(Linking::AddCreated { group, .. }) => return sources(present, situation, group),
    };
    let changed_at = changed_at(operation, situation);
    let drifted = changed_at.is_target();
    match operation {
        Operation::CreateUser { .. } => "no account yet".to_owned(),
        Operation::UpdateUser { .. } => match changed_at {
            ChangedAt::Target(_) => "changed in the target".to_owned(),
            ChangedAt::Source => "changed in Keycloak".to_owned(),
            ChangedAt::Unknown => "differs from Keycloak".to_owned(),
        },
        Operation::RenameUser { .. } if drifted => "changed in the target".to_owned(),
        Operation::RenameUser { to, .. } => renamed(to, situation).to_owned(),
        Operation::ActivateUser { .. } if drifted => "enabled in Keycloak; deactivated in the target".to_owned(),
        Operation::ActivateUser { .. } => "enabled in Keycloak".to_owned(),
        Operation::DeactivateUser { .. } if drifted => format!("{}; activated in the target", deactivated(situation)),
        Operation::DeactivateUser { .. } => deactivated(situation),
        Operation::DeleteUser { .. } | Operation::AnonymizeUser { .. } => left.unwrap_or("no longer wanted").to_owned(),
        Operation::AddMember { group, .. } if drifted => {
            format!("{}; removed in the target", sources(present, situation, group))
        }
        Operation::AddMember { group, .. } => sources(present, situation, group),
        Operation::RemoveMember { group, group_name, .. } => match left {
            Some(why) => why.to_owned(),
            None if given(group) => lost(present, situation, group, group_name),
            None if drifted => "not a member in Keycloak; added in the target".to_owned(),
            None => "not a member in Keycloak".to_owned(),
        },
        Operation::CreateGroup { .. } | Operation::RenameGroup { .. } | Operation::DeleteGroup { .. } => {
            "the group in Keycloak".to_owned()
        }
    }
}

/// Returns why an account is deactivated, and when it is deleted or anonymized afterwards.
fn deactivated(situation: &Situation<'_>) -> String {
    let Some(leaving) = leaving(situation) else { return "no longer wanted".to_owned() };
    match ended_at(situation, leaving) {
        Some((how, at)) => {
            format!("{}; the account is {how} on {} unless the user returns", leaving.why, at.strftime("%Y-%m-%d"))
        }
        None => leaving.why.to_owned(),
    }
}

/// Returns why an account is adopted.
fn matched(by: &MatchedBy) -> String {
    match by {
        MatchedBy::Login => "the account has the user's login".to_owned(),
        MatchedBy::Email => "the account has the user's e-mail address".to_owned(),
        MatchedBy::OtherLogin => "the account has the login by which the policy matches the user".to_owned(),
        MatchedBy::Attribute(name) => {
            format!("the account's {name} has the value by which the policy matches the user")
        }
        MatchedBy::Operator => "an operator requested this link".to_owned(),
    }
}

fn renamed(to: &str, situation: &Situation<'_>) -> &'static str {
    let wanted =
        situation.presence.user().zip(situation.account).and_then(|(user, account)| {
            own_login(user, account, situation.capabilities, situation.rules).ok().flatten()
        });
    match wanted.filter(|login| login.eq_ignore_ascii_case(to)) {
        Some(_) if situation.rules.login.is_some() => "the policy gives it this login",
        Some(_) => "its login in Keycloak differs",
        None => "another user needs its login",
    }
}

/// Returns why a membership that usersync granted is no longer wanted.
fn lost(user: Option<&UserState>, situation: &Situation<'_>, group: &TargetGroupId, name: &str) -> String {
    // The group that fed the target group so far, unless the policy or Keycloak gave it another name since.
    let unmapped = user.into_iter().flat_map(UserState::all_groups).find_map(|source| {
        let mapping = situation.groups.mapping(&source.id)?;
        let GroupMapping::Unmapped { name: former, why } = mapping else { return None };
        (former.to_lowercase() == name.to_lowercase()).then(|| format!("{}: {why}", source.path))
    });
    let managed = situation.groups.managed(group);
    match unmapped {
        Some(why) => why,
        None if managed.is_some_and(|managed| situation.groups.is_constant(situation.pair, managed)) => {
            format!("no longer granted by {} of the policy", situation.group_rules.setting("constant"))
        }
        None if managed.is_some_and(|managed| managed.sources.is_empty()) => {
            "no synced group in Keycloak has this name any more".to_owned()
        }
        None => {
            let is_below = |source: &&Arc<GroupState>| {
                let mut names = parent_paths(&source.path).filter_map(|path| path_names(path).last());
                names.any(|above| above.to_lowercase() == name.to_lowercase())
            };
            match user.and_then(|user| user.groups.iter().find(is_below)) {
                Some(below) => format!("only a member of its sub-group {} in Keycloak", below.path),
                None => "no longer a member in Keycloak".to_owned(),
            }
        }
    }
}

/// Returns the source groups that require a membership.
fn sources(user: Option<&UserState>, situation: &Situation<'_>, group: &TargetGroupId) -> String {
    let feeds = |source: &&Arc<GroupState>| {
        matches!(
            situation.groups.mapping(&source.id),
            Some(GroupMapping::Managed { group: fed, .. }) if fed == group
        )
    };
    let Some(user) = user else { return "member in Keycloak".to_owned() };
    let direct = user.groups.iter().filter(feeds).map(|group| group.path.clone());
    let above = user.parent_groups.iter().filter(feeds).flat_map(|above| {
        let within = user.groups.iter().filter(|group| parent_paths(&group.path).any(|path| path == above.path));
        within.map(|group| format!("{} (below {})", group.path, above.path))
    });
    let paths: Vec<String> = direct.chain(above).collect();
    let is_new = situation.link.is_none_or(|link| link.written.is_new);
    let grants = |constant: &ConstantGroup| {
        policy::grants(constant, situation.group_rules, user, is_new) == Ok(true)
            && matches!(situation.groups.mapping(&constant.id()), Some(GroupMapping::Managed { group: fed, .. }) if fed == group)
    };
    let constant = situation.group_rules.constant.iter().find(|constant| grants(constant));
    if let (true, Some(constant)) = (paths.is_empty(), constant) {
        let setting = situation.group_rules.setting("constant");
        match constant.roles.iter().find(|role| user.roles.has(role) == Ok(true)) {
            Some(role) => format!("granted by {setting} of the policy (role {role})"),
            None => format!("granted by {setting} of the policy"),
        }
    } else if paths.is_empty() {
        "member in Keycloak".to_owned()
    } else {
        format!("member of {} in Keycloak", paths.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Account, GroupId, GroupMapping, ManagedGroup, RoleName, UserFields, UserRoles},
        plan::{
            GroupTable, NameHolder, Presence, fixtures,
            fixtures::{OwnedSituation, account, source_group, user},
        },
        policy::Verdict,
    };

    fn update(fields: UserFields) -> Action {
        Operation::UpdateUser { account: "a".into(), name: "alice".into(), fields }.into()
    }

    #[test]
    fn a_change_in_the_target_is_distinguished_from_a_change_in_keycloak() {
        let text = |text: &str| Some(text.to_owned());
        let name = || UserFields { display_name: text("Alice"), ..UserFields::default() };
        let email = || UserFields { email: text("new@example.org"), ..UserFields::default() };
        let both = || UserFields { email: email().email, ..name() };
        let title = || UserFields { attributes: [("title".into(), "Dr".into())].into(), ..UserFields::default() };
        let (target, keycloak, unknown) = ("changed in the target", "changed in Keycloak", "differs from Keycloak");
        // The desired fields, the display name, e-mail address and title that were last written, whether the account
        // is adopted, and the cause.
        let table = [
            (name(), text("Alice"), None, None, false, target),
            (name(), text("Old"), None, None, false, keycloak),
            (name(), None, text("new@example.org"), None, false, keycloak),
            (email(), None, text("new@example.org"), None, false, target),
            (email(), None, text("old@example.org"), None, false, keycloak),
            (both(), text("Old"), text("new@example.org"), None, false, target),
            (both(), text("Alice"), text("old@example.org"), None, false, target),
            (title(), None, None, text("Dr"), false, target),
            (title(), None, None, text("Prof"), false, keycloak),
            (title(), None, None, None, false, keycloak),
            (name(), None, None, None, false, keycloak),
            // Nothing was written to an adopted account yet.
            (name(), None, None, None, true, unknown),
            (name(), text("Old"), None, None, true, keycloak),
            (name(), None, text("new@example.org"), None, true, keycloak),
            (name(), text("Alice"), None, None, true, target),
        ];
        for (fields, display_name, email, title, adopted, expected) in table {
            let mut given = OwnedSituation::linked(user(), account());
            let link = given.link_mut();
            link.adopted = adopted;
            link.written.display_name = display_name;
            link.written.email = email;
            link.written.attributes.extend(title.map(|title| ("title".to_owned(), title)));
            let written = link.written.clone();
            let action = update(fields);
            assert_eq!(cause(&action, &given.situation()), expected, "{action}, written: {written:?}, {adopted}");
        }
        let unlinked = OwnedSituation::unlinked(user(), NameHolder::Free);
        assert_eq!(cause(&update(name()), &unlinked.situation()), unknown);
    }

    #[test]
    fn each_operation_on_an_account_has_its_cause() {
        let (account_id, name) = (|| "a".into(), || "alice".to_owned());
        let fields = UserFields::default();
        let create = Operation::CreateUser { name: name(), fields, external_id: None };
        let rename = |to: &str| Operation::RenameUser { account: account_id(), name: name(), to: to.to_owned() };
        let activate = Operation::ActivateUser { account: account_id(), name: name(), gives: Vec::new() };
        let deactivate = Operation::DeactivateUser { account: account_id(), name: name(), takes: Vec::new() };
        let delete = Operation::DeleteUser { account: account_id(), name: name() };
        let alicia = UserState { username: "alicia".into(), ..user() };
        let enabled = OwnedSituation::linked(alicia, account());
        let disabled = OwnedSituation::linked(UserState { enabled: false, ..user() }, account());
        let deleted = OwnedSituation::deleted(account());
        let mut deletes = OwnedSituation::deleted(account());
        deletes.leavers = serde_json::from_str(r#"{"deleted": "delete", "grace": "30d"}"#).expect("rules");
        let mut anonymizes = deletes.clone();
        anonymizes.leavers.deleted = crate::model::LeaverAction::Anonymize;
        anonymizes.capabilities.anonymize = true;
        let anonymize = Operation::AnonymizeUser { account: account_id(), name: name() };
        let mut kept = deletes.clone();
        kept.capabilities.delete = false;
        let table = [
            (
                &deactivate,
                &deletes,
                "deleted in Keycloak; the account is deleted on 1970-01-31 unless the user returns",
            ),
            (
                &deactivate,
                &anonymizes,
                "deleted in Keycloak; the account is anonymized on 1970-01-31 unless the user returns",
            ),
            (&deactivate, &kept, "deleted in Keycloak"),
            (&anonymize, &anonymizes, "deleted in Keycloak"),
            (&delete, &deletes, "deleted in Keycloak"),
            (&create, &enabled, "no account yet"),
            (&rename("Alicia"), &enabled, "its login in Keycloak differs"),
            (&rename("alice.moved-ca978112"), &enabled, "another user needs its login"),
            (&rename("alice.moved-ca978112"), &deleted, "another user needs its login"),
            (&activate, &enabled, "enabled in Keycloak"),
            (&deactivate, &disabled, "disabled in Keycloak"),
            (&deactivate, &deleted, "deleted in Keycloak"),
            (&delete, &deleted, "deleted in Keycloak"),
            (&deactivate, &enabled, "no longer wanted"),
        ];
        for (operation, given, expected) in table {
            assert_eq!(cause(&operation.clone().into(), &given.situation()), expected, "{operation}");
        }
    }

    #[test]
    fn each_link_and_each_operation_on_a_group_has_its_cause() {
        let given = OwnedSituation::linked(user(), account());
        let adopt = |by| Action::adopt(&user(), &account(), by);
        let (group, name) = (|| "eng".into(), || "Eng".to_owned());
        let table = [
            (adopt(MatchedBy::Login), "the account has the user's login"),
            (adopt(MatchedBy::Email), "the account has the user's e-mail address"),
            (adopt(MatchedBy::OtherLogin), "the account has the login by which the policy matches the user"),
            (
                adopt(MatchedBy::Attribute("externalId".into())),
                "the account's externalId has the value by which the policy matches the user",
            ),
            (adopt(MatchedBy::Operator), "an operator requested this link"),
            (Action::relink(&user(), None), "the former user of this login was deleted"),
            (Action::Link(Linking::DropLink { account: "a".into(), name: "alice".into() }), "its account is gone"),
            (
                Action::Link(Linking::AdoptGroup { path: "/Eng".into(), group: group(), name: name() }),
                "the group has the name of the group in Keycloak",
            ),
            (Operation::CreateGroup { name: name() }.into(), "the group in Keycloak"),
            (Operation::RenameGroup { group: group(), name: name(), to: "Dev".into() }.into(), "the group in Keycloak"),
            (Operation::DeleteGroup { group: group(), name: name() }.into(), "the group in Keycloak"),
        ];
        for (action, expected) in table {
            assert_eq!(cause(&action, &given.situation()), expected, "{action}");
        }
    }

    #[test]
    fn the_cause_of_a_membership_names_the_source_groups_that_feed_the_group() {
        let (group_name, name) = (|| "Eng".to_owned(), || "alice".to_owned());
        let add =
            Operation::AddMember { group: "eng".into(), group_name: group_name(), account: "a".into(), name: name() };
        let remove = Operation::RemoveMember {
            group: "eng".into(),
            group_name: group_name(),
            account: "a".into(),
            name: name(),
        };
        let created = Action::Link(Linking::AddCreated { group: "eng".into(), group_name: group_name(), name: name() });
        let (add, remove): (Action, Action) = (add.into(), remove.into());
        let managed = |group: &str, name: &str| GroupMapping::Managed { group: group.into(), name: name.into() };
        let mappings = vec![
            ("1".into(), managed("eng", "Dev")),
            ("2".into(), managed("ops", "Ops")),
            ("3".into(), GroupMapping::Unmapped { name: "Odd".into(), why: "two paths".into() }),
            ("4".into(), managed("eng", "Test")),
        ];
        let groups = [("1", "Dev"), ("2", "Ops"), ("3", "Odd"), ("4", "Test"), ("5", "New")]
            .map(|(id, name)| source_group(id, name));
        // The user's groups, whether usersync granted the membership, and the causes of the three actions.
        let table = [
            (&groups[..], false, "member of /Dev, /Test in Keycloak", "not a member in Keycloak"),
            (&groups[3..], false, "member of /Test in Keycloak", "not a member in Keycloak"),
            (&groups[3..], true, "member of /Test in Keycloak", "no longer a member in Keycloak"),
            (&groups[1..3], false, "member in Keycloak", "not a member in Keycloak"),
        ];
        for (groups, granted, added, removed) in table {
            let mut given = OwnedSituation::linked(UserState { groups: groups.to_vec(), ..user() }, account());
            given.groups = GroupTable::new(Vec::new(), mappings.clone());
            if granted {
                given.link_mut().given.insert("eng".into());
            }
            let again = if granted { "; removed in the target" } else { "" };
            assert_eq!(cause(&add, &given.situation()), format!("{added}{again}"));
            assert_eq!(cause(&created, &given.situation()), added);
            assert_eq!(cause(&remove, &given.situation()), removed);
        }
        let deleted = OwnedSituation::deleted(Account { active: false, ..account() });
        assert_eq!(cause(&created, &deleted.situation()), "member in Keycloak");
    }

    #[test]
    fn a_membership_of_a_group_that_the_policy_names_or_leaves_out_is_not_lost_in_keycloak() {
        let remove: Action = Operation::RemoveMember {
            group: "eng".into(),
            group_name: "Eng".to_owned(),
            account: "a".into(),
            name: "alice".to_owned(),
        }
        .into();
        let mut given =
            OwnedSituation::linked(UserState { groups: vec![source_group("1", "Eng")], ..user() }, account());
        given.link_mut().given.insert("eng".into());
        let managed = |sources: Vec<GroupId>| ManagedGroup {
            id: "eng".into(),
            name: "Eng".into(),
            adopted: false,
            removals_approved: false,
            sources: sources.into_iter().map(|id| ("acme".into(), id)).collect(),
        };
        let unmapped = |name: &str, why: &str| GroupMapping::Unmapped { name: name.into(), why: why.into() };
        let out = "left out by groups.excluded of the policy (/Eng)";
        for (sources, mapping, expected) in [
            (vec![], unmapped("eng", out), format!("/Eng: {out}")),
            (vec![], unmapped("kc-Eng", out), "no synced group in Keycloak has this name any more".to_owned()),
            (vec!["9".into()], unmapped("kc-Eng", out), "no longer a member in Keycloak".to_owned()),
            (
                vec!["constant:Eng".into()],
                unmapped("kc-Eng", out),
                "no longer granted by groups.constant of the policy".to_owned(),
            ),
        ] {
            given.groups = GroupTable::new(vec![managed(sources)], vec![("1".into(), mapping)]);
            assert_eq!(cause(&remove, &given.situation()), expected);
        }
    }

    #[test]
    fn a_member_of_a_sub_group_only_is_named_as_such() {
        let remove: Action = Operation::RemoveMember {
            group: "eng".into(),
            group_name: "eng".to_owned(),
            account: "a".into(),
            name: "alice".to_owned(),
        }
        .into();
        for (path, expected) in [
            ("/Eng/core", "only a member of its sub-group /Eng/core in Keycloak"),
            ("/ops/eng-x", "no longer a member in Keycloak"),
        ] {
            let group = Arc::new(GroupState::new("2".into(), "core".into(), path.into()));
            let mut given = OwnedSituation::linked(UserState { groups: vec![group], ..user() }, account());
            given.link_mut().given.insert("eng".into());
            assert_eq!(cause(&remove, &given.situation()), expected);
        }
    }

    #[test]
    fn the_cause_of_a_membership_names_the_way_to_it() {
        let add: Action = Operation::AddMember {
            group: "eng".into(),
            group_name: "Eng".to_owned(),
            account: "a".into(),
            name: "alice".to_owned(),
        }
        .into();
        let core = Arc::new(GroupState::new("2".into(), "core".into(), "/Eng/core".into()));
        let user = UserState { groups: vec![core], parent_groups: vec![source_group("1", "Eng")], ..user() };
        let mut given = OwnedSituation::linked(user, account());
        let managed = |id: &str| (id.into(), GroupMapping::Managed { group: "eng".into(), name: "Eng".into() });
        given.groups = GroupTable::new(Vec::new(), vec![managed("1")]);
        assert_eq!(cause(&add, &given.situation()), "member of /Eng/core (below /Eng) in Keycloak");
        given.groups = GroupTable::new(Vec::new(), vec![managed("constant:Eng")]);
        assert_eq!(cause(&add, &given.situation()), "member in Keycloak");
        let rules = serde_json::from_str(r#"{"constant": [{"name": "Eng"}]}"#).unwrap();
        let granted = Situation { group_rules: &rules, ..given.situation() };
        assert_eq!(cause(&add, &granted), "granted by groups.constant of the policy");
        let rules =
            serde_json::from_str(r#"{"constant": [{"name": "Else"}, {"name": "Eng", "roles": ["a", "jira/b"]}]}"#)
                .unwrap();
        let roles = UserRoles { held: vec![Arc::new(RoleName::of_client("jira", "b"))], unread: None };
        let presence = Presence::Present(UserState { roles, ..fixtures::user() }, Verdict::In);
        let granted = Situation { group_rules: &rules, presence: &presence, ..granted };
        assert_eq!(cause(&add, &granted), "granted by groups.constant of the policy (role jira/b)");
    }
}
