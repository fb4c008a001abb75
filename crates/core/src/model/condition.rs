//! Conditions: problems, for as long as they last.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ConnectorName, Pair, TargetName};

/// The subject of a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum About {
    /// The store.
    Store,
    /// A connector's Keycloak.
    Source {
        /// The connector.
        connector: ConnectorName,
    },
    /// A target.
    Target {
        /// The target.
        target: TargetName,
    },
    /// A connector on a target.
    Pair(Pair),
}

impl About {
    /// Returns a connector's Keycloak.
    pub fn source(connector: &ConnectorName) -> Self {
        Self::Source { connector: connector.clone() }
    }

    /// Returns a target.
    pub fn target(target: &TargetName) -> Self {
        Self::Target { target: target.clone() }
    }

    /// Returns whether the condition affects work on the pair.
    pub fn concerns(&self, pair: &Pair) -> bool {
        match self {
            Self::Store => true,
            Self::Source { connector } => *connector == pair.connector,
            Self::Target { target } => *target == pair.target,
            Self::Pair(own) => own == pair,
        }
    }

    /// Returns the connector that it names.
    pub fn connector_name(&self) -> Option<&ConnectorName> {
        match self {
            Self::Source { connector } | Self::Pair(Pair { connector, .. }) => Some(connector),
            Self::Store | Self::Target { .. } => None,
        }
    }

    /// Returns the target that it names.
    pub fn target_name(&self) -> Option<&TargetName> {
        match self {
            Self::Target { target } | Self::Pair(Pair { target, .. }) => Some(target),
            Self::Store | Self::Source { .. } => None,
        }
    }

    /// Returns the subject from the names of connector and target.
    pub fn of(connector: Option<ConnectorName>, target: Option<TargetName>) -> Self {
        match (connector, target) {
            (None, None) => Self::Store,
            (Some(connector), None) => Self::Source { connector },
            (None, Some(target)) => Self::Target { target },
            (Some(connector), Some(target)) => Self::Pair(Pair { connector, target }),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("the store"),
            Self::Source { connector } => write!(f, "the Keycloak of {connector}"),
            Self::Target { target } => write!(f, "{target}"),
            Self::Pair(pair) => write!(f, "{pair}"),
        }
    }
}

/// The kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionCode {
    /// The store cannot be written.
    NotWritable,
    /// The token or password is refused.
    CredentialsRefused,
    /// A right that all work needs is missing.
    RightMissing,
    /// Another server or realm answers than at first contact.
    OtherIdentity,
    /// The side does not answer, or only with errors.
    Unreachable,
    /// The side limits calls (429): they wait and are retried.
    RateLimited,
    /// The side answers every call with a 503 with `Retry-After`: calls wait and are retried.
    Unavailable,
    /// The last full reconcile, or the plan of the first one, failed.
    RunFailed,
    /// A federation provider of the realm cannot confirm its users: nothing is removed for them.
    FederationUnconfirmed,
    /// Tasks are overdue and no worker takes them: a defect of usersync.
    TasksOverdue,
}

impl ConditionCode {
    /// Returns the word in the store, in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotWritable => "not_writable",
            Self::CredentialsRefused => "credentials_refused",
            Self::RightMissing => "right_missing",
            Self::OtherIdentity => "other_identity",
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::RunFailed => "run_failed",
            Self::FederationUnconfirmed => "federation_unconfirmed",
            Self::TasksOverdue => "tasks_overdue",
        }
    }
}

/// A problem that exists at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The subject of the condition.
    #[serde(flatten)]
    pub about: About,
    /// The kind of problem.
    pub code: ConditionCode,
    /// Latest message of the other side or of the system. It may name a user.
    pub text: String,
    /// When the condition began.
    pub since: Timestamp,
    /// When usersync retries by itself; `None`: unknown, or not before something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<Timestamp>,
}

