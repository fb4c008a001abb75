//! Requests to the Admin REST API: addresses, tokens, and the reading of answers.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{
    KeycloakSettings, SourceError, address,
    base::Base,
    fault::{self, Asked, Names},
    http::{Answer, Http},
    token::{Token, Tokens},
    wire::{self, Entry, Listed},
};
use crate::model::{ErrorClass, OrganizationName};

pub(super) const USER_GONE: &str = "User not found";
pub(super) const GROUP_GONE: &str = "Could not find group by id";

/// A 403 is final only with a token younger than this; an older token is renewed first.
const RIGHTS_MAY_BE_NEWER: Duration = Duration::from_secs(10);

/// A realm, read with a service account.
pub struct KeycloakSource {
    pub(super) settings: KeycloakSettings,
    pub(super) names: Names,
    pub(super) http: Http,
    base: OnceCell<Base>,
    pub(super) tokens: Tokens,
    /// Whether groups are read with their attributes.
    group_attributes: AtomicBool,
    /// Ids of organizations by their aliases. Each is confirmed by a read before it is used.
    pub(super) organizations: Mutex<HashMap<OrganizationName, String>>,
}

impl std::fmt::Debug for KeycloakSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// A listing that is read in pages.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a> {
    pub asked: Asked,
    pub below: &'a [&'a str],
    pub query: Query<'a>,
    /// The offset of the first page.
    pub from: usize,
    /// Number of entries per page.
    pub max: usize,
    /// Keycloak's error text if the listing's parent is gone; `None`: it has no parent that can be gone.
    pub gone: Option<&'a str>,
}

/// The result of reading a page.
pub(super) enum PageRead<T> {
    Read(Vec<Entry<T>>),
    /// Keycloak itself answers that the listing's parent is gone.
    Gone,
    /// Keycloak answered 500: one of the entries may be the cause.
    Failed(SourceError),
}

/// A query as pairs of name and value.
pub(super) type Query<'a> = &'a [(&'a str, &'a str)];

impl KeycloakSource {
    /// Creates a client with these settings; sends nothing yet.
    pub fn new(settings: KeycloakSettings) -> Result<Self, SourceError> {
        let names = Names {
            realm: settings.realm.clone(),
            token_realm: settings.token_realm().to_owned(),
            client_id: settings.client_id.clone(),
            rights_client: settings.rights_client(),
        };
        for (what, text) in [("realm", &settings.realm), ("client id", &settings.client_id)] {
            if text.trim().is_empty() {
                return Err(fault::error(ErrorClass::Permanent, format!("the {what} is empty. Set one")));
            }
        }
        let http = Http::new(&settings.connection)?;
        Ok(Self {
            settings,
            names,
            http,
            base: OnceCell::new(),
            tokens: Tokens::default(),
            group_attributes: AtomicBool::new(false),
            organizations: Mutex::default(),
        })
    }

    /// Returns whether groups are read with their attributes.
    pub(super) fn reads_group_attributes(&self) -> bool {
        self.group_attributes.load(Ordering::Relaxed)
    }

    /// Reads groups with their attributes from now on.
    pub(super) fn add_group_attributes(&self) {
        self.group_attributes.store(true, Ordering::Relaxed);
    }

    /// Returns the parameter that asks for groups with their attributes or without.
    pub(super) fn group_depth(&self) -> (&'static str, &'static str) {
        ("briefRepresentation", if self.reads_group_attributes() { "false" } else { "true" })
    }

    /// Returns the base URL that answered, with or without `/auth`; it is determined once.
    pub(super) async fn base(&self) -> Result<&Base, SourceError> {
        let settings = &self.settings.connection;
        self.base
            .get_or_try_init(|| address::find(&self.http, &settings.url, &self.names, settings.time_outs.call))
            .await
    }

    pub(super) async fn token(&self, stale: Option<u64>) -> Result<Token, SourceError> {
        self.tokens.get(&self.http, &self.settings, &self.names, self.base().await?, stale).await
    }

    /// Sends a GET with the token. If the token is refused or lacks rights, it is renewed once.
    pub(super) async fn fetch(&self, url: &str, query: Query<'_>, within: Duration) -> Result<Answer, SourceError> {
        let base = self.base().await?;
        let mut token = self.token(None).await?;
        let mut renewed = false;
        loop {
            let request = self.http.client().get(url).query(query).bearer_auth(token.text.expose_secret());
            let answer = self.http.get(&self.names.at(base), request, within).await?;
            // The token carries the roles, so a role that was granted since needs a new token.
            let stale = answer.status == StatusCode::UNAUTHORIZED
                || answer.status == StatusCode::FORBIDDEN && token.asked_at.elapsed() > RIGHTS_MAY_BE_NEWER;
            if !stale || renewed {
                return Ok(answer);
            }
            token = self.token(Some(token.number)).await?;
            renewed = true;
        }
    }

