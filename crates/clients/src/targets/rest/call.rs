//! One call to a REST interface: credentials, headers, and answers with the same meaning for every product.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    Auth, Credentials, Dialect, Permit, Said, SignInRefusal, Verdict, errors,
    login_page::{CallKind, SignInPages, is_sign_in},
};
use crate::{
    meter::CallMeter,
    model::ErrorClass,
    targets::{
        TargetError, TargetErrorKind,
        http::{Answer, Call, Http, HttpSettings, server},
    },
};

/// Characters that are encoded in a path segment: all except the unreserved ones (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Encodes a name as one segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A call before it is sent.
pub struct Ask<'a> {
    /// What the call does, for messages: for example `creating alice`.
    pub what: &'a str,
    /// The login that the call concerns. It may appear in messages; other e-mail addresses may not.
    pub login: Option<&'a str>,
    method: Method,
    api: Option<&'static str>,
    path: Cow<'a, str>,
    query: Vec<(&'static str, &'a str)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    accept: Option<&'static str>,
    deadline: Option<Timestamp>,
    anonymous: bool,
    reads: bool,
    refusal: Option<fn(&Answer) -> bool>,
    tolerant: bool,
}

impl<'a> Ask<'a> {
    /// Creates a call to a path below the interface. Names in the path must be encoded, see [`segment`].
    pub fn new(method: Method, path: impl Into<Cow<'a, str>>, what: &'a str) -> Self {
        Self {
            what,
            login: None,
            method,
            api: None,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            accept: None,
            deadline: None,
            anonymous: false,
            reads: false,
            refusal: None,
            tolerant: false,
        }
    }

    /// Creates a call that reads.
    pub fn get(path: impl Into<Cow<'a, str>>, what: &'a str) -> Self {
        Self::new(Method::GET, path, what)
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &'static str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    /// Adds a header, for example `If-Match`.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Accepts another media type than the dialect's, for example `application/xml`. The caller checks the type of a
    /// success.
    pub fn accept(mut self, media: &'static str) -> Self {
        self.accept = Some(media);
        self
    }

    /// Sets the login that the call concerns.
    pub fn login(mut self, login: &'a str) -> Self {
        self.login = Some(login);
        self
    }

    /// Sets the latest time for sending.
    pub fn deadline(mut self, deadline: Option<Timestamp>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets a JSON body.
    pub fn json(mut self, body: &impl Serialize) -> Result<Self, TargetError> {
        let what = self.what;
        let body = serde_json::to_vec(body).map_err(|error| {
            errors::not_done(ErrorClass::Bug, format!("{what}: the request cannot be written: {error}."))
        })?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// Uses another interface of the product.
    pub fn below(mut self, api: &'static str) -> Self {
        self.api = Some(api);
        self
    }

    /// Sends no credentials, for public information.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Marks the call as a read regardless of its method, for example a search by POST.
    pub fn only_reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// Sets a recognizer for refusals with a 5xx status. A recognized answer is returned to the caller, whatever its
    /// status.
    pub fn refuses_by(mut self, own: fn(&Answer) -> bool) -> Self {
        self.refusal = Some(own);
        self
    }

    /// Marks the call as optional: a refused sign-in or a server error is returned as an answer.
    pub fn tolerant(mut self) -> Self {
        self.tolerant = true;
        self
    }

    fn kind(&self) -> CallKind {
        if self.writes() { CallKind::Write } else { CallKind::Read }
    }

    /// Whether the call may change something.
    pub fn writes(&self) -> bool {
        self.method != Method::GET && !self.reads
    }
}

/// An authenticated REST interface.
pub struct Rest {
    /// The configured base URL.
    pub base: Url,
    /// The credentials.
    pub auth: Auth,
    http: Http,
    pub(super) dialect: &'static Dialect,
    me: Mutex<Option<String>>,
    sign_in_pages: SignInPages,
    more: More,
}

/// Headers and query parameters that the settings add to every call.
#[derive(Clone, Debug, Default)]
pub struct More {
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, String)>,
}

impl More {
    /// Parses headers and query parameters; the error names the invalid header.
    pub fn new(headers: &BTreeMap<String, String>, query: &BTreeMap<String, String>) -> Result<Self, String> {
        let read = |(name, value): (&String, &String)| {
            let wrong = || format!("The header {name} cannot be sent. Use only ASCII in its name and value.");
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            if header == AUTHORIZATION || header == CONTENT_TYPE {
                return Err(format!("The header {name} is set by usersync. Remove it."));
            }
            Ok((header, HeaderValue::from_str(value).map_err(|_| wrong())?))
        };
        let headers = headers.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { headers, query: query.iter().map(|(name, value)| (name.clone(), value.clone())).collect() })
    }
}

impl Rest {
    /// Creates an interface with these settings; sends nothing. The error names the invalid setting.
    pub fn new(
        base: &Url,
        credentials: &Credentials,
        http: &HttpSettings,
        dialect: &'static Dialect,
    ) -> Result<Self, TargetError> {
        let wrong = |text: String| errors::not_done(ErrorClass::Permanent, text);
        let product = dialect.product;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            let name = product.trim_start_matches("the ");
            let low = name.to_lowercase().replace(' ', "-");
            return Err(wrong(format!(
                "The address is not a valid {name} address. Example: https://{low}.example.org/{low}."
            )));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("The address contains a user or password. Set them as credentials.".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong(format!("{}: the address contains ? or #. Remove that part.", server(base))));
        }
        let http = Http::new(http).map_err(|text| wrong(format!("{}: {text}", server(base))))?;
        let auth = Auth::new(credentials.clone(), dialect.token);
        Ok(Self {
            base: base.clone(),
            auth,
            http,
            dialect,
            me: Mutex::new(None),
            sign_in_pages: SignInPages::default(),
            more: More::default(),
        })
    }

