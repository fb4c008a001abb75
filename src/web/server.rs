//! The HTTP server. It binds before anything else starts, so that no sender finds a closed port.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use tower_http::{catch_panic::CatchPanicLayer, timeout::TimeoutLayer};

use super::{
    connections::{Connections, MOST},
    hooks::{self, Hooks},
    monitoring,
};
use crate::telemetry::{Health, Metrics};

/// Maximum time of a request, including its body.
const REQUEST: Duration = Duration::from_secs(30);

/// Maximum number of buffered bytes per connection; a request's headers must fit.
const BUFFER: usize = 32 * 1024;
/// Maximum number of headers per request.
const HEADERS: usize = 64;

/// The settings of the listener.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The listen address.
    pub listen: SocketAddr,
    /// Certificate and key; `None`: no TLS.
    pub tls: Option<TlsFiles>,
}

/// The files of certificate and key, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}. Stop the other process that uses it, or change [server] listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The certificate or key cannot be used.
    #[error("the certificate {cert_file} or its key cannot be used: {error}")]
    Tls {
        /// The certificate's file.
        cert_file: String,
        /// What is wrong.
        error: std::io::Error,
    },
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    /// `None` once the task has ended.
    task: Option<JoinHandle<std::io::Result<()>>>,
    tls: Option<(RustlsConfig, TlsFiles)>,
    hooks: Arc<Hooks>,
    refusals: AbortOnDropHandle<()>,
}

impl Server {
    /// Binds and starts to serve.
    pub async fn start(
        settings: &ServerSettings,
        hooks: Arc<Hooks>,
        metrics: Arc<Metrics>,
        health: Health,
    ) -> Result<Self, ListenError> {
        let bind = |error| ListenError::Bind { address: settings.listen, error };
        let listener = TcpListener::bind(settings.listen).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let refusals = AbortOnDropHandle::new(tokio::spawn({
            let hooks = Arc::clone(&hooks);
            async move { hooks.keep_refusals().await }
        }));
        let app = router(Arc::clone(&hooks), metrics, health).into_make_service();
        let handle = Handle::new();
        let mut kept = None;
        let connections = Connections::new(MOST);
        let task = match &settings.tls {
            None => {
                let server = axum_server::from_tcp(listener).map_err(bind)?.handle(handle.clone());
                tokio::spawn(bounded(server.acceptor(connections)).serve(app))
            }
            Some(files) => {
                let tls = |error| ListenError::Tls { cert_file: files.cert_file.display().to_string(), error };
                let config = RustlsConfig::from_pem_file(&files.cert_file, &files.key_file).await.map_err(tls)?;
                offer_http1_only(&config);
                kept = Some((config.clone(), files.clone()));
                let server = axum_server::from_tcp_rustls(listener, config).map_err(bind)?.handle(handle.clone());
                // The connection limit applies before the TLS handshake, because the client decides how long that
                // takes.
                let server = server.map(|tls| tls.acceptor(connections));
                tokio::spawn(bounded(server).serve(app))
            }
        };
        Ok(Self { address, handle, task: Some(task), tls: kept, hooks, refusals })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting connections, and waits up to `timeout` for requests to end.
    pub async fn shutdown(self, timeout: Duration) {
        self.handle.graceful_shutdown(Some(timeout));
        if let Some(task) = self.task {
            let _ = task.await;
        }
        self.refusals.abort();
        self.hooks.store_refusals(true).await;
    }

    /// Waits until the server ends unexpectedly, and returns how.
    pub async fn died(&mut self) -> String {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let ended = task.await;
        self.task = None;
        match ended {
            Ok(Ok(())) => "the listener ended".to_owned(),
            Ok(Err(error)) => format!("the listener ended: {error}"),
            Err(_) => "the listener panicked".to_owned(),
        }
    }

    /// Reloads certificate and key from these files, or from the current ones, for new connections. Returns whether the
    /// server uses TLS. If they cannot be used, the current ones stay.
    pub async fn reload_tls(&mut self, files: Option<TlsFiles>) -> Result<bool, ListenError> {
        let Some((config, current)) = &mut self.tls else { return Ok(false) };
        let files = files.unwrap_or_else(|| current.clone());
        config
            .reload_from_pem_file(&files.cert_file, &files.key_file)
            .await
            .map_err(|error| ListenError::Tls { cert_file: files.cert_file.display().to_string(), error })?;
        offer_http1_only(config);
        *current = files;
        Ok(true)
    }
}

/// Offers HTTP/1.1 only in the TLS handshake, because the server speaks nothing else, see [`bounded`].
fn offer_http1_only(config: &RustlsConfig) {
    let mut speaks = config.get_inner().as_ref().clone();
    speaks.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.reload_from_config(Arc::new(speaks));
}

/// Limits the buffers of a connection. HTTP/1.1 only: HTTP/2 buffers bodies before a handler reads them.
fn bounded<A: axum_server::Address, B>(server: axum_server::Server<A, B>) -> axum_server::Server<A, B> {
    let mut server = server.http1_only();
    server.http_builder().http1().max_buf_size(BUFFER).max_headers(HEADERS);
    server
}

/// Returns all routes.
fn router(hooks: Arc<Hooks>, metrics: Arc<Metrics>, health: Health) -> Router {
    Router::new()
        .route("/hooks/{connector}", post(hooks::post))
        .with_state(hooks)
        .route("/healthz", get(monitoring::healthz))
        .route("/readyz", get(monitoring::readyz))
        .with_state(health.clone())
        .route("/metrics", get(monitoring::metrics))
        .with_state((metrics, health))
        .layer(TimeoutLayer::with_status_code(axum::http::StatusCode::REQUEST_TIMEOUT, REQUEST))
        .layer(CatchPanicLayer::new())
}
