//! Switches of a running Crowd.

use std::collections::BTreeSet;

/// A permission of an application in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Create users.
    AddUser,
    /// Change users.
    ModifyUser,
    /// Change attributes of users.
    ModifyUserAttributes,
    /// Delete users.
    RemoveUser,
    /// Create groups.
    AddGroup,
    /// Change groups and their members.
    ModifyGroup,
    /// Delete groups.
    RemoveGroup,
}

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Switches {
    /// The application's credentials are refused.
    pub(crate) bad_credentials: bool,
    /// The caller's address is not on the application's list.
    pub(crate) address_refused: bool,
    /// Permissions that the application lacks.
    pub(crate) lacking: BTreeSet<Permission>,
    /// Answers have the version header of every Crowd.
    pub(crate) version_header: bool,
    /// Users have their keys.
    pub(crate) returns_keys: bool,
    /// Users have their directories.
    pub(crate) returns_directories: bool,
    /// All memberships can be read in one answer; very old versions lack this.
    pub(crate) returns_memberships: bool,
    /// Lists are expanded on request.
    pub(crate) expands: bool,
    /// Maximum number of entries on a page, whatever the request asks for.
    pub(crate) page_cap: usize,
    /// Minimum password length.
    pub(crate) password_min: usize,
}

impl Switches {
    /// Returns the defaults of a Crowd of this version.
    pub(crate) fn of(version: &[u32]) -> Self {
        Self {
            bad_credentials: false,
            address_refused: false,
            lacking: BTreeSet::new(),
            version_header: true,
            returns_keys: version >= [2, 8].as_slice(),
            returns_directories: version >= [5].as_slice(),
            returns_memberships: true,
            expands: true,
            page_cap: usize::MAX,
            password_min: 1,
        }
    }
}
