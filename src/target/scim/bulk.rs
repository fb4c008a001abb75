//! Several joins of one account by one call, where the server takes that (RFC 7644, section 3.7).

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ScimTarget,
    forms::Form,
    path_of,
    service::{Bulk, Service},
    verify::{MemberWrite, Seen},
    wire::{Resource, adding, field},
};
use crate::{
    model::{AccountId, TargetGroupId},
    target::{
        TargetError, TargetErrorKind,
        rest::{Ask, error, few, not_possible},
    },
    telemetry::logs::Personal,
};

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

impl ScimTarget {
    /// How much is taken in one call, if anything is.
    pub(super) fn bulk(&self, service: &Service) -> Option<Bulk> {
        let harms = self.learned.forms.is_harmful(Form::Add);
        let takes = self.patches(service) && !harms && !self.learned.no_bulk.load(Ordering::Relaxed);
        service.bulk.filter(|_| takes)
    }

    /// Adds an account to several groups; gives those that were refused.
    pub(super) async fn add_to_groups(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let names: Vec<&str> = groups.iter().map(|(_, name)| *name).collect();
        let what = format!("adding {name} to {}", few(&names));
        let one_by_one = || not_possible(format!("{what}: not by one call."));
        let service = self.service(Some(deadline)).await?;
        let Some(Bulk { most, bytes }) = self.bulk(&service) else { return Err(one_by_one()) };
        let path = self.groups_path(&what, Some(deadline)).await?;
        let mut operations = Vec::with_capacity(groups.len());
        for (group, _) in groups {
            let path = path_of(&path, group.as_str(), &what)?;
            operations.push(json!({ "method": "PATCH", "path": path, "data": adding(&[account.as_str()]) }));
        }
        let body = json!({ "schemas": [BULK], "Operations": operations });
        if groups.len() > most || bytes.is_some_and(|bytes| body.to_string().len() > bytes) {
            return Err(one_by_one());
        }
        let _alone = self.group_locks.lock(groups.iter().map(|(group, _)| *group), &what, deadline).await?;
        let accounts = [account];
        let write =
            |group| MemberWrite { form: Form::Add, group, accounts: &accounts, adds: true, what: &what, deadline };
        let mut before = Vec::with_capacity(groups.len());
        for (group, _) in groups {
            before.push(self.members_before(&write(group)).await?);
        }
        let ask = Ask::new(Method::POST, "/Bulk", &what).login(name).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED
                if self.rest.said(&answer, None).own =>
            {
                tracing::warn!(what = %Personal(&what), "the SCIM server declares bulk, and refuses it; groups go one by one");
                self.learned.no_bulk.store(true, Ordering::Relaxed);
                return Err(one_by_one());
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => return Err(one_by_one()),
            _ => return Err(self.rest.unexpected(&ask, &answer)),
        }
        let told = self.rest.parse::<Resource>(&ask, &answer)?.list("Operations").unwrap_or_default();
        let statuses: Vec<u16> = told.iter().filter_map(status_of).collect();
        if statuses.len() != groups.len() {
            let text =
                format!("{what}: the SCIM server does not say of each how it ended. That is found out by looking.");
            return Err(error(TargetErrorKind::Unanswered, text));
        }
        let mut refused = Vec::new();
        for (((group, _), status), before) in groups.iter().zip(statuses).zip(before) {
            let mut done = (200..300).contains(&status);
            if done {
                self.learned.was_written(group);
                if let Some(before) = before {
                    done = self.verify(&write(group), &before).await? != Seen::NoEffect;
                }
            }
            if !done {
                refused.push((*group).clone());
            }
        }
        Ok(refused)
    }
}

/// How one operation ended: `"status": "204"`, as a number, or as `{"code": "204"}`, which an early draft had.
fn status_of(operation: &Value) -> Option<u16> {
    let status = field(operation, "status")?;
    let status = field(status, "code").unwrap_or(status);
    status.as_u64().and_then(|code| u16::try_from(code).ok()).or_else(|| status.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        for told in [json!({"status": "204"}), json!({"Status": 204}), json!({"status": {"code": "204"}})] {
            assert_eq!(status_of(&told), Some(204), "{told}");
        }
        assert_eq!(status_of(&json!({"location": "x"})), None);
    }
}
