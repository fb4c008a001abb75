//! What is known of a server beyond its own discovery documents. A profile is found by the server's address, overridden
//! by `profile`, and adjusted by `[target.habits]`.

use std::{collections::BTreeMap, num::NonZeroUsize};

use serde::Deserialize;
use url::Url;

use crate::targets::CaseRule;

/// Attributes that hold the display name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// In `displayName` and `name.formatted`.
    Whole,
    /// In `name.givenName` and `name.familyName` only; the last word becomes the family name.
    Split,
    /// In all four attributes.
    Both,
}

/// Form of the removal of one member from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// `remove` at `members[value eq "id"]`.
    Filter,
    /// `remove` at `members` with the member as value.
    Value,
    /// `Filter`, then `Value` if the first is refused.
    FindOut,
}

/// Settings that override the profile of a server. `None`: the profile's value applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Habits {
    /// Whether PATCH works, regardless of what the server declares.
    pub patch: Option<bool>,
    /// Form of the removal of one member.
    pub member_removal: Option<Removal>,
    /// Whether `groups` of users and `members` of groups are returned only on explicit request.
    pub on_request: Option<bool>,
    /// Attributes that hold the display name.
    pub names: Option<Names>,
    /// The case rule of logins.
    pub login_case: Option<CaseRule>,
    /// The case rule of group names.
    pub group_case: Option<CaseRule>,
    /// Whether logins can be changed.
    pub rename: Option<bool>,
    /// Whether groups keep their members after a rename.
    pub rename_group: Option<bool>,
    /// Whether an account needs an e-mail address.
    pub email_required: Option<bool>,
    /// Whether e-mail addresses are unique.
    pub email_unique: Option<bool>,
    /// Maximum number of accounts that one write adds to a group.
    pub members_at_once: Option<NonZeroUsize>,
    /// Whether groups are created with an `externalId`, a unique value for each group.
    pub group_external_id: Option<bool>,
    /// Further headers of every call.
    pub headers: BTreeMap<String, String>,
    /// Further query parameters of every call.
    pub query: BTreeMap<String, String>,
}

/// Known behaviour of a server.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of yes and no")]
pub(super) struct Profile {
    /// The name in the setting `profile`.
    pub name: &'static str,
    /// The vendor's name of the product.
    pub product: &'static str,
    /// Whether PATCH works, regardless of what the server declares; `None`: the server's declaration applies.
    pub patch: Option<bool>,
    pub removal: Removal,
    /// `groups` of users and `members` of groups are returned only on explicit request, and then completely.
    pub on_request: bool,
    pub names: Names,
    pub login_case: CaseRule,
    pub group_case: CaseRule,
    pub rename: bool,
    /// Groups keep their members after a rename; otherwise the group is recreated.
    pub rename_group: bool,
    pub email_required: bool,
    /// E-mail addresses are unique. usersync checks before a creation, because the server answers 500 to a duplicate.
    pub email_unique: bool,
    /// Names and e-mail addresses of accounts can be changed.
    pub update: bool,
    /// The server has groups.
    pub groups: bool,
    /// Maximum number of accounts that one write adds to a group.
    pub max_members_per_call: usize,
    /// Groups are created with an `externalId`.
    pub group_external_id: bool,
    /// Effect of deleting an account on this server.
    pub deletion: Option<&'static str>,
    /// What to check if nothing answers at the address.
    pub absent: Option<&'static str>,
}

const GENERIC: Profile = Profile {
    name: "generic",
    product: "SCIM 2.0 server",
    patch: None,
    removal: Removal::FindOut,
    on_request: false,
    names: Names::Whole,
    login_case: CaseRule::Insensitive,
    group_case: CaseRule::Insensitive,
    rename: true,
    rename_group: true,
    email_required: false,
    email_unique: false,
    update: true,
    groups: true,
    max_members_per_call: 100,
    group_external_id: false,
    deletion: None,
    absent: None,
};

