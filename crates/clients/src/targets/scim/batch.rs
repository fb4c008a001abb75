//! Several additions with one call: one account to several groups by a bulk call, if the server supports it (RFC 7644,
//! section 3.7), and several accounts to one group.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ScimTarget,
    discovery::{Bulk, Service, path_of},
    forms::Form,
    members::Added,
    verify::{MemberWrite, Seen},
    wire::{Kind, Resource, adding, field},
};
use crate::{
    model::{AccountId, ErrorClass, TargetGroupId},
    personal::Personal,
    targets::{
        AddedMembers, GroupRef, TargetError, TargetErrorKind,
        rest::{Ask, error, few, unsupported},
    },
};

const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

impl ScimTarget {
    /// Returns the limits of one bulk call; `None`: bulk is unsupported.
    pub(super) fn bulk(&self, service: &Service) -> Option<Bulk> {
        let harms = self.learned.forms.is_harmful(Form::Add);
        let takes = self.patches(service, Kind::Group) && !harms && !self.learned.no_bulk.load(Ordering::Relaxed);
        service.bulk.filter(|_| takes)
    }

    /// Adds an account to several groups and returns the groups that were refused.
    pub(super) async fn add_in_bulk(
        &self,
        account: &AccountId,
        name: &str,
        groups: &[(&TargetGroupId, &str)],
        deadline: Timestamp,
    ) -> Result<Vec<TargetGroupId>, TargetError> {
        let names: Vec<&str> = groups.iter().map(|(_, name)| *name).collect();
        let what = format!("adding {name} to {}", few(&names));
        let one_by_one = || unsupported(format!("{what}: unsupported in one call."));
        let service = self.service(Some(deadline)).await?;
        let Some(Bulk { most, bytes }) = self.bulk(&service) else { return Err(one_by_one()) };
        let path = self.groups_path(&what, Some(deadline)).await?;
        let mut operations = Vec::with_capacity(groups.len());
        let mut paths = Vec::with_capacity(groups.len());
        for (number, (group, _)) in groups.iter().enumerate() {
            let path = path_of(&path, group.as_str(), &what)?;
            let data = adding(&[account.as_str()]);
            operations.push(json!({ "method": "PATCH", "bulkId": bulk_id(number), "path": path, "data": data }));
            paths.push(path);
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
                tracing::warn!(what = %Personal(&what), "the SCIM server declares bulk but refuses it; usersync adds \
                                                         groups one by one");
                self.learned.no_bulk.store(true, Ordering::Relaxed);
                return Err(one_by_one());
            }
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => return Err(one_by_one()),
            _ => return Err(self.rest.unexpected(&ask, &answer)),
        }
        let reported = self.rest.parse::<Resource>(&ask, &answer)?.list("Operations").unwrap_or_default();
        let Some(statuses) = paired(&reported, &paths) else {
            let text = format!(
                "{what}: the SCIM server does not report the result of each change. usersync checks whether they took \
                 effect."
            );
            return Err(error(TargetErrorKind::Unanswered, text));
        };
        let mut refused = Vec::new();
        for (((group, _), status), before) in groups.iter().zip(statuses).zip(before) {
            let mut done = (200..300).contains(&status);
            self.learned.was_written(group);
            if done && let Some(before) = before {
                done = self.verify(&write(group), &before).await? != Seen::NoEffect;
            }
            if !done {
                refused.push((*group).clone());
            }
        }
        Ok(refused)
    }

    /// Returns the maximum number of accounts that one write adds to a group, from the profile and earlier refusals.
    pub(super) fn accounts_at_once(&self) -> usize {
        let most = self.profile.max_members_per_call.max(1);
        match self.learned.too_many.load(Ordering::Relaxed) {
            0 => most,
            refused => most.min((refused / 2).max(1)),
        }
    }

    /// Adds accounts that a full reconcile collected.
    pub(super) async fn add_many(
        &self,
        group: GroupRef<'_>,
        accounts: &[AccountId],
        deadline: Timestamp,
    ) -> Result<AddedMembers, TargetError> {
        let count = accounts.len();
        if count > self.accounts_at_once() {
            return Ok(AddedMembers::Refused);
        }
        let what = format!("adding {count} {} to {}", if count == 1 { "account" } else { "accounts" }, group.name);
        let accounts: Vec<&AccountId> = accounts.iter().collect();
        match self.add_accounts(group.id, &accounts, &what, deadline).await {
            Ok(Added::Done) => Ok(AddedMembers::All),
            Ok(Added::Refused(answer)) => {
                if answer.status == StatusCode::PAYLOAD_TOO_LARGE && count > 1 {
                    self.learned.too_many.store(count, Ordering::Relaxed);
                }
                Ok(AddedMembers::Refused)
            }
            // The group would be written back whole.
            Err(error) if error.kind == TargetErrorKind::NotDone(ErrorClass::Permanent) => Ok(AddedMembers::Refused),
            Err(error) => Err(error),
        }
    }
}

