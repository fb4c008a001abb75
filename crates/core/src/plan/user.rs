//! Plans the operations for one user.

use std::{borrow::Cow, collections::BTreeMap};

use sha2::{Digest, Sha256};

use super::{
    decision::{
        Decision, Drifted, Findings, Hold, NameHolder, OwnerStanding, Planned, Presence, ProviderAnswer, Situation,
        Then,
    },
    drift::{account_deleted, leaves_login, reports, separate},
    leaver::{decide_leaver, has_left, leaving},
    matching::{decide_adoption, decide_found, not_matched_by_login, search_fault},
};
use crate::{
    capabilities::{Capabilities, Deactivation},
    model::{
        Account, AccountRules, ApprovalKind, GroupState, Link, ManagedGroup, MatchedBy, Operation, Pair, TargetGroupId,
        UserFields, UserId, UserState, count,
    },
    policy::{self, Verdict},
};

/// Returns the login with a holder that must be known before deciding: that of a new account, or of a rename. `None`:
/// no holder has to be known.
pub fn wanted_name(
    presence: &Presence,
    link: Option<&Link>,
    account: Option<&Account>,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> Option<String> {
    let Presence::Present(user, Verdict::In) = presence else { return None };
    match (link, account) {
        (None, _) if user.enabled => policy::login(user, capabilities, rules, true).ok().flatten(),
        (Some(_), Some(account)) => {
            own_login(user, account, capabilities, rules).ok().flatten().filter(|login| *login != account.name)
        }
        (None, _) | (Some(_), None) => None,
    }
}

/// Returns the login that an existing account should have; `None`: it keeps its own. A temporary login is nobody's own,
/// so it is replaced even by a login that is written to new accounts only.
///
/// # Errors
/// Its template cannot be rendered for this user.
pub(super) fn own_login(
    user: &UserState,
    account: &Account,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> Result<Option<String>, String> {
    policy::login(user, capabilities, rules, is_temporary(account))
}

/// Returns the login that an account gets once it is adopted for a user; `None`: it keeps its own.
pub fn login_after_adoption(
    user: &UserState,
    account: &Account,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> Option<String> {
    let login = own_login(user, account, capabilities, rules).ok().flatten()?;
    let is_possible = capabilities.rename && policy::unusable_login(&login, capabilities).is_none();
    (is_possible && login != account.name && account.protected.is_none()).then_some(login)
}

/// Decides what to do about one user.
pub fn decide(situation: &Situation<'_>) -> Decision {
    match (situation.link, situation.account) {
        (None, _) => decide_unlinked(situation),
        (Some(_), None) if situation.account_gone => decide_gone(situation),
        (Some(_), None) => Decision::Missing,
        (Some(link), Some(account)) => match decide_linked(situation, link, account) {
            Decision::Plan(planned) => Decision::Plan(without_updates(situation, separate(situation, planned))),
            other => other,
        },
    }
}

/// Decides about an account that is confirmed to be gone: a new one is created, unless drift stays as it is.
fn decide_gone(situation: &Situation<'_>) -> Decision {
    match account_deleted(situation).filter(|_| reports(situation)) {
        Some(drift) => {
            Decision::Plan(Planned { drift: vec![Drifted { drift, mended_by: None }], ..Planned::default() })
        }
        None => Decision::DropLink,
    }
}

fn decide_unlinked(situation: &Situation<'_>) -> Decision {
    let Presence::Present(user, verdict) = situation.presence else { return Decision::Plan(Planned::default()) };
    if let Some(why) = verdict.undecided() {
        return Decision::Plan(undecided(why));
    }
    if has_left(situation.presence) {
        return Decision::Plan(Planned::default());
    }
    let desired = policy::desired_user(user, situation.capabilities, situation.rules, true);
    let (Some(login), true) = (desired.login.clone(), desired.faults.is_empty()) else {
        return Decision::Plan(unsupported(desired.faults));
    };
    if let Some(other) = situation.same_login_as {
        return Decision::Conflict(same_login(user, &login, other));
    }
    // A link of the same user with a former id comes before all keys.
    let owner_exists = matches!(situation.holder, NameHolder::Ours { standing: Some(OwnerStanding::Alive), .. });
    if owner_exists || !matches!(situation.holder, NameHolder::Ours { .. } | NameHolder::BeingCreated) {
        if let Some(fault) = search_fault(situation, user) {
            return Decision::Plan(unsupported([fault]));
        }
        if let Some(found) = situation.matched {
            return decide_found(situation, user, &desired, found);
        }
    }
    match situation.holder {
        NameHolder::NotAsked | NameHolder::Free | NameHolder::Own => {
            if let Some(why) = policy::unusable_user(&desired, situation.capabilities) {
                return Decision::Plan(unsupported([format!("{}: {why}", user.username)]));
            }
            Decision::Plan(plan_creation(situation, user, login, desired))
        }
        NameHolder::Unlinked(account) if !situation.rules.matching.has_login() => {
            Decision::Conflict(not_matched_by_login(situation, user, account))
        }
        NameHolder::Unlinked(account) => decide_adoption(situation, user, &desired, account, &MatchedBy::Login),
        NameHolder::Ours { user: owner, standing: None, .. } => Decision::ReadOwner(owner.clone()),
        NameHolder::Ours { user: owner, standing: Some(OwnerStanding::Alive), .. } => Decision::WaitFor(owner.clone()),
        NameHolder::Ours { user: owner, standing: Some(OwnerStanding::GoneLately), account } => {
            Decision::TakeOver(owner.clone(), account.clone())
        }
        NameHolder::Ours { user: owner, standing: Some(OwnerStanding::GoneLong), account } => {
            Decision::Conflict(format!(
                "{}: account {} is linked to the deleted user {owner}, who was last seen too long ago to be relinked \
                 automatically. If it is the same person, run: {}. If not, rename the account in the target.",
                user.username,
                account.name,
                link_command(situation.pair, &user.id, &account.name),
            ))
        }
        NameHolder::Theirs(connector) => Decision::Conflict(format!(
            "{}: connector {connector} links the account of this login. Change the login of one of the two users, or \
             remove that link: usersync unlink {} --connector {connector} --target {}",
            user.username,
            word(&user.username),
            situation.pair.target,
        )),
        NameHolder::BeingCreated => Decision::Later,
    }
}

/// Plans the creation of an account.
fn plan_creation(situation: &Situation<'_>, user: &UserState, login: String, desired: policy::DesiredUser) -> Planned {
    let fields =
        UserFields { display_name: desired.display_name, email: desired.email, attributes: desired.attributes };
    let external_id = situation.capabilities.keeps_external_id.then(|| user.id.clone());
    let resolved = situation.groups.resolve(user, situation.group_rules, true);
    let mut planned = Planned {
        operations: vec![Operation::CreateUser { name: login, fields, external_id }],
        adds_after_create: resolved
            .wanted
            .iter()
            .filter_map(|group| situation.groups.managed(group))
            .filter(|group| situation.capabilities.protected_groups.why(&group.id, &group.name).is_none())
            .map(|group| (group.id.clone(), group.name.clone()))
            .collect(),
        missing_groups: resolved.missing,
        ..Planned::default()
    };
    planned.findings.unsupported.extend(desired.attribute_faults);
    planned.findings.unconfirmed.extend(resolved.undecided);
    report_unmapped(&mut planned.findings, situation, &resolved.unmapped);
    planned
}

fn same_login(user: &UserState, login: &str, other: &str) -> String {
    format!(
        "{}: the policy gives this user the login {login}, which is also that of the user {other}. Correct the template \
         of the login, or change one of the two users in Keycloak",
        user.username
    )
}

/// Returns whether an account with the user's login belongs to a different person: both name and e-mail address differ.
/// A value that the target does not show proves nothing.
pub(super) fn is_another_user(desired: &policy::DesiredUser, account: &Account) -> bool {
    let email = |email: &Option<String>| email.as_deref().unwrap_or_default().trim().to_lowercase();
    has_another_name(desired, account) && differs(&email(&account.email), &email(&desired.email))
}

/// Returns whether an account is known to have another name than the user.
pub(super) fn has_another_name(desired: &policy::DesiredUser, account: &Account) -> bool {
    let name = desired.display_name.as_deref().unwrap_or_default();
    differs(&name_words(&account.display_name), &name_words(name))
}

/// Returns whether two values are known and differ.
fn differs(one: &str, other: &str) -> bool {
    !one.is_empty() && !other.is_empty() && one != other
}

/// Returns the words of a name in a fixed order, so that `Liddell, Alice` equals `Alice Liddell`.
pub fn name_words(name: &str) -> String {
    let folded = name.to_lowercase();
    let mut words: Vec<&str> = folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.sort_unstable();
    words.join(" ")
}

/// Returns the command that links a user to the account with this login.
pub fn link_command(pair: &Pair, user: &UserId, account: &str) -> String {
    let Pair { connector, target } = pair;
    format!("usersync link {} {} --connector {connector} --target {target}", word(user.as_str()), word(account))
}

/// Quotes one word of a command line where necessary.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "._@+-:".contains(c);
    if text.chars().all(plain) { Cow::Borrowed(text) } else { Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))) }
}

