//! Positions in lists, and why a list may be incomplete, in the words of every product.

use std::str::FromStr;

use super::{not_done, unless_unreadable};
use crate::{
    model::{Account, ErrorClass},
    targets::TargetError,
};

/// Why a page without its list is incomplete.
pub const NO_LIST: &str = "a page was returned without its list";

/// Parses the cursor of a listing; the start of the list without one.
pub fn position<T: FromStr + Default>(what: &str, cursor: Option<&str>) -> Result<T, TargetError> {
    cursor.map_or_else(|| Ok(T::default()), |cursor| cursor.parse().map_err(|_| invalid_position(what, cursor)))
}

/// Creates the error for a cursor that usersync did not create.
pub fn invalid_position(what: &str, cursor: &str) -> TargetError {
    not_done(ErrorClass::Bug, format!("{what}: invalid list position {cursor}."))
}

/// Returns why a list ends at a page that points back.
pub fn page_read_before(product: &str) -> String {
    format!("{product} points to a page that was already read")
}

/// Returns why a list ends at a page that announces another one without a position.
pub fn no_next_page(product: &str) -> String {
    format!("{product} reports more entries but no next page")
}

/// Returns why the members of a group are incomplete, if `lost` of them lack these fields.
pub fn members_lacking(lost: usize, group: &str, fields: &str) -> Option<String> {
    (lost > 0).then(|| format!("{lost} members of {group} were returned without {fields}"))
}

/// Returns why a listing is incomplete, if it names accounts that could not be read.
pub fn unread_accounts(unknown: usize) -> Option<String> {
    (unknown > 0).then(|| format!("{unknown} listed accounts could not be read"))
}

/// Joins the reasons why a list may be incomplete; `None`: there is none.
pub fn joined(reasons: &[String]) -> Option<String> {
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The accounts of a page, for products that may list an account without some of its fields.
#[derive(Default)]
pub struct ListedAccounts {
    accounts: Vec<Account>,
    /// Number of accounts without a name or id, or deleted since they were listed.
    unknown: usize,
    /// Number of accounts with an unreadable answer.
    unreadable: usize,
}

impl ListedAccounts {
    /// Adds a listed account, as the page showed it or as it was read individually; `None`: it could not be found.
    pub fn add(&mut self, read: Result<Option<Account>, TargetError>) -> Result<(), TargetError> {
        match unless_unreadable(read)? {
            Some(Some(account)) => self.accounts.push(account),
            Some(None) => self.unknown += 1,
            None => self.unreadable += 1,
        }
        Ok(())
    }

    /// Returns the accounts, and adds to `reasons` why some are missing.
    pub fn finish(self, reasons: &mut Vec<String>) -> Vec<Account> {
        reasons.extend(unread_accounts(self.unknown));
        if self.accounts.is_empty() && self.unreadable > 0 {
            reasons.push(format!("none of {} accounts of a page could be read", self.unreadable));
        }
        self.accounts
    }
}