fn bulk_id(number: usize) -> String {
    format!("usersync-{number}")
}

/// Returns the status of each operation, in the order in which they were sent. A server may answer in another order;
/// `bulkId` or `location` names the operation (RFC 7644, section 3.7). Statuses with neither can be assigned only if
/// all of them are successes or only one is missing.
fn paired(reported: &[Value], paths: &[String]) -> Option<Vec<u16>> {
    let about = |answer: &Value| {
        let id = field(answer, "bulkId").and_then(Value::as_str);
        let by_id = id.and_then(|id| (0..paths.len()).find(|number| bulk_id(*number) == id));
        let location = || {
            let location = field(answer, "location")?.as_str()?.trim_end_matches('/');
            paths.iter().position(|path| location.ends_with(path.as_str()))
        };
        by_id.or_else(location)
    };
    let mut statuses: Vec<Option<u16>> = vec![None; paths.len()];
    let mut nameless = Vec::new();
    for answer in reported {
        let status = status_of(answer)?;
        match about(answer) {
            Some(number) if statuses[number].is_none() => statuses[number] = Some(status),
            Some(_) => return None,
            None => nameless.push(status),
        }
    }
    let left = statuses.iter().filter(|status| status.is_none()).count();
    let alike = nameless.iter().all(|status| (200..300).contains(status));
    if nameless.len() != left || !(alike || left == 1) {
        return None;
    }
    let mut nameless = nameless.into_iter();
    statuses.into_iter().map(|status| status.or_else(|| nameless.next())).collect()
}

/// Returns the status of one operation: `"status": "204"`, a number, or `{"code": "204"}` as in an early draft.
fn status_of(operation: &Value) -> Option<u16> {
    let status = field(operation, "status")?;
    let status = field(status, "code").unwrap_or(status);
    status.as_u64().and_then(|code| u16::try_from(code).ok()).or_else(|| status.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_paired_by_what_they_name() {
        let paths = ["/Groups/a".to_owned(), "/Groups/b".to_owned()];
        let of = |reported: Value| paired(reported.as_array().expect("a list"), &paths);
        let by_location = json!([
            {"location": "https://h/scim/v2/Groups/b", "status": "404"}, {"location": "https://h/scim/v2/Groups/a", "status": "200"},
        ]);
        assert_eq!(of(by_location), Some(vec![200, 404]));
        let by_id = json!([{"bulkId": "usersync-1", "status": "404"}, {"bulkId": "usersync-0", "status": "200"}]);
        assert_eq!(of(by_id), Some(vec![200, 404]));
        assert_eq!(of(json!([{"status": "200"}, {"status": "204"}])), Some(vec![200, 204]), "in whatever order");
        assert_eq!(of(json!([{"status": "404"}, {"status": "204"}])), None, "which one is not said");
        assert_eq!(of(json!([{"bulkId": "usersync-0", "status": "204"}, {"status": "404"}])), Some(vec![204, 404]));
        assert_eq!(of(json!([{"bulkId": "usersync-0", "status": "204"}])), None);
        assert_eq!(
            of(json!([{"bulkId": "usersync-0", "status": "204"}, {"bulkId": "usersync-0", "status": "204"}])),
            None
        );
    }

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        for reported in [json!({"status": "204"}), json!({"Status": 204}), json!({"status": {"code": "204"}})] {
            assert_eq!(status_of(&reported), Some(204), "{reported}");
        }
        assert_eq!(status_of(&json!({"location": "x"})), None);
    }
}