fn decide_linked(situation: &Situation<'_>, link: &Link, account: &Account) -> Decision {
    let mut planned = Planned::default();
    if account.name == situation.own_login {
        planned.findings.protected = Some(format!("{} is usersync's own account: never changed", account.name));
        return Decision::Plan(planned);
    }
    if let Some(leaving) = leaving(situation) {
        return decide_leaver(situation, link, account, leaving);
    }
    let Presence::Present(user, verdict) = situation.presence else { return Decision::Plan(planned) };
    if let Some(why) = verdict.undecided() {
        return Decision::Plan(undecided(why));
    }
    if let Some(why) = &account.protected {
        planned.findings.protected = Some(format!("{}: {why}; never changed", account.name));
        return Decision::Plan(planned);
    }
    if let Some(why) = &account.immutable {
        planned.findings.unsupported.push(format!("{}: {why}", account.name));
        return Decision::Plan(planned);
    }
    let desired = policy::desired_user(user, situation.capabilities, situation.rules, false);
    planned.findings.unsupported.extend(desired.faults.iter().chain(&desired.attribute_faults).cloned());
    let login = if is_temporary(account) {
        own_login(user, account, situation.capabilities, situation.rules).ok().flatten()
    } else {
        desired.login.clone()
    };
    match rename(situation, account, login.as_deref()) {
        Rename::None => {}
        Rename::To(to) => planned.operations.push(rename_operation(account, to)),
        Rename::Unsupported(why) => planned.findings.unsupported.push(why),
        // Everything that does not depend on the new login continues under the old one.
        Rename::Instead(decision) => planned.afterwards = Some(Box::new(decision)),
    }
    plan_activation(link, account, situation.capabilities, &mut planned);
    let fields = changed_fields(&desired, account, link, situation.capabilities);
    let attributes = changed_attributes(&desired, account, link);
    if !fields.is_empty() {
        let (id, name) = (account.id.clone(), account.name.clone());
        planned.operations.push(Operation::UpdateUser { account: id, name, fields });
    }
    plan_memberships(situation, link, account, user, &mut planned);
    plan_attributes(situation, account, attributes, &mut planned);
    // Removals do not wait for operations that may be refused. If no source feeds a group any more, another one has
    // replaced it; the user is added to the new group first.
    let is_fed =
        |group: &TargetGroupId| situation.groups.managed(group).is_some_and(|managed| !managed.sources.is_empty());
    planned
        .operations
        .sort_by_key(|operation| !matches!(operation, Operation::RemoveMember { group, .. } if is_fed(group)));
    Decision::Plan(planned)
}

