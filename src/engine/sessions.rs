//! Ends the sessions of an account after each deactivation.

use jiff::{SignedDuration, Timestamp};

use super::case::Case;
use crate::{
    backoff,
    model::{ErrorClass, Operation},
    targets::{TargetError, TargetErrorKind},
    telemetry::logs::Personal,
};

/// Maximum number of calls while no answer is received.
const ATTEMPTS: usize = 3;
/// Key under which a refusal is stored for the user.
const KEY: &str = "end_sessions";

impl Case<'_> {
    /// Ends the sessions of an account after its deactivation; ignores other operations. A refusal is reported, and the
    /// deactivation stands.
    pub async fn end_sessions(&mut self, operation: &Operation) {
        let Operation::DeactivateUser { name, .. } = operation else { return };
        let deadline = self.engine.clock.now() + self.engine.times.call;
        if let Err(error) = self.try_end_sessions(name, deadline).await {
            let text = format!(
                "{name} is deactivated at {}, but its sessions were not ended and may continue. {}",
                self.port.name, error.text
            );
            tracing::warn!(
                pair = %self.claim.pair, subject = %self.claim.subject, class = error.class().as_str(),
                detail = %Personal(&text), "sessions were not ended"
            );
            self.worked.findings.unsupported.push(text.clone());
            self.keep_unsupported(KEY.to_owned(), text);
        }
    }

    /// Ends the sessions, and retries after a lost answer: the call is idempotent.
    async fn try_end_sessions(&self, name: &str, deadline: Timestamp) -> Result<(), TargetError> {
        let mut delays = backoff::within_call(ATTEMPTS);
        loop {
            let error = match self.port.target.end_sessions(name, deadline).await {
                Err(error) if is_passing(error.kind) => error,
                ended => return ended,
            };
            let Some(delay) = delays.next() else { return Err(error) };
            self.engine.clock.sleep(SignedDuration::try_from(delay).unwrap_or_default()).await;
        }
    }
}

fn is_passing(kind: TargetErrorKind) -> bool {
    matches!(
        kind,
        TargetErrorKind::Unanswered
            | TargetErrorKind::NotDone(ErrorClass::Transient | ErrorClass::Throttled | ErrorClass::Maintenance)
    )
}
