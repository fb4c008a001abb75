//! `usersync unmatched`: accounts that no connector links, with users that may be their owners.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    app::{self, Sides},
    args::{LimitArgs, PairArgs},
    exit::{Exit, Failure, Outcome},
    explain::policy_of,
    out::Out,
    table::column,
    words::{count, thin},
};
use crate::{
    config::Config,
    keycloak::Source as _,
    model::{Account, AccountId, AccountRules, ConnectorName, MatchedBy, Packed, Pair, TargetName, UserState},
    plan, policy,
    store::StoreReads,
    targets::{Capabilities, Target, TargetConfig},
};

/// Maximum number of users that are suggested for one account.
const SUGGESTED: usize = 3;

/// List accounts that no connector links
#[derive(Debug, Args)]
#[command(
    long_about = "\
List accounts in the targets that no connector links, each with the users in Keycloak that have the same login, e-mail \
address or name, or the same value of another key of policy.matching, and the command that links them. Users that are \
linked already are not listed.

Such accounts are not changed: usersync does not know whose they are. Both sides are listed completely, which takes as \
long as a full reconcile.",
    after_help = "\
Examples:
  usersync unmatched --target jira-prod
  usersync unmatched --limit 0 --json"
)]
pub(super) struct UnmatchedArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    list: LimitArgs,
}

/// An account without a link.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Unmatched {
    account: AccountId,
    login: String,
    display_name: String,
    email: Option<String>,
    active: bool,
    /// Why usersync would not change it even if it were linked; `None`: it would.
    protected: Option<String>,
    suggestions: Vec<Suggestion>,
}

/// A user who may own the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Suggestion {
    connector: ConnectorName,
    user: String,
    username: String,
    /// What the user and the account have in common: `login`, `e-mail`, `name`, or a further key by which the policy matches
    /// users, such as `another login`.
    same: Vec<String>,
    /// The command that links them.
    command: String,
}

impl UnmatchedArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let sides = Sides::new(&config)?;
        let opened = app::open_for_reading(context, &config).await?;
        let mut by_target: BTreeMap<&TargetName, Vec<&Pair>> = BTreeMap::new();
        for pair in &pairs {
            by_target.entry(&pair.target).or_default().push(pair);
        }
        let mut documents = Vec::new();
        for (target, pairs) in by_target {
            let found = unmatched(opened.store.as_ref(), &config, &sides, target, &pairs).await?;
            if context.out.json {
                let shown = self.shown(found.len());
                let accounts = &found[..shown];
                documents.push(serde_json::json!({ "target": target, "total": found.len(), "accounts": accounts }));
            } else {
                self.print(&context.out, target, &found);
            }
        }
        if context.out.json {
            context.out.document(&serde_json::json!({ "targets": documents }));
        }
        Ok(Exit::Done)
    }

    fn shown(&self, all: usize) -> usize {
        if self.list.limit == 0 { all } else { all.min(self.list.limit) }
    }

    fn print(&self, out: &Out, target: &TargetName, found: &[Unmatched]) {
        if found.is_empty() {
            return out.say(format!("{target}: every account is linked."));
        }
        out.say(format!("{target}: {} not linked.", count(found.len(), "account is", "accounts are")));
        let shown = &found[..self.shown(found.len())];
        let rows = shown.iter().map(|one| {
            let state = if one.active { "active" } else { "inactive" };
            let state =
                one.protected.as_ref().map_or_else(|| state.to_owned(), |why| format!("{state}, protected: {why}"));
            let near = one.suggestions.iter().map(|near| format!("{} ({})", near.username, near.same.join(", ")));
            vec![
                one.login.clone(),
                one.display_name.clone(),
                one.email.clone().unwrap_or_default(),
                near.collect::<Vec<_>>().join("; "),
                state,
            ]
        });
        let columns = [
            column("account"),
            column("name").spared(),
            column("e-mail").spared(),
            column("similar user"),
            column("state"),
        ];
        out.table(&columns, rows.collect());
        if shown.len() < found.len() {
            out.say(format!(
                "{} more: usersync unmatched --target {target} --limit 0",
                thin(found.len() - shown.len())
            ));
        }
        let commands: Vec<&str> =
            shown.iter().filter_map(|one| one.suggestions.first()).map(|near| near.command.as_str()).collect();
        if !commands.is_empty() {
            out.say("If the account belongs to the similar user, link it:");
            for command in commands {
                out.say(format!("  {command}"));
            }
        }
    }
}

