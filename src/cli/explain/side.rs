//! The state of one user on one target.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::others::{Comparison, Trouble};
use crate::{
    cli::{app::Sides, causes::Causes, exit::Failure, report},
    config::Config,
    engine::{approval_key, search_accounts},
    keycloak::{Source as _, SourceError},
    model::{
        Account, AccountId, AccountRules, AdoptRule, ApprovalItem, ApprovalItemState, AttributeRule, Change,
        ConnectorName, ConstantGroup, GroupMapping, GroupRules, GroupState, Link, Pair, Policy, Subject, TaskRecord,
        Unsupported, UserId, UserState,
    },
    plan::{
        self, Candidate, Decision, Found, GroupTable, NameHolder, Owner, OwnerStanding, Planned, Presence,
        ProviderAnswer, Situation, Then,
    },
    policy::{self, Verdict},
    store::{ChangeFilter, PairState, Store, TaskFilter},
    targets::{LeftOpen, Target, TargetError, TargetInfo, left_open},
};

/// Number of changes shown.
const CHANGES: usize = 5;

/// A field or a membership, with its wanted and its current value.
#[derive(Serialize)]
pub(super) struct Field {
    pub about: String,
    pub wanted: String,
    /// Source of the wanted value: a Keycloak field, a template, a group path, or `nothing`.
    pub from: String,
    /// The current value in words, such as `in sync` or `current: none`.
    pub there: String,
}

/// A change with its cause in words.
#[derive(Serialize)]
pub(super) struct Past {
    #[serde(flatten)]
    pub change: Change,
    pub because: String,
}

/// The state of one user on one target.
#[derive(Default, Serialize)]
pub(super) struct OnTarget {
    pub target: String,
    pub link: Option<Link>,
    pub account: Option<Account>,
    pub fields: Vec<Field>,
    /// Planned operations and decisions, in words; empty: none.
    pub to_do: Vec<String>,
    #[serde(skip)]
    undone: Undone,
    /// Why the target could not be read; `None`: it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// State of the pair; it decides whether tasks are worked.
    pub state: Option<PairState>,
    pub task: Option<TaskRecord>,
    pub held: Vec<(i64, ApprovalItem)>,
    /// Access that may stay open to a user that left.
    #[serde(skip_serializing_if = "<[LeftOpen]>::is_empty")]
    pub left_open: &'static [LeftOpen],
    pub changes: Vec<Past>,
}

/// Changes that are wanted for a user, but not done.
#[derive(Default, Serialize)]
pub(in crate::cli) struct Undone {
    /// Operations of the current plan.
    pub planned: Vec<String>,
    /// Why further changes are not done: unsupported, protected, not confirmed, left.
    pub reasons: Vec<String>,
    /// Why the target could not be read; `None`: it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Undone {
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty() && self.reasons.is_empty() && self.trouble.is_none()
    }
}

/// Reads both sides of a user after its task was worked, and returns what is still out of sync.
pub(in crate::cli) async fn undone(
    config: &Config,
    sides: &Sides,
    store: &dyn Store,
    pair: &Pair,
    id: &UserId,
    user: Option<&UserState>,
) -> Result<Undone, Failure> {
    let on = read_sides(config, sides, store, pair, id, user).await?;
    // The held operations were rejected by an operator.
    let planned = if on.held.is_empty() { on.undone.planned } else { Vec::new() };
    Ok(Undone { planned, trouble: on.trouble, ..on.undone })
}

/// Returns the policy of a connector.
pub(in crate::cli) fn policy_of(config: &Config, connector: &ConnectorName) -> Policy {
    let found = config.connectors.iter().find(|one| one.name == *connector);
    found.map(|one| one.policy.clone()).unwrap_or_default()
}

/// Returns the policy that applies to the target of a pair.
pub(super) fn policy_of_pair(config: &Config, pair: &Pair) -> Policy {
    policy_of(config, &pair.connector).of_target(&pair.target).into_owned()
}

/// State that was read at the target.
pub(super) struct TargetState {
    pub info: TargetInfo,
    account: Option<Account>,
    pub holder: NameHolder,
    pub matched: Option<Found>,
}

