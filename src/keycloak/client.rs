//! The Admin REST API as a [`Source`].

use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{
    KeycloakSettings, Source, SourceError, SourceInfo, Walked,
    address::{self, Base},
    fault::{self, Asked, Names},
    http::{Answer, Http},
    token::{Token, Tokens},
    wire::{Count, Group, Member, User},
};
use crate::model::{ErrorClass, GroupId, GroupState, SourceIdentity, UserId, UserState};

const USER_GONE: &str = "User not found";
const GROUP_GONE: &str = "Could not find group by id";

/// How many are asked for when any living user will do.
const SOME: usize = 20;

/// A token older than this is renewed before a 403 is believed.
const RIGHTS_MAY_BE_NEWER: Duration = Duration::from_secs(10);

/// A realm, read with a service account.
pub struct KeycloakSource {
    pub(super) settings: KeycloakSettings,
    pub(super) names: Names,
    pub(super) http: Http,
    base: OnceCell<Base>,
    tokens: Tokens,
}

impl std::fmt::Debug for KeycloakSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// A query: names and values.
pub(super) type Query<'a> = &'a [(&'a str, &'a str)];

impl KeycloakSource {
    /// A client with these settings; nothing is sent yet.
    pub fn new(settings: KeycloakSettings) -> Result<Self, SourceError> {
        let names = Names {
            realm: settings.realm.clone(),
            token_realm: settings.token_realm().to_owned(),
            client_id: settings.client_id.clone(),
            rights_client: settings.rights_client(),
        };
        for (what, text) in [("realm", &settings.realm), ("client id", &settings.client_id)] {
            if text.trim().is_empty() {
                return Err(fault::error(ErrorClass::Permanent, format!("the {what} is empty. Give one")));
            }
        }
        let http = Http::new(&settings.connection)?;
        Ok(Self { settings, names, http, base: OnceCell::new(), tokens: Tokens::default() })
    }

    /// The base URL that answered, with or without `/auth`; found once.
    pub(super) async fn base(&self) -> Result<&Base, SourceError> {
        let settings = &self.settings.connection;
        self.base
            .get_or_try_init(|| address::find(&self.http, &settings.url, &self.names, settings.time_outs.call))
            .await
    }

    pub(super) async fn token(&self, stale: Option<u64>) -> Result<Token, SourceError> {
        self.tokens.get(&self.http, &self.settings, &self.names, self.base().await?, stale).await
    }

    /// A GET with the token; a token that was refused, or that opens too little, is renewed once.
    pub(super) async fn fetch(&self, url: &str, query: Query<'_>, within: Duration) -> Result<Answer, SourceError> {
        let base = self.base().await?;
        let mut token = self.token(None).await?;
        let mut renewed = false;
        loop {
            let request = self.http.client().get(url).query(query).bearer_auth(token.text.expose_secret());
            let answer = self.http.get(&self.names.at(base), request, within).await?;
            // Rights are in the token, so one that was given meanwhile is only in the next.
            let stale = answer.status == StatusCode::UNAUTHORIZED
                || answer.status == StatusCode::FORBIDDEN && token.asked_at.elapsed() > RIGHTS_MAY_BE_NEWER;
            if !stale || renewed {
                return Ok(answer);
            }
            token = self.token(Some(token.number)).await?;
            renewed = true;
        }
    }

    /// What is below the realm's administration; `None` only if Keycloak itself says `gone`.
    async fn ask<T: DeserializeOwned>(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
        within: Duration,
        gone: Option<&str>,
    ) -> Result<Option<T>, SourceError> {
        let base = self.base().await?;
        let answer = self.fetch(&base.admin(&self.settings.realm, below), query, within).await?;
        if answer.status == StatusCode::NOT_FOUND && gone.is_some() && fault::told(&answer.body).as_deref() == gone {
            return Ok(None);
        }
        self.read(asked, base, &answer).map(Some)
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        asked: Asked,
        base: &Base,
        answer: &Answer,
    ) -> Result<T, SourceError> {
        if answer.status != StatusCode::OK {
            return Err(self.names.status(asked, base, answer.status, &answer.headers, &answer.body));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|error| self.names.not_as_expected(asked, base, &answer.headers, &answer.body, &error))
    }

    /// Something that is always there.
    pub(super) async fn must<T: DeserializeOwned>(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
    ) -> Result<T, SourceError> {
        let within = self.settings.connection.time_outs.call;
        match self.ask(asked, below, query, within, None).await? {
            Some(found) => Ok(found),
            None => Err(fault::transient(format!("realm {}: {asked} are not there", self.settings.realm))),
        }
    }

