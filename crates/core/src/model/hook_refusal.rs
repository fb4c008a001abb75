//! Requests that the hook endpoint refused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ConnectorName;

/// Why the hook endpoint refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// No connector has the name in the URL.
    UnknownConnector,
    /// A signature header is missing.
    Unsigned,
    /// A signature header is malformed.
    Malformed,
    /// Signed too long ago.
    TooOld,
    /// Signed in the future.
    TooNew,
    /// The connector has no usable secret for this form of signature.
    NoSecret,
    /// Signed with another secret.
    WrongSecret,
    /// Signed in the p2-inc form with another secret.
    WrongP2Secret,
    /// Signed in the p2-inc form, which the connector does not accept.
    P2NotAccepted,
    /// The body is larger than the limit.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body is not declared as JSON.
    MediaType,
    /// The body is not JSON.
    NotJson,
    /// The body holds no event.
    NotAnEvent,
    /// The body holds too many events.
    TooMany,
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnknownConnector => "unknown connector",
            Self::Unsigned => "no signature",
            Self::Malformed => "malformed signature",
            Self::TooOld => "signed more than five minutes ago",
            Self::TooNew => "signed more than five minutes in the future",
            Self::NoSecret => "no usable hook secret",
            Self::WrongSecret => "wrong secret",
            Self::WrongP2Secret => "wrong p2 secret",
            Self::P2NotAccepted => "p2 signature, not accepted",
            Self::TooLarge => "body too large",
            Self::TooSlow => "incomplete body",
            Self::MediaType => "not application/json",
            Self::NotJson => "body is not JSON",
            Self::NotAnEvent => "no event in the body",
            Self::TooMany => "too many events in the body",
        })
    }
}

/// Requests that the hook endpoint refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// The connector; `None`: no connector has the name in the URL.
    pub connector: Option<ConnectorName>,
    /// Why they were refused.
    pub reason: RefusalReason,
    /// Number of requests since `since`.
    pub count: u64,
    /// Time of the first refusal since the last accepted event, or since a day without any.
    pub since: Timestamp,
    /// Time of the last refusal.
    pub last: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_has_a_reason_in_words() {
        for (reason, text) in [
            (RefusalReason::UnknownConnector, "unknown connector"),
            (RefusalReason::Unsigned, "no signature"),
            (RefusalReason::Malformed, "malformed signature"),
            (RefusalReason::TooOld, "signed more than five minutes ago"),
            (RefusalReason::TooNew, "signed more than five minutes in the future"),
            (RefusalReason::NoSecret, "no usable hook secret"),
            (RefusalReason::WrongSecret, "wrong secret"),
            (RefusalReason::WrongP2Secret, "wrong p2 secret"),
            (RefusalReason::P2NotAccepted, "p2 signature, not accepted"),
            (RefusalReason::TooLarge, "body too large"),
            (RefusalReason::TooSlow, "incomplete body"),
            (RefusalReason::MediaType, "not application/json"),
            (RefusalReason::NotJson, "body is not JSON"),
            (RefusalReason::NotAnEvent, "no event in the body"),
            (RefusalReason::TooMany, "too many events in the body"),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }
}