pub(super) async fn read_sides(
    config: &Config,
    sides: &Sides,
    store: &dyn Store,
    pair: &Pair,
    id: &UserId,
    user: Option<&UserState>,
) -> Result<OnTarget, Failure> {
    let subject = Subject::User(id.clone());
    let state = store.pair_state(pair).await?;
    let link = store.link(pair, id).await?;
    let mut on = OnTarget {
        target: pair.target.to_string(),
        state: Some(state),
        task: task(store, pair, &subject).await?,
        held: items(store, pair, &subject).await?,
        changes: past(store, pair, &subject).await?,
        ..OnTarget::default()
    };
    let Some(target) = sides.targets.get(&pair.target) else { return Ok(on) };
    let policy = policy_of_pair(config, pair);
    let presence = match user {
        None => Presence::Gone,
        Some(user) => match sides.judge(&pair.connector, &policy, user.clone()).await {
            Ok(presence) => presence,
            Err(error) => {
                (on.trouble, on.link) = (Some(error.text), link);
                return Ok(on);
            }
        },
    };
    let groups = GroupTable::new(store.managed_groups(&pair.target).await?, store.group_mappings(pair).await?);
    let rules = policy.account_rules(&pair.target);
    let mut there = match read(store, target.as_ref(), pair, link.as_ref(), &presence, &groups, rules).await? {
        Ok(there) => there,
        Err(error) => {
            (on.trouble, on.link) = (Some(error.text), link);
            return Ok(on);
        }
    };
    let same_login = same_login_as(sides, pair, &policy, &there).await;
    let (standing, same_login) = match same_login {
        Ok(found) => found,
        Err(error) => {
            (on.trouble, on.link) = (Some(error.text), link);
            return Ok(on);
        }
    };
    if let (NameHolder::Ours { standing: of_owner, .. }, Some(standing)) = (&mut there.holder, standing) {
        *of_owner = Some(standing);
    }
    let others = Comparison { sides, store, target: target.as_ref(), pair, policy: &policy, groups: &groups };
    let same_account = match link {
        Some(_) => Ok(None),
        None => others.same_account_as(id, &there).await,
    };
    let same_account = match same_account {
        Ok(found) => found,
        Err(Trouble::Store(failure)) => return Err(failure),
        Err(Trouble::Source(SourceError { text, .. }) | Trouble::Target(TargetError { text, .. })) => {
            (on.trouble, on.link) = (Some(text), link);
            return Ok(on);
        }
    };
    let mut decision = plan::decide(&Situation {
        pair,
        capabilities: &there.info.capabilities,
        presence: &presence,
        link: link.as_ref(),
        account: there.account.as_ref(),
        account_gone: false,
        holder: &there.holder,
        groups: &groups,
        rules,
        matched: there.matched.as_ref(),
        same_login_as: same_login.as_deref(),
        same_account_as: same_account.as_deref(),
        group_rules: &policy.groups,
        leavers: &policy.leavers,
        now: Timestamp::now(),
        adopt_freely: policy.adopt == AdoptRule::Always || state != PairState::InService,
        wanted_by_other: false,
        in_ring: false,
        own_login: &there.info.signed_in_as,
        provider: &ProviderAnswer::NotAsked,
        drift: policy.drift_in(&pair.target),
    });
    if let Decision::Plan(planned) = &mut decision {
        drop_unsupported(planned, store.unsupported(pair).await?, &subject);
        on.undone.planned = planned.operations.iter().map(ToString::to_string).collect();
        let groups = planned.missing_groups.iter();
        on.undone.planned.extend(groups.map(|group| format!("create or rename the group of group:{group}")));
        on.undone.reasons = findings(planned);
    }
    on.to_do = words(&decision);
    if let Presence::Present(user, Verdict::In) = &presence {
        on.fields = fields(user, link.as_ref(), &there, rules);
        on.fields.extend(group_fields(user, link.as_ref(), &there, &groups, &policy.groups));
    }
    if is_leaver(&presence, link.as_ref(), there.account.as_ref()) {
        on.left_open = left_open(target.kind());
    }
    (on.account, on.link) = (there.account, link);
    Ok(on)
}

/// Returns whether the user whose account has the wanted login exists, as far as one read shows, and its username if the
/// policy lets it keep that login, so that two users have one login.
async fn same_login_as(
    sides: &Sides,
    pair: &Pair,
    policy: &Policy,
    there: &TargetState,
) -> Result<(Option<OwnerStanding>, Option<String>), SourceError> {
    let NameHolder::Ours { account, user, .. } = &there.holder else { return Ok((None, None)) };
    let Some(other) = sides.sources[&pair.connector].user(user).await? else { return Ok((None, None)) };
    let alive = Some(OwnerStanding::Alive);
    let Presence::Present(other, Verdict::In) = sides.judge(&pair.connector, policy, other).await? else {
        return Ok((alive, None));
    };
    let capabilities = &there.info.capabilities;
    let login = policy::login(&other, capabilities, policy.account_rules(&pair.target), false).ok().flatten();
    let keeps = login.is_none_or(|login| capabilities.login_case.same(&login, &account.name));
    Ok((alive, keeps.then_some(other.username)))
}

