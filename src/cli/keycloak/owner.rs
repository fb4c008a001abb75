//! The owner of the files that contain secrets.

use std::{
    fs::File,
    os::unix::fs::{MetadataExt, fchown},
    path::Path,
};

use nix::unistd::{Gid, Uid, User};

use crate::cli::exit::Failure;

/// A user and its group, as owner of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
    /// The user's login; without one, the user's number.
    pub name: String,
}

impl Owner {
    /// Returns the user with this login. Only root can make another user the owner of a file.
    pub fn named(name: &str) -> Result<Self, Failure> {
        let user = User::from_name(name)
            .map_err(|error| Failure::problem(format!("--owner {name}: the system's users cannot be read: {error}")))?
            .ok_or_else(|| Failure::usage(format!("--owner {name}: this system has no user of that name")))?;
        let us = Uid::effective();
        if us.is_root() || us == user.uid {
            Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name })
        } else {
            Err(Failure::usage(format!("--owner {name}: only root can set another owner. Run it with sudo")))
        }
    }

    /// Returns the owner of a new file at this path. For root, it is the owner of the existing file, else of its
    /// folder. For other users, it is the current user.
    pub fn of(path: &Path, folder: &Path) -> std::io::Result<Self> {
        let us = Uid::effective();
        if !us.is_root() {
            return Ok(Self::numbered(us.as_raw(), Gid::effective().as_raw()));
        }
        let there = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder))?;
        Ok(Self::numbered(there.uid(), there.gid()))
    }

    fn numbered(uid: u32, gid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Self { uid, gid, name: user.map_or_else(|| uid.to_string(), |user| user.name) }
    }

    /// Makes this user and group the owner of a file.
    pub fn give(&self, file: &File) -> std::io::Result<()> {
        let there = file.metadata()?;
        if (there.uid(), there.gid()) == (self.uid, self.gid) {
            return Ok(());
        }
        fchown(file, Some(self.uid), Some(self.gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_belongs_to_the_owner_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acme-client.secret");
        if !Uid::effective().is_root() {
            assert_eq!(Owner::of(&path, folder.path()).unwrap().uid, Uid::effective().as_raw());
            return;
        }
        std::os::unix::fs::chown(folder.path(), Some(4711), Some(4712)).unwrap();
        let owner = Owner::of(&path, folder.path()).unwrap();
        assert_eq!((owner.uid, owner.gid, owner.name.as_str()), (4711, 4712, "4711"));
        let file = File::create(&path).unwrap();
        owner.give(&file).unwrap();
        assert_eq!((file.metadata().unwrap().uid(), file.metadata().unwrap().gid()), (4711, 4712));
        std::os::unix::fs::chown(&path, Some(4713), None).unwrap();
        assert_eq!(Owner::of(&path, folder.path()).unwrap().uid, 4713, "one that is there keeps its owner");
    }

    #[test]
    fn an_unknown_owner_is_refused() {
        let failure = Owner::named("nobody-of-that-name").unwrap_err();
        assert!(failure.text.contains("this system has no user of that name"), "{failure}");
    }
}