    /// Counts all later calls with this meter.
    pub fn attach(&self, meter: &CallMeter) {
        self.http.attach(meter);
    }

    /// Waits until the server accepts calls, if it refuses them temporarily.
    pub async fn until_open(&self) -> Result<(), TargetError> {
        self.http.until_open().await.map_err(|why| why.into_error("waiting for the server to accept calls", false))
    }

    /// Records refused credentials.
    fn refuse(&self, permit: &Permit<'_>, what: &str, refusal: SignInRefusal) -> TargetError {
        self.http.refused_sign_in();
        self.auth.refuse(permit, what, refusal)
    }

    /// Returns the interface with additions to every call.
    pub fn with(self, more: More) -> Self {
        Self { more, ..self }
    }

    /// Returns the address without a trailing slash, the form that identifies the server.
    pub fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Returns the signed-in user, as far as known.
    pub fn who(&self) -> String {
        let me = self.me.lock();
        me.clone().unwrap_or_else(|| format!("The user of {}", self.auth.whose()))
    }

    /// Records the signed-in user.
    pub fn signed_in_as(&self, login: &str) {
        let mut me = self.me.lock();
        if me.as_deref() != Some(login) {
            *me = Some(login.to_owned());
        }
    }

    /// Reads the message of an unsuccessful answer. `login` may stay in the text; other e-mail addresses are removed.
    pub fn said(&self, answer: &Answer, login: Option<&str>) -> Said {
        Said::new(self.dialect, answer, login)
    }