static PROFILES: [Profile; 10] = [
    GENERIC,
    // Observed on 26.7.0, see docs/targets/scim.md.
    Profile {
        name: "keycloak",
        product: "Keycloak's SCIM 2.0 server",
        removal: Removal::Filter,
        on_request: true,
        names: Names::Split,
        login_case: CaseRule::Lower,
        group_case: CaseRule::Sensitive,
        email_unique: true,
        absent: Some(
            "In Keycloak: start it with --features=scim-api, and turn on the realm's SCIM API (scimApiEnabled).",
        ),
        ..GENERIC
    },
    Profile {
        name: "atlassian-cloud",
        product: "Atlassian Cloud user provisioning",
        removal: Removal::Value,
        rename_group: false,
        email_required: true,
        deletion: Some(
            "deleting an account unlinks it and deactivates it in Atlassian; only a new record brings it back",
        ),
        absent: Some("The address is the directory's: https://api.atlassian.com/scim/directory/ID."),
        ..GENERIC
    },
    // docs.aws.amazon.com/singlesignon/latest/developerguide: createuser, patchgroup, limitations.
    Profile {
        name: "aws",
        product: "AWS IAM Identity Center",
        removal: Removal::Value,
        names: Names::Both,
        max_members_per_call: 100,
        absent: Some(
            "The address is the endpoint of the automatic provisioning: https://scim.REGION.amazonaws.com/ID/scim/v2.",
        ),
        ..GENERIC
    },
    // docs.github.com/en/rest/enterprise-admin/scim.
    Profile {
        name: "github",
        product: "GitHub Enterprise",
        names: Names::Both,
        email_required: true,
        group_external_id: true,
        absent: Some(
            "The address is https://api.github.com/scim/v2/enterprises/NAME, or https://HOST/api/v3/scim/v2 of a \
             self-hosted server.",
        ),
        ..GENERIC
    },
    // docs.gitlab.com/development/internal_api, "Instance SCIM API" and "Group SCIM API".
    Profile {
        name: "gitlab",
        product: "GitLab",
        names: Names::Both,
        rename: false,
        email_required: true,
        update: false,
        groups: false,
        deletion: Some("deleting an account blocks it in GitLab"),
        absent: Some("The address is https://HOST/api/scim/v2/application, or …/api/scim/v2/groups/NAME for a group."),
        ..GENERIC
    },
    // docs.slack.dev/reference/scim-api/scim-api-2; docs.slack.dev/reference/scim-api/rate-limits.
    Profile {
        name: "slack",
        product: "Slack",
        names: Names::Both,
        email_required: true,
        deletion: Some("deleting an account deactivates it in Slack"),
        absent: Some("The address is https://api.slack.com/scim/v2."),
        ..GENERIC
    },
    // docs.snowflake.com/en/user-guide/scim-user-api-reference.
    Profile {
        name: "snowflake",
        product: "Snowflake",
        names: Names::Both,
        absent: Some("The address is https://ACCOUNT.snowflakecomputing.com/scim/v2."),
        ..GENERIC
    },
    // docs.databricks.com/api/scim/v1: user, group. Removal of a member: terraform-provider-databricks,
    // scim/resource_group_member.go.
    Profile {
        name: "databricks",
        product: "Databricks",
        removal: Removal::Filter,
        names: Names::Both,
        rename: false,
        deletion: Some("deleting an account also removes its objects in Databricks"),
        absent: Some(
            "The address is the account's: https://accounts.cloud.databricks.com/api/2.0/accounts/ID/scim/v2. On \
             Azure, the host is accounts.azuredatabricks.net.",
        ),
        ..GENERIC
    },
    // support.zendesk.com/hc/en-us/articles/7043724538650. It documents the address and the login only.
    Profile {
        name: "zendesk",
        product: "Zendesk QA",
        absent: Some(
            "The address is https://scim.pub.klausapp.com. Zendesk sets up SCIM on request to its customer support.",
        ),
        ..GENERIC
    },
];

/// Returns the names of all profiles.
pub fn profiles() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|profile| profile.name)
}

impl Habits {
    /// Returns the names of the habits that are set.
    pub(super) fn said(&self) -> Vec<&'static str> {
        let all = [
            ("patch", self.patch.is_some()),
            ("member_removal", self.member_removal.is_some()),
            ("on_request", self.on_request.is_some()),
            ("names", self.names.is_some()),
            ("login_case", self.login_case.is_some()),
            ("group_case", self.group_case.is_some()),
            ("rename", self.rename.is_some()),
            ("rename_group", self.rename_group.is_some()),
            ("email_required", self.email_required.is_some()),
            ("email_unique", self.email_unique.is_some()),
            ("members_at_once", self.members_at_once.is_some()),
            ("group_external_id", self.group_external_id.is_some()),
            ("headers", !self.headers.is_empty()),
            ("query", !self.query.is_empty()),
        ];
        all.into_iter().filter_map(|(name, said)| said.then_some(name)).collect()
    }
}

impl Profile {
    /// Returns this profile with the given habits applied.
    pub(super) fn but(&self, habits: &Habits) -> Self {
        Self {
            patch: habits.patch.or(self.patch),
            removal: habits.member_removal.unwrap_or(self.removal),
            on_request: habits.on_request.unwrap_or(self.on_request),
            names: habits.names.unwrap_or(self.names),
            login_case: habits.login_case.unwrap_or(self.login_case),
            group_case: habits.group_case.unwrap_or(self.group_case),
            rename: habits.rename.unwrap_or(self.rename),
            rename_group: habits.rename_group.unwrap_or(self.rename_group),
            email_required: habits.email_required.unwrap_or(self.email_required),
            email_unique: habits.email_unique.unwrap_or(self.email_unique),
            max_members_per_call: habits.members_at_once.map_or(self.max_members_per_call, NonZeroUsize::get),
            group_external_id: habits.group_external_id.unwrap_or(self.group_external_id),
            ..self.clone()
        }
    }

