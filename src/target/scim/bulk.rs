//! Several joins of one account by one call, where the server takes that (RFC 7644, section 3.7).

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ScimTarget, path_of,
    service::{Bulk, Service},
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
        let takes = self.patches(service) && !self.learned.no_bulk.load(Ordering::Relaxed);
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
        let refused = groups.iter().zip(statuses).filter(|(_, status)| !(200..300).contains(status));
        Ok(refused.map(|((group, _), _)| (*group).clone()).collect())
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
