//! Groups: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    ConfluenceTarget,
    paging::ResultPage,
    wire::{Group, NewGroup, path_segment},
};
use crate::{
    model::{TargetGroup, TargetGroupId},
    targets::{
        Applied, CaseRule, GroupRef, GroupWrites, TargetError, WriteResult,
        rest::{Ask, applied, fold, group_name_taken, no_group_rename, unconfirmed},
    },
};

/// Page size for groups; the server may return fewer.
const PAGE: &str = "200";

impl ConfluenceTarget {
    /// Finds a group by name, and whether it grants administrator rights if this Confluence reports that.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let protection = self.protection(deadline).await?;
        let Some(spelled) = self.spelled(name, deadline).await? else { return Ok(None) };
        let mut protected = protection.group(&spelled);
        if protected.is_none() && self.makes_administrators(&spelled, deadline).await? == Some(true) {
            protected = Some("it grants administrator rights".to_owned());
        }
        Ok(Some(TargetGroup { id: TargetGroupId::from(fold(&spelled)), name: spelled, protected }))
    }

    /// Returns a group's name as Confluence spells it; `None` if there is no such group.
    pub(super) async fn spelled(&self, name: &str, deadline: Option<Timestamp>) -> Result<Option<String>, TargetError> {
        let name = name.trim();
        let what = format!("reading group {name}");
        let ask = Ask::get(format!("/group/{}", path_segment(&what, name)?), &what).deadline(deadline);
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let group: Group = self.rest.parse(&ask, &answer)?;
            return Ok(group.name.filter(|found| fold(found) == fold(name)));
        }
        let said = self.rest.said(&answer, None);
        match answer.status {
            StatusCode::NOT_FOUND if said.own => Ok(None),
            // The answer for a missing group is undocumented; the list of all groups is documented.
            StatusCode::FORBIDDEN => self.spelled_in_list(name, &what, deadline).await,
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Returns a group's name as the list of all groups spells it; `None` if the complete list lacks it.
    async fn spelled_in_list(
        &self,
        name: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<String>, TargetError> {
        let mut at = 0;
        loop {
            let start = at.to_string();
            let ask = Ask::get("/group", what).query("start", &start).query("limit", PAGE).deadline(deadline);
            let page: ResultPage<Group> = self.rest.read(&ask).await?;
            let (next, why) = page.next(at);
            let found = page.results.into_iter().filter_map(|group| group.name).find(|one| fold(one) == fold(name));
            match (found, next, why) {
                (Some(found), ..) => return Ok(Some(found)),
                (None, _, Some(why)) => {
                    return Err(unconfirmed(format!("{what}: the list of groups is incomplete: {why}.")));
                }
                (None, Some(next), None) => at = next,
                (None, None, None) => return Ok(None),
            }
        }
    }
}

#[async_trait]
impl GroupWrites for ConfluenceTarget {
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating group {name}");
        path_segment(&what, name)?;
        let name = &CaseRule::Lower.written(name);
        let body = NewGroup { kind: "group", name };
        let ask = Ask::new(Method::POST, "/admin/group", &what).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            // The response body is undocumented, so the name that was sent is the fallback.
            let made: Option<Group> = serde_json::from_slice(&answer.body).ok();
            let spelled = made.and_then(|made| made.name).unwrap_or_else(|| name.clone());
            let id = TargetGroupId::from(fold(&spelled));
            return Ok(Applied::Group(TargetGroup { id, name: spelled, protected: None }));
        }
        let exists = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT)
            && self.spelled(name, Some(deadline)).await?.is_some();
        if exists {
            return Err(group_name_taken(&what, &self.rest.said(&answer, None)));
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    async fn rename_group(&self, group: GroupRef<'_>, _to: &str, _deadline: Timestamp) -> WriteResult {
        Err(no_group_rename(group.name, "Confluence"))
    }

    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult {
        let name = group.name;
        let what = format!("deleting group {name}");
        let path = format!("/admin/group/{}", path_segment(&what, name)?);
        let ask = Ask::new(Method::DELETE, path, &what).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, None);
        match answer.status {
            status if status.is_success() => Ok(applied(&answer, StatusCode::NO_CONTENT)),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::BAD_REQUEST if self.spelled(name, Some(deadline)).await?.is_none() => Ok(Applied::Done),
            StatusCode::BAD_REQUEST if !said.read_only() => Err(self.rest.refuses(
                &what,
                &said,
                "The last group with administrator rights cannot be deleted. Delete other groups manually in \
                 Confluence, which shows the reason.",
            )),
            _ => Err(self.refused_write(&ask, &answer, deadline).await),
        }
    }
}
