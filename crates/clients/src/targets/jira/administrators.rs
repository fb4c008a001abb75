//! Detects which groups grant administrator rights. Jira marks them only in its group picker, which shows a limited
//! number of groups (property `jira.ajax.autocomplete.limit`) and has no offset. A group that it does not show is
//! queried by name when needed. That is before an account in it is changed, and before the group is adopted.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    JiraTarget,
    wire::{BROWSE, Suggestion, Suggestions},
};
use crate::{
    model::Account,
    targets::{
        TargetError,
        rest::{Ask, Protection, fold, lenient::some},
    },
};

/// Groups that the picker showed.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// Folded names of groups that grant administrator rights.
    pub marked: HashSet<String>,
    /// Folded names of groups that do not grant them.
    pub plain: HashSet<String>,
    /// Why other groups may grant administrator rights; `None`: every group was shown.
    pub incomplete: Option<String>,
}

impl JiraTarget {
    /// Returns the groups that Jira marks as administrators' groups, as far as its picker shows them. Reads all groups,
    /// then those with "admin" in their names, as most administrators' groups have.
    pub(super) async fn picked_groups(&self, deadline: Option<Timestamp>) -> Result<Picked, TargetError> {
        let mut picked = Picked::default();
        let (mut total, mut unmarked) = (None, 0_usize);
        for query in ["", "admin"] {
            let answer = self.picker(query, deadline).await?;
            let shown = answer.groups.len();
            for group in answer.groups {
                match (group.is_admin(), some(group.name)) {
                    (Some(true), Some(name)) => _ = picked.marked.insert(fold(&name)),
                    (Some(false), Some(name)) => _ = picked.plain.insert(fold(&name)),
                    (None, _) | (_, None) => unmarked += 1,
                }
            }
            if query.is_empty() {
                total = answer.total;
            }
            if answer.total.is_some_and(|total| total <= shown) {
                break;
            }
        }
        let shown = picked.marked.len() + picked.plain.len();
        picked.incomplete = match total {
            Some(0) if shown == 0 && self.own_rights(deadline).await?.lacks_browse() => {
                Some(format!("Jira's group picker shows no groups, because usersync's account lacks \"{BROWSE}\""))
            }
            // This Jira has no groups or marks none of them, so only names decide.
            Some(0) if shown == 0 => None,
            _ if shown == 0 && unmarked > 0 => None,
            _ if unmarked > 0 => {
                Some(format!("Jira does not report whether {unmarked} groups grant administrator rights"))
            }
            Some(total) if shown >= total => None,
            Some(total) => Some(format!("Jira's group picker shows {shown} of {total} groups")),
            None => Some(format!("Jira's group picker shows {shown} groups and does not report the total")),
        };
        let known =
            |names: &HashSet<String>, marked| names.iter().map(|name| (name.clone(), marked)).collect::<Vec<_>>();
        self.standings.renew(known(&picked.plain, false).into_iter().chain(known(&picked.marked, true)));
        Ok(picked)
    }

    /// Returns the groups that the group picker shows for a search text.
    pub(super) async fn picker(&self, query: &str, deadline: Option<Timestamp>) -> Result<Suggestions, TargetError> {
        let ask = Ask::get("/groups/picker", "reading the administrators' groups")
            .query("query", query)
            .query("maxResults", "1000")
            .deadline(deadline);
        self.rest.read(&ask).await
    }

    /// Whether a group grants administrator rights; `None` if Jira does not report it.
    pub(super) async fn makes_administrators(
        &self,
        group: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let folded = fold(group);
        if let Some(known) = self.standings.known(&folded) {
            return Ok(known);
        }
        let answer = self.picker(&folded, deadline).await?;
        let reported = answer.groups.iter().find(|found| found.is_named(&folded)).and_then(Suggestion::is_admin);
        self.standings.learn(folded, reported);
        Ok(reported)
    }

    /// Protects an account in a group that the picker did not show, if that group grants administrator rights or may do
    /// so.
    pub(super) async fn protected_by_groups(
        &self,
        mut account: Account,
        protection: &Protection,
        deadline: Option<Timestamp>,
    ) -> Result<Account, TargetError> {
        let Some(incomplete) = protection.incomplete.as_ref().filter(|_| account.protected.is_none()) else {
            return Ok(account);
        };
        let ask_for = "name the administrators' groups in frozen_groups, and raise the property \
                       jira.ajax.autocomplete.limit in Jira until it shows them all";
        account.protected = match &account.groups {
            None => Some(format!("{incomplete}, and Jira does not return the account's groups; {ask_for}")),
            Some(groups) => {
                let mut why = None;
                for group in groups {
                    match self.makes_administrators(group.as_str(), deadline).await? {
                        Some(false) => {}
                        Some(true) => why = Some(format!("a member of {group}, which grants administrator rights")),
                        None => {
                            why = why.or(Some(format!(
                                "a member of {group}; Jira does not report whether that group grants administrator \
                                 rights ({incomplete}); {ask_for}"
                            )));
                        }
                    }
                }
                why
            }
        };
        if account.protected.is_some() {
            self.standings.protect(&account.id);
        }
        Ok(account)
    }
}
