//! Events: those that a realm stores and those that its listeners receive.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

/// The account that caused an event.
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

/// A model event, which Keycloak sends to listeners inside a transaction, whatever caused it; never stored.
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

/// One effect of a change.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    /// An administrator's change, with the id of its subject and the name of the user concerned.
    Admin(Arc<AdminEvent>, Subject),
    /// A user's own action.
    User(Arc<UserEvent>),
    /// A model event.
    Model(ModelEvent),
}

impl Happening {
    /// Returns whether only listeners of model events are notified.
    pub(crate) fn is_model(&self) -> bool {
        matches!(self, Self::Model(_))
    }
}

/// Subject of an admin event; only listeners receive it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub(crate) resource_id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) username: Option<String>,
}

/// User events that Keycloak 26.7 stores by default; each has an `_ERROR` twin.
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

/// User events that it stores only if configured.
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

/// Returns whether this is the name of a user event.
pub(crate) fn is_known(kind: &str) -> bool {
    let kind = kind.strip_suffix("_ERROR").unwrap_or(kind);
    STORED_BY_DEFAULT.contains(&kind) || STORED_ON_DEMAND.contains(&kind)
}

/// Returns the current time in epoch milliseconds.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
