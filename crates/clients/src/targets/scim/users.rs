//! Accounts: reading, creating, changing and deleting them.

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode};

use super::{
    ScimTarget,
    attributes::MatchPath,
    change::Written,
    discovery::path_of,
    fields::{aspects, filled, value_of, with_address},
    wire::{Edit, Resource},
};
use crate::{
    model::{Account, AccountId, UserFields, UserId},
    personal::Personal,
    targets::{
        AccountRef, Applied, NoteState, Page, TargetError, UserWrites, WriteResult,
        rest::{Ask, MANUALLY, after_the_fact, fold, gone, login_taken, unconfirmed, unsupported},
    },
};

/// Subject of operator notes about single accounts.
const ACCOUNTS: &str = "accounts";

impl ScimTarget {
    /// Reads an account by id, with its groups.
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

    /// Reads an account by login, with its groups.
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

    /// Returns the accounts with this e-mail address.
    pub(super) async fn accounts_by_email(&self, email: &str) -> Result<Vec<Account>, TargetError> {
        let value = |user: &Resource| user.email().map(|one| fold(&one));
        self.accounts_by("searching accounts by e-mail address", ("emails.value", &fold(email)), value).await
    }

    /// Returns the accounts with this value of an attribute.
    pub(super) async fn accounts_by_attribute(
        &self,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<Account>, TargetError> {
        let what = format!("searching accounts by {attribute}");
        let path = MatchPath::read(attribute).map_err(|why| unsupported(format!("{what}: {why}.")))?;
        self.accounts_by(&what, (attribute, value), |user| path.value(user)).await
    }

    /// Returns the accounts with a value. Some servers find nothing by a filter that they do not support, so until the
    /// filter has found an account, the whole list is searched too.
    async fn accounts_by(
        &self,
        what: &str,
        (attribute, wanted): (&str, &str),
        value: impl Fn(&Resource) -> Option<String> + Send + Sync,
    ) -> Result<Vec<Account>, TargetError> {
        let service = self.service(None).await?;
        let protection = self.protection(None).await?;
        // An attribute without a value is often left out of an answer, so a missing one is no sign of missing rights.
        let has = |user: &Resource| Some(value(user).as_deref() == Some(wanted));
        let mut found = self.find_with(&service.users, what, (attribute, wanted), has, &[], None).await?;
        let proven = !found.is_empty() || self.learned.filters.lock().contains(attribute);
        if service.filter && !proven {
            let sample = Mutex::new(None);
            let fits = |user: &Resource| {
                let value = value(user);
                let fits = value.as_deref() == Some(wanted);
                if value.is_some() {
                    let mut sample = sample.lock();
                    *sample = sample.take().or(value);
                }
                fits
            };
            found = self.look_through(&service.users, what, fits, &[], None).await?;
            let sample = sample.into_inner();
            if let Some(sample) = sample
                && self.filter_finds(&service.users, what, (attribute, &sample), &value).await?
            {
                self.learned.filters.lock().insert(attribute.to_owned());
            }
        } else if service.filter {
            self.learned.filters.lock().insert(attribute.to_owned());
        }
        let accounts = found.iter().map(|user| self.account_in(user, &protection, true));
        accounts
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| unconfirmed(format!("{what}: the SCIM server's answer lacks id or userName.")))
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

    /// Reads the known account of a login that the server's filter does not find.
    async fn account_spelled(&self, name: &str, deadline: Option<Timestamp>) -> Result<Option<Account>, TargetError> {
        let Some(id) = self.learned.accounts_spelled.lock().get(&fold(name)).cloned() else { return Ok(None) };
        let found = self.account_by_id(&id.as_str().into(), deadline).await?;
        Ok(found.filter(|account| fold(&account.name) == fold(name)))
    }

    /// Returns one page of all accounts.
    pub(super) async fn list_accounts(&self, cursor: Option<&str>) -> Result<Page<Account>, TargetError> {
        let protection = if cursor.is_none() { self.fresh_protection().await? } else { self.protection(None).await? };
        let service = self.service(None).await?;
        if cursor.is_none() {
            self.forget_observed(ACCOUNTS);
        }
        let slice = self.slice(&service.users, "listing all accounts", &[], cursor, None).await?;
        let mut items = Vec::with_capacity(slice.items.len());
        for user in &slice.items {
            match self.account_in(user, &protection, true) {
                Some(account) => items.push(account),
                // The account exists. Only its own user fails; the rest of the list stays usable.
                None => self.unreadable_account(user),
            }
        }
        Ok(Page { items, next: slice.next, incomplete: slice.incomplete })
    }

    /// Notes an account without a required field.
    fn unreadable_account(&self, user: &Resource) {
        let text = match (user.id(), user.text("userName")) {
            (Some(id), _) => format!("account {id} was returned without userName, so it is skipped"),
            (None, Some(name)) => format!("account {name} was returned without id, so it is skipped"),
            (None, None) => "an account was returned without id and userName, so it is skipped".to_owned(),
        };
        self.observe(NoteState::No, ACCOUNTS, text);
    }

    /// Returns the account after an update. The answer is trusted once earlier answers about the same attributes were
    /// verified by a read. Some servers return what they were sent and store something else.
    async fn kept_by_server(
        &self,
        what: &str,
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
            && aspects.iter().all(|aspect| self.learned.answers.lock().get(*aspect) == Some(&true))
        {
            return Ok(Some(reported.clone()));
        }
        let now = self.account_by_id(id, Some(deadline)).await.map_err(after_the_fact(what))?;
        if let (Some(reported), Some(now)) = (&reported, &now) {
            let mut answers = self.learned.answers.lock();
            for aspect in aspects {
                let same = value_of(reported, aspect) == value_of(now, aspect);
                let known = answers.entry(aspect.to_owned()).or_insert(same);
                *known &= same;
            }
        }
        Ok(now)
    }

    /// Writes `active`, and checks the result by the answer or else by a read.
    async fn set_active(&self, account: AccountRef<'_>, active: bool, deadline: Timestamp) -> WriteResult {
        let what = format!("{} {}", if active { "activating" } else { "deactivating" }, account.name);
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.id.as_str(), &what)?;
        let edits = |_: Option<&Resource>| vec![Edit::new("active", active)];
        let reported = match self.change(&path, (&what, account.name), false, edits, deadline).await? {
            Written::Done(reported) => reported.and_then(|user| user.truth("active")),
            Written::Refused(answer) => return Err(self.refused(&what, Some(account.name), &answer)),
        };
        let mut now = reported;
        if now.is_none() {
            let read = self.account_by_id(account.id, Some(deadline)).await.map_err(after_the_fact(&what))?;
            now = read.map(|account| account.active);
        }
        match now {
            Some(now) if now == active => Ok(Applied::Done),
            None => Err(gone(&what, "account")),
            Some(now) => Err(self.rest.still(&what, now, MANUALLY)),
        }
    }
}