    /// Sends a call. Returns a success, or a refusal that only the caller can interpret (400, 403, 404, 405, 409 and
    /// other 4xx).
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, TargetError> {
        let mut renewed = false;
        let pages = self.sign_in_pages.so_far(ask.kind());
        let (permit, url, answer, verdict) = loop {
            let permit =
                if ask.anonymous { None } else { Some(self.auth.permit(ask.what, &self.http, ask.deadline).await?) };
            let call = self.call(ask, permit.as_ref().map(|permit| &permit.header))?;
            let answer = self.http.send(&call).await.map_err(|why| why.into_error(ask.what, ask.writes()))?;
            let verdict = (self.dialect.verdict)(&answer);
            // A call refused for its token had no effect, so it is retried once with a new token.
            if let Some(permit) = permit.as_ref().filter(|_| !renewed && verdict == Verdict::Refused)
                && self.auth.renew(permit).await
            {
                renewed = true;
                continue;
            }
            break (permit, call.url, answer, verdict);
        };

        if ask.tolerant && !matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            return Ok(answer);
        }
        if verdict != Verdict::Captcha && is_sign_in(&url, &answer) {
            return Err(self.sign_in_page(ask, permit.as_ref(), &answer, pages));
        }
        if let Some(permit) = &permit {
            self.sign_in_pages.over(ask.kind());
            match verdict {
                Verdict::Accepted => {
                    self.auth.accept(permit);
                    if let Some(login) = (self.dialect.caller)(&answer) {
                        self.signed_in_as(&login);
                    }
                }
                Verdict::Captcha => return Err(self.refuse(permit, ask.what, self.captcha())),
                Verdict::Refused => return Err(self.refuse(permit, ask.what, self.refused(&answer))),
                Verdict::Unknown => {}
            }
        }
        if answer.status.is_redirection() {
            return Err(redirected(ask.what, &url, &answer));
        }
        if answer.status.is_server_error() && ask.refusal.is_some_and(|own| own(&answer)) {
            return Ok(answer);
        }
        // Otherwise the dialect treats any markup as an HTML page.
        if answer.status.is_success() && ask.accept.is_some() {
            return Ok(answer);
        }
        match errors::common(self.dialect, ask.what, ask.writes(), &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Sends a read and parses the JSON; any status except success is an error.
    pub async fn read<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, TargetError> {
        let answer = self.ask(ask).await?;
        if answer.status.is_success() { self.parse(ask, &answer) } else { Err(self.unexpected(ask, &answer)) }
    }

    /// Sends a read and parses the JSON; the product's own 404 is `None`.
    pub async fn find<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Option<T>, TargetError> {
        match self.read(ask).await {
            Err(TargetError { kind: TargetErrorKind::NotFound, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Parses a body as JSON.
    pub fn parse<T: DeserializeOwned>(&self, ask: &Ask<'_>, answer: &Answer) -> Result<T, TargetError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.unreadable(ask, &format!("{}, line {} column {}", shape(&error), error.line(), error.column()))
        })
    }

    /// Returns the error for an answer of an unexpected shape; `how` says where, without any content.
    pub fn unreadable(&self, ask: &Ask<'_>, how: &str) -> TargetError {
        let text = format!("{}'s answer cannot be read ({how}).", self.dialect.product);
        if ask.writes() {
            errors::unanswered(ask.what, &text)
        } else {
            errors::unconfirmed(format!("{}: {text}", ask.what))
        }
    }

    /// Returns the error for a status without a meaning specific to the call.
    pub fn unexpected(&self, ask: &Ask<'_>, answer: &Answer) -> TargetError {
        errors::unexpected(self.dialect, ask.what, &self.who(), ask.writes(), answer, ask.login)
    }

    fn call(&self, ask: &Ask<'_>, credentials: Option<&HeaderValue>) -> Result<Call, TargetError> {
        let mut url = self.base.clone();
        let api = ask.api.unwrap_or(self.dialect.api);
        url.set_path(&format!("{}{api}{}", self.base.path().trim_end_matches('/'), ask.path));
        if !ask.query.is_empty() || !self.more.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query).extend_pairs(&self.more.query);
        }
        let media = HeaderValue::from_static(self.dialect.media);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, ask.accept.map_or_else(|| media.clone(), HeaderValue::from_static));
        if ask.body.is_some() {
            headers.insert(CONTENT_TYPE, media);
        }
        for (name, value) in self.dialect.headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers.extend(self.more.headers.iter().cloned());
        for (name, value) in &ask.headers {
            let value = HeaderValue::from_str(value).map_err(|_| {
                errors::not_done(ErrorClass::Bug, format!("{}: the header {name} cannot be sent.", ask.what))
            })?;
            headers.insert(HeaderName::from_static(name), value);
        }
        headers.extend(credentials.map(|header| (AUTHORIZATION, header.clone())));
        let kind = ask.path.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        Ok(Call {
            method: ask.method.clone(),
            lane: format!("{} {kind}", ask.method),
            url,
            headers,
            body: ask.body.clone(),
            writes: ask.writes(),
            deadline: ask.deadline,
        })
    }

