//! Judges users by a connector's scope. That a user lacks a group which does not exist proves nothing.

use jiff::{SignedDuration, Timestamp};

use super::ports::{Connector, Engine};
use crate::{
    keycloak::{Source, SourceError},
    model::{GroupRules, GroupState, PathPattern, Scope, UserState, path_names},
    plan::Presence,
    policy::{self, Verdict},
};

/// Time for which an answer about the required groups is used again.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(10);
/// Minimum similarity of a path that is suggested.
const SIMILAR: f64 = 0.85;

/// Which required groups do not exist, and when that was read.
pub(super) type AbsentGroups = Option<(Timestamp, Vec<String>)>;

/// Returns a user, with whether it is in scope, where these required groups do not exist.
pub(super) fn judged(user: UserState, scope: &Scope, absent: &[String]) -> Presence {
    let verdict = match (policy::verdict(&user, scope), absent.first()) {
        (Verdict::Out { lacks_group: true, .. }, Some(why)) => Verdict::Undecided(why.clone()),
        (verdict, _) => verdict,
    };
    Presence::Present(user, verdict)
}

/// Returns the required groups that are not among all groups of a realm, each with what to do.
pub(super) fn absent_groups(scope: &Scope, groups: &[GroupState]) -> Vec<String> {
    let paths = || scope.required_groups.iter().filter_map(PathPattern::literal);
    let absent = paths().filter(|path| groups.iter().all(|group| group.path != *path));
    absent.map(|path| absent_group(path, groups)).collect()
}

fn absent_group(path: &str, groups: &[GroupState]) -> String {
    let similar = groups
        .iter()
        .map(|group| (strsim::jaro_winkler(&path.to_lowercase(), &group.path.to_lowercase()), &group.path))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let hint = similar.map(|(_, near)| format!(" A similar group is {near}.")).unwrap_or_default();
    format!(
        "the required group {path} does not exist in Keycloak, so users without it are neither added nor removed.{hint} \
         Correct required_groups in the policy's scope, or create the group."
    )
}

fn lacks_group(user: &UserState, scope: &Scope) -> bool {
    matches!(policy::verdict(user, scope), Verdict::Out { lacks_group: true, .. })
}

/// Reads which required groups do not exist, from a source whose groups are named by these rules.
async fn read_absent_groups(
    source: &dyn Source,
    scope: &Scope,
    rules: &GroupRules,
) -> Result<Vec<String>, SourceError> {
    let mut absent = Vec::new();
    for path in scope.required_groups.iter().filter_map(PathPattern::literal) {
        let name = path_names(path).last().unwrap_or_default();
        let group = GroupState { id: path.into(), name, path: path.to_owned() };
        let found = source.groups_named(&policy::named_group(group, rules).name).await?;
        if found.iter().all(|group| group.path != path) {
            absent.push(absent_group(path, &found));
        }
    }
    Ok(absent)
}

/// Returns a user that a command read from Keycloak, with whether it is in scope.
///
/// # Errors
/// The user lacks a required group, and the source could not be asked whether that group exists.
pub async fn judge(source: &dyn Source, scope: &Scope, user: UserState) -> Result<Presence, SourceError> {
    let absent = if lacks_group(&user, scope) {
        read_absent_groups(source, scope, &GroupRules::default()).await?
    } else {
        Vec::new()
    };
    Ok(judged(user, scope, &absent))
}

impl Engine {
    /// Returns a user that was read alone, with whether it is in scope.
    pub(super) async fn judge(&self, connector: &Connector, user: UserState) -> Result<Presence, SourceError> {
        let scope = &connector.policy.scope;
        if !lacks_group(&user, scope) {
            return Ok(judged(user, scope, &[]));
        }
        let now = self.clock.now();
        let known = connector.absent_groups.lock().clone();
        if let Some((_, absent)) = known.filter(|(at, _)| now.duration_since(*at) < KNOWN_FOR) {
            return Ok(judged(user, scope, &absent));
        }
        let absent = read_absent_groups(connector.source.as_ref(), scope, &connector.policy.groups).await?;
        *connector.absent_groups.lock() = Some((now, absent.clone()));
        Ok(judged(user, scope, &absent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_required_group_is_named_with_a_similar_one() {
        let scope: Scope =
            serde_json::from_str(r#"{"required_groups": ["/staff", "/wiki/*", "/jira-user"]}"#).expect("a scope");
        let group = |path: &str| GroupState { id: path.into(), name: path[1..].into(), path: path.into() };
        let groups = ["/staff", "/jira-users", "/other"].map(group);
        assert_eq!(
            absent_groups(&scope, &groups),
            ["the required group /jira-user does not exist in Keycloak, so users without it are neither added nor \
              removed. A similar group is /jira-users. Correct required_groups in the policy's scope, or create the \
              group."]
        );
        assert_eq!(absent_groups(&Scope::default(), &groups), [] as [String; 0]);
    }
}
