//! Shared HTTP front of all simulators: requests as plain values, faults, latency and the journal.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::fault::{Edit, Faults, Gate, Kind, Mangle, Stale};
use super::journal::{Entry, Journal};
use super::line::Line;

/// Maximum size of a request body, in bytes; no request of usersync is larger.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A request that was read completely.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method, in upper case.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The query as sent.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// Returns the decoded value of a query parameter.
    pub fn param(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Returns all decoded values of a query parameter.
    pub fn params(&self, name: &str) -> Vec<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// Returns whether a query parameter is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.param(name).is_some_and(|value| value == "true")
    }

    /// Returns the value of a header as text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns scheme and host as the client wrote them.
    pub fn origin(&self) -> String {
        format!("http://{}", self.header(header::HOST).unwrap_or("127.0.0.1"))
    }

    /// Returns the decoded segments of the path below `prefix`; `None` if the path is not below it.
    pub fn segments(&self, prefix: &str) -> Option<Vec<String>> {
        let rest = self.path.strip_prefix(prefix)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        Some(
            rest.split('/')
                .filter(|segment| !segment.is_empty())
                .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
                .collect(),
        )
    }
}

/// Encodes a text for a query or a form.
pub(crate) fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// Returns an answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn typed(status: u16, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type".into(), media_type.into())], body: body.into() }
    }

    /// Returns an answer in JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        Self::json_as(status, "application/json", body)
    }

    /// Returns an answer in JSON, with the character set in the media type.
    pub fn json_utf8(status: u16, body: &impl Serialize) -> Self {
        Self::json_as(status, "application/json;charset=UTF-8", body)
    }

    /// Returns an answer in SCIM's JSON (RFC 7644, section 8.1).
    pub fn scim(status: u16, body: &impl Serialize) -> Self {
        Self::json_as(status, "application/scim+json;charset=UTF-8", body)
    }

    fn json_as(status: u16, media_type: &str, body: &impl Serialize) -> Self {
        // Serialization cannot fail with string keys; if it did, the empty body would show it.
        Self::typed(status, media_type, serde_json::to_vec(body).unwrap_or_default())
    }

    /// Returns an answer in XML.
    pub fn xml(status: u16, body: String) -> Self {
        Self::typed(status, "application/xml", body)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// A server behind the front: turns a request into an answer.
pub(crate) trait App: Send + Sync + 'static {
    /// Answers a request; from an earlier state if `stale` is set.
    fn answer(&self, request: Request, stale: Option<Stale>) -> impl Future<Output = Reply> + Send;
}

/// Wraps an app with faults, latency and the journal.
pub(crate) fn router<A: App>(app: Arc<A>, faults: Faults, journal: Journal) -> Router {
    Router::new().fallback(move |request: axum::extract::Request| {
        let (app, faults, journal) = (Arc::clone(&app), faults.clone(), journal.clone());
        async move { serve(app, &faults, journal, request).await }
    })
}

/// Returns whether a body is a list with an entry of this id.
fn lists(body: &[u8], id: &str) -> bool {
    let list: Vec<serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    list.iter().any(|entry| entry["id"] == id)
}

/// Changes that faults make to the answer.
#[derive(Default)]
struct Spoil {
    cut: bool,
    cut_midway: Option<usize>,
    truncate: Option<usize>,
    huge: Option<usize>,
    mangle: Vec<Mangle>,
    wait: Duration,
    instead: Option<Reply>,
    edits: Vec<Edit>,
    fails_over: Vec<String>,
}

/// A request with the faults that hit it.
struct Struck {
    request: Request,
    entry: Option<Entry>,
    stale: Option<Stale>,
    /// The answer, if a fault provides it.
    reply: Option<Reply>,
    spoil: Spoil,
    line: Option<Line>,
}