    /// Returns the error for a sign-in page in the place of an answer. Only several in a row count as refused
    /// credentials.
    fn sign_in_page(&self, ask: &Ask<'_>, permit: Option<&Permit<'_>>, answer: &Answer, pages: u32) -> TargetError {
        let (product, what) = (self.dialect.product, ask.what);
        let check = "Check them, and that single sign-on allows REST calls with credentials.";
        let came = format!("{product} sent a sign-in page instead of an answer");
        let refused = format!("{came}, so the credentials were not accepted. {check}");
        let Some(permit) = permit else {
            return errors::not_done(ErrorClass::Credentials, format!("{what}: {refused}"));
        };
        let in_a_row = self.sign_in_pages.came(ask.kind(), pages);
        let refusal = in_a_row.then(|| self.refuse(permit, what, SignInRefusal { text: refused, locked: false }));
        // The page may replace the answer to a successful write; the next call reports the refusal.
        if ask.writes() && answer.status.is_success() {
            return errors::unanswered(what, &format!("{came}."));
        }
        if let Some(refusal) = refusal {
            return refusal;
        }
        let text = format!("{what}: {came}. usersync tries again before it treats the credentials as refused.");
        errors::not_done(ErrorClass::Maintenance, text)
    }

    fn captcha(&self) -> SignInRefusal {
        let text = format!(
            "{} refuses {} until a CAPTCHA is solved, after too many failed sign-ins. Sign in once in a browser as \
             that user, or reset its failed logins in User management{}.",
            self.dialect.product,
            self.auth.whose(),
            self.dialect.captcha_hint
        );
        SignInRefusal { text, locked: true }
    }

    fn refused(&self, answer: &Answer) -> SignInRefusal {
        let whose = self.auth.whose();
        let said = self.said(answer, None);
        let hint = if self.auth.is_basic() { self.dialect.password_hint } else { self.dialect.token_hint };
        let text = format!("{} rejected {whose}{}. {hint}", self.dialect.product, said.quoted());
        SignInRefusal { text, locked: said.locked_out() }
    }
}

/// Describes what is wrong with a JSON text, without any of its content.
fn shape(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "truncated JSON",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "unexpected structure",
    }
}

/// Returns the error for a redirect. It is probably a maintenance page for all calls, so no task is failed permanently.
fn redirected(what: &str, url: &Url, answer: &Answer) -> TargetError {
    let to = answer.header(LOCATION.as_str()).unwrap_or_default();
    let place = url.join(to).map_or_else(|_| "another address".to_owned(), |url| server(&url) + url.path());
    let text = format!(
        "{what}: {} answered {}, a redirect to {place}. usersync does not follow redirects with credentials and tries \
         again. If this is not maintenance, set the address that answers without a redirect.",
        server(url),
        answer.status.as_u16(),
    );
    let retry_after = answer.retry_after();
    TargetError { kind: TargetErrorKind::NotDone(ErrorClass::Maintenance), text, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_whatever_it_holds() {
        assert_eq!(segment("a/b c%+ü"), "a%2Fb%20c%25%2B%C3%BC");
        assert_eq!(segment("j.doe-1_x~"), "j.doe-1_x~");
    }
}
