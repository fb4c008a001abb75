//! Changes of a resource: by PATCH if the server supports it, else by reading, changing and writing back the whole
//! resource.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    ScimTarget,
    discovery::Service,
    wire::{Edit, Kind, Resource, replacing},
};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError,
        http::Answer,
        rest::{Ask, gone, not_done, unsupported},
    },
};

/// Maximum number of attempts of a change that another client's change precedes.
pub(super) const TRIES: usize = 4;

/// A resource and its version.
pub(super) struct Versioned {
    pub resource: Resource,
    pub version: Option<String>,
}

/// Result of a write.
pub(super) enum Written {
    /// Success; the current resource, if the server returned it.
    Done(Option<Resource>),
    /// A refusal that the caller interprets.
    Refused(Answer),
}

impl ScimTarget {
    /// Whether resources of a kind are changed by PATCH.
    pub(super) fn patches(&self, service: &Service, kind: Kind) -> bool {
        service.patch && !self.learned.no_patch[kind as usize].load(Ordering::Relaxed)
    }

    /// Reads a whole resource with its version.
    pub(super) async fn whole(
        &self,
        ask: &Ask<'_>,
        path: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Versioned>, TargetError> {
        let answer = self.rest.ask(ask).await?;
        if answer.status == StatusCode::NOT_FOUND
            && (self.rest.said(&answer, None).own || self.is_gone_at(path, &answer, deadline).await?)
        {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(ask, &answer));
        }
        let resource: Resource = self.rest.parse(ask, &answer)?;
        if resource.id().is_none() {
            return Err(self.rest.unreadable(ask, "it has no id"));
        }
        let version = answer.header("etag").map(str::to_owned).or_else(|| resource.version());
        Ok(Some(Versioned { resource, version }))
    }

    /// Changes a resource. The edits are made from the current resource if `needs` requires it; a PUT always requires
    /// it.
    pub(super) async fn change(
        &self,
        path: &str,
        (what, login): (&str, &str),
        needs: bool,
        edits: impl Fn(Option<&Resource>) -> Vec<Edit>,
        deadline: Timestamp,
    ) -> Result<Written, TargetError> {
        let service = self.service(Some(deadline)).await?;
        let mut condition = Condition::new(&service);
        let mut other_way = false;
        for _ in 0..TRIES {
            let patches = self.patches(&service, Kind::User) && !other_way;
            let before = if needs || !patches {
                let read = Ask::get(path, what).login(login).deadline(Some(deadline));
                let Some(before) = self.whole(&read, path, Some(deadline)).await? else {
                    return Err(gone(what, "account"));
                };
                Some(before)
            } else {
                None
            };
            let edits = edits(before.as_ref().map(|before| &before.resource));
            if edits.is_empty() {
                return Err(unsupported(format!(
                    "{what}: none of the changes can be written there. Correct the policy."
                )));
            }
            let version = before.as_ref().and_then(|before| before.version.clone());
            let (method, body) = match before.filter(|_| !patches) {
                None => (Method::PATCH, replacing(&edits)),
                Some(Versioned { mut resource, .. }) => {
                    for edit in &edits {
                        resource.apply(edit);
                    }
                    (Method::PUT, Value::Object(resource.0))
                }
            };
            let ask = Ask::new(method, path, what).login(login).deadline(Some(deadline)).json(&body)?;
            let ask = condition.of(ask, version);
            let answer = self.rest.ask(&ask).await?;
            if answer.status == StatusCode::PRECONDITION_FAILED {
                continue;
            }
            if patches && self.takes_no_patch(Kind::User, &answer) {
                other_way = true;
                continue;
            }
            return match answer.status {
                status if status.is_success() => Ok(Written::Done(self.reported_after(&ask, &answer)?)),
                StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::FORBIDDEN => Ok(Written::Refused(answer)),
                _ => Err(self.rest.unexpected(&ask, &answer)),
            };
        }
        Err(overtaken(what))
    }

    /// Returns the resource from the answer to a write; `None` if the answer is empty or in a server-specific form.
    pub(super) fn reported_after(&self, ask: &Ask<'_>, answer: &Answer) -> Result<Option<Resource>, TargetError> {
        if answer.body.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.rest.parse(ask, answer).map(Some)
    }
}

/// Marks a write to a group as not needing the members in the answer (RFC 7644, section 3.9).
pub(super) fn excluding_members(ask: Ask<'_>) -> Ask<'_> {
    ask.query("excludedAttributes", "members")
}

/// Condition of a write: the resource still has the version that was read.
pub(super) struct Condition {
    /// Whether the server supports versions.
    versions: bool,
    /// The version that was sent last.
    sent: Option<String>,
}

impl Condition {
    pub(super) fn new(service: &Service) -> Self {
        Self { versions: service.etag, sent: None }
    }

    /// Adds the condition to a write. A weak version never matches (RFC 9110, section 13.1.1). If the server refuses
    /// the version that it still shows, the condition is not sent again.
    pub(super) fn of<'a>(&mut self, ask: Ask<'a>, version: Option<String>) -> Ask<'a> {
        let version = version.filter(|version| self.versions && !version.starts_with("W/"));
        match version {
            Some(version) if self.sent.as_ref() != Some(&version) => {
                self.sent = Some(version.clone());
                ask.header("if-match", version)
            }
            _ => ask,
        }
    }
}

/// Returns the error for a change that another client preceded on each attempt.
pub(super) fn overtaken(what: &str) -> TargetError {
    not_done(
        ErrorClass::Transient,
        format!("{what}: another client changed it at the same time, {TRIES} times. usersync retries it."),
    )
}
