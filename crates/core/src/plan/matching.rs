//! Decides which account that existed before usersync a user is matched to.

use super::{
    NameHolder, Presence, Situation,
    user::{Decision, Hold, Planned, Then, is_another_user, link_command, unsupported},
};
use crate::{
    capabilities::Capabilities,
    model::{
        Account, AccountId, AccountRules, ApprovalKind, ConnectorName, Link, MatchKey, MatchedBy, UserId, UserState,
        count,
    },
    policy::{self, DesiredUser, Search, Verdict},
};

/// The accounts that a key of the policy found for a user without a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key and the value.
    pub search: Search,
    /// The accounts with this value.
    pub candidates: Vec<Candidate>,
}

/// An account that a key found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The account.
    pub account: Account,
    /// The user that it belongs to.
    pub owner: Owner,
}

/// The user that a found account belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No link claims the account.
    Nobody,
    /// This connector links it to another user.
    User {
        /// The user.
        user: UserId,
        /// Whether the account is that user's for certain: usersync created it for this user, who still exists.
        certain: bool,
    },
    /// Another connector links it.
    Connector(ConnectorName),
    /// Possibly another user's account that is being created.
    BeingCreated,
}

impl Found {
    /// Returns whether this key decides, so that later keys are not used. An account that usersync created for another
    /// user says nothing.
    pub fn decides(&self) -> bool {
        self.candidates.iter().any(|one| !matches!(one.owner, Owner::User { certain: true, .. }))
    }
}

/// Returns what is searched for a user before the account with its login decides: nothing for a user that has a link or
/// has left, and without other keys than the login.
pub fn searches_before_login(
    presence: &Presence,
    link: Option<&Link>,
    holder: &NameHolder,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
) -> Vec<Search> {
    let Presence::Present(user, Verdict::In) = presence else { return Vec::new() };
    if link.is_some() || !user.enabled || rules.matching.is_by_login_only() {
        return Vec::new();
    }
    let mut searches = policy::searches(user, capabilities, rules).unwrap_or_default();
    let login = searches.iter().position(|search| search.by == MatchedBy::Login);
    match login {
        Some(place) if matches!(holder, NameHolder::Unlinked(_)) => searches.truncate(place),
        Some(place) => drop(searches.remove(place)),
        None => {}
    }
    searches
}

/// Returns whether this account was found for the user, by the login or by another key.
pub fn is_candidate(holder: &NameHolder, matched: Option<&Found>, account: &AccountId) -> bool {
    let held = matches!(holder, NameHolder::Unlinked(holder) if holder.id == *account);
    held || matched.is_some_and(|found| found.candidates.iter().any(|one| one.account.id == *account))
}

/// Returns the account that a user without a link is matched to, whatever else speaks against adopting it; `None`: none,
/// or several.
pub fn matched_account<'a>(holder: &'a NameHolder, matched: Option<&'a Found>, by_login: bool) -> Option<&'a Account> {
    match (matched, holder) {
        (Some(found), _) => match unlinked(found)[..] {
            [one] if !found.search.unverified => Some(one),
            _ => None,
        },
        (None, NameHolder::Unlinked(account)) if by_login => Some(account),
        (None, _) => None,
    }
}

fn unlinked(found: &Found) -> Vec<&Account> {
    let is_free = |one: &&Candidate| one.owner == Owner::Nobody;
    found.candidates.iter().filter(is_free).map(|one| &one.account).collect()
}

/// Decides about a user for whom a key other than the login found accounts.
pub(super) fn decide_found(
    situation: &Situation<'_>,
    user: &UserState,
    desired: &DesiredUser,
    found: &Found,
) -> Decision {
    if found.candidates.iter().any(|one| one.owner == Owner::BeingCreated) {
        return Decision::Later;
    }
    let by = &found.search.by;
    let [account] = unlinked(found)[..] else {
        return Decision::Conflict(ambiguous(situation, user, found));
    };
    if let NameHolder::Unlinked(holder) = situation.holder
        && holder.id != account.id
    {
        return Decision::Conflict(format!(
            "{}: account {} has {} of this user, but account {} has the login. Link the user to one of them, such as: {}. \
             Then rename or delete the other one in the target.",
            user.username,
            named(account),
            the(by),
            named(holder),
            link_command(situation.pair, &user.id, &account.name),
        ));
    }
    if found.search.unverified {
        let (what, and) = match by {
            MatchedBy::Email => {
                ("the e-mail address".to_owned(), "but Keycloak has not verified that the address is the user's")
            }
            by => (the(by), "which the policy makes from an e-mail address that Keycloak has not verified"),
        };
        return Decision::Conflict(format!(
            "{}: account {} has {what} of this user, {and}. If both are the same person, run: {}. If not, change the \
             address in Keycloak.",
            user.username,
            named(account),
            link_command(situation.pair, &user.id, &account.name),
        ));
    }
    decide_adoption(situation, user, desired, account, by)
}

