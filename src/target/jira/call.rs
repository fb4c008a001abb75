//! One call to Jira's REST API: credentials, headers, and the answers that mean the same everywhere.

use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    JiraTarget,
    auth::{Verdict, verdict},
    errors::{self, Said},
};
use crate::{
    model::ErrorClass,
    target::{
        TargetError, TargetErrorKind,
        http::{Answer, Call, server},
    },
};

/// A call before it is sent.
pub(super) struct Ask<'a> {
    /// What it is for: the thing first, as `alice: cannot be created`.
    pub what: &'a str,
    /// The login that it is about.
    pub login: Option<&'a str>,
    method: Method,
    api: &'static str,
    path: &'static str,
    query: Vec<(&'static str, &'a str)>,
    body: Option<Bytes>,
    deadline: Option<Timestamp>,
    anonymous: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, path: &'static str, what: &'a str) -> Self {
        Self {
            what,
            login: None,
            method,
            api: "/rest/api/2",
            path,
            query: Vec::new(),
            body: None,
            deadline: None,
            anonymous: false,
        }
    }

    pub(super) fn get(path: &'static str, what: &'a str) -> Self {
        Self::new(Method::GET, path, what)
    }

    pub(super) fn query(mut self, name: &'static str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    pub(super) fn login(mut self, login: &'a str) -> Self {
        self.login = Some(login);
        self
    }

    pub(super) fn deadline(mut self, deadline: Option<Timestamp>) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn json(mut self, body: &impl Serialize) -> Result<Self, TargetError> {
        let what = self.what;
        let body = serde_json::to_vec(body).map_err(|error| {
            errors::not_done(ErrorClass::Bug, format!("{what}: the request cannot be written: {error}."))
        })?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// Below another part of Jira's REST interfaces.
    pub(super) fn below(mut self, api: &'static str) -> Self {
        self.api = api;
        self
    }

    /// Without credentials, for what Jira tells everybody.
    pub(super) fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

impl JiraTarget {
    /// Sends a call. What comes back is a success, or a refusal that only the caller can read (400, 403, 404, 405,
    /// 409).
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, TargetError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}{}", self.base.path().trim_end_matches('/'), ask.api, ask.path));
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("x-atlassian-token"), HeaderValue::from_static("no-check"));
        let permit = if ask.anonymous { None } else { Some(self.auth.permit(ask.what).await?) };
        if let Some(permit) = &permit {
            headers.insert(AUTHORIZATION, permit.header.clone());
        }
        let call = Call { method: ask.method.clone(), url, headers, body: ask.body.clone(), deadline: ask.deadline };
        let answer = self.http.send(&call).await.map_err(|why| why.into_error(ask.what, ask.writes()))?;

        if let Some(permit) = &permit {
            match verdict(&answer) {
                Verdict::Accepted => {
                    self.auth.accept(permit);
                    if let Some(login) = answer.header("x-ausername") {
                        self.signed_in_as(&percent_decode_str(login).decode_utf8_lossy());
                    }
                }
                Verdict::Captcha => return Err(self.auth.refuse(permit, ask.what, &self.captcha())),
                Verdict::Refused => return Err(self.auth.refuse(permit, ask.what, &self.refused(&answer))),
                Verdict::Unknown => {}
            }
        }
        if answer.status.is_redirection() {
            let to = answer.header(LOCATION.as_str()).unwrap_or_default();
            if signs_in(to) {
                let text = "Jira sent a sign-in page instead of an answer, so the credentials were not taken. Check \
                            them, and that single sign-on lets calls to /rest with credentials pass.";
                return Err(match &permit {
                    Some(permit) => self.auth.refuse(permit, ask.what, text),
                    None => errors::not_done(ErrorClass::Credentials, format!("{}: {text}", ask.what)),
                });
            }
            let place =
                call.url.join(to).map_or_else(|_| "another address".to_owned(), |url| server(&url) + url.path());
            let text = format!(
                "{}: {} answered {} and points to {place}. Redirects are not followed with credentials; give the \
                 address that answers itself.",
                ask.what,
                server(&call.url),
                answer.status.as_u16(),
            );
            return Err(errors::not_done(ErrorClass::Permanent, text));
        }
        match errors::common(ask.what, ask.writes(), &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Reads JSON, where anything but success is an error.
    pub(super) async fn read<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, TargetError> {
        let answer = self.ask(ask).await?;
        if answer.status.is_success() { parse(ask, &answer) } else { Err(self.unexpected(ask, &answer)) }
    }

    /// Reads JSON, where Jira's own 404 is "not there".
    pub(super) async fn find<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Option<T>, TargetError> {
        match self.read(ask).await {
            Err(TargetError { kind: TargetErrorKind::NotFound, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) fn unexpected(&self, ask: &Ask<'_>, answer: &Answer) -> TargetError {
        errors::unexpected(ask.what, &self.who(), ask.writes(), answer, ask.login)
    }

    fn captcha(&self) -> String {
        format!(
            "Jira refuses {} until a CAPTCHA is solved, after too many wrong sign-ins. Sign in once in a browser as \
             that user, or reset its failed logins in User management, or use a personal access token.",
            self.auth.whose()
        )
    }

    fn refused(&self, answer: &Answer) -> String {
        let whose = self.auth.whose();
        let said = Said::new(answer, None).quoted();
        let hint = if self.auth.is_basic() {
            "Check them; since Jira 11, and where an administrator chose so, only a personal access token is taken."
        } else {
            "Check that it is whole, not expired and not revoked (Jira profile > Personal access tokens)."
        };
        format!("Jira did not take {whose}{said}. {hint}")
    }
}

/// Reads a body as JSON.
pub(super) fn parse<T: DeserializeOwned>(ask: &Ask<'_>, answer: &Answer) -> Result<T, TargetError> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        let text = format!("{}: Jira's answer cannot be read ({}).", ask.what, place(&error));
        if ask.writes() {
            errors::error(TargetErrorKind::Unanswered, format!("{text} Whether it was done is found out by looking."))
        } else {
            errors::doubt(text)
        }
    })
}

/// What is wrong with a JSON text, without repeating any of it.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "it has another shape",
    };
    format!("{what}, line {} column {}", error.line(), error.column())
}

/// Whether a redirect leads to a page where people sign in.
fn signs_in(location: &str) -> bool {
    let low = location.to_lowercase();
    ["login", "signin", "sign-in", "/sso", "saml", "oauth", "openid", "authorize", "/auth"]
        .iter()
        .any(|word| low.contains(word))
}
