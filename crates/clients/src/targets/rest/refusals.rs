//! Errors for refusals that several products have, each worded once.

use super::{Rest, Said, error, not_done, unanswered, unsupported};
use crate::{
    model::ErrorClass,
    targets::{TargetError, TargetErrorKind},
};

/// Advice for a change that the product does not make for usersync.
pub const MANUALLY: &str = "Change it manually there.";

/// Creates the error for a login that another account has.
pub fn login_taken(what: &str, said: &Said) -> TargetError {
    error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{}.", said.quoted()))
}

/// Creates the error for a group name that another group has.
pub fn group_name_taken(what: &str, said: &Said) -> TargetError {
    error(TargetErrorKind::NameTaken, format!("{what}: a group with this name exists{}.", said.quoted()))
}

/// Creates the error for an account or group that is gone; `thing` says which.
pub fn gone(what: &str, thing: &str) -> TargetError {
    error(TargetErrorKind::NotFound, format!("{what}: the {thing} no longer exists."))
}

impl Rest {
    /// Creates the error for a full licence.
    pub fn no_seat(&self, what: &str, said: &Said) -> TargetError {
        let (product, quoted) = (self.dialect.product, said.quoted());
        let text = format!(
            "{what}: {product}'s licence has no seat left{quoted}. Free seats or enlarge the licence, then: usersync \
             dead replay --all"
        );
        not_done(ErrorClass::Permanent, text)
    }

    /// Creates the error for a read-only user directory; `directory` is its name, if the product reports it.
    pub fn read_only(&self, what: &str, directory: Option<&str>, said: &Said) -> TargetError {
        let (product, quoted) = (self.dialect.product, said.quoted());
        let directory = directory.map_or_else(String::new, |name| format!(" {name}"));
        unsupported(format!(
            "{what}: its user directory{directory} is read-only for {product}{quoted}. Change it in the system that \
             holds the directory's users{}.",
            self.dialect.writable_hint
        ))
    }

    /// Creates the error for a rejected value: a `login` or the like.
    pub fn rejects(&self, what: &str, value: &str, said: &Said) -> TargetError {
        let (product, quoted) = (self.dialect.product, said.quoted());
        unsupported(format!("{what}: {product} rejects this {value}{quoted}. Map it in the policy."))
    }

    /// Creates the error for an operation that the product refuses for this object; `advice` is a sentence.
    pub fn refuses(&self, what: &str, said: &Said, advice: &str) -> TargetError {
        unsupported(format!("{what}: {} refuses{}. {advice}", self.dialect.product, said.quoted()))
    }

    /// Creates the error for a success without the intended effect; `advice` is a sentence.
    pub fn accepted_but(&self, what: &str, but: &str, advice: &str) -> TargetError {
        unsupported(format!("{what}: {} accepted it, but {but}. {advice}", self.dialect.product))
    }

    /// Creates the error for a success that did not change whether an account is active; `advice` is a sentence.
    pub fn still(&self, what: &str, active: bool, advice: &str) -> TargetError {
        let state = if active { "active" } else { "inactive" };
        self.accepted_but(what, &format!("the account is still {state}"), advice)
    }

    /// Creates the error for a rename that was accepted and led to another login or group name.
    pub fn named_otherwise(&self, what: &str, name: &str, now: &str) -> TargetError {
        self.accepted_but(what, &format!("the {name} is {now}"), "Rename it manually there.")
    }

    /// Creates the error for a created account that the product does not return.
    pub fn account_not_returned(&self, what: &str) -> TargetError {
        unanswered(what, &format!("{} accepted it, but does not return the account.", self.dialect.product))
    }
}