/// Plans the writes of further attributes, as the last operations, with values to set and to clear apart. An error in
/// one write blocks nothing else.
fn plan_attributes(
    situation: &Situation<'_>,
    account: &Account,
    attributes: BTreeMap<String, String>,
    planned: &mut Planned,
) {
    let (cleared, given): (BTreeMap<_, _>, _) = attributes.into_iter().partition(|(_, value)| value.is_empty());
    for attributes in [given, cleared] {
        if attributes.is_empty() {
            continue;
        }
        let fields = UserFields { attributes, ..UserFields::default() };
        let why = format!("{} would be cleared", fields.names().join(" and "));
        let doubt = situation.doubt().filter(|_| fields.clears());
        let update = Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields };
        planned.remove_if_confirmed(update, account, &why, doubt);
    }
}

/// Plans the activation of an account that usersync deactivated. An account that was deactivated otherwise waits for
/// approval.
fn plan_activation(link: &Link, account: &Account, capabilities: &Capabilities, planned: &mut Planned) {
    // A part of what was revoked may have been granted outside usersync; the rest is still to be granted.
    let owed = account.active && !link.taken.is_empty();
    if account.active && !owed {
        return;
    }
    let gives = link.taken.iter().cloned().collect();
    let activate = Operation::ActivateUser { account: account.id.clone(), name: account.name.clone(), gives };
    match capabilities.deactivate {
        Deactivation::Never => {
            planned.findings.unsupported.push(format!(
                "{}: the account is inactive, and the target cannot activate it. Activate it manually at the target",
                account.name
            ));
        }
        _ if link.deactivated_by_us || owed => planned.operations.push(activate),
        Deactivation::Switch => {
            planned.holds.push(Hold { kind: ApprovalKind::Activation, then: Then::Do(activate) });
        }
        // Without a switch, an account without access was not necessarily deactivated.
        Deactivation::Access => {}
    }
}

