//! What can be switched about a Crowd while it runs.

use std::collections::BTreeSet;

/// What an application may be allowed to do in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Make users.
    AddUser,
    /// Change users.
    ModifyUser,
    /// Change attributes of users.
    ModifyUserAttributes,
    /// Delete users.
    RemoveUser,
    /// Make groups.
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
    /// Answers have the header that every Crowd sends.
    pub(crate) version_header: bool,
    /// Users are told with their keys.
    pub(crate) tells_keys: bool,
    /// Users are told with their directories.
    pub(crate) tells_directories: bool,
    /// All memberships are told at once; very old versions do not.
    pub(crate) tells_memberships: bool,
    /// Lists are expanded when that is asked for.
    pub(crate) expands: bool,
    /// What a page holds at most, whatever is asked for.
    pub(crate) page_cap: usize,
    /// The shortest password that is taken.
    pub(crate) password_min: usize,
}

impl Switches {
    /// What a Crowd of this version does out of the box.
    pub(crate) fn of(version: &[u32]) -> Self {
        Self {
            bad_credentials: false,
            address_refused: false,
            lacking: BTreeSet::new(),
            version_header: true,
            tells_keys: version >= [2, 8].as_slice(),
            tells_directories: version >= [5].as_slice(),
            tells_memberships: true,
            expands: true,
            page_cap: usize::MAX,
            password_min: 1,
        }
    }
}
