//! Ctrl-C: once to stop cleanly, twice to stop at once.

use tokio_util::sync::CancellationToken;

use super::out::Out;

/// Ended with the first Ctrl-C.
pub(super) fn on_ctrl_c(out: &Out) -> CancellationToken {
    let token = CancellationToken::new();
    let (ended, out) = (token.clone(), out.clone());
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        ended.cancel();
        out.error(
            "Stopping after what is under way. Once more to stop at once; what is cut off then is settled by looking.",
        );
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    token
}
