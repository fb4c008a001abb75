//! A small mail server (SMTP): it records messages, and refuses what a test asks it to.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// How the server encrypts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    None,
    Starttls,
    Implicit,
}

/// A message that the server accepted.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Header and body, with CR LF.
    pub data: String,
    /// User and password.
    pub login: Option<(String, String)>,
    pub is_encrypted: bool,
}

impl Mail {
    /// Returns the value of a header.
    pub fn header(&self, name: &str) -> &str {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default();
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
    }

    /// Returns the body as it was before its transfer encoding.
    pub fn body(&self) -> String {
        let (_, body) = self.data.split_once("\r\n\r\n").unwrap_or_default();
        match self.header("Content-Transfer-Encoding") {
            "base64" => {
                let bytes = STANDARD.decode(body.replace("\r\n", "")).expect("base64");
                String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n")
            }
            "quoted-printable" => quoted_printable(body),
            _ => body.replace("\r\n", "\n"),
        }
    }
}

fn quoted_printable(body: &str) -> String {
    let mut bytes = Vec::new();
    let joined = body.replace("=\r\n", "").replace("\r\n", "\n");
    let mut rest = joined.as_bytes();
    while let [first, after @ ..] = rest {
        if let (b'=', [high, low, after @ ..]) = (first, after) {
            let code = String::from_utf8(vec![*high, *low]).expect("ASCII");
            bytes.push(u8::from_str_radix(&code, 16).expect("hexadecimal"));
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[derive(Default)]
struct State {
    received: Vec<Mail>,
    /// Prefixes of commands, `CONNECT` or `MESSAGE`, with the answer in place of the usual one.
    answers: Vec<(String, String)>,
    /// The extensions of EHLO besides STARTTLS.
    extensions: Vec<&'static str>,
    commands: Vec<String>,
}

/// A running mail server; it ends with the test's runtime.
pub struct MailServer {
    /// Its port on 127.0.0.1, for which its certificate is valid.
    pub port: u16,
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

impl MailServer {
    pub async fn start(tls: Tls) -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), key.cert.pem()).expect("written");
        let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![key.cert.der().clone()], private).expect("a configuration");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { extensions: vec!["AUTH LOGIN PLAIN"], ..State::default() }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { port, folder, state }
    }

    /// The certificate to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Answers commands that begin so with this line; an empty line closes the connection.
    pub fn answer(&self, command: &str, line: &str) {
        self.state.lock().answers.push((command.to_owned(), line.to_owned()));
    }

    /// Answers as usual again.
    pub fn answer_as_usual(&self) {
        self.state.lock().answers.clear();
    }

    /// Sets the extensions besides STARTTLS.
    pub fn extensions(&self, extensions: &[&'static str]) {
        self.state.lock().extensions = extensions.to_vec();
    }

    pub fn received(&self) -> Vec<Mail> {
        self.state.lock().received.clone()
    }

    /// Returns all commands so far.
    pub fn commands(&self) -> Vec<String> {
        self.state.lock().commands.clone()
    }
}

/// What is known of a sender.
#[derive(Default)]
struct Session {
    is_encrypted: bool,
    login: Option<(String, String)>,
    from: String,
    to: Vec<String>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn serve(stream: TcpStream, tls: Tls, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) -> Option<()> {
    let mut session = Session { is_encrypted: tls == Tls::Implicit, ..Session::default() };
    let mut stream: BufReader<Box<dyn Stream>> = BufReader::new(if session.is_encrypted {
        Box::new(acceptor.accept(stream).await.ok()?)
    } else {
        Box::new(stream)
    });
    reply(&mut stream, &answer(&state, "CONNECT").unwrap_or_else(|| "220 mail.example.org ESMTP".to_owned())).await?;
    loop {
        let command = line(&mut stream).await?;
        state.lock().commands.push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        if let Some(other) = answer(&state, &command) {
            reply(&mut stream, &other).await?;
            continue;
        }
        match verb.as_str() {
            "EHLO" => {
                let mut lines = vec!["mail.example.org".to_owned()];
                if tls == Tls::Starttls && !session.is_encrypted {
                    lines.push("STARTTLS".to_owned());
                }
                lines.extend(state.lock().extensions.iter().map(|&one| one.to_owned()));
                let last = lines.len() - 1;
                for (index, line) in lines.iter().enumerate() {
                    reply(&mut stream, &format!("250{}{line}", if index == last { ' ' } else { '-' })).await?;
                }
            }
            "STARTTLS" => {
                reply(&mut stream, "220 Go ahead").await?;
                stream = BufReader::new(Box::new(acceptor.accept(stream.into_inner()).await.ok()?));
                session = Session { is_encrypted: true, ..Session::default() };
            }
            "AUTH" => {
                session.login = Some(login(&mut stream, &command).await?);
                reply(&mut stream, "235 Welcome").await?;
            }
            "MAIL" => {
                session.from = path(&command);
                reply(&mut stream, "250 OK").await?;
            }
            "RCPT" => {
                session.to.push(path(&command));
                reply(&mut stream, "250 OK").await?;
            }
            "DATA" => {
                reply(&mut stream, "354 End with a dot").await?;
                let data = data(&mut stream).await?;
                if let Some(other) = answer(&state, "MESSAGE") {
                    reply(&mut stream, &other).await?;
                    continue;
                }
                let Session { is_encrypted, login, from, to } = &session;
                let (from, to, login, is_encrypted) = (from.clone(), to.clone(), login.clone(), *is_encrypted);
                state.lock().received.push(Mail { from, to, data, login, is_encrypted });
                reply(&mut stream, "250 Queued").await?;
            }
            "QUIT" => return reply(&mut stream, "221 Bye").await,
            _ => reply(&mut stream, "502 Not implemented").await?,
        }
    }
}

/// Returns the answer in place of the usual one.
fn answer(state: &Mutex<State>, command: &str) -> Option<String> {
    let state = state.lock();
    state.answers.iter().find(|(prefix, _)| command.starts_with(prefix)).map(|(_, line)| line.clone())
}

async fn reply(stream: &mut BufReader<Box<dyn Stream>>, line: &str) -> Option<()> {
    if line.is_empty() {
        return None;
    }
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

/// Reads a line that ends with CR LF, without its end.
async fn line(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.strip_suffix("\r\n").map(str::to_owned)
}

async fn data(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut data = String::new();
    loop {
        match line(stream).await?.as_str() {
            "." => return Some(data),
            line => data.extend([line.strip_prefix('.').unwrap_or(line), "\r\n"]),
        }
    }
}

/// Reads user and password of AUTH PLAIN or AUTH LOGIN.
async fn login(stream: &mut BufReader<Box<dyn Stream>>, command: &str) -> Option<(String, String)> {
    let text = |line: &str| String::from_utf8(STANDARD.decode(line).ok()?).ok();
    if let Some(plain) = command.strip_prefix("AUTH PLAIN ") {
        let plain = text(plain)?;
        let mut parts = plain.split('\0').skip(1);
        return Some((parts.next()?.to_owned(), parts.next()?.to_owned()));
    }
    reply(stream, "334 VXNlcm5hbWU6").await?;
    let user = line(stream).await?;
    reply(stream, "334 UGFzc3dvcmQ6").await?;
    let password = line(stream).await?;
    Some((text(&user)?, text(&password)?))
}

/// Returns the address of MAIL FROM or RCPT TO.
fn path(command: &str) -> String {
    command.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap_or_default().0.to_owned()
}
