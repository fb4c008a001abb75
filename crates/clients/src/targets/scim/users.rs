//! Reading and writing accounts.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    ScimTarget,
    change::Written,
    forms::locked,
    keep_spelled, path_of,
    service::Service,
    wire::{Edit, Resource, USER, field, principal},
};
use crate::{
    model::{Account, AccountId, UserFields, UserId},
    personal::Personal,
    targets::{
        Applied, TargetError, TargetErrorKind,
        rest::{Ask, after_the_fact, error, fold, unconfirmed, unsupported},
    },
};

/// Attributes requested if `groups` must be requested explicitly.
const WITH_GROUPS: &str = "userName,displayName,name,emails,active,groups";

impl ScimTarget {
    /// Returns the attributes to request if `groups` must be requested explicitly.
    fn with_groups(&self) -> String {
        self.attributes.iter().fold(WITH_GROUPS.to_owned(), |asked, path| asked + "," + &path.attribute())
    }

    /// Returns the edits for further attributes; only those that the policy named when this client was created.
    fn attribute_edits(&self, service: &Service, before: Option<&Resource>, fields: &UserFields) -> Vec<Edit> {
        let known = self.attributes.iter().zip(&service.declared).filter(|(_, declared)| declared.is_writable());
        let mut now = before.cloned().unwrap_or_default();
        let wanted = known.filter_map(|(path, declared)| Some((path, declared, fields.attributes.get(&path.text)?)));
        let edit = wanted.map(|(path, declared, value)| {
            let edit = path.edit(Some(&now), value, *declared);
            // Two paths may lead to values of one attribute.
            now.apply(&edit);
            edit
        });
        let mut edits: Vec<Edit> = Vec::new();
        for edit in edit {
            edits.retain(|former| former.path != edit.path);
            edits.push(edit);
        }
        edits
    }

