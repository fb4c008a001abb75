//! OAuth 2.0 client credentials for the kinds that support them. A gateway in front issues the tokens and signs in to
//! the product itself.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use url::Url;
use usersync::{
    config::ClientAuth,
    model::ErrorClass,
    targets::{
        ClientCredentials, Credentials, Target, TargetErrorKind,
        bitbucket::{BitbucketSettings, BitbucketTarget},
        crowd::{CrowdSettings, CrowdTarget},
        scim::{ScimSettings, ScimTarget},
    },
};

use super::{
    places::{self, Place, soon},
    proxies::{create, pass_on},
};

const ID: &str = "us:er";
const SECRET: &str = "s3cr:t+%";

/// `Authorization` header and form of a token request.
type TokenRequest = (Option<String>, Vec<(String, String)>);
type Asked = Arc<Mutex<Vec<TokenRequest>>>;

/// A gateway that issues tokens, and forwards requests that carry one with the product's own credentials.
struct Gateway {
    address: SocketAddr,
    /// Requests to the token endpoint: `Authorization` header and form.
    asked: Asked,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    /// Starts a gateway; `product` is the `Authorization` header that the product expects.
    async fn before(place: &Place, product: String) -> Self {
        let asked = Asked::default();
        let noted = Arc::clone(&asked);
        let token = move |headers: HeaderMap, body: Bytes| async move {
            let form: Vec<(String, String)> = url::form_urlencoded::parse(&body).into_owned().collect();
            let header = headers.get(AUTHORIZATION).map(|value| value.to_str().expect("text").to_owned());
            let in_form = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            let basic = format!("Basic {}", BASE64_STANDARD.encode("us%3Aer:s3cr%3At%2B%25"));
            let right = match &header {
                Some(header) => *header == basic,
                None => in_form("client_id") == Some(ID) && in_form("client_secret") == Some(SECRET),
            };
            noted.lock().push((header, form));
            if right {
                Json(json!({ "access_token": "given", "token_type": "Bearer", "expires_in": 300 })).into_response()
            } else {
                (StatusCode::UNAUTHORIZED, Json(json!({ "error": "invalid_client" }))).into_response()
            }
        };
        let (client, to) = (reqwest::Client::builder().no_proxy().build().expect("a client"), place.url.clone());
        let through = move |mut request: Request| {
            let (client, to, product) = (client.clone(), to.clone(), product.clone());
            async move {
                if request.headers().get(AUTHORIZATION).is_some_and(|value| value != "Bearer given") {
                    return Response::builder().status(401).body("no".into()).expect("a response");
                }
                if request.headers().contains_key(AUTHORIZATION) {
                    request.headers_mut().insert(AUTHORIZATION, product.parse().expect("a header"));
                }
                pass_on(client, to, request).await
            }
        };
        let app = Router::new().route("/oauth/gateway", post(token)).fallback(through);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { address, asked, task }
    }

    fn url(&self, path: &str) -> Url {
        format!("http://{}{path}", self.address).parse().expect("an address")
    }

    fn client(&self, secret: &'static str, client_auth: ClientAuth) -> Credentials {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Credentials::Client(Box::new(ClientCredentials {
            client_auth,
            scope: Some("admin".to_owned()),
            parameters: vec![
                pair("audience", "https://api.example.org"),
                pair("resource", "urn:x y"),
                pair("tenant", "a&b"),
            ],
            ..ClientCredentials::new(self.url("/oauth/gateway"), ID, Arc::new(move || Ok(secret.into())))
        }))
    }

    fn asked(&self) -> Vec<TokenRequest> {
        std::mem::take(&mut *self.asked.lock())
    }
}

async fn client_credentials(place: Place, product: String, make: fn(Url, Credentials) -> Arc<dyn Target>) {
    let gateway = Gateway::before(&place, product).await;
    for client_auth in [ClientAuth::Basic, ClientAuth::Form] {
        let login = format!("{client_auth:?}").to_lowercase();
        let url = gateway.url(place.url.path());
        let wrong = make(url.clone(), gateway.client("wrong", client_auth));
        for _ in 0..2 {
            let error = wrong.probe().await.expect_err("no token");
            assert_eq!(error.kind, TargetErrorKind::NotDone(ErrorClass::Credentials), "{error}");
            assert!(error.text.contains("client_secret and client_auth") && !error.text.contains("wrong"), "{error}");
        }
        assert_eq!(gateway.asked().len(), 1, "a refused secret is sent once");

        let target = make(url, gateway.client(SECRET, client_auth));
        target.probe().await.expect("a first contact");
        target.apply(&create(&login), soon()).await.expect("made");
        assert!(place.target.account_named(&login).await.expect("a look").is_some());
        let asked = gateway.asked();
        assert_eq!(asked.len(), 1, "one token for all calls");
        let (header, form) = &asked[0];
        let mut wanted = vec![("grant_type", "client_credentials")];
        match client_auth {
            ClientAuth::Basic => assert!(header.is_some()),
            ClientAuth::Form => {
                assert_eq!(*header, None);
                wanted.extend([("client_id", ID), ("client_secret", SECRET)]);
            }
        }
        let further =
            [("scope", "admin"), ("audience", "https://api.example.org"), ("resource", "urn:x y"), ("tenant", "a&b")];
        wanted.extend(further);
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(form, wanted);
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn bitbucket() {
    let place = places::bitbucket().await;
    let product = basic("admin", &place.secret);
    client_credentials(place, product, |url, credentials| {
        Arc::new(BitbucketTarget::new(BitbucketSettings::new(url, credentials)).expect("good settings"))
    })
    .await;
}

#[tokio::test]
async fn crowd() {
    let place = places::crowd().await;
    let product = basic(&usersync_simulators::CrowdOptions::default().application.0, &place.secret);
    client_credentials(place, product, |url, credentials| {
        let mut settings = CrowdSettings::new(url, "", Arc::new(|| Err("not asked for".to_owned())));
        settings.credentials = credentials;
        Arc::new(CrowdTarget::new(settings).expect("good settings"))
    })
    .await;
}

#[tokio::test]
async fn scim() {
    let place = places::scim().await;
    let product = format!("Bearer {}", place.secret);
    client_credentials(place, product, |url, credentials| {
        Arc::new(ScimTarget::new(ScimSettings::new(url, credentials)).expect("good settings"))
    })
    .await;
}