/// Returns whether the user left: gone, disabled or out of scope, with a linked account that is not active.
fn is_leaver(presence: &Presence, link: Option<&Link>, account: Option<&Account>) -> bool {
    plan::has_left(presence) && link.is_some() && account.is_some_and(|account| !account.active)
}

/// Reads the account, and finds the holder of the login that the user should have.
pub(super) async fn read(
    store: &dyn Store,
    target: &dyn Target,
    pair: &Pair,
    link: Option<&Link>,
    presence: &Presence,
    groups: &GroupTable,
    rules: AccountRules<'_>,
) -> Result<Result<TargetState, TargetError>, Failure> {
    let reported = async {
        let info = target.probe().await?;
        let mut account = match link {
            Some(link) => target.account(&link.account).await?,
            None => None,
        };
        if let Some(account) = account.as_mut().filter(|account| account.groups.is_none()) {
            account.groups = match link.filter(|_| !target.shows_memberships()) {
                Some(link) => Some(link.given.iter().cloned().collect()),
                None => Some(target.groups_among(&account.id, &groups.deciding(pair, link)).await?),
            };
        }
        let wanted = plan::wanted_name(presence, link, account.as_ref(), &info.capabilities, rules);
        let found = match &wanted {
            Some(name) => target.account_named(name).await?,
            None => None,
        };
        Ok((info, account, wanted, found))
    };
    let (info, account, wanted, found) = match reported.await {
        Ok(reported) => reported,
        Err(error) => return Ok(Err(error)),
    };
    let holder = match (wanted, found) {
        (None, _) => NameHolder::NotAsked,
        (Some(_), None) => NameHolder::Free,
        (Some(_), Some(found)) if link.is_some_and(|link| link.account == found.id) => NameHolder::Own,
        (Some(_), Some(found)) => holder(store, pair, found).await?,
    };
    let searches = plan::searches_before_login(presence, link, &holder, &info.capabilities, rules);
    let mut matched = None;
    for search in searches {
        let accounts = match search_accounts(target, &search).await {
            Ok(accounts) => accounts,
            Err(error) => return Ok(Err(error)),
        };
        let mut candidates = Vec::with_capacity(accounts.len());
        for account in accounts {
            candidates.push(Candidate { owner: owner(store, pair, &account.id).await?, account });
        }
        let found = Found { search, candidates };
        if found.decides() {
            matched = Some(found);
            break;
        }
    }
    Ok(Ok(TargetState { info, account, holder, matched }))
}

/// Returns the user that a found account belongs to, according to the links.
async fn owner(store: &dyn Store, pair: &Pair, account: &AccountId) -> Result<Owner, Failure> {
    if let Some(link) = store.links(pair).await?.iter().find(|link| link.account == *account) {
        return Ok(Owner::User { user: link.user, certain: !link.adopted });
    }
    Ok(store.linked_elsewhere(pair).await?.remove(account).map_or(Owner::Nobody, Owner::Connector))
}

async fn holder(store: &dyn Store, pair: &Pair, found: Account) -> Result<NameHolder, Failure> {
    let links = store.links(pair).await?;
    if let Some(link) = links.iter().find(|link| link.account == found.id) {
        return Ok(NameHolder::Ours { account: found, user: link.user, standing: None });
    }
    if let Some(connector) = store.linked_elsewhere(pair).await?.remove(&found.id) {
        return Ok(NameHolder::Theirs(connector));
    }
    Ok(NameHolder::Unlinked(found))
}

/// A value that is the same on both sides.
const AS_THERE: &str = "in sync";

