//! Shared code of targets with a REST interface: authentication, calls, answers common to all products, and the lines
//! of a first contact. A [`Dialect`] holds the differences between products.

pub mod atlassian;
mod auth;
mod batch;
mod call;
mod errors;
mod fields;
pub mod lenient;
mod login_page;
mod oauth;
mod paging;
mod password;
mod probe;
mod protection;
mod refusals;
mod standings;

pub use auth::{Auth, Permit, SignInRefusal, Verdict, debug_settings};
pub use batch::{BatchCall, BatchOutcome, MemberBatches};
pub use call::{Ask, More, Rest, segment};
pub use errors::{
    Said, after_part, after_the_fact, applied, error, few, is_xsrf_refusal, no_group_rename, not_done, unanswered,
    unconfirmed, unless_unreadable, unsupported,
};
pub use fields::shown_name;
pub use oauth::ClientCredentials;
pub use paging::{
    ListedAccounts, NO_LIST, invalid_position, joined, members_lacking, no_next_page, page_read_before, position,
    unread_accounts,
};
pub use password::{PASSWORD_LENGTH, random_password};
pub use probe::{
    Version, access_groups, access_note, clock_note, group_rename_note, note, round_trip_note, seats_note, thin,
};
pub use protection::{
    Protection, ProtectionCache, ProtectionSettings, administrators_unconfirmed, ended, fold, refuse_protected,
};
pub use refusals::{MANUALLY, gone, group_name_taken, login_taken};
pub use standings::Standings;

pub use auth::Credentials;

use super::http::Answer;

/// The differences of one product's REST interface.
pub struct Dialect {
    /// The vendor's name of the product: `Jira`.
    pub product: &'static str,
    /// Path of the interface below the base URL: `/rest/api/2`.
    pub api: &'static str,
    /// The media type of requests and expected answers.
    pub media: &'static str,
    /// Headers of every call, in addition to the credentials and the media type.
    pub headers: &'static [(&'static str, &'static str)],
    /// Reads what an answer says about the credentials that were sent with it.
    pub verdict: fn(&Answer) -> Verdict,
    /// Returns the signed-in user, if the answer names one.
    pub caller: fn(&Answer) -> Option<String>,
    /// Reads the message of an unsuccessful answer.
    pub said: fn(&Answer) -> Words,
    /// The product's name for a token: `the personal access token`.
    pub token: &'static str,
    /// Advice that grants a missing permission: `make it a Jira administrator (group jira-administrators)`.
    pub grant: &'static str,
    /// Advice for refused tokens.
    pub token_hint: &'static str,
    /// Advice for refused passwords.
    pub password_hint: &'static str,
    /// A way to avoid CAPTCHAs, as the second half of a sentence; empty if there is none.
    pub captcha_hint: &'static str,
    /// A way to make a user directory writable, as the second half of a sentence; empty if there is none.
    pub writable_hint: &'static str,
    /// Where the server's own rate limit is raised.
    pub pace_hint: &'static str,
}

/// The raw message of a refusal; it is cleaned before it is shown.
#[derive(Debug, Default)]
pub struct Words {
    /// The rejected fields, by their wire names, with messages.
    pub fields: Vec<(String, String)>,
    /// The messages.
    pub messages: Vec<String>,
    /// Whether the answer has the shape of the product's own refusals, so that it is not from a proxy.
    pub own: bool,
}