#[async_trait]
impl UserWrites for ScimTarget {
    async fn create_user(
        &self,
        name: &str,
        fields: &UserFields,
        external_id: Option<&UserId>,
        deadline: Timestamp,
    ) -> WriteResult {
        let what = format!("creating {name}");
        let service = self.service(Some(deadline)).await?;
        if let Some(email) = filled(fields.email.as_ref()).filter(|_| service.profile.email_unique) {
            self.refuse_taken_address(&what, name, email, deadline).await?;
        }
        let bare = self.new_user(name, fields, external_id);
        let mut user = bare.clone();
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
            let said = self.rest.said(&answer, Some(name));
            return Err(if self.is_login_taken(name, None, deadline).await? {
                login_taken(&what, &said)
            } else {
                unsupported(format!(
                    "{what}: the SCIM server reports that a value is taken{}, but not the login; it is probably the \
                     e-mail address. Change it for one of the two.{}",
                    said.quoted(),
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

    async fn update_user(&self, account: AccountRef<'_>, fields: &UserFields, deadline: Timestamp) -> WriteResult {
        if fields.is_empty() {
            return Ok(Applied::Done);
        }
        let what = format!("updating {}", account.name);
        self.rest.refuse_empty(&what, fields)?;
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.id.as_str(), &what)?;
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
        let reported = match self.change(&path, (&what, account.name), needs, edits, deadline).await? {
            Written::Refused(answer) if answer.status == StatusCode::CONFLICT => {
                let quoted = self.rest.said(&answer, Some(account.name)).quoted();
                return Err(unsupported(format!(
                    "{what}: the SCIM server reports that a value is taken{quoted}; another account probably has the \
                     e-mail address. Change it for one of the two."
                )));
            }
            Written::Refused(answer) => return Err(self.refused(&what, Some(account.name), &answer)),
            Written::Done(reported) => reported,
        };
        let Some(now) = self.kept_by_server(&what, account.id, reported, fields, deadline).await? else {
            return Err(gone(&what, "account"));
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

    async fn rename_user(&self, account: AccountRef<'_>, to: &str, deadline: Timestamp) -> WriteResult {
        let what = format!("renaming {} to {to}", account.name);
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.id.as_str(), &what)?;
        let edits = |_: Option<&Resource>| vec![Edit::new("userName", to)];
        match self.change(&path, (&what, to), false, edits, deadline).await? {
            Written::Done(reported) => {
                let mut now = reported.and_then(|user| user.text("userName"));
                if now.is_none() {
                    let read = self.account_by_id(account.id, Some(deadline)).await.map_err(after_the_fact(&what))?;
                    now = read.map(|account| account.name);
                }
                match now {
                    Some(now) if fold(&now) == fold(to) => Ok(Applied::Done),
                    Some(now) => Err(self.rest.named_otherwise(&what, "login", &now)),
                    None => Err(gone(&what, "account")),
                }
            }
            Written::Refused(answer) => {
                let said = self.rest.said(&answer, Some(to));
                let conflict = answer.status == StatusCode::CONFLICT;
                let taken = if conflict {
                    self.is_login_taken(to, Some(account.id), deadline).await?
                } else {
                    let holder = self.account_by_login(to, Some(deadline)).await?;
                    holder.is_some_and(|holder| holder.id != *account.id)
                };
                if taken {
                    return Err(login_taken(&what, &said));
                }
                if conflict {
                    return Err(unsupported(format!(
                        "{what}: the SCIM server reports the login as taken{}, but returns no other account with it. \
                         Free the login there, or give the user another one.",
                        said.quoted()
                    )));
                }
                Err(self.refused(&what, Some(to), &answer))
            }
        }
    }

    async fn activate_user(&self, account: AccountRef<'_>, _gives: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, true, deadline).await
    }

    async fn deactivate_user(&self, account: AccountRef<'_>, _takes: &[String], deadline: Timestamp) -> WriteResult {
        self.set_active(account, false, deadline).await
    }

    async fn delete_user(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("deleting {}", account.name);
        let service = self.service(Some(deadline)).await?;
        let path = path_of(&service.users, account.id.as_str(), &what)?;
        let ask = Ask::new(Method::DELETE, path, &what).login(account.name).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        let said = self.rest.said(&answer, Some(account.name));
        match answer.status {
            status if status.is_success() => Ok(Applied::Done),
            StatusCode::NOT_FOUND if said.own => Ok(Applied::Done),
            StatusCode::NOT_FOUND
                if self.is_gone(&service.users, account.id.as_str(), &answer, Some(deadline)).await? =>
            {
                Ok(Applied::Done)
            }
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Err(self.rest.refuses(
                &what,
                &said,
                "Deactivate the account instead (leavers: deactivate), or delete it manually there.",
            )),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }
}
