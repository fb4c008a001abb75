//! Conversion of database errors to [`StoreError`].

use std::fmt::Display;

use crate::store::StoreError;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code =
            error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse().ok());
        // The low byte of SQLite's extended codes: busy, locked, read only, input/output, full, cannot open.
        match code.map(|code: i32| code & 0xff) {
            Some(13) => Self::Unavailable("the disk is full".into()),
            Some(5 | 6) => Self::Unavailable("another process has locked it".into()),
            Some(8 | 10 | 14) => Self::Unavailable(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

/// Returns the error for a stored value that cannot be decoded.
pub(super) fn damaged(what: impl Display) -> StoreError {
    StoreError::Failed(format!("stored data cannot be decoded: {what}"))
}
