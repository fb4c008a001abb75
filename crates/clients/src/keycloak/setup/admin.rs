//! An administrator's session.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{SetupOptions, SignIn};
use crate::{
    keycloak::{
        SourceError, address,
        base::Base,
        fault::{self, Asked, Names},
        http::{Answer, Http},
    },
    model::ErrorClass,
};

/// The client that every Keycloak realm has for signing in with a password.
const ADMIN_CLI: &str = "admin-cli";

pub(super) struct Admin {
    http: Http,
    base: Base,
    names: Names,
    sign_in: SignIn,
    within: Duration,
    /// An administrator's token is valid for one minute only.
    token: Mutex<SecretString>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Admin({})", self.base)
    }
}

impl Admin {
    pub async fn sign_in(options: &SetupOptions) -> Result<Self, SourceError> {
        let names = Names {
            realm: options.realm.clone(),
            token_realm: options.token_realm().to_owned(),
            client_id: options.client_id.clone(),
            rights_client: options.rights_client(),
        };
        let http = Http::new(&options.connection)?;
        let within = options.connection.time_outs.call;
        let base = address::find(&http, &options.connection.url, &names, within).await?;
        let token = token(&http, &base, &names, &options.sign_in, within).await?;
        Ok(Self { http, base, names, sign_in: options.sign_in.clone(), within, token: Mutex::new(token) })
    }

    pub fn base_url(&self) -> String {
        self.base.to_string()
    }

    /// Reads a resource below a realm's Admin REST API; `None` for 404.
    pub async fn find<T: DeserializeOwned>(
        &self,
        realm: &str,
        below: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Option<T>, SourceError> {
        let answer = self.send(Method::GET, &self.base.admin(realm, below), query, None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(&answer).map(Some)
    }

    /// Reads a resource that always exists.
    pub async fn get<T: DeserializeOwned>(&self, realm: &str, below: &[&str]) -> Result<T, SourceError> {
        let answer = self.send(Method::GET, &self.base.admin(realm, below), &[], None).await?;
        self.read(&answer)
    }

    /// Reads the server's information; `None` if this administrator may not see it.
    pub async fn server_info<T: DeserializeOwned>(&self) -> Result<Option<T>, SourceError> {
        let answer = self.send(Method::GET, &self.base.server_info(), &[], None).await?;
        Ok(if answer.status == StatusCode::OK { serde_json::from_slice(&answer.body).ok() } else { None })
    }

    /// Changes a resource below a realm's Admin REST API.
    pub async fn change(
        &self,
        method: Method,
        realm: &str,
        below: &[&str],
        body: Option<&Value>,
    ) -> Result<(), SourceError> {
        let answer = self.send(method, &self.base.admin(realm, below), &[], body).await?;
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(&answer)) }
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, SourceError> {
        if answer.status != StatusCode::OK {
            return Err(self.refused(answer));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.names.not_as_expected(Asked::Realm, &self.base, &answer.headers, &answer.body, &error)
        })
    }

    fn refused(&self, answer: &Answer) -> SourceError {
        if answer.status == StatusCode::FORBIDDEN {
            return fault::error(
                ErrorClass::Forbidden,
                format!(
                    "realm {} at {}: 403. The signed-in user may not set up this realm. Sign in as its administrator \
                     (role realm-admin of client {}), or as an administrator of realm master",
                    self.names.realm, self.base, self.names.rights_client
                ),
            );
        }
        self.names.status(Asked::Realm, &self.base, answer.status, &answer.headers, &answer.body)
    }

    /// Sends a request; an expired token is renewed once.
    async fn send(
        &self,
        method: Method,
        url: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, SourceError> {
        let whom = self.names.at(&self.base);
        let mut token = self.token.lock().await;
        let mut renewed = false;
        loop {
            let mut request =
                self.http.client().request(method.clone(), url).query(query).bearer_auth(token.expose_secret());
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = match method {
                Method::GET => self.http.get(&whom, request, self.within).await?,
                _ => self.http.send(&whom, request, self.within).await?,
            };
            if answer.status != StatusCode::UNAUTHORIZED || renewed {
                return Ok(answer);
            }
            *token = self::token(&self.http, &self.base, &self.names, &self.sign_in, self.within).await?;
            renewed = true;
        }
    }
}

async fn token(
    http: &Http,
    base: &Base,
    names: &Names,
    sign_in: &SignIn,
    within: Duration,
) -> Result<SecretString, SourceError> {
    #[derive(Deserialize)]
    struct Given {
        access_token: String,
    }
    let (realm, username, password) = match sign_in {
        SignIn::Token(token) => return Ok(token.clone()),
        SignIn::Password { realm, username, password } => (realm, username, password),
    };
    let form = [
        ("grant_type", "password"),
        ("client_id", ADMIN_CLI),
        ("username", username),
        ("password", password.expose_secret()),
    ];
    let request = http.client().post(base.token_endpoint(realm)).form(&form);
    let answer = http.send(&names.at(base), request, within).await?;
    let refused = fault::reported(&answer.body).unwrap_or_default();
    if matches!(refused.as_str(), "invalid_grant" | "unauthorized_client" | "invalid_client") {
        return Err(fault::error(
            ErrorClass::Credentials,
            format!(
                "administrator {username} in realm {realm} at {base}: login or password was refused, or a second \
                 factor or a password change is required. Try them in the console, or use a token"
            ),
        ));
    }
    if answer.status == StatusCode::NOT_FOUND && refused.starts_with("Realm ") {
        return Err(fault::no_realm(realm, base));
    }
    if answer.status != StatusCode::OK {
        return Err(names.status(Asked::Token, base, answer.status, &answer.headers, &answer.body));
    }
    serde_json::from_slice::<Given>(&answer.body)
        .map(|given| given.access_token.into())
        .map_err(|error| names.not_as_expected(Asked::Token, base, &answer.headers, &answer.body, &error))
}