async fn serve<A: App>(
    app: Arc<A>,
    faults: &Faults,
    journal: Journal,
    request: axum::extract::Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let line = parts.extensions.get::<ConnectInfo<Line>>().map(|info| info.0.clone());
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return respond(Reply::empty(413));
    };
    let request = Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
    };
    let entry = journal.is_on().then(|| Entry {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        content_type: request.header(header::CONTENT_TYPE).unwrap_or_default().to_owned(),
        headers: without_credentials(&request.headers),
        body: request.body.clone(),
        status: None,
        answer: Bytes::new(),
        faulted: false,
        at: SystemTime::now(),
    });
    if let Some(latency) = faults.latency() {
        tokio::time::sleep(latency).await;
    }

    let mut stale = None;
    let mut spoil = Spoil::default();
    let mut reply = None;
    let mut late: Option<Gate> = None;
    let target =
        if request.query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, request.query) };
    for kind in faults.strike(&request.method, &target) {
        match kind {
            Kind::DelayBefore(wait) => tokio::time::sleep(wait).await,
            Kind::CutBefore => {
                spoil.cut = true;
                reply = Some(Reply::empty(500));
            }
            Kind::Answer { status, headers, body } => {
                reply = Some(Reply { status, headers, body: body.into() });
            }
            Kind::AnswerAfter { status, body } => {
                spoil.instead = Some(Reply { status, headers: Vec::new(), body: body.into() });
            }
            Kind::Late(gate) => late = Some(gate),
            Kind::DelayAfter(wait) => spoil.wait += wait,
            Kind::CutAfter => spoil.cut = true,
            Kind::CutMidway(bytes) => spoil.cut_midway = Some(bytes),
            Kind::Truncate(bytes) => spoil.truncate = Some(bytes),
            Kind::Huge(bytes) => spoil.huge = Some(bytes),
            Kind::Stale(earlier) => stale = Some(earlier),
            Kind::Mangle(mangle) => spoil.mangle.push(mangle),
            Kind::Edit(edit) => spoil.edits.push(edit),
            Kind::FailsOver(id) => spoil.fails_over.push(id),
        }
    }
    let struck = Struck { request, entry, stale, reply, spoil, line };
    let Some(gate) = late else { return struck.answered(&*app, &journal).await };
    // A separate task, so that it outlives its connection.
    let work = tokio::spawn(async move {
        gate.opened().await;
        struck.answered(&*app, &journal).await
    });
    work.await.unwrap_or_else(|_| respond(Reply::empty(500)))
}

impl Struck {
    async fn answered<A: App>(self, app: &A, journal: &Journal) -> Response<Body> {
        let Self { request, mut entry, stale, reply, mut spoil, line } = self;
        let faulted = reply.is_some() || spoil.instead.is_some();
        let mut reply = match reply {
            Some(reply) => reply,
            None => app.answer(request, stale).await,
        };
        for edit in spoil.edits.drain(..) {
            reply.body = edit.apply(&reply.body).into();
        }
        if spoil.fails_over.iter().any(|id| lists(&reply.body, id)) {
            reply = Reply::json(500, &serde_json::json!({ "error": "unknown_error" }));
        }
        if let Some(entry) = &mut entry {
            entry.faulted = faulted;
            entry.answer = reply.body.clone();
        }
        if let Some(instead) = spoil.instead.take() {
            reply = instead;
        }
        if let Some(mut entry) = entry {
            entry.status = (!spoil.cut).then_some(reply.status);
            journal.push(entry);
        }
        if !spoil.wait.is_zero() {
            tokio::time::sleep(spoil.wait).await;
        }
        spoiled(reply, &spoil, line)
    }
}

fn spoiled(mut reply: Reply, spoil: &Spoil, line: Option<Line>) -> Response<Body> {
    if spoil.cut {
        if let Some(line) = line {
            line.cut();
        }
        return broken(reply, 0);
    }
    if let Some(bytes) = spoil.cut_midway {
        return broken(reply, bytes);
    }
    for mangle in &spoil.mangle {
        if let Some(body) = mangle.apply(&reply.body) {
            reply.body = body.into();
        }
    }
    if let Some(bytes) = spoil.truncate {
        reply.body.truncate(bytes);
    }
    if let Some(bytes) = spoil.huge {
        let mut body = vec![b' '; bytes];
        body.extend_from_slice(&reply.body);
        reply.body = body.into();
    }
    respond(reply)
}

/// Returns a response with an incomplete body: the connection ends before the message does.
fn broken(mut reply: Reply, bytes: usize) -> Response<Body> {
    reply.body.truncate(bytes);
    let start = std::mem::take(&mut reply.body);
    let mut response = respond(reply);
    let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut by a fault");
    let rest = async move {
        // Lets the connection send the first part.
        tokio::task::yield_now().await;
        Err(broken)
    };
    let chunks = stream::once(async move { Ok(start) }).chain(stream::once(rest));
    *response.body_mut() = Body::from_stream(chunks);
    response
}

fn respond(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in reply.headers {
        // A fault's header that HTTP does not allow is omitted.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn without_credentials(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(header::AUTHORIZATION);
    headers
}
