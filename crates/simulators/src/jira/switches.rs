//! What can be switched about a Jira while it runs.

/// A token bucket, as Jira's rate limiting keeps one for each user and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The bucket's size.
    pub limit: u32,
    /// How often it is filled up.
    pub interval_seconds: u32,
    /// How many tokens each time.
    pub fill_rate: u32,
}

/// What an account's own bean shows of the groups that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownGroups {
    /// All of them.
    #[default]
    All,
    /// At most so many, beside their full number: the bean's list is a `SimpleListWrapper`, which has a size and a limit
    /// of its own (Jira's `UserJsonBean`).
    First(usize),
    /// Their number alone, as a bean that was not expanded (a gateway that drops the parameter `expand`).
    Counted,
    /// None at all: the field is missing.
    Missing,
}

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Switches {
    /// Basic credentials are accepted (off by default from Jira 11).
    pub(crate) basic_allowed: bool,
    /// Personal access tokens are known (from 8.14).
    pub(crate) tokens_allowed: bool,
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Refused callers are answered as anonymous ones, with 200 and empty lists, instead of 401.
    pub(crate) refused_as_anonymous: bool,
    /// Basic logins are met with a CAPTCHA.
    pub(crate) captcha: bool,
    /// Users are managed elsewhere: nothing can be created.
    pub(crate) external_management: bool,
    /// `user/list` shows inactive accounts too.
    pub(crate) list_inactive: bool,
    /// Group names are stored in lower case.
    pub(crate) fold_groups: bool,
    /// How many results a search gives at most, and whether that is the whole of it or one page.
    pub(crate) search_cap: usize,
    pub(crate) search_cap_is_total: bool,
    /// What a page of `user/list` holds at most.
    pub(crate) list_cap: usize,
    /// What a group picker shows at most.
    pub(crate) picker_cap: usize,
    /// Everybody has the global permission "Browse users and groups".
    pub(crate) browse_users: bool,
    /// What an account's own bean shows of its groups.
    pub(crate) shown_groups: ShownGroups,
}

impl Switches {
    /// What a Jira of this version does out of the box.
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
        }
    }
}
