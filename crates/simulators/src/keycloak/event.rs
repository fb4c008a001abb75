//! Events: what a realm stores of them and what its listeners are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

/// Who did it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthDetails {
    pub(crate) realm_id: String,
    pub(crate) client_id: String,
    pub(crate) user_id: String,
    pub(crate) ip_address: String,
}

/// An admin event as `GET admin-events` returns it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdminEvent {
    pub(crate) id: String,
    pub(crate) time: i64,
    pub(crate) realm_id: String,
    pub(crate) auth_details: AuthDetails,
    pub(crate) operation_type: &'static str,
    pub(crate) resource_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) representation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<BTreeMap<&'static str, String>>,
}

/// A user event as `GET events` returns it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserEvent {
    pub(crate) id: String,
    pub(crate) time: i64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) realm_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_id: Option<String>,
    pub(crate) ip_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) details: BTreeMap<String, String>,
}

/// What Keycloak's model tells listeners inside a transaction, whatever caused it; never stored.
#[derive(Clone, Debug)]
pub(crate) struct ModelEvent {
    pub(crate) id: String,
    pub(crate) time: i64,
    pub(crate) kind: &'static str,
    pub(crate) resource_type: &'static str,
    pub(crate) resource_path: String,
    pub(crate) resource_id: String,
    pub(crate) user_id: Option<String>,
    pub(crate) username: Option<String>,
}

/// One thing that a change brought about.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// An administrator's change, with the id of what it is about and the name of the user concerned.
    Admin(Arc<AdminEvent>, Subject),
    /// A user's own doing.
    User(Arc<UserEvent>),
    /// A change of the model.
    Model(ModelEvent),
}

/// What an admin event is about; only listeners are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) resource_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) username: Option<String>,
}

/// The user events that Keycloak 26.7 stores when nothing else is said; each has an `_ERROR` twin.
pub(crate) const STORED_BY_DEFAULT: &[&str] = &[
    "LOGIN",
    "REGISTER",
    "LOGOUT",
    "CODE_TO_TOKEN",
    "CLIENT_LOGIN",
    "FEDERATED_IDENTITY_LINK",
    "REMOVE_FEDERATED_IDENTITY",
    "UPDATE_EMAIL",
    "UPDATE_PROFILE",
    "UPDATE_PASSWORD",
    "UPDATE_TOTP",
    "VERIFY_EMAIL",
    "VERIFY_PROFILE",
    "REMOVE_TOTP",
    "GRANT_CONSENT",
    "UPDATE_CONSENT",
    "REVOKE_GRANT",
    "SEND_VERIFY_EMAIL",
    "SEND_RESET_PASSWORD",
    "SEND_IDENTITY_PROVIDER_LINK",
    "RESET_PASSWORD",
    "RESTART_AUTHENTICATION",
    "IDENTITY_PROVIDER_LINK_ACCOUNT",
    "IDENTITY_PROVIDER_LOGIN",
    "IDENTITY_PROVIDER_FIRST_LOGIN",
    "IDENTITY_PROVIDER_POST_LOGIN",
    "IMPERSONATE",
    "CUSTOM_REQUIRED_ACTION",
    "EXECUTE_ACTIONS",
    "EXECUTE_ACTION_TOKEN",
    "CLIENT_REGISTER",
    "CLIENT_UPDATE",
    "CLIENT_DELETE",
    "CLIENT_INITIATED_ACCOUNT_LINKING",
    "TOKEN_EXCHANGE",
    "OAUTH2_DEVICE_AUTH",
    "OAUTH2_DEVICE_VERIFY_USER_CODE",
    "OAUTH2_DEVICE_CODE_TO_TOKEN",
    "AUTHREQID_TO_TOKEN",
    "PERMISSION_TOKEN",
    "DELETE_ACCOUNT",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT",
    "USER_DISABLED_BY_TEMPORARY_LOCKOUT",
    "OAUTH2_EXTENSION_GRANT",
    "FEDERATED_IDENTITY_OVERRIDE_LINK",
    "UPDATE_CREDENTIAL",
    "REMOVE_CREDENTIAL",
    "INVITE_ORG",
    "VERIFIABLE_CREDENTIAL_REQUEST",
    "VERIFIABLE_CREDENTIAL_OFFER_REQUEST",
    "VERIFIABLE_CREDENTIAL_CREATE_OFFER",
    "VERIFIABLE_CREDENTIAL_PRE_AUTHORIZED_GRANT",
    "JWT_AUTHORIZATION_GRANT",
];

/// The user events that it stores only when told to.
const STORED_ON_DEMAND: &[&str] = &[
    "CLIENT_INFO",
    "IDENTITY_PROVIDER_RESPONSE",
    "IDENTITY_PROVIDER_RETRIEVE_TOKEN",
    "INTROSPECT_TOKEN",
    "INVALID_SIGNATURE",
    "PUSHED_AUTHORIZATION_REQUEST",
    "REFRESH_TOKEN",
    "REGISTER_NODE",
    "UNREGISTER_NODE",
    "USER_INFO_REQUEST",
    "USER_SESSION_DELETED",
    "VALIDATE_ACCESS_TOKEN",
    "VERIFIABLE_CREDENTIAL_NONCE_REQUEST",
];

/// True for the name of a user event.
pub(crate) fn is_known(kind: &str) -> bool {
    let kind = kind.strip_suffix("_ERROR").unwrap_or(kind);
    STORED_BY_DEFAULT.contains(&kind) || STORED_ON_DEMAND.contains(&kind)
}

/// The present time in epoch milliseconds.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