fn fields(user: &UserState, link: Option<&Link>, there: &TargetState, rules: AccountRules<'_>) -> Vec<Field> {
    let capabilities = &there.info.capabilities;
    let desired = policy::desired_user(user, capabilities, rules, there.account.is_none());
    let account = there.account.as_ref();
    let compare = |wanted: &str, present: Option<Option<&str>>| match present {
        None => "no account yet".to_owned(),
        Some(Some(present)) if present == wanted => AS_THERE.to_owned(),
        Some(Some(present)) => format!("current: {present}"),
        Some(None) => "current: none".to_owned(),
    };
    let value = |about: &str, wanted: Option<String>, rule: Option<&AttributeRule>, own: &str, present| Field {
        about: about.to_owned(),
        from: rule.map_or_else(|| own.to_owned(), |rule| rule.template.to_string()),
        there: wanted.as_ref().map_or_else(|| "the current value stays".to_owned(), |it| compare(it, present)),
        wanted: wanted.unwrap_or_else(|| "none".to_owned()),
    };
    let present_email = if capabilities.reads_email {
        account.map(|account| account.email.as_deref())
    } else {
        link.map(|link| link.written.email.as_deref())
    };
    let login = account.map(|account| Some(account.name.as_str()));
    let name = account.map(|account| Some(account.display_name.as_str()));
    let mut fields = vec![
        value("login", desired.login, rules.login, "username", login),
        value("display name", desired.display_name, rules.display_name, "first and last name", name),
        value("e-mail", desired.email, rules.email, "email", present_email),
    ];
    fields.extend(desired.attributes.into_iter().map(|(name, wanted)| {
        let reported = account.map(|account| {
            let written = link.and_then(|link| link.written.attributes.get(&name));
            account.attributes.get(&name).or(written)
        });
        Field {
            there: compare(&wanted, reported.map(|reported| reported.map(String::as_str))),
            from: rules.attributes.get(&name).map_or_else(String::new, |rule| rule.template.to_string()),
            about: name,
            wanted,
        }
    }));
    fields
}

/// Returns the memberships that the user should have, and those that it has without need.
fn group_fields(
    user: &UserState,
    link: Option<&Link>,
    there: &TargetState,
    groups: &GroupTable,
    rules: &GroupRules,
) -> Vec<Field> {
    let (capabilities, account) = (&there.info.capabilities, there.account.as_ref());
    let is_new = link.is_none_or(|link| link.written.is_new);
    let granted = |constant: &&ConstantGroup| policy::grants(constant, rules, user, is_new) == Ok(true);
    let constants: Vec<Arc<GroupState>> =
        rules.constant.iter().filter(granted).map(|constant| Arc::new(rules.group_of(constant))).collect();
    let wanted = user.all_groups().chain(&constants).map(|group| {
        let called = |id, name: &str| groups.managed(id).map_or_else(|| name.to_owned(), |own| own.name.clone());
        let (wanted, there) = match (groups.mapping(&group.id), group.verdict.fault()) {
            (Some(GroupMapping::Managed { group: id, name }), Some(why)) => {
                (called(id, name), format!("unsupported: {why}"))
            }
            (_, Some(why)) => (group.own_name().into_owned(), format!("unsupported: {why}")),
            // It is released by its own task, at the latest in the next full reconcile.
            (Some(GroupMapping::Managed { group: id, name }), None)
                if let Some(why) = policy::left_out(group, rules) =>
            {
                (called(id, name), format!("no longer synced: {why}"))
            }
            (_, None) if let Some(why) = policy::left_out(group, rules) => {
                (group.own_name().into_owned(), format!("not synced: {why}"))
            }
            (Some(GroupMapping::Managed { group: id, name }), None) => {
                let present = account.and_then(|account| account.groups.as_ref());
                let there = match present {
                    Some(present) if present.contains(id) => AS_THERE,
                    Some(_) => "not a member yet",
                    None => "no account yet",
                };
                (called(id, name), there.to_owned())
            }
            (Some(GroupMapping::Unmapped { name, why }), None) => (name.clone(), format!("unsupported: {why}")),
            (None, None) => {
                (policy::group_name(group, capabilities.group_case), "the group does not exist yet".to_owned())
            }
        };
        Field { about: "group".into(), wanted, from: group.path.clone(), there }
    });
    let resolved = groups.resolve(user, rules, is_new);
    let present = account.and_then(|account| account.groups.as_ref()).into_iter().flatten();
    let unwanted = present.filter(|group| !resolved.wanted.contains(group)).map(|group| {
        let given = link.is_some_and(|link| link.given.contains(group));
        let managed = groups.managed(group);
        let there = match (given, managed) {
            (true, _) if resolved.keep.contains(group) => "added by usersync; stays",
            (true, _) => "added by usersync; no longer wanted",
            (false, Some(_)) => "not a member in Keycloak",
            (false, None) => "not managed by usersync: left as it is",
        };
        Field {
            about: "group".into(),
            wanted: managed.map_or_else(|| group.to_string(), |managed| managed.name.clone()),
            from: "nothing".to_owned(),
            there: there.to_owned(),
        }
    });
    wanted.chain(unwanted).collect()
}

