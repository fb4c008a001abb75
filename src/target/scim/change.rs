//! Changing a resource: PATCH where the server takes it, else the whole resource is read, changed and written back.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::{
    ScimTarget,
    service::Service,
    wire::{Edit, Refusal, Resource, replacing},
};
use crate::{
    model::ErrorClass,
    target::{
        TargetError, TargetErrorKind,
        http::Answer,
        rest::{Ask, error, not_done, not_possible},
    },
};

/// How often a change is tried that somebody else's came before.
pub(super) const TRIES: usize = 4;

/// A resource and its version.
pub(super) struct Versioned {
    pub resource: Resource,
    pub version: Option<String>,
}

/// What came of a write.
pub(super) enum Written {
    /// Done; the resource as it is now, if the server told it.
    Done(Option<Resource>),
    /// Refused in a way that the caller knows more about.
    Refused(Answer),
}

impl ScimTarget {
    /// Whether changes are sent as PATCH.
    pub(super) fn patches(&self, service: &Service) -> bool {
        service.patch && !self.learned.no_patch.load(Ordering::Relaxed)
    }

    /// A refused PATCH: whether the server takes none at all, which is noted.
    pub(super) fn takes_no_patch(&self, answer: &Answer) -> bool {
        let none = matches!(answer.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if none {
            self.learned.no_patch.store(true, Ordering::Relaxed);
        }
        none
    }

    /// A whole resource with its version.
    pub(super) async fn whole(&self, ask: &Ask<'_>) -> Result<Option<Versioned>, TargetError> {
        let answer = self.rest.ask(ask).await?;
        if answer.status == StatusCode::NOT_FOUND && self.rest.said(&answer, None).own {
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

    /// Changes a resource. The edits are made from what is there, where that `needs` to be known; a PUT always does.
    pub(super) async fn change(
        &self,
        path: &str,
        what: &str,
        login: &str,
        needs: bool,
        edits: impl Fn(Option<&Resource>) -> Vec<Edit>,
        deadline: Timestamp,
    ) -> Result<Written, TargetError> {
        let service = self.service(Some(deadline)).await?;
        for _ in 0..TRIES {
            let patches = self.patches(&service);
            let before = if needs || !patches {
                let read = Ask::get(path, what).login(login).deadline(Some(deadline));
                let Some(before) = self.whole(&read).await? else {
                    return Err(error(TargetErrorKind::NotFound, format!("{what}: not there.")));
                };
                Some(before)
            } else {
                None
            };
            let edits = edits(before.as_ref().map(|before| &before.resource));
            if edits.is_empty() {
                return Err(not_possible(format!(
                    "{what}: nothing of it can be written there. Mend it in the policy."
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
            let ask = if_match(ask, version);
            let answer = self.rest.ask(&ask).await?;
            if answer.status == StatusCode::PRECONDITION_FAILED || (patches && self.takes_no_patch(&answer)) {
                continue;
            }
            return match answer.status {
                status if status.is_success() => Ok(Written::Done(self.told_after(&ask, &answer)?)),
                StatusCode::BAD_REQUEST | StatusCode::CONFLICT | StatusCode::FORBIDDEN => Ok(Written::Refused(answer)),
                _ => Err(self.rest.unexpected(&ask, &answer)),
            };
        }
        Err(overtaken(what))
    }

    /// What an answer to a write tells of the resource; an empty one, and one to a server's taste, tell nothing.
    pub(super) fn told_after(&self, ask: &Ask<'_>, answer: &Answer) -> Result<Option<Resource>, TargetError> {
        if answer.body.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.rest.parse(ask, answer).map(Some)
    }

    /// What a refusal means that has no meaning of its own.
    pub(super) fn refused(&self, what: &str, login: Option<&str>, answer: &Answer) -> TargetError {
        let said = self.rest.said(answer, login);
        let quoted = said.quoted();
        let kind = Refusal::read(answer).and_then(|refusal| refusal.scim_type).unwrap_or_default();
        let is = |one: &str| kind.eq_ignore_ascii_case(one);
        if answer.status != StatusCode::BAD_REQUEST && said.licence_full() {
            let text = format!(
                "{what}: the SCIM server has no seat left{quoted}. Free seats there, then: usersync dead replay --all"
            );
            return not_done(ErrorClass::Permanent, text);
        }
        if is("mutability") {
            let text =
                format!("{what}: the SCIM server does not let this be changed{quoted}. Change it there by hand.");
            return error(TargetErrorKind::NotPossible, text);
        }
        if answer.status == StatusCode::BAD_REQUEST {
            let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
            let text = format!(
                "{what}: the SCIM server does not take it{kind}{quoted}. Mend the value in Keycloak, or map it in the \
                 policy, then: usersync dead replay --all"
            );
            return not_done(ErrorClass::Permanent, text);
        }
        let ask = Ask::new(Method::PATCH, "", what);
        self.rest.unexpected(&ask, answer)
    }
}

/// With the version that is to be changed, where there is one.
pub(super) fn if_match(ask: Ask<'_>, version: Option<String>) -> Ask<'_> {
    match version {
        Some(version) => ask.header("if-match", version),
        None => ask,
    }
}

/// Somebody else's changes came before each try.
pub(super) fn overtaken(what: &str) -> TargetError {
    not_done(
        ErrorClass::Transient,
        format!("{what}: somebody else changed it at the same time, {TRIES} times. It is tried again by itself."),
    )
}
