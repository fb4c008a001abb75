//! SIGINT (Ctrl-C) and SIGTERM: the first stops a command cleanly, the second at once.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{Exit, Failure, Outcome},
    out::Out,
};

/// Whether the command ends what is under way itself.
static ENDS_ITSELF: AtomicBool = AtomicBool::new(false);

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
    ENDS_ITSELF.store(true, Ordering::Relaxed);
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

/// A command that is dropped at the first signal, wherever it waits, unless it has asked for [`on_signal`] by then. What it
/// wrote stands, what it did not begin is not done.
pub(super) async fn unless_stopped(command: impl Future<Output = Outcome>) -> Outcome {
    let mut signals =
        Signals::listen().map_err(|error| Failure::problem(format!("signals cannot be heard: {error}")))?;
    let mut command = std::pin::pin!(command);
    loop {
        let exit = tokio::select! {
            ended = &mut command => return ended,
            exit = signals.next() => exit,
        };
        if !ENDS_ITSELF.load(Ordering::Relaxed) {
            let name = if exit == Exit::Interrupted { "SIGINT" } else { "SIGTERM" };
            let text = format!("Stopped by {name} before the end. The same command can be given again.");
            return Err(Failure::new(exit, text));
        }
    }
}
