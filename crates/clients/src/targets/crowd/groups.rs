//! Groups: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    CrowdTarget,
    errors::{Right, no_group, reason},
    wire::{Group, GroupWrite},
};
use crate::{
    model::{TargetGroup, TargetGroupId},
    targets::{
        Applied, GroupRef, GroupWrites, TargetError, WriteResult,
        rest::{Ask, applied, fold, group_name_taken, no_group_rename},
    },
};

/// Description of a group that usersync creates, for administrators of Crowd.
const DESCRIPTION: &str = "Kept in sync with Keycloak by usersync";
/// Why an inactive group is not managed, and what to do.
const INACTIVE: &str =
    "inactive, and usersync does not activate groups (activate it in Crowd; the next full reconcile then includes it)";

impl CrowdTarget {
    /// Reads a group by name.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let what = format!("reading group {name}");
        let protection = self.protection(deadline).await?;
        let ask = Ask::get("/group", &what).query("groupname", name.trim()).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if no_group(&answer) {
            return Ok(None);
        }
        if !answer.status.is_success() {
            return Err(self.refused_read(&ask, &answer));
        }
        let group: Group = self.rest.parse(&ask, &answer)?;
        let inactive = || (group.active == Some(false)).then(|| INACTIVE.to_owned());
        // The answer is for the requested name, so a missing name is filled in.
        let spelled = group.name.unwrap_or_else(|| name.trim().to_owned());
        let (id, protected) = (TargetGroupId::from(fold(&spelled)), protection.group(&spelled).or_else(inactive));
        Ok((fold(&spelled) == fold(name)).then_some(TargetGroup { id, name: spelled, protected }))
    }
}

#[async_trait]
impl GroupWrites for CrowdTarget {
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating group {name}");
        let body = GroupWrite { name, kind: "GROUP", description: DESCRIPTION, active: true };
        let ask = Ask::new(Method::POST, "/group", &what).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let id = TargetGroupId::from(fold(name));
            return Ok(Applied::Group(TargetGroup { id, name: name.to_owned(), protected: None }));
        }
        let said = self.rest.said(&answer, None);
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT) && !said.read_only() {
            if self.find_group(name, Some(deadline)).await?.is_some() {
                return Err(group_name_taken(&what, &said));
            }
            if reason(&answer) == "INVALID_GROUP" {
                return Err(self.rest.rejects(&what, "group", &said));
            }
        }
        Err(self.refused_write(&ask, &answer, &Right::of("Add group")))
    }

    async fn rename_group(&self, group: GroupRef<'_>, _to: &str, _deadline: Timestamp) -> WriteResult {
        Err(no_group_rename(group.name, "Crowd"))
    }

    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting group {}", group.name);
        let ask = Ask::new(Method::DELETE, "/group", &what).query("groupname", group.name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(applied(&answer, StatusCode::NO_CONTENT));
        }
        if no_group(&answer) {
            return Ok(Applied::Done);
        }
        Err(self.refused_write(&ask, &answer, &Right::of("Remove group")))
    }
}
