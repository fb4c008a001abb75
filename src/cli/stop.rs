//! SIGINT (Ctrl-C) and SIGTERM: the first stops a command cleanly, the second at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{Exit, Failure, Outcome},
    out::Out,
};

/// Both signals; heard from the moment on at which this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The exit code of the next one.
    async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// Ended with the first signal, for commands that end what is under way.
pub(super) fn on_signal(out: &Out) -> CancellationToken {
    let token = CancellationToken::new();
    let Ok(mut signals) = Signals::listen() else { return token };
    let (ended, out) = (token.clone(), out.clone());
    tokio::spawn(async move {
        signals.next().await;
        ended.cancel();
        out.error(
            "Stopping after what is under way. Once more to stop at once; what is cut off then is settled by looking.",
        );
        std::process::exit(signals.next().await as i32);
    });
    token
}

/// A command that can be dropped wherever it waits: what it wrote stands, what it did not begin is not done.
pub(super) async fn unless_stopped(command: impl Future<Output = Outcome>) -> Outcome {
    let mut signals =
        Signals::listen().map_err(|error| Failure::problem(format!("signals cannot be heard: {error}")))?;
    tokio::select! {
        ended = command => ended,
        exit = signals.next() => {
            let name = if exit == Exit::Interrupted { "SIGINT" } else { "SIGTERM" };
            Err(Failure::new(exit, format!("Stopped by {name} before the end. The same command can be given again.")))
        }
    }
}
