//! `usersync explain`: shows one user or group on both sides, and why.

mod group;
mod group_shown;
mod others;
mod shown;
mod side;

use std::{collections::BTreeSet, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    Context,
    app::{self, Sides},
    args::PairArgs,
    exit::{Exit, Outcome},
    find_users::{self, MatchedUser},
};
use crate::{
    model::{ConnectorName, Granted, Policy, Scope, UserId, UserState},
    plan::Presence,
    policy::Verdict,
    store::Store,
};
use side::OnTarget;

pub(super) use side::{Undone, policy_of, undone};

/// Show one user or group on both sides: the wanted state, the current state, and the reasons
#[derive(Debug, Args)]
#[command(
    long_about = "\
Show one user or group on both sides: the wanted state, the current state, and the reasons.

Shows scope, account, wanted and current values, planned operations, the open task, approvals, and the last changes \
with their causes. A name that begins with / is the path of a group; with --group it is the path, the name in Keycloak \
or in a target, or the Keycloak id of a group. Both sides are read now; nothing is changed. Works beside a running server.",
    after_help = "\
Examples:
  usersync explain alice
  usersync explain alice@example.org
  usersync explain /eng/platform
  usersync explain --group eng-platform
  usersync explain 1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11 --target jira-prod --json"
)]
pub(super) struct ExplainArgs {
    /// Login, e-mail address or Keycloak id of a user; or the path of a group
    #[arg(value_name = "NAME")]
    name: String,
    /// NAME is a group
    #[arg(long)]
    group: bool,
    #[command(flatten)]
    pair: PairArgs,
}

/// Whether a user is in scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum InScope {
    In,
    Out,
    /// The policy cannot be applied to the user, or Keycloak could not be read.
    Undecided,
}

/// The explanation of one user.
#[derive(Serialize)]
struct Explained {
    connector: ConnectorName,
    id: UserId,
    /// The user as Keycloak shows it; `null`: deleted there, or not readable.
    user: Option<UserState>,
    scope: InScope,
    /// Whether it is known to be in scope.
    in_scope: bool,
    why: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    targets: Vec<OnTarget>,
}

impl ExplainArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        if self.group || self.name.starts_with('/') {
            return group::run(context, &self.name, &self.pair).await;
        }
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let sides = Sides::new(&config)?;
        let opened = app::open_for_reading(context, &config).await?;
        let store: Arc<dyn Store> = opened.store;
        let connectors: BTreeSet<ConnectorName> = pairs.iter().map(|pair| pair.connector.clone()).collect();
        let connectors: Vec<ConnectorName> = connectors.into_iter().collect();
        let people = find_users::find(store.as_ref(), &sides, &connectors, &self.name).await?;
        let mut exit = Exit::Done;
        let mut all = Vec::new();
        for person in people {
            let policy = side::policy_of(&config, &person.connector);
            let mut explained = explain(person, &policy, &sides).await;
            for pair in pairs.iter().filter(|pair| pair.connector == explained.connector) {
                let on =
                    side::read_sides(&config, &sides, store.as_ref(), pair, &explained.id, explained.user.as_ref())
                        .await?;
                explained.targets.push(on);
            }
            let trouble = explained.trouble.is_some() || explained.targets.iter().any(|on| on.trouble.is_some());
            exit = exit.and(if trouble { Exit::Unreachable } else { Exit::Done });
            all.push(explained);
        }
        let out = &context.out;
        if out.json {
            out.document(&serde_json::json!({ "people": all }));
        } else {
            for (at, explained) in all.iter().enumerate() {
                if at > 0 {
                    out.line("");
                }
                shown::show(out, explained, &self.name);
            }
        }
        Ok(exit)
    }
}

/// Returns why a user is in scope.
fn why_in(user: &UserState, scope: &Scope) -> String {
    if *scope == Scope::default() {
        return "all users of the realm are".to_owned();
    }
    let by_role = met("required_roles", &scope.required_roles, &user.roles);
    let by_organization = met("required_organizations", &scope.required_organizations, &user.organizations);
    format!("it meets the conditions of the policy's scope{by_role}{by_organization}")
}

/// Returns which of these required roles or organizations a user has.
fn met<N: Ord + ToString>(setting: &str, required: &[N], held: &Granted<N>) -> String {
    let met: Vec<String> = required.iter().filter(|name| held.has(name) == Ok(true)).map(ToString::to_string).collect();
    if met.is_empty() { String::new() } else { format!("; {setting}: {}", met.join(", ")) }
}

async fn explain(person: MatchedUser, policy: &Policy, sides: &Sides) -> Explained {
    let MatchedUser { connector, id, mut user, trouble } = person;
    let (scope, why) = match (&mut user, &trouble) {
        (Some(user), _) => match sides.judge(&connector, policy, user.clone()).await {
            Ok(Presence::Present(judged, verdict)) => {
                (user.roles, user.organizations) = (judged.roles, judged.organizations);
                match verdict {
                    Verdict::In => (InScope::In, why_in(user, &policy.scope)),
                    Verdict::Out { why, .. } => (InScope::Out, why),
                    Verdict::Undecided(why) => (InScope::Undecided, why),
                }
            }
            Ok(Presence::Gone) => (InScope::Out, "it is gone".to_owned()),
            Err(error) => (InScope::Undecided, error.text),
        },
        (None, Some(_)) => (InScope::Undecided, "it could not be read".to_owned()),
        (None, None) => (InScope::Out, "there is no user with this id in the realm any more".to_owned()),
    };
    Explained { connector, id, user, scope, in_scope: scope == InScope::In, why, trouble, targets: Vec::new() }
}
