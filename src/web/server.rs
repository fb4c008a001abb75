//! The HTTP server: bound before anything else, so that no sender finds a closed port.

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
    watch,
};
use crate::telemetry::{Health, Metrics};

/// The longest that a request may take, its body included.
const REQUEST: Duration = Duration::from_secs(30);

/// The most bytes of a connection that nobody has read yet; a request's headers must fit in.
const BUFFER: usize = 32 * 1024;
/// The most headers of a request.
const HEADERS: usize = 64;

/// How to listen.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate and key, if it speaks TLS itself.
    pub tls: Option<TlsFiles>,
}

/// Certificate and key, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Why it does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error(
        "{address} cannot be listened on: {error}. Is another usersync running? Else choose another: [server] listen"
    )]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("the certificate {cert_file} or its key cannot be used: {error}")]
    Tls {
        /// The certificate's file.
        cert_file: String,
        /// What is wrong.
        error: std::io::Error,
    },
}

/// The server while it runs.
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    /// `None` once it has ended.
    task: Option<JoinHandle<std::io::Result<()>>>,
    tls: Option<(RustlsConfig, TlsFiles)>,
    hooks: Arc<Hooks>,
    refusals: AbortOnDropHandle<()>,
}

impl Server {
    /// Binds and serves.
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
                // Bounded before the handshake, which takes as long as the other side likes.
                let server = server.map(|tls| tls.acceptor(connections));
                tokio::spawn(bounded(server).serve(app))
            }
        };
        Ok(Self { address, handle, task: Some(task), tls: kept, hooks, refusals })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new connections, lets requests end for so long.
    pub async fn shutdown(self, patience: Duration) {
        self.handle.graceful_shutdown(Some(patience));
        if let Some(task) = self.task {
            let _ = task.await;
        }
        self.refusals.abort();
        self.hooks.store_refusals(true).await;
    }

    /// Waits until it has ended although it was to go on, and tells how.
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

    /// Reads certificate and key from these files, or from those that it has, for connections from now on. Returns whether
    /// it speaks TLS at all; where they cannot be used, those that it has stay.
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

/// Offers HTTP/1.1 alone, as it is the only one that is spoken, see [`bounded`].
fn offer_http1_only(config: &RustlsConfig) {
    let mut speaks = config.get_inner().as_ref().clone();
    speaks.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.reload_from_config(Arc::new(speaks));
}

/// Bounds what a connection may make the server keep. HTTP/1.1 only: HTTP/2 takes bodies in before anybody reads them.
fn bounded<A: axum_server::Address, B>(server: axum_server::Server<A, B>) -> axum_server::Server<A, B> {
    let mut server = server.http1_only();
    server.http_builder().http1().max_buf_size(BUFFER).max_headers(HEADERS);
    server
}

/// All routes.
fn router(hooks: Arc<Hooks>, metrics: Arc<Metrics>, health: Health) -> Router {
    Router::new()
        .route("/hooks/{connector}", post(hooks::post))
        .with_state(hooks)
        .route("/healthz", get(watch::healthz))
        .route("/readyz", get(watch::readyz))
        .with_state(health)
        .route("/metrics", get(watch::metrics))
        .with_state(metrics)
        .layer(TimeoutLayer::with_status_code(axum::http::StatusCode::REQUEST_TIMEOUT, REQUEST))
        .layer(CatchPanicLayer::new())
}
