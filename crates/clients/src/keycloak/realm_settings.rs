//! What setup, diagnosis and decoding know of a realm that usersync reads: the listener, and its events.

/// The id of usersync's event listener.
pub const LISTENER: &str = "usersync";

/// The realm attribute that names the listener's signing key, where the realm may use several. It contains only the
/// name, because the realm's administrators can read its attributes.
pub const KEY_ATTRIBUTE: &str = "usersync.key";

/// Keycloak's own realm attribute for the expiry of admin events.
pub(super) const ADMIN_EXPIRY: &str = "adminEventsExpiration";

/// Types of user events that change a user's directory data, in every Keycloak 26: the types to keep and to poll.
pub const DIRECTORY_EVENTS: [&str; 10] = [
    "REGISTER",
    "UPDATE_PROFILE",
    "UPDATE_EMAIL",
    "VERIFY_EMAIL",
    "VERIFY_PROFILE",
    "DELETE_ACCOUNT",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT",
    "FEDERATED_IDENTITY_LINK",
    "REMOVE_FEDERATED_IDENTITY",
    "IDENTITY_PROVIDER_FIRST_LOGIN",
];

/// Formats a duration in the largest unit that divides it.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 && s % 86_400 == 0 => match s / 86_400 {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        },
        s if s >= 3600 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
