//! SIGINT (Ctrl-C) and SIGTERM: the first signal stops a command cleanly, the second at once.

use std::{
    future::Future,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    exit::{Exit, Failure, Outcome},
    out::Out,
};

/// Whether the command itself finishes its work in progress.
static ENDS_ITSELF: AtomicBool = AtomicBool::new(false);

/// SIGINT and SIGTERM, received as soon as this is created.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal, and returns its exit code.
    async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// Stop request for commands that finish their work in progress themselves.
#[derive(Clone)]
pub(super) struct Stop {
    /// Cancelled with the first signal.
    pub token: CancellationToken,
    by: Arc<OnceLock<Exit>>,
}

impl Stop {
    /// Returns the exit code of the signal received; `None`: no signal yet.
    pub fn by(&self) -> Option<Exit> {
        self.by.get().copied()
    }
}

/// Returns the name of the signal that an exit code stands for.
pub(super) fn signal_name(exit: Exit) -> &'static str {
    if exit == Exit::Interrupted { "SIGINT" } else { "SIGTERM" }
}

/// Lets the command finish its work in progress itself from now on. Call it once.
pub(super) fn on_signal(out: &Out) -> Stop {
    let stop = Stop { token: CancellationToken::new(), by: Arc::default() };
    let Ok(mut signals) = Signals::listen() else { return stop };
    ENDS_ITSELF.store(true, Ordering::Relaxed);
    let (ended, out) = (stop.clone(), out.clone());
    tokio::spawn(async move {
        let _ = ended.by.set(signals.next().await);
        ended.token.cancel();
        out.error(
            "Stopping after the operation in progress. Send the signal again to stop at once; usersync then checks \
             whether interrupted writes took effect.",
        );
        let exit = signals.next().await;
        if out.json {
            let text = format!(
                "Stopped by {} at once. usersync checks whether interrupted writes took effect.",
                signal_name(exit)
            );
            out.failure(&Failure::new(exit, text));
        }
        std::process::exit(exit as i32);
    });
    stop
}

/// Runs a command, and drops it at the first signal unless it has called [`on_signal`] by then. What the command wrote
/// stays written; what it did not begin is not done.
pub(super) async fn unless_stopped(command: impl Future<Output = Outcome>) -> Outcome {
    let mut signals =
        Signals::listen().map_err(|error| Failure::problem(format!("cannot listen for signals: {error}")))?;
    let mut command = std::pin::pin!(command);
    loop {
        let exit = tokio::select! {
            ended = &mut command => return ended,
            exit = signals.next() => exit,
        };
        if !ENDS_ITSELF.load(Ordering::Relaxed) {
            let name = signal_name(exit);
            let text = format!("Stopped by {name} before the end. The same command can be run again.");
            return Err(Failure::new(exit, text));
        }
    }
}
