//! A loopback server with a journal and with faults that HTTP libraries do not allow.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use url::Url;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Seen {
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == format!("/rest/api/2{path}")
    }

    pub fn asks(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or(serde_json::Value::Null)
    }
}

/// Reaction of the server to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Sends an answer.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Closes the connection without an answer.
    Close,
    /// Announces more bytes than it sends, then closes.
    Truncated(u16, String),
    /// Never answers.
    Hang,
}

impl Reply {
    pub fn json(status: u16, body: impl Into<serde_json::Value>) -> Self {
        Self::Answer(status, vec![("Content-Type", "application/json".to_owned())], body.into().to_string())
    }

    pub fn html(status: u16, body: &str) -> Self {
        Self::Answer(status, vec![("Content-Type", "text/html;charset=UTF-8".to_owned())], body.to_owned())
    }

    pub fn text(status: u16, body: &str) -> Self {
        Self::Answer(status, vec![("Content-Type", "text/plain".to_owned())], body.to_owned())
    }

    pub fn empty(status: u16) -> Self {
        Self::Answer(status, Vec::new(), String::new())
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// The server; dropping it stops the server.
pub struct Server {
    pub url: Url,
    journal: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let journal = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&journal);
        let handler: Handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&handler), Arc::clone(&kept)));
            }
        });
        Self { url: url.parse().expect("a URL"), journal, task }
    }

    pub fn journal(&self) -> Vec<Seen> {
        self.journal.lock().expect("the journal").clone()
    }

    pub fn count(&self, method: &str, path: &str) -> usize {
        self.journal().iter().filter(|seen| seen.is(method, path)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, handler: Handler, journal: Arc<Mutex<Vec<Seen>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream).await {
        journal.lock().expect("the journal").push(seen.clone());
        let (status, headers, body, announced) = match handler(&seen) {
            Reply::Answer(status, headers, body) => {
                let length = body.len();
                (status, headers, body, length)
            }
            Reply::Truncated(status, body) => {
                let length = body.len() + 100;
                (status, Vec::new(), body, length)
            }
            Reply::Close => return,
            Reply::Hang => {
                std::future::pending::<()>().await;
                return;
            }
        };
        let mut head = format!("HTTP/1.1 {status} X\r\n");
        for (name, value) in &headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if status != 204 {
            let _ = write!(head, "Content-Length: {announced}\r\n");
        }
        head += "\r\n";
        let whole = announced == body.len();
        if stream.write_all((head + &body).as_bytes()).await.is_err() || !whole {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let url = Url::parse("http://server").ok()?.join(&target).ok()?;
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let body = String::from_utf8(body).ok()?;
    Some(Seen { method, path: url.path().to_owned(), query, headers, body })
}
