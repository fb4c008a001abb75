//! One call to a REST interface: credentials, headers, and the answers that mean the same everywhere.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    Auth, Credentials, Dialect, Permit, Said, SignInRefusal, Verdict, errors,
    sign_in::{CallKind, SignInPages, is_sign_in},
};
use crate::{
    model::ErrorClass,
    target::{
        TargetError, TargetErrorKind,
        http::{Answer, Call, Http, HttpSettings, server},
    },
    telemetry::CallMeter,
};

/// What a segment of a path may hold as it is (RFC 3986, section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A call before it is sent.
pub struct Ask<'a> {
    /// What it is for: the thing first, as `creating alice`.
    pub what: &'a str,
    /// The login that it is about, which may be shown where other addresses may not.
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
    /// A call to a path below the interface; names in it are encoded already, see [`segment`].
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

    /// A call that reads.
    pub fn get(path: impl Into<Cow<'a, str>>, what: &'a str) -> Self {
        Self::new(Method::GET, path, what)
    }

    /// With a query parameter.
    pub fn query(mut self, name: &'static str, value: &'a str) -> Self {
        self.query.push((name, value));
        self
    }

    /// With a header of its own, as `If-Match`.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Answered in another form than the dialect's, as `application/xml`; whether a success has it, the caller sees.
    pub fn accept(mut self, media: &'static str) -> Self {
        self.accept = Some(media);
        self
    }

    /// About this login.
    pub fn login(mut self, login: &'a str) -> Self {
        self.login = Some(login);
        self
    }

    /// Not sent past this instant.
    pub fn deadline(mut self, deadline: Option<Timestamp>) -> Self {
        self.deadline = deadline;
        self
    }

    /// With a body.
    pub fn json(mut self, body: &impl Serialize) -> Result<Self, TargetError> {
        let what = self.what;
        let body = serde_json::to_vec(body).map_err(|error| {
            errors::not_done(ErrorClass::Bug, format!("{what}: the request cannot be written: {error}."))
        })?;
        self.body = Some(body.into());
        Ok(self)
    }

    /// Below another part of the product's interfaces.
    pub fn below(mut self, api: &'static str) -> Self {
        self.api = Some(api);
        self
    }

    /// Without credentials, for what the server tells everybody.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Reads in spite of its method, as a search by POST.
    pub fn only_reads(mut self) -> Self {
        self.reads = true;
        self
    }

    /// An interface that refuses with 5xx: what this recognises as its refusal comes back, whatever its status.
    pub fn refuses_by(mut self, own: fn(&Answer) -> bool) -> Self {
        self.refusal = Some(own);
        self
    }

    /// About something that can be done without: a refused sign-in and a fault of the server are answers like others.
    pub fn tolerant(mut self) -> Self {
        self.tolerant = true;
        self
    }

    fn kind(&self) -> CallKind {
        if self.writes() { CallKind::Write } else { CallKind::Read }
    }

    /// Whether it may change something.
    pub fn writes(&self) -> bool {
        self.method != Method::GET && !self.reads
    }
}

/// A REST interface, signed in to.
pub struct Rest {
    /// The address that people type.
    pub base: Url,
    /// The credentials.
    pub auth: Auth,
    http: Http,
    dialect: &'static Dialect,
    me: Mutex<Option<String>>,
    sign_in_pages: SignInPages,
    more: More,
}

/// What the settings add to every call.
#[derive(Clone, Debug, Default)]
pub struct More {
    headers: Vec<(HeaderName, HeaderValue)>,
    query: Vec<(String, String)>,
}

impl More {
    /// Headers and query parameters; the error names the header that cannot be sent.
    pub fn new(headers: &BTreeMap<String, String>, query: &BTreeMap<String, String>) -> Result<Self, String> {
        let read = |(name, value): (&String, &String)| {
            let wrong = || format!("The header {name} cannot be sent. Give it a name and a value of plain letters.");
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            if header == AUTHORIZATION || header == CONTENT_TYPE {
                return Err(format!("The header {name} is usersync's own. Take it away."));
            }
            Ok((header, HeaderValue::from_str(value).map_err(|_| wrong())?))
        };
        let headers = headers.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { headers, query: query.iter().map(|(name, value)| (name.clone(), value.clone())).collect() })
    }
}

