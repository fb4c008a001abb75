//! What deactivating an account does not end, by kind of target. `usersync explain` shows it for a deactivated user.

use serde::Serialize;

/// Something that may still grant access to a deactivated account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOpen {
    /// Name of the access: `personal access tokens`.
    pub what: &'static str,
    /// What is known about it, and what an operator can do.
    pub how: &'static str,
}

const fn left(what: &'static str, how: &'static str) -> LeftOpen {
    LeftOpen { what, how }
}

/// Access that a vendor does not document counts as possibly open.
const TOKENS: LeftOpen = left(
    "personal access tokens",
    "whether they work for an inactive account is not documented; revoke them in the administration's list of tokens",
);

/// Access that Jira may leave open. The vendors' sources are in `docs/targets`.
const JIRA: &[LeftOpen] = &[
    left(
        "sessions",
        "ended by usersync since Jira 9.11; in earlier versions, an open session may continue until it is idle for \
         five hours",
    ),
    left("remember-me cookies", "whether they work for an inactive account is not documented"),
    TOKENS,
];
const CONFLUENCE: &[LeftOpen] = &[
    left(
        "sessions",
        "whether an open session continues is not documented; it ends when it is idle for an hour, or at a restart",
    ),
    left("remember-me cookies", "whether they work for an inactive account is not documented"),
    TOKENS,
];
const BITBUCKET: &[LeftOpen] = &[
    left("sessions", "without a licence no user can sign in; whether an open session continues is not documented"),
    left("SSH keys and HTTP access tokens", "kept; no Git operation without a licence. Delete them on the user's page"),
    left("public repositories", "readable by anyone, signed in or not"),
];
const CROWD: &[LeftOpen] = &[
    left(
        "single sign-on sessions",
        "whether an open session continues is not documented; expire it in Crowd's session browser",
    ),
    left(
        "sessions and tokens in the products",
        "managed by each product, see its page; a product applies the change at its next synchronisation",
    ),
];
const SCIM: &[LeftOpen] = &[left(
    "sessions, tokens and keys",
    "SCIM does not specify what a deactivation ends; see the service's own administration",
)];

/// Returns what may still be open for an account that this kind of target deactivated.
pub fn left_open(kind: &str) -> &'static [LeftOpen] {
    match kind {
        "jira" => JIRA,
        "confluence" => CONFLUENCE,
        "bitbucket" => BITBUCKET,
        "crowd" => CROWD,
        "scim" => SCIM,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::KINDS;

    #[test]
    fn every_kind_says_what_it_leaves_open() {
        for kind in &KINDS {
            assert!(!left_open(kind.name).is_empty(), "{}", kind.name);
        }
    }
}