impl Condition {
    /// Returns the condition in a few words, without data about users.
    pub fn summary(&self) -> String {
        let about = &self.about;
        match self.code {
            ConditionCode::NotWritable => format!("{about} cannot be written"),
            ConditionCode::CredentialsRefused => format!("{about} refuses usersync's credentials"),
            ConditionCode::RightMissing => format!("{about} refuses usersync: a required permission is missing"),
            ConditionCode::OtherIdentity => format!("{about} is another server or realm than before"),
            ConditionCode::Unreachable => format!("{about} does not answer"),
            ConditionCode::RateLimited => format!("{about}: rate limited (429)"),
            ConditionCode::Unavailable => format!("{about} is unavailable (503)"),
            ConditionCode::RunFailed => format!("{about}: the last full reconcile failed"),
            ConditionCode::FederationUnconfirmed => format!("{about}: a federation provider cannot confirm its users"),
            ConditionCode::TasksOverdue => format!("{about}: tasks are overdue, and no worker processes them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_code_is_that_of_its_json() {
        for code in [
            ConditionCode::NotWritable,
            ConditionCode::CredentialsRefused,
            ConditionCode::RightMissing,
            ConditionCode::OtherIdentity,
            ConditionCode::Unreachable,
            ConditionCode::RateLimited,
            ConditionCode::Unavailable,
            ConditionCode::RunFailed,
            ConditionCode::FederationUnconfirmed,
            ConditionCode::TasksOverdue,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn a_condition_is_one_flat_object() {
        let since = Timestamp::UNIX_EPOCH;
        for (about, json) in [
            (About::Store, r#"{"about":"store","#),
            (About::source(&"acme".into()), r#"{"about":"source","connector":"acme","#),
            (About::target(&"jira".into()), r#"{"about":"target","target":"jira","#),
            (About::Pair(Pair::new("acme", "jira")), r#"{"about":"pair","connector":"acme","target":"jira","#),
        ] {
            let rebuilt = About::of(about.connector_name().cloned(), about.target_name().cloned());
            assert_eq!(rebuilt, about);
            let code = ConditionCode::Unreachable;
            let condition = Condition { about, code, text: "503".into(), since, again_at: None };
            let text = serde_json::to_string(&condition).unwrap();
            assert!(text.starts_with(json), "{text}");
            assert_eq!(serde_json::from_str::<Condition>(&text).unwrap(), condition);
        }
    }

    /// One subject of each kind.
    fn all() -> [About; 4] {
        let (acme, jira) = ("acme".into(), "jira".into());
        [About::Store, About::source(&acme), About::target(&jira), About::Pair(Pair::new("acme", "jira"))]
    }

    #[test]
    fn a_condition_affects_the_pairs_that_share_its_subject() {
        for (pair, expected) in [
            (Pair::new("acme", "jira"), [true, true, true, true]),
            (Pair::new("acme", "confluence"), [true, true, false, false]),
            (Pair::new("labs", "jira"), [true, false, true, false]),
            (Pair::new("labs", "confluence"), [true, false, false, false]),
        ] {
            assert_eq!(all().each_ref().map(|about| about.concerns(&pair)), expected, "{pair}");
        }
    }

    #[test]
    fn a_subject_names_its_connector_and_its_target() {
        let connectors = [None, Some("acme"), None, Some("acme")];
        let targets = [None, None, Some("jira"), Some("jira")];
        assert_eq!(all().each_ref().map(|about| about.connector_name().map(ConnectorName::as_str)), connectors);
        assert_eq!(all().each_ref().map(|about| about.target_name().map(TargetName::as_str)), targets);
    }

    #[test]
    fn a_subject_is_shown_by_name() {
        let shown = all().each_ref().map(About::to_string);
        assert_eq!(shown, ["the store", "the Keycloak of acme", "jira", "acme → jira"]);
    }

    #[test]
    fn the_summary_names_subject_and_problem_but_not_the_message() {
        let jira = About::target(&"jira".into());
        for (about, code, summary) in [
            (About::Store, ConditionCode::NotWritable, "the store cannot be written"),
            (
                About::source(&"acme".into()),
                ConditionCode::CredentialsRefused,
                "the Keycloak of acme refuses usersync's credentials",
            ),
            (jira.clone(), ConditionCode::RightMissing, "jira refuses usersync: a required permission is missing"),
            (jira.clone(), ConditionCode::OtherIdentity, "jira is another server or realm than before"),
            (jira.clone(), ConditionCode::Unreachable, "jira does not answer"),
            (jira.clone(), ConditionCode::RateLimited, "jira: rate limited (429)"),
            (jira, ConditionCode::Unavailable, "jira is unavailable (503)"),
            (
                About::Pair(Pair::new("acme", "jira")),
                ConditionCode::RunFailed,
                "acme → jira: the last full reconcile failed",
            ),
            (
                About::Pair(Pair::new("acme", "jira")),
                ConditionCode::FederationUnconfirmed,
                "acme → jira: a federation provider cannot confirm its users",
            ),
            (About::Store, ConditionCode::TasksOverdue, "the store: tasks are overdue, and no worker processes them"),
        ] {
            let text = "alice@example.org".to_owned();
            let condition = Condition { about, code, text, since: Timestamp::UNIX_EPOCH, again_at: None };
            assert_eq!(condition.summary(), summary);
        }
    }
}
