//! Decides which account that existed before usersync a user is matched to.

use super::{
    decision::{Decision, Hold, NameHolder, Planned, Presence, Situation, Then},
    user::{has_another_name, is_another_user, link_command, unsupported, word},
};
use crate::{
    capabilities::Capabilities,
    model::{
        Account, AccountId, AccountRules, ApprovalKind, ConnectorName, Link, MatchKey, MatchedBy, Pair, UserId,
        UserState, count,
    },
    policy::{self, DesiredUser, Search, Verdict},
};

/// Number of accounts that a conflict names.
const MOST_NAMED: usize = 5;

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
            [one] if !found.search.unverified && !is_disputed(found) => Some(one),
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

/// Returns whether another user or connector has one of the accounts, perhaps by mistake. Then nothing tells which account
/// is the user's.
fn is_disputed(found: &Found) -> bool {
    let is_plain = |one: &Candidate| matches!(one.owner, Owner::Nobody | Owner::User { certain: true, .. });
    !found.candidates.iter().all(is_plain)
}

/// Returns the command that links the user to the first of these accounts that it does not refuse; `None`: it refuses all.
fn command(situation: &Situation<'_>, user: &UserState, accounts: &[&Account]) -> Option<String> {
    let may_be = |account: &&&Account| account.protected.is_none() && account.name != situation.own_login;
    let account = accounts.iter().find(may_be)?;
    Some(link_command(situation.pair, &user.id, &account.name))
}

/// Returns how to end a conflict about one account that may be the user's.
fn if_the_same(situation: &Situation<'_>, user: &UserState, account: &Account, if_not: &str) -> String {
    match command(situation, user, &[account]) {
        Some(command) => format!("If both are the same person, run: {command}. If not, {if_not}."),
        None => format!("The account is protected, so usersync link refuses it. If it is another person's, {if_not}."),
    }
}

