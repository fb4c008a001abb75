//! Judges users by a connector's scope. An absent required group is not a reason to remove a user.

use super::{
    ports::{Connector, Engine},
    ruled_groups::ruled_user,
};
use crate::{
    keycloak::{Source, SourceError},
    model::{GroupRules, GroupState, PathPattern, Policy, Scope, UserState, path_names},
    plan::Presence,
    policy::{self, Verdict},
};

/// Minimum similarity of a path that is suggested.
const SIMILAR: f64 = 0.85;

/// Returns a user, with whether it is in scope, where these required groups do not exist.
pub(super) fn judged(user: UserState, scope: &Scope, absent: &[String]) -> Presence {
    let verdict = match (policy::verdict(&user, scope), absent.first()) {
        (Verdict::Out { lacks_group: true, .. }, Some(why)) => Verdict::Undecided(why.clone()),
        (verdict, _) => verdict,
    };
    Presence::Present(user, verdict)
}

/// Returns the required groups that are not among the groups of a realm, each with what to do.
pub(super) fn absent_groups(scope: &Scope, groups: &[GroupState]) -> Vec<String> {
    let absent =
        scope.required_groups.iter().filter(|pattern| groups.iter().all(|group| !pattern.matches(&group.path)));
    absent.map(|pattern| absent_group(pattern, groups)).collect()
}

fn absent_group(pattern: &PathPattern, groups: &[GroupState]) -> String {
    let path = pattern.to_string().to_lowercase();
    let similar = groups
        .iter()
        .map(|group| (strsim::jaro_winkler(&path, &group.path.to_lowercase()), &group.path))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let hint = similar.map(|(_, near)| format!(" A similar group is {near}.")).unwrap_or_default();
    format!(
        "Keycloak lists no group {pattern}, which the policy requires, so users without it are neither added nor \
         removed.{hint} Correct required_groups in the policy's scope, or create the group."
    )
}

fn lacks_group(user: &UserState, scope: &Scope) -> bool {
    matches!(policy::verdict(user, scope), Verdict::Out { lacks_group: true, .. })
}

/// Reads which required groups do not exist, from a source whose groups are named by these rules. Nothing of it is used
/// again: the group may be renamed at any time.
async fn read_absent_groups(
    source: &dyn Source,
    scope: &Scope,
    rules: &GroupRules,
) -> Result<Vec<String>, SourceError> {
    // A template of names cannot be applied to a path alone.
    if rules.name.is_some() {
        return Ok(absent_groups(scope, &source.groups().await?.items));
    }
    let mut found = Vec::new();
    for path in scope.required_groups.iter().filter_map(PathPattern::literal) {
        let name = path_names(path).last().unwrap_or_default();
        let group = GroupState::new(path.into(), name, path.to_owned());
        found.extend(source.groups_named(&policy::named_group(group, rules).name).await?);
    }
    if absent_groups(scope, &found).is_empty() {
        return Ok(Vec::new());
    }
    // A pattern, or a group whose name has a slash, which a search by name does not find.
    Ok(absent_groups(scope, &source.groups().await?.items))
}

/// Returns a user that a command read from Keycloak, with the groups that the policy gives it, and with whether it is
/// in scope.
///
/// # Errors
/// The source could not be asked for the groups above the user's groups, or whether a required group exists.
pub async fn judge(source: &dyn Source, policy: &Policy, user: UserState) -> Result<Presence, SourceError> {
    let user = ruled_user(source, policy, user).await?;
    judge_named(source, &policy.scope, &GroupRules::default(), user).await
}

pub(super) async fn judge_named(
    source: &dyn Source,
    scope: &Scope,
    rules: &GroupRules,
    user: UserState,
) -> Result<Presence, SourceError> {
    let lacks = lacks_group(&user, scope);
    let absent = if lacks { read_absent_groups(source, scope, rules).await? } else { Vec::new() };
    Ok(judged(user, scope, &absent))
}

impl Engine {
    /// Returns a user that was read alone, with whether it is in scope.
    pub(super) async fn judge(&self, connector: &Connector, user: UserState) -> Result<Presence, SourceError> {
        let policy = &connector.policy;
        judge_named(connector.source.as_ref(), &policy.scope, &policy.groups, user).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_required_group_is_named_with_a_similar_one() {
        let scope: Scope = serde_json::from_str(r#"{"required_groups": ["/staff", "/wiki/*", "/jira-user", "/o*"]}"#)
            .expect("a scope");
        let group = |path: &str| GroupState::new(path.into(), path[1..].into(), path.into());
        let groups = ["/staff", "/jira-users", "/other"].map(group);
        assert_eq!(
            absent_groups(&scope, &groups),
            [
                "Keycloak lists no group /wiki/*, which the policy requires, so users without it are neither added nor \
                 removed. Correct required_groups in the policy's scope, or create the group.",
                "Keycloak lists no group /jira-user, which the policy requires, so users without it are neither added nor \
                 removed. A similar group is /jira-users. Correct required_groups in the policy's scope, or create the \
                 group."
            ]
        );
        assert_eq!(absent_groups(&Scope::default(), &groups), [] as [String; 0]);
    }
}