/// Decides whether a user takes over an account that no link claims.
pub(super) fn decide_adoption(
    situation: &Situation<'_>,
    user: &UserState,
    desired: &DesiredUser,
    account: &Account,
    by: &MatchedBy,
) -> Decision {
    if account.name == situation.own_login {
        let what = if *by == MatchedBy::Login {
            "this login is usersync's own account".to_owned()
        } else {
            format!("{} leads to usersync's own account", the(by))
        };
        return Decision::Plan(unsupported([format!("{}: {what}, which it never changes", user.username)]));
    }
    if let Some(other) = situation.same_account_as {
        return Decision::Conflict(format!(
            "{}: account {} matches this user by {}, and also the user {other}. Link it to one of them, such as: {}",
            user.username,
            named(account),
            value_of(by),
            link_command(situation.pair, &user.id, &account.name),
        ));
    }
    if is_another_user(desired, account) {
        let email = |email: Option<&String>| email.map(|email| format!(", {email}")).unwrap_or_default();
        let matched = if *by == MatchedBy::Login { String::new() } else { format!(", matched by {},", value_of(by)) };
        return Decision::Conflict(format!(
            "{}: account {} ({}{}){matched} has another name and another e-mail address than the user in Keycloak ({}{}). \
             If both are the same person, run: {}. If not, {} in the target.",
            user.username,
            account.name,
            account.display_name,
            email(account.email.as_ref()),
            desired.display_name.as_deref().unwrap_or_default(),
            email(desired.email.as_ref()),
            link_command(situation.pair, &user.id, &account.name),
            if matched.is_empty() { "rename the account" } else { "change that value" },
        ));
    }
    if situation.adopt_freely && account.active {
        return Decision::Adopt(account.clone(), by.clone());
    }
    let then = Then::Adopt(account.clone(), by.clone());
    Decision::Plan(Planned { holds: vec![Hold { kind: ApprovalKind::Adoption, then }], ..Planned::default() })
}

/// Returns the conflict of a login that an account holds by which the policy does not match users.
pub(super) fn not_matched_by_login(situation: &Situation<'_>, user: &UserState, holder: &Account) -> String {
    format!(
        "{}: account {} has the login of this user, but the policy does not match users by login. If both are the same \
         person, run: {}. If not, rename the account in the target.",
        user.username,
        named(holder),
        link_command(situation.pair, &user.id, &holder.name),
    )
}

/// Returns the conflict of a key that found no account, or several, to adopt.
fn ambiguous(situation: &Situation<'_>, user: &UserState, found: &Found) -> String {
    let free = unlinked(found);
    let linked: Vec<String> = found.candidates.iter().filter_map(linked_to).collect();
    let by = &found.search.by;
    let Some(first) = free.first() else {
        let (has, them) = if linked.len() == 1 { ("account", "that link") } else { ("accounts", "one of these links") };
        return format!(
            "{}: {has} {} found by {} of this user. Change that value for one of the users, or remove {them} with \
             usersync unlink.",
            user.username,
            linked.join(", "),
            the(by),
        );
    };
    let named: Vec<String> = free.iter().map(|account| named(account)).chain(linked).collect();
    format!(
        "{}: {} have {} of this user: {}. Link the user to one of them, such as: {}",
        user.username,
        count(named.len(), "account", "accounts"),
        the(by),
        named.join(", "),
        link_command(situation.pair, &user.id, &first.name),
    )
}

/// Returns an account with the user that it is linked to; `None`: it is linked to nobody.
fn linked_to(candidate: &Candidate) -> Option<String> {
    let account = named(&candidate.account);
    match &candidate.owner {
        Owner::User { user, .. } => Some(format!("{account}, linked to user {user}")),
        Owner::Connector(connector) => Some(format!("{account}, linked by connector {connector}")),
        Owner::Nobody | Owner::BeingCreated => None,
    }
}

fn named(account: &Account) -> String {
    format!("{} ({})", account.name, account.id)
}

/// Returns the value of a key with its article.
fn the(by: &MatchedBy) -> String {
    match by {
        MatchedBy::OtherLogin => "the other login".to_owned(),
        by => format!("the {by}"),
    }
}

/// Returns the words for how an account was matched.
fn value_of(by: &MatchedBy) -> String {
    by.to_string()
}

/// Returns why no account can be searched for a user; `None`: it can, or the account with the login decides before.
pub(super) fn search_fault(situation: &Situation<'_>, user: &UserState) -> Option<String> {
    let matching = situation.rules.matching;
    let decided = matching.by.first() == Some(&MatchKey::Login) && matches!(situation.holder, NameHolder::Unlinked(_));
    if decided || matching.is_by_login_only() {
        return None;
    }
    policy::searches(user, situation.capabilities, situation.rules).err()
}
