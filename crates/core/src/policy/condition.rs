//! Applies the conditions of a policy: templates that render true or false.

use crate::model::{Template, TemplateError, UserState};

/// Returns whether a user meets a condition.
///
/// # Errors
/// It renders neither true nor false, or fails; the error says why.
pub(super) fn meets(template: &Template, user: &UserState) -> Result<bool, String> {
    truth(template.render(user))
}

/// Returns the value of a rendered condition.
///
/// # Errors
/// It is neither true nor false, or could not be rendered; the error says why.
pub(super) fn truth(rendered: Result<String, TemplateError>) -> Result<bool, String> {
    // Jinja writes `True` and `False`.
    match rendered.map(|text| text.to_lowercase()).as_deref() {
        Ok("true") => Ok(true),
        Ok("false") => Ok(false),
        Ok(other) => Err(format!("it renders {other:?}, not true or false")),
        Err(error) => Err(error.to_string()),
    }
}