    pub(super) async fn account_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let what = format!("reading account {id}");
        let service = self.service(deadline).await?;
        let attributes = self.with_groups();
        let mut ask = Ask::get(path_of(&service.users, id.as_str(), &what)?, &what).deadline(deadline);
        if service.ask_groups {
            ask = ask.query("attributes", &attributes);
        }
        let Some(user) = self.find_user(id, &ask, deadline).await? else { return Ok(None) };
        let account = self.account_of(&user, &what, deadline).await?;
        if account.id != *id {
            return Err(unconfirmed(format!("{what}: the SCIM server returned a different account.")));
        }
        Ok(Some(account))
    }

    pub(super) async fn account_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        let what = format!("reading {name}");
        let service = self.service(deadline).await?;
        let attributes = self.with_groups();
        let attributes = [("attributes", attributes.as_str())];
        let query: &[_] = if service.ask_groups { &attributes } else { &[] };
        let mut found = self.find_by(&service.users, &what, ("userName", name), fold, query, deadline).await?;
        let Some(user) = found.pop() else { return self.account_spelled(name, deadline).await };
        if !found.is_empty() {
            return Err(unconfirmed(format!(
                "{what}: the SCIM server has several accounts with this login. Delete all but one there."
            )));
        }
        // A list may omit fields that the account itself has.
        if service.ask_groups || user.direct_groups().is_some() {
            return self.account_of(&user, &what, deadline).await.map(Some);
        }
        let id = user.id().ok_or_else(|| unconfirmed(format!("{what}: the SCIM server's answer lacks the id.")))?;
        self.account_by_id(&id.into(), deadline).await
    }

    /// Builds the account from a resource, with its groups.
    async fn account_of(
        &self,
        user: &Resource,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Account, TargetError> {
        let protection = self.protection(deadline).await?;
        let account = self.account_in(user, &protection, false);
        let mut account =
            account.ok_or_else(|| unconfirmed(format!("{what}: the SCIM server's answer lacks id or userName.")))?;
        account.groups = self.shown_groups(&*self.service(deadline).await?, user);
        Ok(account)
    }

    /// Reads an account by id; `None` if the server reports that it does not exist, in standard form or in its own.
    async fn find_user(
        &self,
        id: &AccountId,
        ask: &Ask<'_>,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Resource>, TargetError> {
        let answer = self.rest.ask(ask).await?;
        if answer.status.is_success() {
            return self.rest.parse(ask, &answer).map(Some);
        }
        if answer.status == StatusCode::NOT_FOUND {
            let own = self.rest.said(&answer, None).own;
            let users = self.service(deadline).await?.users.clone();
            if own || self.is_gone(&users, id.as_str(), &answer, deadline).await? {
                return Ok(None);
            }
        }
        Err(self.rest.unexpected(ask, &answer))
    }

    /// Returns the account after an update. The answer is trusted once earlier answers about the same attributes were
    /// verified by a read. Some servers return what they were sent and store something else.
    async fn kept_by_server(
        &self,
        id: &AccountId,
        reported: Option<Resource>,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Option<Account>, TargetError> {
        let protection = self.protection(Some(deadline)).await?;
        let reported =
            reported.and_then(|user| self.account_in(&user, &protection, false)).filter(|reported| reported.id == *id);
        let aspects = aspects(fields);
        if let Some(reported) = &reported
            && aspects.iter().all(|aspect| locked(&self.learned.answers).get(*aspect) == Some(&true))
        {
            return Ok(Some(reported.clone()));
        }
        let now = self.account_by_id(id, Some(deadline)).await.map_err(after_the_fact)?;
        if let (Some(reported), Some(now)) = (&reported, &now) {
            let mut answers = locked(&self.learned.answers);
            for aspect in aspects {
                let same = value_of(reported, aspect) == value_of(now, aspect);
                let known = answers.entry(aspect.to_owned()).or_insert(same);
                *known &= same;
            }
        }
        Ok(now)
    }

    /// Creates an active account.
    pub(super) async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("creating {name}");
        let service = self.service(Some(deadline)).await?;
        let email = fields.email.as_deref().filter(|email| !email.trim().is_empty());
        if let Some(email) = email.filter(|_| service.profile.email_unique) {
            self.refuse_taken_address(&what, name, email, deadline).await?;
        }
        let shown = fields.display_name.as_deref().filter(|shown| !shown.trim().is_empty()).unwrap_or(name);
        let mut user = Resource::default();
        user.set("schemas", json!([USER]));
        user.set("userName", json!(name));
        user.set("active", json!(true));
        if let Some(id) = external_id {
            user.set("externalId", json!(id.as_str()));
        }
        for edit in self.name_edits(shown, true) {
            user.apply(&edit);
        }
        // All name attributes are sent, even if they are kept apart: a server may store only some of them.
        user.set("displayName", json!(shown));
        user.set("name.formatted", json!(shown));
        if let Some(email) = email {
            user.set("emails", json!([address(email)]));
        }
        let bare = user.clone();
        let edits = self.attribute_edits(&service, None, fields);
        for edit in &edits {
            user.apply(edit);
        }
        let protection = self.protection(Some(deadline)).await?;
        let making = |user: &Resource| {
            Ask::new(Method::POST, service.users.as_str(), &what).login(name).deadline(Some(deadline)).json(user)
        };
        let mut ask = making(&user)?;
        let mut answer = self.rest.ask(&ask).await?;
        if answer.status == StatusCode::BAD_REQUEST && !edits.is_empty() && self.rest.said(&answer, Some(name)).own {
            // A refused attribute does not prevent the creation; it is written separately, and a refusal is reported
            // then.
            let quoted = self.rest.said(&answer, Some(name)).quoted();
            tracing::warn!(
                what = %Personal(format_args!("{what}{quoted}")),
                "the SCIM server rejects the account with its attributes; usersync creates it without them"
            );
            ask = making(&bare)?;
            answer = self.rest.ask(&ask).await?;
        }
        if answer.status.is_success() {
            let made: Resource = self.rest.parse(&ask, &answer)?;
            let account = self.account_in(&made, &protection, false);
            let mut account = account.ok_or_else(|| self.rest.unreadable(&ask, "it lacks id or userName"))?;
            // A new account is only in the groups that the answer names.
            account.groups = Some(made.direct_groups().unwrap_or_default());
            return Ok(Applied::Account(account));
        }
        if answer.status == StatusCode::CONFLICT {
            let quoted = self.rest.said(&answer, Some(name)).quoted();
            return Err(if self.is_taken(name, None, deadline).await? {
                error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}."))
            } else {
                unsupported(format!(
                    "{what}: the SCIM server reports that a value is taken{quoted}, but not the login; it is probably \
                     the e-mail address. Change it for one of the two.{}",
                    external_id.map_or_else(String::new, |id| format!(
                        " Or another account there has the externalId {id}: remove it there, or rename that account \
                         to this login, so that it is adopted."
                    ))
                ))
            });
        }
        Err(match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
                self.refused(&what, Some(name), &answer)
            }
            _ => self.rest.unexpected(&ask, &answer),
        })
    }

    /// Reads the known account of a login that the server's filter does not find.
    async fn account_spelled(&self, name: &str, deadline: Option<Timestamp>) -> Result<Option<Account>, TargetError> {
        let Some(id) = locked(&self.learned.accounts_spelled).get(&fold(name)).cloned() else { return Ok(None) };
        let found = self.account_by_id(&id.as_str().into(), deadline).await?;
        Ok(found.filter(|account| fold(&account.name) == fold(name)))
    }

    /// Whether another account has a login that the server reports as taken. If the filter finds none, the whole list
    /// is searched case-insensitively, because the filter may be case-sensitive although logins are not.
    async fn is_taken(&self, name: &str, own: Option<&AccountId>, deadline: Timestamp) -> Result<bool, TargetError> {
        let what = format!("reading {name}");
        let service = self.service(Some(deadline)).await?;
        let other = |user: &Resource| user.id().as_deref() != own.map(AccountId::as_str);
        let found = self.find_by(&service.users, &what, ("userName", name), fold, &[], Some(deadline)).await?;
        if found.iter().any(other) {
            return Ok(true);
        }
        let fits =
            |user: &Resource| other(user) && user.text("userName").is_some_and(|login| fold(&login) == fold(name));
        let found = self.look_through(&service.users, &what, fits, &[], Some(deadline)).await?;
        let id = found.first().and_then(Resource::id);
        let taken = id.is_some();
        if let Some(id) = id {
            keep_spelled(&self.learned.accounts_spelled, name, id);
        }
        Ok(taken)
    }

    /// Refuses to create an account with the address of another account. The server itself reports a taken login.
    async fn refuse_taken_address(
        &self,
        what: &str,
        name: &str,
        email: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let service = self.service(Some(deadline)).await?;
        let filter = super::wire::equals("emails.value", email);
        let ask = Ask::get(service.users.as_str(), what).query("filter", &filter).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let holders = serde_json::from_slice(&answer.body).ok().and_then(super::wire::List::read);
        let holders = holders.filter(|_| answer.status.is_success()).map(|list| list.items).unwrap_or_default();
        let held = |user: &&Resource| user.email().is_some_and(|one| fold(&one) == fold(email));
        match holders.iter().find(held).and_then(|user| user.text("userName")) {
            Some(holder) if fold(&holder) != fold(name) => Err(unsupported(format!(
                "{what}: {holder} has the same e-mail address there. Change it for one of the two."
            ))),
            _ => Ok(()),
        }
    }

    pub(super) async fn update_user(
        &self,
        account: &AccountId,
        name: &str,
        fields: &UserFields,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {name}");
        for (field, value) in [("display name", &fields.display_name), ("e-mail address", &fields.email)] {
            if value.as_deref().is_some_and(|value| value.trim().is_empty()) {
                let text = format!("{what}: an empty {field} is not written. Set one in Keycloak, or a default.");
                return Err(unsupported(text));
            }
        }
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.as_str(), &what)?;
        let edits = |before: Option<&Resource>| {
            let mut edits = Vec::new();
            if let Some(shown) = &fields.display_name {
                edits.extend(self.name_edits(shown, false));
            }
            if let Some(email) = &fields.email {
                let present = before.and_then(|user| user.list("emails")).unwrap_or_default();
                edits.push(Edit::new("emails", with_address(present, email)));
            }
            edits.extend(self.attribute_edits(&service, before, fields));
            edits
        };
        // Other values beside the written address or attribute must be preserved.
        let needs = fields.email.is_some() || !fields.attributes.is_empty();
        let reported = match self.change(&path, (&what, name), needs, edits, deadline).await? {
            Written::Refused(answer) if answer.status == StatusCode::CONFLICT => {
                let quoted = self.rest.said(&answer, Some(name)).quoted();
                return Err(unsupported(format!(
                    "{what}: the SCIM server reports that a value is taken{quoted}; another account probably has the \
                     e-mail address. Change it for one of the two."
                )));
            }
            Written::Refused(answer) => return Err(self.refused(&what, Some(name), &answer)),
            Written::Done(reported) => reported,
        };
        let Some(now) = self.kept_by_server(account, reported, fields, deadline).await? else {
            return Err(error(TargetErrorKind::NotFound, format!("{what}: not found.")));
        };
        let kept = |wanted: &Option<String>, now: Option<&str>| wanted.as_deref().is_none_or(|one| now == Some(one));
        let mut other: Vec<&str> = Vec::new();
        if !kept(&fields.display_name, Some(&now.display_name)) {
            other.push("display name");
        }
        if !kept(&fields.email, now.email.as_deref()) {
            other.push("e-mail address");
        }
        // An attribute that is not shown may be stored all the same.
        let shown = |name: &String, wanted: &String| now.attributes.get(name).is_none_or(|one| one == wanted);
        other.extend(
            fields.attributes.iter().filter(|(name, wanted)| !shown(name, wanted)).map(|(name, _)| name.as_str()),
        );
        if other.is_empty() {
            return Ok(Applied::Done);
        }
        Err(unsupported(format!(
            "{what}: the SCIM server accepted the change but stored a different {}. Change it manually there, or map \
             it in the policy to the stored value.",
            other.join(" and ")
        )))
    }

    pub(super) async fn rename_user(
        &self,
        account: &AccountId,
        name: &str,
        to: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("renaming {name} to {to}");
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.as_str(), &what)?;
        let edits = |_: Option<&Resource>| vec![Edit::new("userName", to)];
        match self.change(&path, (&what, to), false, edits, deadline).await? {
            Written::Done(reported) => {
                let mut now = reported.and_then(|user| user.text("userName"));
                if now.is_none() {
                    let read = self.account_by_id(account, Some(deadline)).await.map_err(after_the_fact)?;
                    now = read.map(|account| account.name);
                }
                match now {
                    Some(now) if fold(&now) != fold(to) => Err(unsupported(format!(
                        "{what}: the SCIM server accepted it, but the login is {now}. Rename it manually there."
                    ))),
                    _ => Ok(Applied::Done),
                }
            }
            Written::Refused(answer) => {
                let quoted = self.rest.said(&answer, Some(to)).quoted();
                let conflict = answer.status == StatusCode::CONFLICT;
                let taken = if conflict {
                    self.is_taken(to, Some(account), deadline).await?
                } else {
                    let holder = self.account_by_login(to, Some(deadline)).await?;
                    holder.is_some_and(|holder| holder.id != *account)
                };
                if taken {
                    return Err(error(TargetErrorKind::NameTaken, format!("{what}: the login is taken{quoted}.")));
                }
                if conflict {
                    return Err(unsupported(format!(
                        "{what}: the SCIM server reports the login as taken{quoted}, but returns no other account \
                         with it. Free the login there, or give the user another one."
                    )));
                }
                Err(self.refused(&what, Some(to), &answer))
            }
        }
    }

    pub(super) async fn set_active(
        &self,
        account: &AccountId,
        name: &str,
        active: bool,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("{} {name}", if active { "activating" } else { "deactivating" });
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.as_str(), &what)?;
        let edits = |_: Option<&Resource>| vec![Edit::new("active", active)];
        let reported = match self.change(&path, (&what, name), false, edits, deadline).await? {
            Written::Done(reported) => reported.and_then(|user| user.truth("active")),
            Written::Refused(answer) => return Err(self.refused(&what, Some(name), &answer)),
        };
        let mut now = reported;
        if now.is_none() {
            let read = self.account_by_id(account, Some(deadline)).await.map_err(after_the_fact)?;
            now = read.map(|account| account.active);
        }
        match now {
            Some(now) if now == active => Ok(Applied::Done),
            None => Err(error(TargetErrorKind::NotFound, format!("{what}: not found."))),
            Some(_) => {
                let state = if active { "inactive" } else { "active" };
                Err(unsupported(format!(
                    "{what}: the SCIM server accepted it, but the account is still {state}. Change it manually there."
                )))
            }
        }
    }

    pub(super) async fn delete_user(
        &self,
        account: &AccountId,
        name: &str,
        deadline: Timestamp,
    ) -> Result<Applied, TargetError> {
        let what = format!("deleting {name}");
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.as_str(), &what)?;
        let ask = Ask::new(Method::DELETE, path, &what).login(name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, Some(name));
        match answer.status {
            status if status.is_success() => Ok(Applied::Done),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::NOT_FOUND
                if self.is_gone(&service.users, account.as_str(), &answer, Some(deadline)).await? =>
            {
                Ok(Applied::Done)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Err(unsupported(format!(
                "{what}: the SCIM server refuses{}. Deactivate the account instead (leavers: deactivate), or delete \
                 it manually there.",
                said.quoted()
            ))),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }
}