    /// Reads a resource below the realm's Admin REST API; `None` only if Keycloak itself answers `gone`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
        within: Duration,
        gone: Option<&str>,
    ) -> Result<Option<T>, SourceError> {
        let base = self.base().await?;
        let answer = self.answer(base, below, query, within, gone).await?;
        answer.map(|answer| self.read(asked, base, &answer)).transpose()
    }

    async fn answer(
        &self,
        base: &Base,
        below: &[&str],
        query: Query<'_>,
        within: Duration,
        gone: Option<&str>,
    ) -> Result<Option<Answer>, SourceError> {
        let answer = self.fetch(&base.admin(&self.settings.realm, below), query, within).await?;
        let is_gone = answer.status == StatusCode::NOT_FOUND
            && gone.is_some()
            && fault::reported(&answer.body).as_deref() == gone;
        Ok((!is_gone).then_some(answer))
    }

    /// Reads the entries of a list; `None` only if Keycloak itself answers that the list's parent is gone.
    pub(super) async fn list<T: Listed>(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
        gone: Option<&str>,
    ) -> Result<Option<Vec<Entry<T>>>, SourceError> {
        let base = self.base().await?;
        let within = self.settings.connection.time_outs.long;
        let Some(answer) = self.answer(base, below, query, within, gone).await? else { return Ok(None) };
        self.read_by(asked, base, &answer, Entry::list).map(Some)
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        asked: Asked,
        base: &Base,
        answer: &Answer,
    ) -> Result<T, SourceError> {
        self.read_by(asked, base, answer, |body| serde_json::from_slice(body))
    }

    fn read_by<T>(
        &self,
        asked: Asked,
        base: &Base,
        answer: &Answer,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, SourceError> {
        if answer.status != StatusCode::OK {
            return Err(self.names.status(asked, base, answer.status, &answer.headers, &answer.body));
        }
        read(&answer.body)
            .map_err(|error| self.names.not_as_expected(asked, base, &answer.headers, &answer.body, &error))
    }

    /// Reads a resource that always exists.
    pub(super) async fn must<T: DeserializeOwned>(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
    ) -> Result<T, SourceError> {
        let within = self.settings.connection.time_outs.call;
        match self.ask(asked, below, query, within, None).await? {
            Some(found) => Ok(found),
            None => Err(fault::transient(format!("realm {}: {asked} were not found", self.settings.realm))),
        }
    }

    /// Reads one page of a listing; `None` only if Keycloak itself answers that the listing's parent is gone.
    pub(super) async fn page<T: Listed>(
        &self,
        asked: Asked,
        below: &[&str],
        more: Query<'_>,
        place: (usize, usize),
        gone: Option<&str>,
    ) -> Result<Option<Vec<Entry<T>>>, SourceError> {
        match self.try_page(asked, below, more, place, gone).await? {
            PageRead::Read(page) => Ok(Some(page)),
            PageRead::Gone => Ok(None),
            PageRead::Failed(error) => Err(error),
        }
    }

    /// Reads one page of a listing, and distinguishes a failure of Keycloak itself (500) from other errors.
    pub(super) async fn try_page<T: Listed>(
        &self,
        asked: Asked,
        below: &[&str],
        more: Query<'_>,
        (first, max): (usize, usize),
        gone: Option<&str>,
    ) -> Result<PageRead<T>, SourceError> {
        let (first, most) = (first.to_string(), max.to_string());
        let mut query = vec![("first", first.as_str()), ("max", most.as_str())];
        query.extend_from_slice(more);
        let base = self.base().await?;
        let within = self.settings.connection.time_outs.long;
        let Some(answer) = self.answer(base, below, &query, within, gone).await? else { return Ok(PageRead::Gone) };
        match self.read_by(asked, base, &answer, Entry::list) {
            Ok(page) if page.len() > max => {
                Err(self.unconfirmed(&format!("a page of {asked} contains more than the {max} requested entries")))
            }
            Ok(page) => Ok(PageRead::Read(page)),
            Err(error) if answer.status == StatusCode::INTERNAL_SERVER_ERROR => Ok(PageRead::Failed(error)),
            Err(error) => Err(error),
        }
    }

    /// Reads a count; `None` if the answer is not a count.
    pub(super) async fn count(
        &self,
        asked: Asked,
        below: &[&str],
        query: Query<'_>,
    ) -> Result<Option<usize>, SourceError> {
        self.must(asked, below, query).await.map(|reported| wire::count(&reported))
    }

    /// Whether the token may open the listings but sees no users in them.
    pub(super) async fn is_blind(&self) -> Result<bool, SourceError> {
        Ok(self.token(None).await?.claims.is_blind(&self.names.rights_client))
    }

    pub(super) fn unconfirmed(&self, what: &str) -> SourceError {
        fault::error(
            ErrorClass::Unconfirmed,
            format!("realm {}: {what}; the read is not confirmed", self.settings.realm),
        )
    }
}
