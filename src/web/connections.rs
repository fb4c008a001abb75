//! Limits the number of the listener's connections. The oldest connection without a verified request is evicted for a
//! new one. So unsigned requests never keep out a sender that signs.

use std::{
    collections::{BTreeMap, HashSet},
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower_http::add_extension::AddExtension;

/// Maximum number of concurrent connections: half of a process's usual limit of file descriptors.
pub(super) const MOST: usize = 512;

/// The open connections; accepts new ones.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections without a verified request, oldest first, each with the token that closes it.
    unverified: BTreeMap<u64, CancellationToken>,
    verified: HashSet<u64>,
    next: u64,
}

impl Connections {
    /// Creates a limit of `most` concurrent connections.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, state: Mutex::default() }))
    }

    /// Admits a new connection; evicts an old one if necessary. `None`: all open connections have carried a verified
    /// request.
    fn admit(&self) -> Option<(Connection, CancellationToken)> {
        let mut state = self.0.state();
        if state.unverified.len() + state.verified.len() >= self.0.most {
            let (_, evicted) = state.unverified.pop_first()?;
            evicted.cancel();
        }
        let id = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        state.unverified.insert(id, evicted.clone());
        Some((Connection(Arc::new(Entry { id, shared: Arc::clone(&self.0) })), evicted))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// One connection, as its requests use it.
#[derive(Clone)]
pub(super) struct Connection(Arc<Entry>);

struct Entry {
    id: u64,
    shared: Arc<Shared>,
}

impl Connection {
    /// Marks the connection as verified, which protects it from eviction.
    pub fn verified(&self) {
        let mut state = self.0.shared.state();
        if state.unverified.remove(&self.0.id).is_some() {
            state.verified.insert(self.0.id);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.unverified.remove(&self.id);
        state.verified.remove(&self.id);
    }
}

impl<S> Accept<TcpStream, S> for Connections {
    type Stream = Evictable<TcpStream>;
    type Service = AddExtension<S, Connection>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Some((connection, evicted)) = self.admit() else {
            return ready(Err(io::Error::other("too many connections")));
        };
        let evicted = Box::pin(evicted.cancelled_owned());
        ready(Ok((Evictable { stream, evicted }, AddExtension::new(service, connection))))
    }
}

/// A stream that fails once its connection is evicted.
pub(super) struct Evictable<S> {
    stream: S,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S: Unpin> Evictable<S> {
    /// Returns the stream; an error if it is evicted.
    fn stream(&mut self, cx: &mut Context<'_>) -> io::Result<Pin<&mut S>> {
        match self.evicted.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Evictable<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Evictable<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream(cx)?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream(cx)?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_without_a_verified_request_makes_room() {
        let connections = Connections::new(2);
        let (signed, kept) = connections.admit().expect("the first");
        let (_silent, evicted) = connections.admit().expect("the second");
        signed.verified();
        let (new, new_evicted) = connections.admit().expect("the third");
        assert!(evicted.is_cancelled() && !kept.is_cancelled() && !new_evicted.is_cancelled());
        new.verified();
        assert!(connections.admit().is_none(), "both are in use by senders that sign");
        drop(signed);
        assert!(connections.admit().is_some());
    }

    #[test]
    fn one_that_was_evicted_is_not_counted_and_is_not_kept_by_a_late_verification() {
        let connections = Connections::new(1);
        let (first, evicted) = connections.admit().expect("the first");
        let (_second, second_evicted) = connections.admit().expect("the second");
        assert!(evicted.is_cancelled());
        first.verified();
        drop(first);
        assert!(connections.admit().is_some());
        assert!(second_evicted.is_cancelled());
    }
}
