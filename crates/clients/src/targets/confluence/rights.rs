//! Classification of refused writes, usersync's own permissions, and free seats.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{ConfluenceTarget, wire::Seats};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError,
        http::Answer,
        rest::{Ask, Said, not_done, segment, unsupported},
    },
};

/// The group that grants administrator rights in every Confluence.
pub(super) const ADMINISTRATORS: &str = "confluence-administrators";

/// Administrator permission of usersync, as far as Confluence reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Administrator,
    Missing,
    Unknown,
}

/// Encodes a name as a path segment, as Confluence's paths require.
///
/// # Errors
/// The name cannot be a path segment.
pub(super) fn place(what: &str, name: &str) -> Result<String, TargetError> {
    if name.contains(['/', '\\']) || matches!(name, "" | "." | "..") {
        return Err(unsupported(format!(
            "{what}: the paths of Confluence's REST API cannot contain the name {name:?}. Give it another name in \
             Keycloak."
        )));
    }
    Ok(segment(name))
}

/// Whether a resource does not exist: 405, or a 404 that is neither Confluence's own about a user or group nor an HTML
/// page of a proxy.
pub(super) fn is_absent(answer: &Answer, said: &Said) -> bool {
    answer.status == StatusCode::METHOD_NOT_ALLOWED
        || (answer.status == StatusCode::NOT_FOUND && !said.own && !answer.is_html())
}

impl ConfluenceTarget {
    /// Whether usersync is an administrator. No call reports it directly. usersync's groups decide first, then reads
    /// that only administrators may make.
    pub(super) async fn rights(&self, deadline: Option<Timestamp>) -> Result<Rights, TargetError> {
        let what = "reading usersync's own permissions";
        let me = self.myself(deadline).await?;
        if let (_, true) = self.marked_groups(me.id.as_str(), deadline).await? {
            return Ok(Rights::Administrator);
        }
        let group = segment(ADMINISTRATORS);
        for (path, proves) in [
            ("/admin/users/list/active".to_owned(), false),
            (format!("/group/{group}/member"), false),
            (format!("/permissions/group/{group}"), true),
        ] {
            let mut ask = Ask::get(path, what).deadline(deadline);
            if !proves {
                ask = ask.query("limit", "1");
            }
            let answer = self.rest.ask(&ask).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Rights::Missing),
                status if status.is_success() && proves => return Ok(Rights::Administrator),
                _ => {}
            }
        }
        Ok(Rights::Unknown)
    }

    /// Classifies a refused write that has no specific meaning: no free seat, a read-only directory, or a missing
    /// permission.
    pub(super) async fn refused_write(&self, ask: &Ask<'_>, answer: &Answer, deadline: Timestamp) -> TargetError {
        let said = self.rest.said(answer, ask.login);
        let (what, quoted) = (ask.what, said.quoted());
        let refused = matches!(answer.status.as_u16(), 400 | 403 | 405);
        if answer.status == StatusCode::PAYMENT_REQUIRED || (refused && said.licence_full()) {
            return not_done(
                ErrorClass::Permanent,
                format!(
                    "{what}: Confluence's licence has no seat left{quoted}. Free seats or enlarge the licence, then: \
                     usersync dead replay --all"
                ),
            );
        }
        if refused && said.read_only() {
            return unsupported(format!(
                "{what}: its user directory is read-only for Confluence{quoted}. Change it in the system that holds \
                 the directory's users, or make the directory writable (User directories; External user management \
                 off)."
            ));
        }
        let plain = self.rest.unexpected(ask, answer);
        if answer.status != StatusCode::FORBIDDEN || plain.text.contains("XSRF") {
            return plain;
        }
        // 403 means a missing permission or a read-only directory, in the account's language; usersync's permissions
        // decide.
        match self.rights(Some(deadline)).await {
            Ok(Rights::Administrator) => unsupported(format!(
                "{what}: Confluence answered 403{quoted} although usersync is an administrator. Either its user \
                 directory is read-only for Confluence, or users are managed externally, or only a system \
                 administrator may do this."
            )),
            _ => plain,
        }
    }

    /// Returns the number of free seats in the licence; `None`: unlimited, or not readable for usersync.
    pub(super) async fn seats_left(&self) -> Result<Option<u64>, TargetError> {
        let ask = Ask::get("/license/remainingSeats", "reading the licence").below("/rest/license/1.0");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        // An unknown format only loses the number.
        Ok(serde_json::from_slice::<Seats>(&answer.body).ok().and_then(|seats| seats.free()))
    }
}
