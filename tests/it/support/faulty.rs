//! A server that answers as Keycloak does, except in one place with a scripted fault.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Bytes written to the connection, which is closed afterwards.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status line and headers, and a body with its length.
    Whole(&'static str, &'static str, String),
    /// JSON.
    Json(&'static str, String),
    /// An announced length that never arrives.
    Cut(String),
    /// Nothing; the connection is closed.
    Nothing,
    /// Nothing; the connection stays open.
    Silence,
}

impl Reply {
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Json("200 OK", body.into())
    }
}

type Script = dyn Fn(&str, usize) -> Option<Reply> + Send + Sync;

pub struct Faulty {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Faulty {
    /// Starts a server. `script` gets each request's target and the number of earlier requests to it; `None`: the
    /// normal answer.
    pub async fn start(script: impl Fn(&str, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, kept): (Arc<Script>, _) = (Arc::new(script), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, script.clone(), kept.clone()));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how often a target with this prefix was requested.
    pub fn asked(&self, beginning: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|target| target.starts_with(beginning)).count()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !complete(&request) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let target = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(target.clone());
        seen.iter().filter(|other| **other == target).count() - 1
    };
    let written = match script(&target, before).unwrap_or_else(|| well(&target)) {
        Reply::Whole(status, headers, body) => {
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        }
        Reply::Json(status, body) => format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        Reply::Cut(body) => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len() + 99)
        }
        Reply::Nothing => String::new(),
        Reply::Silence => return std::future::pending().await,
    };
    let _ = stream.write_all(written.as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Returns Keycloak's normal answer.
fn well(target: &str) -> Reply {
    let path = target.split('?').next().unwrap_or_default();
    match path {
        "/realms/acme" => Reply::ok(r#"{"realm":"acme"}"#),
        "/realms/acme/protocol/openid-connect/token" => token(300),
        "/admin/realms/acme/users/count" => Reply::ok("3"),
        "/admin/realms/acme/groups/count" => Reply::ok(r#"{"count":0}"#),
        "/admin/realms/acme/users" | "/admin/realms/acme/groups" => Reply::ok("[]"),
        path if path.starts_with("/realms/") => {
            Reply::Json("404 Not Found", r#"{"error":"Realm does not exist"}"#.into())
        }
        _ => Reply::Json("404 Not Found", r#"{"error":"Unable to find matching target resource method"}"#.into()),
    }
}

/// Returns the answer of the token endpoint.
pub fn token(expires_in: u64) -> Reply {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"iss":"http://kc/realms/acme","sub":"service"}"#);
    Reply::ok(format!(r#"{{"access_token":"h.{claims}.s","expires_in":{expires_in}}}"#))
}
