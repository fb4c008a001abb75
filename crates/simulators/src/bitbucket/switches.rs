//! Switches of a running Bitbucket.

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of on and off")]
pub(crate) struct Switches {
    /// Basic credentials are accepted.
    pub(crate) basic_allowed: bool,
    /// All credentials are refused.
    pub(crate) bad_credentials: bool,
    /// Basic logins are answered with a CAPTCHA challenge.
    pub(crate) captcha: bool,
    /// Answers name the authenticated user in a header.
    pub(crate) names_caller: bool,
    /// Maximum number of entries on a page.
    pub(crate) page_cap: usize,
    /// A filtered page is an unfiltered page without the entries that do not match: it can be smaller than it could be.
    pub(crate) sparse: bool,
    /// Members of a missing group are answered with 404; else with an empty page.
    pub(crate) unknown_is_404: bool,
    /// Adding a member twice is answered with 409, removing one twice with 404; else both with 200.
    pub(crate) strict_members: bool,
    /// Status that refuses a rename to a taken login.
    pub(crate) clash: u16,
    /// Logins are stored in lower case.
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