/// Returns the accounts of a target that nothing links, ordered by login.
async fn unmatched(
    store: &dyn StoreReads,
    config: &Config,
    sides: &Sides,
    target: &TargetName,
    pairs: &[&Pair],
) -> Result<Vec<Unmatched>, Failure> {
    let Some(client) = sides.targets.get(target) else { return Ok(Vec::new()) };
    let mut linked: HashSet<AccountId> = HashSet::new();
    let mut linked_users: HashSet<(ConnectorName, String)> = HashSet::new();
    for pair in pairs {
        for link in store.links(pair).await?.iter() {
            linked_users.insert((pair.connector.clone(), link.user.to_string()));
            linked.insert(link.account);
        }
        linked.extend(store.linked_elsewhere(pair).await?.into_keys());
    }
    linked.extend(client.own_account().await?);
    let mut left = accounts(client.as_ref(), target).await?;
    left.retain(|account| !linked.contains(&account.id));
    left.sort_by(|one, other| one.name.cmp(&other.name));
    let mut owners = Owners::default();
    for pair in pairs {
        let source = &sides.sources[&pair.connector];
        let users = source.users(&|_, _| ()).await?;
        if let Some(why) = users.incomplete {
            return Err(Failure::problem(format!(
                "{}: the users could not be listed completely: {why}",
                pair.connector
            )));
        }
        let policy = policy_of(config, &pair.connector);
        let expected = config.targets.iter().find(|one| one.name == *target).map(TargetConfig::expected_capabilities);
        let rules = (&expected.unwrap_or_else(Capabilities::base), policy.account_rules(target));
        let is_linked = |user: &UserState| linked_users.contains(&(pair.connector.clone(), user.id.to_string()));
        owners.add(pair, &users.items, rules, is_linked);
    }
    Ok(left.into_iter().map(|account| owners.suggest(account)).collect())
}

/// Lists all accounts of a target.
async fn accounts(client: &dyn Target, target: &TargetName) -> Result<Vec<Account>, Failure> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.accounts(cursor.as_deref()).await?;
        if let Some(why) = page.incomplete {
            return Err(Failure::problem(format!("{target}: the accounts could not be listed completely: {why}")));
        }
        all.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// Users without a link, by what an account may have in common with them: its words, and the compared value.
#[derive(Default)]
struct Owners {
    users: Vec<(Pair, UserState)>,
    by_value: HashMap<(String, String), Vec<usize>>,
}

const LOGIN: &str = "login";
const EMAIL: &str = "e-mail";
const NAME: &str = "name";

impl Owners {
    fn add(
        &mut self,
        pair: &Pair,
        users: &Packed<UserState>,
        (capabilities, rules): (&Capabilities, AccountRules<'_>),
        is_linked: impl Fn(&UserState) -> bool,
    ) {
        for user in users.iter().filter(|user| !is_linked(user)) {
            let place = self.users.len();
            for key in values_of(&user, capabilities, rules) {
                self.by_value.entry(key).or_default().push(place);
            }
            self.users.push((pair.clone(), user));
        }
    }

    fn suggest(&self, account: Account) -> Unmatched {
        let login = fold(&account.name);
        let mut keys = vec![
            (LOGIN.to_owned(), login.clone()),
            (EMAIL.to_owned(), fold(account.email.as_deref().unwrap_or_default())),
            (NAME.to_owned(), plan::name_words(&account.display_name)),
            (MatchedBy::OtherLogin.to_string(), login),
        ];
        let attributes = account.attributes.iter();
        keys.extend(attributes.map(|(name, value)| (MatchedBy::Attribute(name.clone()).to_string(), value.clone())));
        let mut same: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for key in keys {
            for place in self.by_value.get(&key).into_iter().flatten() {
                same.entry(*place).or_default().push(key.0.clone());
            }
        }
        let mut near: Vec<(usize, Vec<String>)> = same.into_iter().collect();
        near.sort_by_key(|(place, same)| (std::cmp::Reverse(same.len()), *place));
        let suggestion = |(place, same): (usize, Vec<String>)| {
            let (pair, user) = &self.users[place];
            Suggestion {
                connector: pair.connector.clone(),
                user: user.id.to_string(),
                username: user.username.clone(),
                same,
                command: plan::link_command(pair, &user.id, &account.name),
            }
        };
        let suggestions = near.into_iter().take(SUGGESTED).map(suggestion).collect();
        Unmatched {
            account: account.id,
            login: account.name,
            display_name: account.display_name,
            email: account.email,
            active: account.active,
            protected: account.protected.or(account.immutable),
            suggestions,
        }
    }
}

/// Returns the values by which an account may be a user's, each once: those that the user has in Keycloak, and those that
/// the policy gives it. A value that cannot be rendered is left out.
fn values_of(user: &UserState, capabilities: &Capabilities, rules: AccountRules<'_>) -> BTreeSet<(String, String)> {
    let desired = policy::desired_user(user, capabilities, rules, true);
    let names = [user.first_name.as_deref(), user.last_name.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    let names = [Some(names.join(" ")), desired.display_name].into_iter().flatten();
    let logins = [Some(user.username.clone()), desired.login].into_iter().flatten();
    let emails = [user.email.clone(), desired.email].into_iter().flatten();
    let own = logins.map(|login| (LOGIN.to_owned(), fold(&login)));
    let own = own.chain(emails.map(|email| (EMAIL.to_owned(), fold(&email))));
    let own = own.chain(names.map(|name| (NAME.to_owned(), plan::name_words(&name))));
    let searches = policy::searches(user, capabilities, rules).unwrap_or_default();
    let further = searches.into_iter().filter_map(|search| match search.by {
        MatchedBy::OtherLogin => Some((search.by.to_string(), fold(&search.value))),
        MatchedBy::Attribute(_) => Some((search.by.to_string(), search.value)),
        MatchedBy::Login | MatchedBy::Email | MatchedBy::Operator => None,
    });
    own.chain(further).filter(|(_, value)| !value.is_empty()).collect()
}

fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AttributeRules, Policy};

