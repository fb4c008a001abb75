//! Switches of a running Jira.

/// A token bucket; Jira's rate limiting keeps one per user and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Size of the bucket, in tokens.
    pub limit: u32,
    /// Fill interval, in seconds.
    pub interval_seconds: u32,
    /// Tokens added per interval.
    pub fill_rate: u32,
}

/// What an account's own bean shows of its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownGroups {
    /// All groups.
    #[default]
    All,
    /// At most this many groups, and their total number. The bean's list is a `SimpleListWrapper`, which has its own
    /// size and limit (Jira's `UserJsonBean`).
    First(usize),
    /// Only their number, as in a bean that was not expanded (a gateway that drops the parameter `expand`).
    Counted,
    /// Nothing: the field is missing.
    Missing,
}

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Switches {
    /// Basic credentials are accepted (off by default from Jira 11).
    pub(crate) basic_allowed: bool,
    /// Personal access tokens are accepted (from 8.14).
    pub(crate) tokens_allowed: bool,
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Callers with refused credentials are answered as anonymous ones, with 200 and empty lists, instead of 401.
    pub(crate) refused_as_anonymous: bool,
    /// Basic logins are answered with a CAPTCHA challenge.
    pub(crate) captcha: bool,
    /// External user management is on: nothing can be created.
    pub(crate) external_management: bool,
    /// `user/list` includes inactive accounts.
    pub(crate) list_inactive: bool,
    /// Group names are stored in lower case.
    pub(crate) fold_groups: bool,
    /// Maximum number of search results; the next field says whether it is per page or in total.
    pub(crate) search_cap: usize,
    pub(crate) search_cap_is_total: bool,
    /// Maximum number of accounts on a page of `user/list`.
    pub(crate) list_cap: usize,
    /// Maximum number of groups in a group picker.
    pub(crate) picker_cap: usize,
    /// Every user has the global permission "Browse users and groups".
    pub(crate) browse_users: bool,
    /// What an account's own bean shows of its groups.
    pub(crate) shown_groups: ShownGroups,
    /// Every user may browse every project.
    pub(crate) browse_projects: bool,
    /// An account that leads a project is neither deactivated nor deleted.
    pub(crate) refuse_project_leads: bool,
    /// The same for an account that leads a component.
    pub(crate) refuse_component_leads: bool,
}

impl Switches {
    /// Returns the defaults of a Jira of this version.
    pub(crate) fn of(version: (u32, u32)) -> Self {
        Self {
            basic_allowed: version < (11, 0),
            tokens_allowed: version >= (8, 14),
            bad_credentials: false,
            refused_as_anonymous: false,
            captcha: false,
            external_management: false,
            list_inactive: true,
            fold_groups: false,
            search_cap: if version >= (10, 0) { 100 } else { 1000 },
            search_cap_is_total: version >= (10, 0),
            list_cap: 2000,
            picker_cap: 1000,
            browse_users: true,
            shown_groups: ShownGroups::All,
            browse_projects: true,
            refuse_project_leads: true,
            refuse_component_leads: false,
        }
    }
}
