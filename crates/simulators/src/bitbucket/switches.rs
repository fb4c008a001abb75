//! What can be switched about a Bitbucket while it runs.

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of on and off")]
pub(crate) struct Switches {
    /// Basic credentials are accepted.
    pub(crate) basic_allowed: bool,
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Basic logins are met with a CAPTCHA.
    pub(crate) captcha: bool,
    /// Answers tell whom they are for.
    pub(crate) names_caller: bool,
    /// What a page holds at most.
    pub(crate) page_cap: usize,
    /// A page with a filter is a page of everybody, less who does not fit: smaller than it could be.
    pub(crate) sparse: bool,
    /// Members of what is not there are answered with 404, else with an empty page.
    pub(crate) unknown_is_404: bool,
    /// Joining twice is answered with 409, leaving twice with 404; else both with 200.
    pub(crate) strict_members: bool,
    /// How a rename to a taken login is answered.
    pub(crate) clash: u16,
    /// Logins are kept in lower case.
    pub(crate) lower_logins: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            basic_allowed: true,
            bad_credentials: false,
            captcha: false,
            names_caller: true,
            page_cap: 1000,
            sparse: false,
            unknown_is_404: false,
            strict_members: false,
            clash: 409,
            lower_logins: false,
        }
    }
}