    static NONE: AttributeRules = AttributeRules::new();
    use crate::model::{UserOrganizations, UserRoles};

    fn user(id: &str, username: &str, name: [&str; 2], email: &str) -> UserState {
        UserState {
            id: id.into(),
            username: username.into(),
            first_name: Some(name[0].into()),
            last_name: Some(name[1].into()),
            email: Some(email.into()),
            email_verified: Some(false),
            enabled: true,
            federation_link: None,
            attributes: BTreeMap::new(),
            groups: Vec::new(),
            parent_groups: Vec::new(),
            roles: UserRoles::default(),
            organizations: UserOrganizations::default(),
        }
    }

    fn account(name: &str, display_name: &str, email: Option<&str>) -> Account {
        Account {
            id: name.into(),
            name: name.into(),
            display_name: display_name.into(),
            email: email.map(str::to_owned),
            attributes: BTreeMap::new(),
            active: true,
            access: Vec::new(),
            groups: None,
            protected: None,
            immutable: None,
        }
    }

    #[test]
    fn the_user_with_most_in_common_is_suggested_first() {
        let users: Packed<UserState> = [
            user("1", "a.ng", ["Alice", "Ng"], "alice@example.org"),
            user("2", "alice", ["Alice", "Other"], "other@example.org"),
            user("3", "linked", ["Alice", "Ng"], "alice@example.org"),
            user("4", "none", ["", ""], ""),
        ]
        .into_iter()
        .collect();
        let mut owners = Owners::default();
        let rules = (&Capabilities::base(), AccountRules::of_attributes(&NONE));
        owners.add(&Pair::new("acme", "jira"), &users, rules, |user| user.username == "linked");
        let found = |account| {
            let suggestions = owners.suggest(account).suggestions;
            suggestions.into_iter().map(|one| format!("{}: {}", one.username, one.same.join(" "))).collect::<Vec<_>>()
        };
        let alice = account("Alice", "Ng, Alice", Some("ALICE@example.org"));
        assert_eq!(found(alice.clone()), ["a.ng: e-mail name", "alice: login"]);
        assert_eq!(
            owners.suggest(alice).suggestions[0].command,
            "usersync link 1 Alice --connector acme --target jira"
        );
        // Empty values have nothing in common.
        assert_eq!(found(account("x", "", None)), [] as [String; 0]);
    }
    #[test]
    fn the_keys_of_the_policy_lead_to_a_suggestion() {
        let policy: Policy = serde_json::from_str(
            r#"{"account": {"login": "{{ username | strip_domain }}", "email": "{{ attributes.mail }}"},
                "matching": {"by": ["login", {"login": "{{ attributes.old }}"}, {"attribute": "externalId", "equals": "{{ id }}"}]}}"#,
        )
        .expect("a policy");
        let mut ada = user("7", "ada@corp.example", ["", ""], "x@example.org");
        ada.attributes.insert("old".into(), vec!["A.Lovelace".into()]);
        ada.attributes.insert("mail".into(), vec!["Ada@example.org".into()]);
        let capabilities = Capabilities { finds_by_attribute: true, ..Capabilities::base() };
        let mut owners = Owners::default();
        let rules = (&capabilities, policy.account_rules(&"scim".into()));
        owners.add(&Pair::new("acme", "scim"), &[ada].into_iter().collect(), rules, |_| false);
        let attributes: BTreeMap<_, _> = [("externalId".to_owned(), "7".to_owned())].into();
        for (account, expected) in [
            (account("ADA", "", None), "login"),
            (account("ada@corp.example", "", None), "login"),
            (account("other", "", Some("ADA@example.org")), "e-mail"),
            (account("other", "", Some("x@example.org")), "e-mail"),
            (account("a.lovelace", "", None), "another login"),
            (Account { attributes, ..account("other", "", None) }, "attribute externalId"),
        ] {
            let suggestions = owners.suggest(account.clone()).suggestions;
            assert_eq!(suggestions.iter().map(|one| one.same.join(" ")).collect::<Vec<_>>(), [expected], "{account:?}");
        }
        assert!(owners.suggest(account("nobody", "Nobody", None)).suggestions.is_empty());
    }
}
