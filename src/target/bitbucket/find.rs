//! Finding one account. Bitbucket has no way to ask for an id or for exactly one login, only for all users with a word
//! in their login, display name or address.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    BitbucketTarget,
    paging::List,
    protection::Known,
    wire::{Named, Person, User},
};
use crate::{
    model::{Account, AccountId, ErrorClass, TargetGroupId},
    target::{
        TargetError, TargetErrorKind,
        rest::{error, fold, lenient::some, not_done, unconfirmed},
    },
};

/// How often all users are gone through before an id is taken as gone: somebody who is renamed while that goes on may be
/// passed over once.
const WALKS: usize = 2;

impl Person {
    /// The account, where its groups are known or not, and what lets it sign in.
    pub(super) fn into_account(self, known: &Known, groups: Option<&[String]>, access: Vec<String>) -> Account {
        let groups: Option<Vec<_>> =
            groups.map(|groups| groups.iter().map(|name| TargetGroupId::from(fold(name))).collect());
        let service = || self.service.then(|| "a service user, not a person's".to_owned());
        Account {
            protected: known.protection.account(self.id.as_str(), &self.name, groups.as_deref()).or_else(service),
            immutable: self.immutable(),
            active: self.active && !access.is_empty(),
            id: self.id,
            name: self.name,
            display_name: self.display_name,
            email: self.email,
            groups,
            access,
            attributes: BTreeMap::new(),
        }
    }
}

impl BitbucketTarget {
    pub(super) async fn account_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        match self.person_by_id(id, deadline).await? {
            Some(person) => self.with_groups(person, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn account_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Account>, TargetError> {
        match self.person_by_login(name, deadline).await? {
            Some(person) => self.with_groups(person, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    async fn with_groups(&self, person: Person, deadline: Option<Timestamp>) -> Result<Account, TargetError> {
        let known = self.known(deadline).await?;
        let groups = self.groups_of(&person, deadline).await?;
        let mut access = known.grants.access(&person.id, &groups);
        if access.is_empty() && person.active {
            // Somebody may have given a permission since: who may sign in is not to be taken for one who may not.
            access = self.grants(deadline).await?.access(&person.id, &groups);
        }
        Ok(person.into_account(&known, Some(&groups), access))
    }

    /// The user with this login, whatever its case.
    pub(super) async fn person_by_login(
        &self,
        name: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Person>, TargetError> {
        let what = format!("reading {name}");
        let list = List::new("/admin/users", &what, deadline).filter(name.trim());
        self.pick(list, &what, |person| fold(&person.name) == fold(name)).await
    }

    /// The user with this id: by its last login, else by going through all users.
    pub(super) async fn person_by_id(
        &self,
        id: &AccountId,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Person>, TargetError> {
        if let Some(login) = self.seen.login(id, None)
            && let Some(person) = self.person_by_login(&login, deadline).await?
            && person.id == *id
        {
            return Ok(Some(person));
        }
        let asked = Instant::now();
        let _turn = self.seen.walk.lock().await;
        // While this one waited, another may have passed by it.
        if let Some(login) = self.seen.login(id, Some(asked))
            && let Some(person) = self.person_by_login(&login, deadline).await?
            && person.id == *id
        {
            return Ok(Some(person));
        }
        let what = format!("looking for account {id} among all users");
        for _ in 0..WALKS {
            let (mut found, mut unreadable) = (None, None);
            let list = List::new("/admin/users", &what, deadline);
            // All are passed by even after it was found: then each of them is found at once the next time.
            self.each(list, |user: User| {
                match whole(user, &what) {
                    Ok(person) => {
                        self.seen.note(&person);
                        if person.id == *id {
                            found = Some(person);
                        }
                    }
                    Err(why) => unreadable = Some(why),
                }
                Ok(false)
            })
            .await?;
            match (found, unreadable) {
                (Some(found), _) => return Ok(Some(found)),
                // It may be the one.
                (None, Some(why)) => return Err(why),
                (None, None) => {}
            }
        }
        self.seen.forget(id);
        Ok(None)
    }

    /// The account that an operation is about, if it still has the login that it was last seen with.
    pub(super) async fn held(
        &self,
        id: &AccountId,
        name: &str,
        what: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Person, TargetError> {
        match self.person_by_login(name, deadline).await? {
            Some(person) if person.id == *id => Ok(person),
            other => {
                let whose = if other.is_some() { "another account's now" } else { "nobody's any more" };
                let text = format!("{what}: this login is {whose}, so nothing was done. It is looked at again.");
                Err(error(TargetErrorKind::NotFound, text))
            }
        }
    }

    /// The names of the groups that a user is a direct member of.
    pub(super) async fn groups_of(
        &self,
        person: &Person,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<String>, TargetError> {
        let what = format!("reading the groups of {}", person.name);
        let list = List::new("/admin/users/more-members", &what, deadline).of(&person.name);
        let groups = match self.all::<Named>(list).await? {
            Some(groups) => groups
                .into_iter()
                .map(|group| some(group.name).ok_or_else(|| unconfirmed(format!("{what}: one came without a name."))))
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        // Somebody who was renamed a moment ago is answered as somebody without groups, too.
        if groups.is_empty() {
            let now = self.person_by_login(&person.name, deadline).await?;
            if now.is_none_or(|now| now.id != person.id) {
                let text = format!("{what}: it was renamed while it was read. It is tried again by itself.");
                return Err(not_done(ErrorClass::Transient, text));
            }
        }
        Ok(groups)
    }

    /// The first user of a list who fits.
    async fn pick(
        &self,
        list: List<'_>,
        what: &str,
        fits: impl Fn(&Person) -> bool,
    ) -> Result<Option<Person>, TargetError> {
        let (mut found, mut unreadable) = (None, None);
        self.each(list, |user: User| {
            match whole(user, what) {
                Ok(person) => {
                    self.seen.note(&person);
                    if fits(&person) {
                        found = Some(person);
                    }
                }
                // It may be the one.
                Err(why) => unreadable = Some(why),
            }
            Ok(found.is_some())
        })
        .await?;
        match (found, unreadable) {
            (None, Some(why)) => Err(why),
            (found, _) => Ok(found),
        }
    }
}

/// A user with all that every user has.
pub(super) fn whole(user: User, what: &str) -> Result<Person, TargetError> {
    user.whole().ok_or_else(|| unconfirmed(format!("{what}: Bitbucket's answer lacks id, name or active.")))
}