/// Describes a decision in words.
fn words(decision: &Decision) -> Vec<String> {
    match decision {
        Decision::Plan(planned) => plan_words(planned),
        Decision::Adopt(account, by) => {
            vec![format!("adopt the account {}, which existed before usersync and was matched by {by}", account.name)]
        }
        Decision::TakeOver(from, account) => {
            vec![format!(
                "take over the account {} from the deleted user {from}, an earlier id of the same user",
                account.name
            )]
        }
        Decision::ReadOwner(owner) => {
            vec![format!("check whether user {owner}, whose account has this login, still exists in Keycloak")]
        }
        Decision::WaitFor(owner) => vec![format!("wait for user {owner}, whose account releases this login first")],
        Decision::Later => vec!["re-read shortly: another user's account may be in creation".to_owned()],
        Decision::Missing => {
            vec!["re-read the linked account later, because the target does not find it; the link is kept".to_owned()]
        }
        Decision::DropLink => vec!["drop the link, because the linked account was deleted".to_owned()],
        Decision::Conflict(text) => vec![format!("conflict, an operator has to decide: {text}")],
    }
}

fn plan_words(planned: &Planned) -> Vec<String> {
    let mut words: Vec<String> = planned.operations.iter().map(ToString::to_string).collect();
    words.extend(planned.adds_after_create.values().map(|group| format!("then add it to {group}")));
    words.extend(
        planned.missing_groups.iter().map(|group| format!("create or rename the group of group:{group} first")),
    );
    words.extend(planned.holds.iter().map(|hold| {
        let what = match &hold.then {
            Then::Do(operation) => operation.to_string(),
            Then::Adopt(account, by) => format!("adopt the account {}, matched by {by}", account.name),
        };
        format!("wait for approval ({}): {what}", report::why(hold.kind))
    }));
    if planned.groups_unread {
        words.push("not confirmed: the target does not show the account's groups".to_owned());
    }
    words.extend(planned.findings.kept.iter().map(|why| format!("kept: {why}")));
    words.extend(findings(planned));
    words
}

fn findings(planned: &Planned) -> Vec<String> {
    let mut words: Vec<String> = planned.findings.left.clone().into_iter().collect();
    words.extend(planned.findings.protected.clone());
    words.extend(planned.findings.unsupported.iter().map(|why| format!("unsupported: {why}")));
    words.extend(planned.findings.undecided.iter().map(|why| format!("undecided whether it is in scope: {why}")));
    words.extend(planned.findings.unconfirmed.iter().map(|why| format!("not confirmed: {why}")));
    let stays = planned.drift.iter().filter(|one| one.mended_by.is_none());
    words.extend(stays.map(|one| format!("{}; it stays, as the policy has drift = \"report\"", one.drift)));
    words
}

/// Removes operations from a plan that the target is known not to support.
fn drop_unsupported(planned: &mut Planned, known: Vec<Unsupported>, subject: &Subject) {
    for one in known.into_iter().filter(|one| one.subject == *subject) {
        let before = planned.operations.len();
        planned.operations.retain(|operation| approval_key(subject, operation) != one.key);
        if planned.operations.len() < before {
            planned.findings.unsupported.push(one.why);
        }
    }
}

pub(super) async fn task(store: &dyn Store, pair: &Pair, subject: &Subject) -> Result<Option<TaskRecord>, Failure> {
    let filter = TaskFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        subject: Some(subject.clone()),
        limit: 1,
        ..TaskFilter::default()
    };
    Ok(store.tasks(&filter).await?.pop())
}

/// Returns the subject's items that wait for approval or are decided and still stand, each with its approval id.
pub(super) async fn items(
    store: &dyn Store,
    pair: &Pair,
    subject: &Subject,
) -> Result<Vec<(i64, ApprovalItem)>, Failure> {
    let mut found = Vec::new();
    for set in store.approvals(false).await?.into_iter().filter(|set| set.pair == *pair && set.items > 0) {
        let (_, items) = store.approval(set.id).await?;
        let stands = |item: &ApprovalItem| {
            item.subject == *subject
                && matches!(
                    item.state,
                    ApprovalItemState::Open | ApprovalItemState::Approved | ApprovalItemState::Rejected
                )
        };
        found.extend(items.into_iter().filter(stands).map(|item| (set.id, item)));
    }
    Ok(found)
}

pub(super) async fn past(store: &dyn Store, pair: &Pair, subject: &Subject) -> Result<Vec<Past>, Failure> {
    let filter = ChangeFilter {
        connector: Some(pair.connector.clone()),
        target: Some(pair.target.clone()),
        subject: Some(subject.clone()),
        limit: CHANGES,
        ..ChangeFilter::default()
    };
    let changes = store.changes(&filter).await?;
    let causes = Causes::read(store, changes.iter().map(|change| &change.cause)).await?;
    let reported = |change: Change| Past { because: causes.because(&change.cause), change };
    Ok(changes.into_iter().map(reported).collect())
}
