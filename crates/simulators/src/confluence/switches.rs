//! Switches of a running Confluence, and the features of its version.

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Switches {
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Callers with refused credentials are answered as anonymous ones, with 200, instead of 401.
    pub(crate) refused_as_anonymous: bool,
    /// Basic logins are answered with a CAPTCHA challenge.
    pub(crate) captcha: bool,
    /// The remote API (JSON-RPC) is on.
    pub(crate) remote_api: bool,
    /// Secure administrator sessions: administrator changes over RPC are refused.
    pub(crate) websudo: bool,
    /// The HTTP status of refusals over RPC.
    pub(crate) rpc_refusal: u16,
    /// The user directory is read-only.
    pub(crate) read_only: bool,
    /// Maximum number of entries on a page.
    pub(crate) page_cap: usize,
    /// Pages include the total count.
    pub(crate) total_count: bool,
    /// Number of requests that pass before a deletion is done.
    pub(crate) deletion_requests: u32,
    /// Deletions fail with this message; `None`: they succeed.
    pub(crate) deletion_fails: Option<String>,
    /// An update must contain full name and e-mail address.
    pub(crate) update_wants_both: bool,
    /// `expand=status` is honoured.
    pub(crate) returns_status: bool,
    /// Upper-case letters in the name of a new group are folded to lower case; else they are refused.
    pub(crate) fold_groups: bool,
    /// Status of the answer to a created group.
    pub(crate) group_created: u16,
    /// Status of the answer for a missing group.
    pub(crate) no_group: u16,
    /// The members of a missing group are an empty list, with 200.
    pub(crate) no_group_is_empty: bool,
    /// `disable` and `enable` answer 204 and do nothing.
    pub(crate) idle_activity: bool,
    /// OPTIONS returns the methods of a resource.
    pub(crate) answers_options: bool,
    /// The application link manifest is public.
    pub(crate) manifest_open: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            bad_credentials: false,
            refused_as_anonymous: false,
            captcha: false,
            remote_api: false,
            websudo: false,
            rpc_refusal: 200,
            read_only: false,
            page_cap: 1000,
            total_count: false,
            deletion_requests: 2,
            deletion_fails: None,
            update_wants_both: false,
            returns_status: true,
            fold_groups: false,
            group_created: 200,
            no_group: 404,
            no_group_is_empty: false,
            idle_activity: false,
            answers_options: true,
            manifest_open: true,
        }
    }
}

/// Features of a version's REST API.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Features {
    /// Disable, enable and delete users; change memberships.
    pub(crate) administers: bool,
    /// Create users.
    pub(crate) creates: bool,
    /// List users.
    pub(crate) lists: bool,
    /// Update users.
    pub(crate) updates: bool,
    /// Server information and global permissions; only administrators may read members.
    pub(crate) ten: bool,
}

impl Features {
    pub(crate) fn of(version: (u32, u32)) -> Self {
        Self {
            administers: version >= (8, 2),
            creates: version >= (8, 5),
            lists: version >= (8, 8),
            updates: version >= (9, 4),
            ten: version >= (10, 0),
        }
    }
}
