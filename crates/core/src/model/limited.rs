//! The kinds of harmful operations that have a safety limit.

use serde::{Deserialize, Serialize};

/// The kinds of operation that have a safety limit, each its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    /// Deactivating users.
    Deactivate,
    /// Deleting users.
    Delete,
    /// Renaming users.
    Rename,
    /// Changing users' e-mail addresses.
    ChangeEmail,
    /// Clearing users' further attributes.
    ClearAttributes,
    /// Renaming groups.
    RenameGroup,
    /// Deleting groups.
    DeleteGroup,
    /// Removing memberships.
    RemoveMember,
    /// Dropping links with accounts that are gone, so that new accounts are created.
    DropLink,
}

impl Limited {
    /// All kinds, in display order.
    pub const ALL: [Self; 9] = [
        Self::Deactivate,
        Self::Delete,
        Self::Rename,
        Self::ChangeEmail,
        Self::ClearAttributes,
        Self::RenameGroup,
        Self::DeleteGroup,
        Self::RemoveMember,
        Self::DropLink,
    ];

    /// Returns the word in the store and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deactivate => "deactivate",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::ChangeEmail => "change_email",
            Self::ClearAttributes => "clear_attributes",
            Self::RenameGroup => "rename_group",
            Self::DeleteGroup => "delete_group",
            Self::RemoveMember => "remove_member",
            Self::DropLink => "drop_link",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_limit_is_that_of_its_json() {
        let words = [
            "deactivate",
            "delete",
            "rename",
            "change_email",
            "clear_attributes",
            "rename_group",
            "delete_group",
            "remove_member",
            "drop_link",
        ];
        assert_eq!(Limited::ALL.map(Limited::as_str), words);
        for limited in Limited::ALL {
            assert_eq!(serde_json::to_value(limited).unwrap(), limited.as_str());
        }
    }
}
