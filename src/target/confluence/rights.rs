//! What a refused write means, whether we are an administrator, and how many seats are left.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{ConfluenceTarget, protection::ADMINISTRATORS, wire::Seats};
use crate::{
    model::ErrorClass,
    target::{
        TargetError,
        http::Answer,
        rest::{Ask, Said, not_done, segment, unsupported},
    },
};

/// What we may do, as far as Confluence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Administrator,
    Missing,
    Unknown,
}

/// A name as a segment of a path, where Confluence wants all its names; some cannot be one.
pub(super) fn place(what: &str, name: &str) -> Result<String, TargetError> {
    if name.contains(['/', '\\']) || matches!(name, "" | "." | "..") {
        return Err(unsupported(format!(
            "{what}: Confluence has names in the paths of its REST interface, and {name:?} cannot stand there. Give it \
             another name in Keycloak."
        )));
    }
    Ok(segment(name))
}

/// Whether a resource is not there at all: 405, or a 404 that is neither Confluence's own about a user or group nor a
/// page of a proxy.
pub(super) fn is_absent(answer: &Answer, said: &Said) -> bool {
    answer.status == StatusCode::METHOD_NOT_ALLOWED
        || (answer.status == StatusCode::NOT_FOUND && !said.own && !answer.is_html())
}

impl ConfluenceTarget {
    /// Whether we are an administrator. No call tells it outright, so it goes by our groups, then by what only
    /// administrators may read.
    pub(super) async fn rights(&self, deadline: Option<Timestamp>) -> Result<Rights, TargetError> {
        let what = "reading our own rights";
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

    /// What a refused write means that has no meaning of its own: no seat, a directory that cannot be written, or a
    /// missing right.
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
                "{what}: its user directory is read-only for Confluence{quoted}. Change it where it is kept, or make \
                 the directory writable (User directories; External user management off)."
            ));
        }
        let plain = self.rest.unexpected(ask, answer);
        if answer.status != StatusCode::FORBIDDEN || plain.text.contains("XSRF") {
            return plain;
        }
        // 403 says "no right" and "read-only directory" alike, in the language of our account; our rights decide.
        match self.rights(Some(deadline)).await {
            Ok(Rights::Administrator) => unsupported(format!(
                "{what}: Confluence answered 403{quoted} although usersync is an administrator. Either its user \
                 directory is read-only for Confluence, or users are managed externally, or only a system \
                 administrator may do this."
            )),
            _ => plain,
        }
    }

    /// How many more accounts the licence takes; `None` where it does not count, or is not told to us.
    pub(super) async fn seats_left(&self) -> Result<Option<u64>, TargetError> {
        let ask = Ask::get("/license/remainingSeats", "reading the licence").below("/rest/license/1.0");
        let answer = self.rest.ask(&ask).await?;
        if !answer.status.is_success() {
            return Ok(None);
        }
        // Another shape than is known only loses the number.
        Ok(serde_json::from_slice::<Seats>(&answer.body).ok().and_then(|seats| seats.free()))
    }
}