#[allow(clippy::large_enum_variant, reason = "looked at once and gone")]
pub(super) enum Rename {
    None,
    To(String),
    Unsupported(String),
    Instead(Decision),
}

pub(super) fn rename(situation: &Situation<'_>, account: &Account, login: Option<&str>) -> Rename {
    let Some(login) = login.filter(|login| *login != account.name) else { return Rename::None };
    if leaves_login(situation, login) {
        // Removed from the plan again, as drift that stays. Nothing has to be free for it.
        return Rename::To(login.to_owned());
    }
    if !situation.capabilities.rename {
        return Rename::Unsupported(format!(
            "{}: the target cannot rename it to {login}; rename it there manually",
            account.name
        ));
    }
    if let Some(why) = policy::unusable_login(login, situation.capabilities) {
        return Rename::Unsupported(format!("{}: its login should be {login}, but {why}", account.name));
    }
    if let (Some(other), Some(user)) = (situation.same_login_as, situation.presence.user()) {
        return Rename::Instead(Decision::Conflict(same_login(user, login, other)));
    }
    match situation.holder {
        NameHolder::NotAsked | NameHolder::Free | NameHolder::Own => Rename::To(login.to_owned()),
        NameHolder::Unlinked(other) => Rename::Instead(Decision::Conflict(format!(
            "{}: its login should be {login}, which the unmanaged account {} holds in the target. Free that \
             login there, or link the user to that account: {}",
            account.name,
            other.name,
            situation.link.map_or_else(String::new, |link| link_command(situation.pair, &link.user, &other.name)),
        ))),
        NameHolder::Theirs(connector) => Rename::Instead(Decision::Conflict(format!(
            "{}: its login should be {login}, which an account of connector {connector} holds in the target. \
             Change the login of one of the two users, or remove that link: usersync unlink {} --connector \
             {connector} --target {}",
            account.name,
            word(login),
            situation.pair.target,
        ))),
        NameHolder::BeingCreated => Rename::Instead(Decision::Later),
        NameHolder::Ours { .. } if situation.in_ring && !is_temporary(account) => {
            Rename::To(temporary_name(account, situation.capabilities))
        }
        // Two usernames differ, but a template can give both the same login.
        NameHolder::Ours { user, standing: None, .. } if situation.rules.login.is_some() => {
            Rename::Instead(Decision::ReadOwner(user.clone()))
        }
        NameHolder::Ours { user, .. } => Rename::Instead(Decision::WaitFor(user.clone())),
    }
}

pub(super) fn rename_operation(account: &Account, to: String) -> Operation {
    Operation::RenameUser { account: account.id.clone(), name: account.name.clone(), to }
}

/// Start of the mark of a temporary name.
const MARK: &str = ".moved-";