impl Rest {
    /// An interface with these settings; nothing is sent yet. The error names the setting that does not work.
    pub fn new(
        base: Url,
        credentials: Credentials,
        http: &HttpSettings,
        dialect: &'static Dialect,
    ) -> Result<Self, TargetError> {
        let wrong = |text: String| errors::not_done(ErrorClass::Permanent, text);
        let product = dialect.product;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            let name = product.trim_start_matches("the ");
            let low = name.to_lowercase().replace(' ', "-");
            return Err(wrong(format!(
                "The address is not one of a {name}. It looks like https://{low}.example.org/{low}."
            )));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("The address holds a user or password. Put them where credentials go.".to_owned()));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong(format!("{}: the address goes on after ? or #. Give it without.", server(&base))));
        }
        let http = Http::new(http).map_err(|text| wrong(format!("{}: {text}", server(&base))))?;
        let auth = Auth::new(credentials, dialect.token);
        Ok(Self {
            base,
            auth,
            http,
            dialect,
            me: Mutex::new(None),
            sign_in_pages: SignInPages::default(),
            more: More::default(),
        })
    }

    /// Counts calls here from now on.
    pub fn attach(&self, meter: &CallMeter) {
        self.http.attach(meter);
    }

    /// Waits until the server takes calls, if it refused one for now.
    pub async fn until_open(&self) -> Result<(), TargetError> {
        self.http.until_open().await.map_err(|why| why.into_error("waiting to go on", false))
    }

    /// Notes that credentials were refused.
    fn refuse(&self, permit: &Permit<'_>, what: &str, refusal: SignInRefusal) -> TargetError {
        self.http.refused_sign_in();
        self.auth.refuse(permit, what, refusal)
    }

    /// The same with more in every call.
    pub fn with(self, more: More) -> Self {
        Self { more, ..self }
    }

    /// The address without a slash at its end, the one way in which it is an identity.
    pub fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Whom the server takes us for, as far as is known.
    pub fn who(&self) -> String {
        let me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
        me.clone().unwrap_or_else(|| format!("The user of {}", self.auth.whose()))
    }

    /// Notes whom the server takes us for.
    pub fn signed_in_as(&self, login: &str) {
        let mut me = self.me.lock().unwrap_or_else(PoisonError::into_inner);
        if me.as_deref() != Some(login) {
            *me = Some(login.to_owned());
        }
    }

    /// What was said in an answer that is not a success; `login` may stay in the text, other addresses may not.
    pub fn said(&self, answer: &Answer, login: Option<&str>) -> Said {
        Said::new(self.dialect, answer, login)
    }

    /// Sends a call. What comes back is a success, or a refusal that only the caller can read (400, 403, 404, 405,
    /// 409 and other 4xx).
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, TargetError> {
        let mut renewed = false;
        let pages = self.sign_in_pages.so_far(ask.kind());
        let (permit, url, answer, verdict) = loop {
            let permit =
                if ask.anonymous { None } else { Some(self.auth.permit(ask.what, &self.http, ask.deadline).await?) };
            let call = self.call(ask, permit.as_ref().map(|permit| &permit.header))?;
            let answer = self.http.send(&call).await.map_err(|why| why.into_error(ask.what, ask.writes()))?;
            let verdict = (self.dialect.verdict)(&answer);
            // A call that was refused for its token did nothing, so that it can be sent again, once.
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
        // To the dialect any mark-up is a page for people.
        if answer.status.is_success() && ask.accept.is_some() {
            return Ok(answer);
        }
        match errors::common(self.dialect, ask.what, ask.writes(), &answer) {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Reads JSON, where anything but success is an error.
    pub async fn read<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<T, TargetError> {
        let answer = self.ask(ask).await?;
        if answer.status.is_success() { self.parse(ask, &answer) } else { Err(self.unexpected(ask, &answer)) }
    }

    /// Reads JSON, where the product's own 404 is "not there".
    pub async fn find<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<Option<T>, TargetError> {
        match self.read(ask).await {
            Err(TargetError { kind: TargetErrorKind::NotFound, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Reads a body as JSON.
    pub fn parse<T: DeserializeOwned>(&self, ask: &Ask<'_>, answer: &Answer) -> Result<T, TargetError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.unreadable(ask, &format!("{}, line {} column {}", shape(&error), error.line(), error.column()))
        })
    }

    /// An answer of another shape than it should have; `how` tells where, without repeating any of it.
    pub fn unreadable(&self, ask: &Ask<'_>, how: &str) -> TargetError {
        let text = format!("{}: {}'s answer cannot be read ({how}).", ask.what, self.dialect.product);
        if ask.writes() {
            errors::error(TargetErrorKind::Unanswered, format!("{text} usersync checks whether it took effect."))
        } else {
            errors::unconfirmed(text)
        }
    }

    /// What is left when a call's own meaning of a status did not apply.
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

    /// What a sign-in page in the place of an answer means. Only after several in a row were the credentials not taken.
    fn sign_in_page(&self, ask: &Ask<'_>, permit: Option<&Permit<'_>>, answer: &Answer, pages: u32) -> TargetError {
        let (product, what) = (self.dialect.product, ask.what);
        let check = "Check them, and that single sign-on lets calls to the REST interface with credentials pass.";
        let came = format!("{product} sent a sign-in page instead of an answer");
        let refused = format!("{came}, so the credentials were not taken. {check}");
        let Some(permit) = permit else {
            return errors::not_done(ErrorClass::Credentials, format!("{what}: {refused}"));
        };
        let in_a_row = self.sign_in_pages.came(ask.kind(), pages);
        let refusal = in_a_row.then(|| self.refuse(permit, what, SignInRefusal { text: refused, locked: false }));
        // The page may stand for the answer to a write that was done; the next call meets the refusal.
        if ask.writes() && answer.status.is_success() {
            let text = format!("{what}: {came}. usersync checks whether it took effect.");
            return errors::error(TargetErrorKind::Unanswered, text);
        }
        if let Some(refusal) = refusal {
            return refusal;
        }
        let text = format!("{what}: {came}. usersync tries again before it takes the credentials for refused.");
        errors::not_done(ErrorClass::Maintenance, text)
    }

    fn captcha(&self) -> SignInRefusal {
        let text = format!(
            "{} refuses {} until a CAPTCHA is solved, after too many wrong sign-ins. Sign in once in a browser as \
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
        let text = format!("{} did not take {whose}{}. {hint}", self.dialect.product, said.quoted());
        SignInRefusal { text, locked: said.locked_out() }
    }
}

/// What is wrong with a JSON text, without repeating any of it.
fn shape(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Data | serde_json::error::Category::Io => "it has another shape",
    }
}

/// A redirect: most likely a maintenance page for all calls, so nobody's work is given up for it.
fn redirected(what: &str, url: &Url, answer: &Answer) -> TargetError {
    let to = answer.header(LOCATION.as_str()).unwrap_or_default();
    let place = url.join(to).map_or_else(|_| "another address".to_owned(), |url| server(&url) + url.path());
    let text = format!(
        "{what}: {} answered {} and points to {place}. Redirects are not followed with credentials. usersync tries again; if \
         it is no maintenance, give the address that answers itself.",
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
