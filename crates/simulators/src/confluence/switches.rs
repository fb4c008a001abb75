//! What can be switched about a Confluence while it runs, and what its version has.

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Switches {
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Refused callers are answered as anonymous ones, with 200, instead of 401.
    pub(crate) refused_as_anonymous: bool,
    /// Basic logins are met with a CAPTCHA.
    pub(crate) captcha: bool,
    /// The remote API (JSON-RPC) is on.
    pub(crate) remote_api: bool,
    /// Secure administrator sessions: what an administrator does over RPC is refused.
    pub(crate) websudo: bool,
    /// The HTTP status of refusals over RPC.
    pub(crate) rpc_refusal: u16,
    /// The user directory cannot be written.
    pub(crate) read_only: bool,
    /// No page holds more.
    pub(crate) page_cap: usize,
    /// Pages tell how many there are altogether.
    pub(crate) total_count: bool,
    /// How many requests a deletion outlives.
    pub(crate) deletion_requests: u32,
    /// Deletions end without success, with these words.
    pub(crate) deletion_fails: Option<String>,
    /// An update must bring full name and e-mail address.
    pub(crate) update_wants_both: bool,
    /// `expand=status` is obeyed.
    pub(crate) tells_status: bool,
    /// Upper-case letters in the name of a new group become lower-case ones; else they are refused.
    pub(crate) fold_groups: bool,
    /// What creating a group answers.
    pub(crate) group_created: u16,
    /// What is answered for a group that is not there.
    pub(crate) no_group: u16,
    /// Members of a group that is not there are none, with 200.
    pub(crate) no_group_is_empty: bool,
    /// `disable` and `enable` answer 204 and do nothing.
    pub(crate) idle_activity: bool,
    /// A resource tells by OPTIONS what can be done with it.
    pub(crate) tells_options: bool,
    /// The manifest for application links is open to everybody.
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
            tells_status: true,
            fold_groups: false,
            group_created: 200,
            no_group: 404,
            no_group_is_empty: false,
            idle_activity: false,
            tells_options: true,
            manifest_open: true,
        }
    }
}

/// What a version's REST interface has.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Features {
    /// Disabling, enabling, deleting, memberships.
    pub(crate) administers: bool,
    /// Creating users.
    pub(crate) creates: bool,
    /// Listing users.
    pub(crate) lists: bool,
    /// Updating users.
    pub(crate) updates: bool,
    /// Server information, global permissions; members only for administrators.
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