/// Returns the mark of a temporary name, derived from the account's stable id, so that no two accounts use the same.
fn temporary_mark(account: &Account) -> String {
    let digest = Sha256::digest(account.id.as_str().as_bytes());
    format!("{MARK}{}", hex::encode(&digest[..4]))
}

pub(super) fn is_temporary(account: &Account) -> bool {
    // Most names differ already without the digest.
    account.name.contains(MARK) && account.name.ends_with(&temporary_mark(account))
}

/// Returns the name that an account takes while another user needs its own.
pub(super) fn temporary_name(account: &Account, capabilities: &Capabilities) -> String {
    let mark = temporary_mark(account);
    let room = capabilities.login_max.saturating_sub(mark.len());
    let head: String = account.name.chars().take(room).collect();
    head + &mark
}

/// Returns the fields that differ. Where e-mail addresses cannot be read back, the last written one is compared.
fn changed_fields(
    desired: &policy::DesiredUser,
    account: &Account,
    link: &Link,
    capabilities: &Capabilities,
) -> UserFields {
    let present_email = if capabilities.reads_email { &account.email } else { &link.written.email };
    // An address that was neither read nor written may be correct.
    let unknown = !capabilities.update && !capabilities.reads_email && present_email.is_none();
    UserFields {
        display_name: desired.display_name.clone().filter(|name| account.display_name != *name),
        // An empty address keeps the current one: some targets require an address.
        email: desired.email.clone().filter(|email| !unknown && present_email.as_ref() != Some(email)),
        attributes: BTreeMap::new(),
    }
}

/// Returns further attributes that differ. An attribute that a target does not show is written once.
fn changed_attributes(desired: &policy::DesiredUser, account: &Account, link: &Link) -> BTreeMap<String, String> {
    let differs = |(name, wanted): &(&String, &String)| {
        let present = account.attributes.get(*name).or_else(|| link.written.attributes.get(*name));
        present.map_or("", String::as_str) != wanted.as_str()
    };
    let differing = desired.attributes.iter().filter(differs);
    differing.map(|(name, wanted)| (name.clone(), wanted.clone())).collect()
}

/// Reports updates of the display name and the e-mail address instead, if the target cannot change them.
fn without_updates(situation: &Situation<'_>, mut planned: Planned) -> Planned {
    let findings = &mut planned.findings;
    let mut is_possible = |operation: &Operation| match operation {
        Operation::UpdateUser { name, fields, .. } if fields.display_name.is_some() || fields.email.is_some() => {
            let what = differing(fields);
            findings
                .unsupported
                .push(format!("{name}: {what}; the target cannot change it. Change it manually at the target"));
            false
        }
        _ => true,
    };
    if !situation.capabilities.update {
        planned.operations.retain(&mut is_possible);
    }
    planned
}

/// Describes the differences, for a target that cannot change them.
fn differing(fields: &UserFields) -> String {
    let name = fields.display_name.as_ref().map(|name| format!("its display name should be {name}"));
    let email = fields.email.as_ref().map(|_| "its e-mail address is out of date".to_owned());
    name.into_iter().chain(email).collect::<Vec<_>>().join(", ")
}

fn plan_memberships(
    situation: &Situation<'_>,
    link: &Link,
    account: &Account,
    user: &UserState,
    planned: &mut Planned,
) {
    let resolved = situation.groups.resolve(user, situation.group_rules, link.written.is_new);
    report_unmapped(&mut planned.findings, situation, &resolved.unmapped);
    planned.findings.unconfirmed.extend(resolved.undecided);
    planned.missing_groups = resolved.missing;
    // Groups that were not read are not an empty list of groups.
    let Some(present) = &account.groups else {
        planned.groups_unread = true;
        return;
    };
    let protected = &situation.capabilities.protected_groups;
    // Checked first, as most memberships are in sync.
    let absent = resolved.wanted.iter().filter(|group| !present.contains(group));
    for group in absent.filter_map(|group| situation.groups.managed(group)) {
        if let Some(why) = protected.why(&group.id, &group.name) {
            report_group(&mut planned.findings, situation.capabilities, &group.name, why);
            continue;
        }
        planned.operations.push(Operation::AddMember {
            group: group.id.clone(),
            group_name: group.name.clone(),
            account: account.id.clone(),
            name: account.name.clone(),
        });
    }
    if reports(situation) {
        let ended = |group: &&TargetGroupId| {
            !present.contains(group) && !resolved.wanted.contains(*group) && !resolved.keep.contains(*group)
        };
        planned.ended = link.given.iter().filter(ended).cloned().collect();
    }
    let leaves = present.iter().filter(|group| !resolved.wanted.contains(group) && !resolved.keep.contains(group));
    let doubtful = plan_removals(situation, link, account, leaves, planned);
    if let (1.., Some(doubt)) = (doubtful, situation.doubt()) {
        let why = format!("in {} that Keycloak does not return", count(doubtful, "group", "groups"));
        planned.not_confirmed(account, &why, doubt);
    }
}

