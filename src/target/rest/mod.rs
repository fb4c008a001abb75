//! What the targets with a REST interface share: signing in, one call with its credentials and headers, answers that
//! mean the same everywhere, and the lines of a first contact. What is particular to a product is its [`Dialect`].

pub mod atlassian;
mod auth;
mod batch;
mod call;
mod errors;
pub mod lenient;
mod oauth;
mod password;
mod probe;
mod protection;
mod sign_in;
mod standings;

pub use auth::{Auth, Permit, SignInRefusal, Verdict};
pub use batch::{BatchCall, BatchOutcome, MemberBatches};
pub use call::{Ask, More, Rest, segment};
pub use errors::{
    Said, after_the_fact, applied, body_mentions, error, few, no_group_rename, not_done, unconfirmed,
    unless_unreadable, unsupported,
};
pub use oauth::ClientCredentials;
pub use password::random_password;
pub use probe::{Version, access_groups, access_note, clock_note, note, round_trip_note, thin};
pub use protection::{Protection, ProtectionCache, ended, fold};
pub use standings::Standings;

pub use auth::Credentials;

use super::http::Answer;

/// What is particular to one product's REST interface.
pub struct Dialect {
    /// The product as people call it: `Jira`.
    pub product: &'static str,
    /// Where its interface begins, below the address that people type: `/rest/api/2`.
    pub api: &'static str,
    /// The media type of what is sent, and of what is asked for.
    pub media: &'static str,
    /// Headers of every call, beside the credentials and the media type.
    pub headers: &'static [(&'static str, &'static str)],
    /// What an answer tells about the credentials that were sent with it.
    pub verdict: fn(&Answer) -> Verdict,
    /// Whom the server took the caller for, if an answer tells.
    pub caller: fn(&Answer) -> Option<String>,
    /// Reads what was said in an answer that is not a success.
    pub said: fn(&Answer) -> Words,
    /// What its tokens are called: `the personal access token`.
    pub token: &'static str,
    /// What gives a missing right: `make it a Jira administrator (group jira-administrators)`.
    pub grant: &'static str,
    /// Where a refused token, and a refused password, are looked after.
    pub token_hint: &'static str,
    /// The same for passwords.
    pub password_hint: &'static str,
    /// What is met with no CAPTCHA, as the second half of a sentence; empty where nothing is.
    pub captcha_hint: &'static str,
    /// Where the server's own limit of calls is raised.
    pub pace_hint: &'static str,
}

/// What a refusal says, as it came: cleaned before it is shown.
#[derive(Debug, Default)]
pub struct Words {
    /// The fields that it complains about, by their wire names.
    pub fields: Vec<(String, String)>,
    /// Its messages.
    pub messages: Vec<String>,
    /// Whether it has the shape of the product's own refusals, so that it was not a proxy that spoke.
    pub own: bool,
}