const DISPLAY_NAME: &str = "displayName";
const EMAIL: &str = "emails";

/// Returns the names of the attributes that an update changes.
fn aspects(fields: &UserFields) -> Vec<&str> {
    let name = fields.display_name.as_ref().map(|_| DISPLAY_NAME);
    let email = fields.email.as_ref().map(|_| EMAIL);
    name.into_iter().chain(email).chain(fields.attributes.keys().map(String::as_str)).collect()
}

fn value_of<'a>(account: &'a Account, aspect: &str) -> Option<&'a str> {
    match aspect {
        DISPLAY_NAME => Some(&account.display_name),
        EMAIL => account.email.as_deref(),
        attribute => account.attributes.get(attribute).map(String::as_str),
    }
}

/// Builds the value of a new e-mail address.
fn address(email: &str) -> Value {
    json!({ "value": email, "type": "work", "primary": true })
}

/// Replaces the principal e-mail address; the others stay.
fn with_address(mut present: Vec<Value>, email: &str) -> Value {
    match principal(&present) {
        Some(at) => {
            let mut one = Resource(present[at].as_object().cloned().unwrap_or_default());
            let primary = field(&present[at], "primary").is_some();
            one.set("value", json!(email));
            if !primary {
                one.set("primary", json!(true));
            }
            present[at] = Value::Object(one.0);
        }
        None => present.push(address(email)),
    }
    Value::Array(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_address_takes_the_place_of_the_principal_one_only() {
        let present = vec![json!({"value": "a@home", "type": "home"}), json!({"value": "a@x", "type": "work"})];
        assert_eq!(
            with_address(present, "b@x"),
            json!([{"value": "a@home", "type": "home"}, {"value": "b@x", "type": "work", "primary": true}])
        );
        assert_eq!(with_address(Vec::new(), "b@x"), json!([{"value": "b@x", "type": "work", "primary": true}]));
    }
}
