//! Groups: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    JiraTarget,
    wire::{MemberPage, NameOnly, Named},
};
use crate::{
    model::{TargetGroup, TargetGroupId},
    targets::{
        Applied, GroupRef, GroupWrites, TargetError, WriteResult,
        rest::{Ask, applied, fold, group_name_taken, no_group_rename},
    },
};

impl JiraTarget {
    /// Finds a group by name. Only the picker returns the exact spelling, but it may truncate its answer. Whether a
    /// group exists is decided by reading its members.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let what = format!("reading group {name}");
        let protection = self.protection(deadline).await?;
        let suggested = self.picker(name.trim(), deadline).await?;
        let exact = suggested.groups.iter().find(|group| group.is_named(name));
        let group = |spelled: &str, administers: Option<bool>| {
            let unknown = protection.incomplete.as_ref().filter(|_| administers.is_none());
            let why = match administers {
                Some(true) => Some("it grants administrator rights".to_owned()),
                _ => unknown.map(|why| format!("Jira does not report whether it grants administrator rights ({why})")),
            };
            TargetGroup {
                id: TargetGroupId::from(fold(spelled)),
                name: spelled.to_owned(),
                protected: protection.group(spelled).or(why),
            }
        };
        if let Some(exact) = exact {
            return Ok(Some(group(exact.name.as_deref().unwrap_or(name), exact.is_admin())));
        }
        let ask = Ask::get("/group/member", &what)
            .query("groupname", name.trim())
            .query("maxResults", "1")
            .deadline(deadline);
        Ok(self.rest.find::<MemberPage>(&ask).await?.map(|_| group(name.trim(), None)))
    }
}

#[async_trait]
impl GroupWrites for JiraTarget {
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating group {name}");
        let ask = Ask::new(Method::POST, "/group", &what).deadline(Some(deadline)).json(&NameOnly { name })?;
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let made: Named = self.rest.parse(&ask, &answer)?;
            let id = TargetGroupId::from(fold(&made.name));
            return Ok(Applied::Group(TargetGroup { id, name: made.name, protected: None }));
        }
        let exists = matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::CONFLICT)
            && self.find_group(name, Some(deadline)).await?.is_some();
        if exists {
            return Err(group_name_taken(&what, &self.rest.said(&answer, None)));
        }
        Err(self.refused_write(&ask, &answer, deadline).await)
    }

    async fn rename_group(&self, group: GroupRef<'_>, _to: &str, _deadline: Timestamp) -> WriteResult {
        Err(no_group_rename(group.name, "Jira"))
    }

    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult {
        let name = group.name;
        let what = format!("deleting group {name}");
        let ask = Ask::new(Method::DELETE, "/group", &what).query("groupname", name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, None);
        match answer.status {
            status if status.is_success() => Ok(applied(&answer, StatusCode::OK)),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::BAD_REQUEST if self.find_group(name, Some(deadline)).await?.is_none() => Ok(Applied::Done),
            StatusCode::BAD_REQUEST if !said.read_only() => Err(self.rest.refuses(
                &what,
                &said,
                "Comments or work logs are probably restricted to the group. Delete it manually in Jira, and move them \
                 to another group.",
            )),
            _ => Err(self.refused_write(&ask, &answer, deadline).await),
        }
    }
}
