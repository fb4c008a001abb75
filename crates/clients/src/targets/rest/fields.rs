//! The fields of a user, as every product requires them.

use super::{Rest, unsupported};
use crate::{model::UserFields, targets::TargetError};

/// Returns the display name of a new account: the login, if the user has no name.
pub fn shown_name<'a>(fields: &'a UserFields, login: &'a str) -> &'a str {
    fields.display_name.as_deref().filter(|shown| !shown.trim().is_empty()).unwrap_or(login)
}

impl Rest {
    /// Returns the e-mail address of a new account.
    ///
    /// # Errors
    /// The user has none, and the product requires one.
    pub fn required_email<'a>(&self, what: &str, fields: &'a UserFields) -> Result<&'a str, TargetError> {
        let email = fields.email.as_deref().filter(|email| !email.trim().is_empty());
        email.ok_or_else(|| self.email_required(what))
    }

    /// Creates the error for a user without an e-mail address.
    pub fn email_required(&self, what: &str) -> TargetError {
        let product = self.dialect.product;
        unsupported(format!("{what}: {product} requires an e-mail address. Set one for the user in Keycloak."))
    }

    /// Refuses an empty display name or e-mail address. The products reject it or ignore it silently; then the
    /// difference would come back forever.
    pub fn refuse_empty(&self, what: &str, fields: &UserFields) -> Result<(), TargetError> {
        self.refuse_empty_name(what, fields)?;
        self.refuse_blank(what, "e-mail address", fields.email.as_deref())
    }

    /// Refuses an empty display name.
    pub fn refuse_empty_name(&self, what: &str, fields: &UserFields) -> Result<(), TargetError> {
        self.refuse_blank(what, "display name", fields.display_name.as_deref())
    }

    fn refuse_blank(&self, what: &str, field: &str, value: Option<&str>) -> Result<(), TargetError> {
        if value.is_none_or(|value| !value.trim().is_empty()) {
            return Ok(());
        }
        Err(unsupported(format!(
            "{what}: usersync does not write an empty {field} to {}. Keep the old value in the policy, or set a \
             default.",
            self.dialect.product
        )))
    }
}
