//! Groups: reading, creating, renaming and deleting them.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{
    ScimTarget,
    change::excluding_members,
    discovery::path_of,
    wire::{Edit, GROUP, Kind, Resource, replacing},
};
use crate::{
    model::TargetGroup,
    targets::{
        Applied, GroupRef, GroupWrites, TargetError, WriteResult,
        rest::{Ask, Said, fold, gone, group_name_taken, unconfirmed, unsupported},
    },
};

/// How long a group name counts as free after a read that did not find it.
const FREE: Duration = Duration::from_secs(5);

impl ScimTarget {
    /// Reads a group by name. Of several that differ only in case, the exact match is used.
    pub(super) async fn find_group(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<TargetGroup>, TargetError> {
        let case = self.service(deadline).await?.profile.group_case;
        let mut found = self.groups_named(name, |one| case.fold(one), deadline).await?;
        if found.len() > 1 {
            found.retain(|group| group.text("displayName").as_deref() == Some(name));
            if found.len() != 1 {
                return Err(unconfirmed(format!(
                    "reading group {name}: the SCIM server has several groups with this name. Rename all but one there."
                )));
            }
        }
        if found.is_empty() {
            found.extend(self.group_spelled(name, deadline).await?);
        }
        let Some(group) = found.pop() else {
            self.keep_absent(name);
            return Ok(None);
        };
        let lacks = || unconfirmed(format!("reading group {name}: the SCIM server's answer lacks the id."));
        let id = group.id().ok_or_else(lacks)?;
        let spelled = group.text("displayName").unwrap_or_else(|| name.to_owned());
        let protected = self.protection(deadline).await?.group(&spelled);
        Ok(Some(TargetGroup { id: id.into(), name: spelled, protected }))
    }

    fn keep_absent(&self, name: &str) {
        let mut absent = self.learned.absent_groups.lock();
        absent.retain(|_, read| read.elapsed() < FREE);
        absent.insert(fold(name), Instant::now());
    }

    /// Whether a recent read found no group of this name. Each such read is used once.
    fn was_absent(&self, name: &str) -> bool {
        self.learned.absent_groups.lock().remove(&fold(name)).is_some_and(|read| read.elapsed() < FREE)
    }

    /// Reads the known group of a name that the server's filter does not find.
    async fn group_spelled(&self, name: &str, deadline: Option<Timestamp>) -> Result<Option<Resource>, TargetError> {
        let Some(id) = self.learned.groups_spelled.lock().get(&fold(name)).cloned() else { return Ok(None) };
        let what = format!("reading group {name}");
        let path = path_of(&self.groups_path(&what, deadline).await?, &id, &what)?;
        let ask = Ask::get(path, &what).query("excludedAttributes", "members").deadline(deadline);
        let found = self.rest.find::<Resource>(&ask).await?;
        Ok(found.filter(|group| group.text("displayName").is_some_and(|known| fold(&known) == fold(name))))
    }
}

#[async_trait]
impl GroupWrites for ScimTarget {
    /// Creates a group without members. SCIM allows several groups of one name, so usersync searches first.
    async fn create_group(&self, name: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("creating group {name}");
        let path = self.groups_path(&what, Some(deadline)).await?;
        let taken = || group_name_taken(&what, &Said::default());
        if !self.was_absent(name) && self.find_group(name, Some(deadline)).await?.is_some() {
            return Err(taken());
        }
        self.was_absent(name);
        let mut body = json!({ "schemas": [GROUP], "displayName": name });
        if self.profile.group_external_id {
            // Any unique value will do, because groups are identified by the server's own id.
            body["members"] = json!([]);
            body["externalId"] = json!(format!("usersync-{:016x}", rand::random::<u64>()));
        }
        let ask = Ask::new(Method::POST, path.as_str(), &what).deadline(Some(deadline)).json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => {
                let made: Resource = self.rest.parse(&ask, &answer)?;
                let id = made.id().ok_or_else(|| self.rest.unreadable(&ask, "it has no id"))?;
                let name = made.text("displayName").unwrap_or_else(|| name.to_owned());
                self.learned.new_groups.lock().insert(id.as_str().into(), Instant::now());
                Ok(Applied::Group(TargetGroup { id: id.into(), name, protected: None }))
            }
            StatusCode::CONFLICT => Err(self.group_name_taken(&what, name, None, &answer, deadline).await?),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Err(self.refused(&what, None, &answer)),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Renames a group by PATCH. If the group were written back whole without its members, it would lose them.
    async fn rename_group(&self, group: GroupRef<'_>, to: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("renaming group {} to {to}", group.name);
        let groups = self.groups_path(&what, Some(deadline)).await?;
        let path = path_of(&groups, group.id.as_str(), &what)?;
        let cannot = || unsupported(format!("{what}: the SCIM server has no PATCH. Rename it manually there."));
        if !self.patches(&*self.service(Some(deadline)).await?, Kind::Group) {
            return Err(cannot());
        }
        let taken = || group_name_taken(&what, &Said::default());
        match self.find_group(to, Some(deadline)).await? {
            Some(found) if found.id != *group.id => return Err(taken()),
            Some(found) if found.name == to => return Ok(Applied::Done),
            _ => {}
        }
        let body = replacing(&[Edit::new("displayName", to)]);
        let ask = Ask::new(Method::PATCH, path.as_str(), &what).deadline(Some(deadline)).json(&body)?;
        let ask = excluding_members(ask);
        let answer = self.rest.ask(&ask).await?;
        if self.takes_no_patch(Kind::Group, &answer) {
            return Err(cannot());
        }
        match answer.status {
            status if status.is_success() => {
                let now = self.reported_after(&ask, &answer)?.and_then(|group| group.text("displayName"));
                match now.filter(|now| now != to) {
                    Some(now) => Err(self.rest.named_otherwise(&what, "name", &now)),
                    None => Ok(Applied::Done),
                }
            }
            StatusCode::NOT_FOUND if self.rest.said(&answer, None).own => Err(gone(&what, "group")),
            StatusCode::NOT_FOUND if self.is_gone(&groups, group.id.as_str(), &answer, Some(deadline)).await? => {
                Err(gone(&what, "group"))
            }
            StatusCode::CONFLICT => Err(self.group_name_taken(&what, to, Some(group.id), &answer, deadline).await?),
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Err(self.refused(&what, None, &answer)),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    async fn delete_group(&self, group: GroupRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting group {}", group.name);
        let groups = self.groups_path(&what, Some(deadline)).await?;
        let path = path_of(&groups, group.id.as_str(), &what)?;
        // Whatever the result, the group is no longer known to be empty.
        self.learned.was_written(group.id);
        let ask = Ask::new(Method::DELETE, path, &what).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, None);
        match answer.status {
            status if status.is_success() => Ok(Applied::Done),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::NOT_FOUND if self.is_gone(&groups, group.id.as_str(), &answer, Some(deadline)).await? => {
                Ok(Applied::Done)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Err(self.rest.refuses(&what, &said, "Delete it manually there.")),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }
}
