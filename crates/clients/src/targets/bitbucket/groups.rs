//! Groups: reads and writes.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{BitbucketTarget, errors::CHECK, paging::List, wire::Named};
use crate::{
    model::{TargetGroup, TargetGroupId},
    targets::{
        Applied, GroupRef, GroupWrites, TargetError, WriteResult,
        rest::{Ask, fold, group_name_taken, no_group_rename},
    },
};

impl BitbucketTarget {
    /// Finds a group by name, case-insensitive.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let known = self.known(deadline).await?;
        let group = |spelled: String| TargetGroup {
            id: TargetGroupId::from(fold(&spelled)),
            protected: known.protection.group(&spelled),
            name: spelled,
        };
        Ok(self.group_spelled(name, deadline).await?.map(group))
    }

    /// Returns the name of a group as Bitbucket spells it; `None` if there is no such group.
    pub(super) async fn group_spelled(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<String>, TargetError> {
        let what = format!("reading group {name}");
        let list = List::new("/admin/groups", &what, deadline).filter(name.trim());
        let mut found = None;
        self.each(list, |group: Named| {
            found = group.name.filter(|spelled| fold(spelled) == fold(name));
            Ok(found.is_some())
        })
        .await?;
        Ok(found)
    }
}

#[async_trait]
impl GroupWrites for BitbucketTarget {
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating group {name}");
        let ask = Ask::new(Method::POST, "/admin/groups", &what).query("name", name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            let made: Named = self.rest.parse(&ask, &answer)?;
            let made = made.name.ok_or_else(|| self.rest.unreadable(&ask, "it lacks the group's name"))?;
            let id = TargetGroupId::from(fold(&made));
            return Ok(Applied::Group(TargetGroup { id, name: made, protected: None }));
        }
        let said = self.rest.said(&answer, None);
        match answer.status {
            StatusCode::CONFLICT if said.own => Err(group_name_taken(&what, &said)),
            StatusCode::BAD_REQUEST if said.own && !said.read_only() => Err(self.rest.rejects(&what, "name", &said)),
            _ => Err(self.refused_write(&ask, &answer, CHECK)),
        }
    }

    async fn rename_group(&self, group: GroupRef<'_>, _to: &str, _deadline: Timestamp) -> WriteResult {
        Err(no_group_rename(group.name, "Bitbucket"))
    }

    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting group {}", group.name);
        let ask = Ask::new(Method::DELETE, "/admin/groups", &what).query("name", group.name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await;
        // The group's permission is deleted with it; a new group with the same name has none.
        self.known.forget().await;
        let answer = answer?;
        let said = self.rest.said(&answer, None);
        match answer.status {
            // Bitbucket answers with the group that it deleted.
            status if status.is_success() && answer.body.trim_ascii().is_empty() => Ok(Applied::Undocumented),
            status if status.is_success() => Ok(Applied::Done),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            _ => Err(self.refused_write(
                &ask,
                &answer,
                "The deletion would probably reduce usersync's own permissions, or the group has higher ones. Delete \
                 it manually.",
            )),
        }
    }
}
