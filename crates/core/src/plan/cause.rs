//! Explains why each operation of a plan is needed: pure.

use std::sync::Arc;

use super::{Presence, Situation, leaving};
use crate::model::{Action, GroupMapping, GroupState, Linking, Operation, TargetGroupId, UserFields, UserState};

/// Returns, in a few words, why an action is in the plan for this situation.
pub fn cause(action: &Action, situation: &Situation<'_>) -> String {
    let present = match situation.presence {
        Presence::Present(user) => Some(user),
        Presence::Gone => None,
    };
    let given = |group: &TargetGroupId| situation.link.is_some_and(|link| link.given.contains(group));
    let operation = match action {
        Action::Write(operation) => operation,
        Action::Link(Linking::AdoptUser { .. }) => return "the account has the user's login".to_owned(),
        Action::Link(Linking::RelinkUser { .. }) => return "the former user of this login was deleted".to_owned(),
        Action::Link(Linking::DropLink { .. }) => return "its account is gone".to_owned(),
        Action::Link(Linking::AdoptGroup { .. }) => {
            return "the group has the name of the group in Keycloak".to_owned();
        }
        Action::Link(Linking::AddCreated { group, .. }) => return sources(present, situation, group),
    };
    match operation {
        Operation::CreateUser { .. } => "no account yet".to_owned(),
        Operation::UpdateUser { fields, .. } => changed(fields, situation),
        Operation::RenameUser { to, .. } => match present {
            Some(user) if user.username.eq_ignore_ascii_case(to) => "its login in Keycloak differs".to_owned(),
            _ => "another user needs its login".to_owned(),
        },
        Operation::ActivateUser { .. } => "enabled in Keycloak".to_owned(),
        Operation::DeactivateUser { .. } | Operation::DeleteUser { .. } => {
            leaving(situation.presence).unwrap_or("no longer wanted").to_owned()
        }
        Operation::AddMember { group, .. } if given(group) => {
            format!("{}; removed in the target", sources(present, situation, group))
        }
        Operation::AddMember { group, .. } => sources(present, situation, group),
        Operation::RemoveMember { group, .. } if given(group) => "no longer a member in Keycloak".to_owned(),
        Operation::RemoveMember { .. } => "not a member in Keycloak".to_owned(),
        Operation::CreateGroup { .. } | Operation::RenameGroup { .. } | Operation::DeleteGroup { .. } => {
            "the group in Keycloak".to_owned()
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
    let paths: Vec<&str> =
        user.into_iter().flat_map(|user| &user.groups).filter(feeds).map(|group| group.path.as_str()).collect();
    if paths.is_empty() {
        "member in Keycloak".to_owned()
    } else {
        format!("member of {} in Keycloak", paths.join(", "))
    }
}

/// Returns whether fields differ because of a change in Keycloak or at the target.
fn changed(fields: &UserFields, situation: &Situation<'_>) -> String {
    let Some(link) = situation.link else { return "differs from Keycloak".to_owned() };
    let written = &link.written;
    // If the desired value is the last written one, the target has changed.
    let drifted = |wanted: &Option<String>, wrote: &Option<String>| wanted.is_some() && wanted == wrote;
    let names = drifted(&fields.display_name, &written.display_name);
    let emails = drifted(&fields.email, &written.email);
    let attributes = fields.attributes.iter().any(|(name, wanted)| written.attributes.get(name) == Some(wanted));
    if names || emails || attributes {
        "changed in the target".to_owned()
    } else if link.adopted && written.display_name.is_none() && written.email.is_none() {
        "differs from Keycloak".to_owned()
    } else {
        "changed in Keycloak".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Account, AttributeRules, Link, Pair},
        plan::{GroupTable, NameHolder, fixtures::capabilities},
    };

    #[test]
    fn a_change_in_the_target_is_told_apart_from_a_change_in_keycloak() {
        let (pair, capabilities, groups) = (Pair::new("acme", "jira"), capabilities(), GroupTable::default());
        let attributes = AttributeRules::default();
        let account = Account {
            id: "1".into(),
            name: "alice".into(),
            display_name: "Nobody".into(),
            email: None,
            attributes: std::collections::BTreeMap::new(),
            active: true,
            access: Vec::new(),
            groups: Some(Vec::new()),
            protected: None,
            immutable: None,
        };
        let mut link = Link::new("u".into(), "1".into(), "alice");
        let fields = UserFields { display_name: Some("Alice".into()), ..UserFields::default() };
        let update = Operation::UpdateUser { account: "1".into(), name: "alice".into(), fields };
        for (wrote, expected) in [("Alice", "changed in the target"), ("Old", "changed in Keycloak")] {
            link.written.display_name = Some(wrote.into());
            let situation = Situation {
                pair: &pair,
                capabilities: &capabilities,
                presence: &Presence::Gone,
                link: Some(&link),
                account: Some(&account),
                account_gone: false,
                holder: &NameHolder::Own,
                groups: &groups,
                attributes: &attributes,
                adopt_freely: false,
                wanted_by_other: false,
                in_ring: false,
                own_login: "usersync",
            };
            assert_eq!(cause(&update.clone().into(), &situation), expected);
        }
    }
}