/// Plans the removals from those of these groups that usersync manages or granted. Returns the number of groups that are
/// kept because the user's federation provider does not confirm the removal.
pub(super) fn plan_removals<'g>(
    situation: &Situation<'_>,
    link: &Link,
    account: &Account,
    groups: impl Iterator<Item = &'g TargetGroupId>,
    planned: &mut Planned,
) -> usize {
    let protected = &situation.capabilities.protected_groups;
    let mut doubtful = 0;
    for group in groups {
        let managed = situation.groups.managed(group);
        let given = link.given.contains(group);
        let is_fed = |managed: &ManagedGroup| {
            managed.fed_by(situation.pair) && !situation.groups.is_constant(situation.pair, managed)
        };
        let ours = given || managed.is_some_and(is_fed);
        if !ours {
            continue;
        }
        let name = managed.map_or(group.as_str(), |managed| managed.name.as_str());
        if let Some(why) = protected.why(group, name) {
            planned.findings.kept.push(format!("{name}: {why}; no member is removed"));
            continue;
        }
        if let Some(how) = situation.capabilities.access_groups.get(group).filter(|_| !given) {
            planned.findings.kept.push(format!(
                "{name} grants {how}: members that usersync did not add are not removed. To remove them, add the \
                 group to the target's managed_access_groups"
            ));
            continue;
        }
        let doubt = situation.doubt();
        if !matches!(doubt, None | Some(ProviderAnswer::ToApprove(_))) {
            doubtful += 1;
            continue;
        }
        let leave = Operation::RemoveMember {
            group: group.clone(),
            group_name: name.to_owned(),
            account: account.id.clone(),
            name: account.name.clone(),
        };
        if managed.is_some_and(|managed| managed.adopted && !managed.removals_approved) && !given {
            planned.holds.push(Hold { kind: ApprovalKind::AdoptedGroup, then: Then::Do(leave) });
        } else if doubt.is_some() {
            planned.holds.push(Hold { kind: ApprovalKind::Federation, then: Then::Do(leave) });
        } else {
            planned.operations.push(leave);
        }
    }
    doubtful
}

fn undecided(why: &str) -> Planned {
    Planned { findings: Findings { undecided: Some(why.to_owned()), ..Findings::default() }, ..Planned::default() }
}

pub(super) fn unsupported(whys: impl Into<Vec<String>>) -> Planned {
    Planned { findings: Findings { unsupported: whys.into(), ..Findings::default() }, ..Planned::default() }
}

fn report_unmapped(findings: &mut Findings, situation: &Situation<'_>, unmapped: &[(Cow<'_, GroupState>, &str)]) {
    let capabilities = situation.capabilities;
    for (group, why) in unmapped.iter().filter(|(group, _)| policy::left_out(group, situation.group_rules).is_none()) {
        if capabilities.protected_groups.is_left_alone(&group.name) {
            report_group(findings, capabilities, &group.name, why);
        } else {
            findings.unsupported.push(format!("group {}: {why}", group.path));
        }
    }
}

/// Reports a group that should have the user as a member but is never changed.
fn report_group(findings: &mut Findings, capabilities: &Capabilities, name: &str, why: &str) {
    match capabilities.protected_groups.why_named(name).filter(|_| capabilities.protected_groups.is_left_alone(name)) {
        Some(why) => findings.kept.push(format!("{name}: {why}; no member is added")),
        None => findings.unsupported.push(format!("group {name}: {why}; no member is added")),
    }
}