    /// One page of a listing; `None` only if Keycloak itself says that what it belongs to is gone.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        asked: Asked,
        below: &[&str],
        more: Query<'_>,
        (first, max): (usize, usize),
        gone: Option<&str>,
    ) -> Result<Option<Vec<T>>, SourceError> {
        let (first, most) = (first.to_string(), max.to_string());
        let mut query = vec![("first", first.as_str()), ("max", most.as_str())];
        query.extend_from_slice(more);
        let page: Option<Vec<T>> =
            self.ask(asked, below, &query, self.settings.connection.time_outs.long, gone).await?;
        if page.as_ref().is_some_and(|page| page.len() > max) {
            return Err(self.doubt(&format!("a page of {asked} holds more than the {max} that were asked for")));
        }
        Ok(page)
    }

    /// Whether the token opens the listings without showing anybody in them.
    pub(super) async fn is_blind(&self) -> Result<bool, SourceError> {
        Ok(self.token(None).await?.claims.is_blind(&self.names.rights_client))
    }

    pub(super) fn doubt(&self, what: &str) -> SourceError {
        fault::error(ErrorClass::Doubt, format!("realm {}: {what}; this reading is not believed", self.settings.realm))
    }

    async fn user_alone(&self, id: &UserId) -> Result<Option<User>, SourceError> {
        let within = self.settings.connection.time_outs.call;
        self.ask(Asked::Users, &["users", id.as_str()], &[], within, Some(USER_GONE)).await
    }

    async fn groups_of(&self, id: &UserId) -> Result<Option<Vec<GroupState>>, SourceError> {
        let mut found = Vec::new();
        let max = self.settings.page;
        loop {
            let below = ["users", id.as_str(), "groups"];
            let brief = [("briefRepresentation", "true")];
            let page = self.page(Asked::Users, &below, &brief, (found.len(), max), Some(USER_GONE)).await?;
            let Some(page) = page else { return Ok(None) };
            let full = page.len() == max;
            found.extend(page.iter().map(|group: &Group| group.state("")));
            if !full {
                return Ok(Some(found));
            }
        }
    }
}

#[async_trait]
impl Source for KeycloakSource {
    async fn identify(&self) -> Result<SourceInfo, SourceError> {
        let base_url = self.base().await?.to_string();
        let claims = self.token(None).await?.claims;
        match (claims.iss, claims.sub) {
            (Some(issuer), Some(service_account)) => {
                Ok(SourceInfo { identity: SourceIdentity { issuer, service_account }, base_url })
            }
            _ => Err(fault::error(
                ErrorClass::Permanent,
                format!(
                    "client {} at {base_url}: its token does not say who it is (iss and sub). Give the client the scope \"basic\"",
                    self.settings.client_id
                ),
            )),
        }
    }

    async fn user(&self, id: &UserId) -> Result<Option<UserState>, SourceError> {
        let (user, groups) = tokio::join!(self.user_alone(id), self.groups_of(id));
        // Who is gone is gone, whatever the other call met.
        let Some(user) = user? else { return Ok(None) };
        match groups? {
            Some(groups) => Ok(Some(user.with_groups(groups))),
            None => Err(fault::transient(format!(
                "realm {}: user {id} was there and gone in one reading; it is looked at again",
                self.settings.realm
            ))),
        }
    }

    async fn is_alive(&self, id: &UserId) -> Result<bool, SourceError> {
        Ok(self.user_alone(id).await?.is_some_and(|user| user.enabled))
    }

    async fn some_users(&self) -> Result<Vec<UserId>, SourceError> {
        let query = [("enabled", "true"), ("briefRepresentation", "true")];
        let page: Option<Vec<User>> = self.page(Asked::Users, &["users"], &query, (0, SOME), None).await?;
        let mut users = page.unwrap_or_default();
        users.retain(|user| user.enabled && !user.is_service_account());
        // Those of Keycloak itself can be read while a federation is down.
        users.sort_by_key(|user| user.federation_link.is_some());
        Ok(users.into_iter().map(|user| user.id.into()).collect())
    }

    async fn group(&self, id: &GroupId) -> Result<Option<GroupState>, SourceError> {
        let within = self.settings.connection.time_outs.call;
        let group: Option<Group> =
            self.ask(Asked::Groups, &["groups", id.as_str()], &[], within, Some(GROUP_GONE)).await?;
        Ok(group.map(|group| group.state("")))
    }

    async fn groups_named(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        self.search_groups(name).await
    }

    async fn users_page(&self, first: usize, max: usize) -> Result<Vec<UserState>, SourceError> {
        let query = [("briefRepresentation", "false")];
        let page: Option<Vec<User>> = self.page(Asked::Users, &["users"], &query, (first, max), None).await?;
        let page = page.unwrap_or_default();
        // Too few rights look like an empty realm.
        if first == 0 && page.is_empty() && max > 0 {
            let count = self.user_count().await?;
            if count > 0 || self.is_blind().await? {
                let text = format!(
                    "the listing of users is empty, but Keycloak counts {count}: the role view-users is missing"
                );
                return Err(self.doubt(&text));
            }
        }
        Ok(page.into_iter().map(|user| user.with_groups(Vec::new())).collect())
    }

    async fn user_count(&self) -> Result<usize, SourceError> {
        self.must(Asked::Users, &["users", "count"], &[]).await
    }

    async fn groups(&self) -> Result<Walked<GroupState>, SourceError> {
        self.walk_groups().await
    }

    async fn members_page(
        &self,
        group: &GroupId,
        first: usize,
        max: usize,
    ) -> Result<Option<Vec<UserId>>, SourceError> {
        let below = ["groups", group.as_str(), "members"];
        let query = [("briefRepresentation", "true")];
        let page: Option<Vec<Member>> =
            self.page(Asked::Groups, &below, &query, (first, max), Some(GROUP_GONE)).await?;
        Ok(page.map(|page| page.into_iter().map(UserId::from).collect()))
    }
}

impl KeycloakSource {
    /// How many groups there are in all, sub-groups too.
    pub(super) async fn group_count(&self) -> Result<usize, SourceError> {
        self.must::<Count>(Asked::Groups, &["groups", "count"], &[]).await.map(|count| count.count)
    }
}