    /// Returns the profile of this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// Returns the profile for an address; the generic one for an unknown server.
    pub(super) fn of_address(url: &Url) -> &'static Self {
        Self::reported_by(url).unwrap_or(&PROFILES[0])
    }

    /// Returns the profile of the known server that has this address, if any.
    pub(super) fn reported_by(url: &Url) -> Option<&'static Self> {
        let parts: Vec<&str> = url.path().trim_matches('/').split('/').collect();
        match parts.as_slice() {
            [.., "realms", _, "scim", "v2"] => Self::named("keycloak"),
            ["scim", "directory", ..] if url.host_str() == Some("api.atlassian.com") => Self::named("atlassian-cloud"),
            ["scim", "v2", "enterprises", _] if url.host_str() == Some("api.github.com") => Self::named("github"),
            [.., "api", "v3", "scim", "v2"] => Self::named("github"),
            [.., "api", "scim", "v2", "application"] | [.., "api", "scim", "v2", "groups", _] => Self::named("gitlab"),
            ["scim", "v2"] if url.host_str() == Some("api.slack.com") => Self::named("slack"),
            _ if url.host_str() == Some("scim.pub.klausapp.com") => Self::named("zendesk"),
            [.., "scim", "v2"] => url.host_str().and_then(Self::of_host),
            _ => None,
        }
    }

    fn of_host(host: &str) -> Option<&'static Self> {
        if host.starts_with("scim.") && host.ends_with(".amazonaws.com") {
            return Self::named("aws");
        }
        if host.ends_with(".databricks.com") || host.ends_with(".azuredatabricks.net") {
            return Self::named("databricks");
        }
        if host.ends_with(".snowflakecomputing.com") { Self::named("snowflake") } else { None }
    }

    /// Splits a display name into given and family name. A name of one word gets a dash as the family name, because
    /// such servers require both.
    pub(super) fn split(shown: &str) -> (&str, &str) {
        let shown = shown.trim();
        shown.rsplit_once(char::is_whitespace).map_or((shown, NO_FAMILY), |(given, family)| (given.trim_end(), family))
    }

    /// Joins given and family name into a display name.
    pub(super) fn joined(given: &str, family: &str) -> String {
        let words = given.split_whitespace().chain(family.split_whitespace().filter(|word| *word != NO_FAMILY));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Placeholder for a missing family name.
const NO_FAMILY: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_take_the_place_of_the_profiles_and_nothing_else_does() {
        let keycloak = Profile::named("keycloak").expect("there");
        assert_eq!(format!("{:?}", keycloak.but(&Habits::default())), format!("{keycloak:?}"));
        let habits = Habits { names: Some(Names::Whole), rename_group: Some(false), ..Habits::default() };
        let other = keycloak.but(&habits);
        assert_eq!((other.names, other.rename_group, other.removal), (Names::Whole, false, keycloak.removal));
        assert_eq!(habits.said(), ["names", "rename_group"]);
    }

    #[test]
    fn addresses_tell_known_servers() {
        let of = |text: &str| Profile::of_address(&text.parse().expect("a URL")).name;
        assert_eq!(of("https://sso.example.org/auth/realms/acme/scim/v2/"), "keycloak");
        assert_eq!(of("https://sso.example.org/realms/acme/scim/v2"), "keycloak");
        assert_eq!(of("https://api.atlassian.com/scim/directory/4711"), "atlassian-cloud");
        assert_eq!(of("https://example.org/scim/directory/4711"), "generic");
        assert_eq!(of("https://example.org/scim/v2"), "generic");
        assert_eq!(of("https://scim.eu-central-1.amazonaws.com/a1-b2/scim/v2/"), "aws");
        assert_eq!(of("https://api.github.com/scim/v2/enterprises/acme"), "github");
        assert_eq!(of("https://github.example.org/api/v3/scim/v2"), "github");
        assert_eq!(of("https://gitlab.example.org/api/scim/v2/application"), "gitlab");
        assert_eq!(of("https://gitlab.com/api/scim/v2/groups/acme"), "gitlab");
        assert_eq!(of("https://api.slack.com/scim/v2"), "slack");
        assert_eq!(of("https://acme.snowflakecomputing.com/scim/v2"), "snowflake");
        assert_eq!(of("https://accounts.cloud.databricks.com/api/2.0/accounts/4711/scim/v2"), "databricks");
        assert_eq!(of("https://accounts.azuredatabricks.net/api/2.0/accounts/4711/scim/v2/"), "databricks");
        assert_eq!(of("https://acme.cloud.databricks.com/api/2.0/preview/scim/v2"), "databricks");
        assert_eq!(of("https://databricks.example.org/api/2.0/accounts/4711/scim/v2"), "generic");
        assert_eq!(of("https://scim.pub.klausapp.com/"), "zendesk");
    }

    #[test]
    fn names_that_are_kept_apart_come_together_again() {
        for shown in ["Ada Lovelace", "Ada", "Juan de la Cruz", "Ünï Cödé"] {
            let (given, family) = Profile::split(shown);
            assert!(!given.is_empty() && !family.is_empty());
            assert_eq!(Profile::joined(given, family), shown);
        }
        assert_eq!(Profile::split("Juan de la Cruz"), ("Juan de la", "Cruz"));
    }
}