/// Returns the refusal to use usersync's own account; `None`: it is another one.
fn own_account(situation: &Situation<'_>, user: &UserState, account: &Account, by: &MatchedBy) -> Option<Decision> {
    if account.name != situation.own_login {
        return None;
    }
    let what = if *by == MatchedBy::Login {
        "this login is usersync's own account".to_owned()
    } else {
        format!("{} leads to usersync's own account", the(by))
    };
    Some(Decision::Plan(unsupported([format!("{}: {what}, which it never changes", user.username)])))
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
    let account = match unlinked(found)[..] {
        [account] if !is_disputed(found) => account,
        _ => return Decision::Conflict(ambiguous(situation, user, found)),
    };
    if let Some(refusal) = own_account(situation, user, account, by) {
        return refusal;
    }
    if let NameHolder::Unlinked(holder) = situation.holder
        && holder.id != account.id
    {
        return Decision::Conflict(format!(
            "{}: account {} has {} of this user, but account {} has the login. {}",
            user.username,
            named(account),
            the(by),
            named(holder),
            command(situation, user, &[account, holder]).map_or_else(
                || "Both are protected: change one of them in the target.".to_owned(),
                |command| format!(
                    "Link the user to one of them, such as: {command}. Then rename or delete the other one in the target."
                ),
            ),
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
            "{}: account {} has {what} of this user, {and}. {}",
            user.username,
            named(account),
            if_the_same(situation, user, account, "change the address in Keycloak"),
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
    if let Some(refusal) = own_account(situation, user, account, by) {
        return refusal;
    }
    if let Some(other) = situation.same_account_as {
        return Decision::Conflict(format!(
            "{}: account {} matches this user by {}, and also the user {other}. {}",
            user.username,
            named(account),
            by,
            command(situation, user, &[account]).map_or_else(
                || "The account is protected: change one of the users in Keycloak.".to_owned(),
                |command| format!("Link it to one of them, such as: {command}"),
            ),
        ));
    }
    if is_another_user(desired, account) {
        let email = |email: Option<&String>| email.map(|email| format!(", {email}")).unwrap_or_default();
        let matched = if *by == MatchedBy::Login { String::new() } else { format!(", matched by {by},") };
        return Decision::Conflict(format!(
            "{}: account {} ({}{}){matched} has another name and another e-mail address than the user in Keycloak ({}{}). \
             {}",
            user.username,
            account.name,
            account.display_name,
            email(account.email.as_ref()),
            desired.display_name.as_deref().unwrap_or_default(),
            email(desired.email.as_ref()),
            if_the_same(
                situation,
                user,
                account,
                if matched.is_empty() { "rename the account in the target" } else { "change that value in the target" },
            ),
        ));
    }
    // Users of the target may change their address there, so an equal address alone is no proof.
    let doubtful = *by == MatchedBy::Email && has_another_name(desired, account);
    if situation.adopt_freely && account.active && !doubtful {
        return Decision::Adopt(account.clone(), by.clone());
    }
    let then = Then::Adopt(account.clone(), by.clone());
    Decision::Plan(Planned { holds: vec![Hold { kind: ApprovalKind::Adoption, then }], ..Planned::default() })
}

/// Returns the conflict of a login that an account holds by which the policy does not match users.
pub(super) fn not_matched_by_login(situation: &Situation<'_>, user: &UserState, holder: &Account) -> String {
    format!(
        "{}: account {} has the login of this user, but the policy does not match users by login. {}",
        user.username,
        named(holder),
        if_the_same(situation, user, holder, "rename the account in the target"),
    )
}

/// Returns the conflict of a key that found no account, or several, to adopt.
fn ambiguous(situation: &Situation<'_>, user: &UserState, found: &Found) -> String {
    let free = unlinked(found);
    let by = the(&found.search.by);
    if let [candidate] = &found.candidates[..]
        && let Some(owner) = owned_by(candidate)
    {
        let remove = match &candidate.owner {
            Owner::User { user, .. } => {
                let Pair { connector, target } = situation.pair;
                format!(": usersync unlink {} --connector {connector} --target {target}", word(user.as_str()))
            }
            _ => " with usersync unlink".to_owned(),
        };
        return format!(
            "{}: account {} has {by} of this user, but is {owner}. Change that value for one of the users, or remove that \
             link{remove}",
            user.username,
            named(&candidate.account),
        );
    }
    let owned = found
        .candidates
        .iter()
        .filter_map(|one| owned_by(one).map(|owner| format!("{}, {owner}", named(&one.account))));
    let all: Vec<String> = free.iter().map(|account| named(account)).chain(owned).collect();
    let names = all.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(MOST_NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let end = match (command(situation, user, &free), free.is_empty()) {
        (Some(command), _) => format!("Link the user to one of them, such as: {command}"),
        (None, false) => "Change that value for all of them but one.".to_owned(),
        (None, true) => {
            "Change that value for one of the users, or remove one of these links with usersync unlink.".to_owned()
        }
    };
    format!(
        "{}: {} have {by} of this user: {names}{more}. {end}",
        user.username,
        count(all.len(), "account", "accounts")
    )
}

/// Returns to whom an account is linked; `None`: to nobody.
fn owned_by(candidate: &Candidate) -> Option<String> {
    match &candidate.owner {
        Owner::User { user, .. } => Some(format!("linked to user {user}")),
        Owner::Connector(connector) => Some(format!("linked by connector {connector}")),
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

/// Returns why no account can be searched for a user; `None`: it can, or the account with the login decides before.
pub(super) fn search_fault(situation: &Situation<'_>, user: &UserState) -> Option<String> {
    let matching = situation.rules.matching;
    let decided = matching.by.first() == Some(&MatchKey::Login) && matches!(situation.holder, NameHolder::Unlinked(_));
    if decided || matching.is_by_login_only() {
        return None;
    }
    policy::searches(user, situation.capabilities, situation.rules).err()
}
