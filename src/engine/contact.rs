//! Results of the calls to both sides, for the breakers and for the reported conditions.

use super::{
    breaker::Breaker,
    error::WorkError,
    ports::{Connector, Engine, TargetPort},
};
use crate::{
    keycloak::SourceError,
    model::{About, Condition, ConditionCode, ErrorClass, Pair},
    store::{OrderEnd, StoreError},
    targets::{TargetError, TargetErrorKind},
    telemetry::Conditions,
};

/// One side with its breaker.
struct Side<'a> {
    about: About,
    breaker: &'a Breaker,
    /// Whether refused credentials are not sent again automatically.
    locked_out: bool,
}

impl<'a> Side<'a> {
    fn source(connector: &'a Connector) -> Self {
        Self { about: About::source(&connector.name), breaker: &connector.breaker, locked_out: false }
    }

    fn target(port: &'a TargetPort) -> Self {
        Self { about: About::target(&port.name), breaker: &port.breaker, locked_out: port.target.locked_out() }
    }
}

/// Returns the condition for a class of error that fails all work on a side.
fn code(class: ErrorClass) -> ConditionCode {
    match class {
        ErrorClass::Credentials => ConditionCode::CredentialsRefused,
        ErrorClass::Forbidden => ConditionCode::RightMissing,
        ErrorClass::Conflict => ConditionCode::OtherIdentity,
        ErrorClass::Transient
        | ErrorClass::Throttled
        | ErrorClass::Maintenance
        | ErrorClass::Unconfirmed
        | ErrorClass::Permanent
        | ErrorClass::Bug => ConditionCode::Unreachable,
    }
}

impl Engine {
    /// Returns the current conditions.
    pub fn conditions(&self) -> &Conditions {
        self.metrics.conditions()
    }

    /// Records that the source answered.
    pub(super) fn source_answered(&self, connector: &Connector) {
        if connector.breaker.succeeded() {
            self.conditions().clear_all(&About::source(&connector.name));
        }
    }

    /// Records that the target answered.
    pub(super) fn target_answered(&self, port: &TargetPort) {
        if port.breaker.succeeded() {
            self.conditions().clear_all(&About::target(&port.name));
        }
    }

    /// Ends all conditions of a side.
    fn well(&self, side: &Side<'_>) {
        side.breaker.succeeded();
        self.conditions().clear_all(&side.about);
    }

    /// Records that a side refuses all work, or has another identity than before.
    fn refused(&self, side: &Side<'_>, class: ErrorClass, text: &str) {
        let now = self.clock.now();
        let mut again_at = None;
        if class == ErrorClass::Credentials {
            side.breaker.refused(text, now, self.times.refused, &self.times.probes);
            again_at = side.breaker.next_probe().filter(|_| !side.locked_out);
        } else {
            side.breaker.stop(text, now, self.times.refused);
        }
        self.conditions().raise(&side.about, code(class), text, now, again_at);
    }

    /// Records that a side does not answer.
    fn failed(&self, side: &Side<'_>, text: &str) {
        let now = self.clock.now();
        if side.breaker.failed(text, now) {
            self.conditions().raise(&side.about, ConditionCode::Unreachable, text, now, None);
        }
    }

    /// Records the result of a task's call for the breakers of both sides. A side that limits calls does answer: its
    /// rate limiter delays the calls.
    pub(super) fn note_failure(&self, connector: &Connector, port: &TargetPort, error: &WorkError) {
        let source = Side::source(connector);
        match error {
            WorkError::Source(SourceError { class, text, .. }) => match class {
                ErrorClass::Credentials | ErrorClass::Forbidden => self.refused(&source, *class, text),
                ErrorClass::Transient => self.failed(&source, text),
                _ => {}
            },
            WorkError::Target(error) | WorkError::Unanswered { error, .. } => {
                self.note_target_failure(port, error);
            }
            _ => {}
        }
    }

    /// Records how a call at a target failed, for its breaker.
    pub(super) fn note_target_failure(&self, port: &TargetPort, error: &TargetError) {
        let (target, TargetError { kind, text, .. }) = (Side::target(port), error);
        match kind {
            TargetErrorKind::NotDone(class @ ErrorClass::Credentials) => self.refused(&target, *class, text),
            TargetErrorKind::Unanswered | TargetErrorKind::NotDone(ErrorClass::Transient | ErrorClass::Maintenance) => {
                self.failed(&target, text);
            }
            _ => {}
        }
    }

    /// Contacts a target and records the result. Refused credentials are sent again if that is due, or if an operator
    /// `ordered` it.
    pub(super) async fn try_target(&self, port: &TargetPort, ordered: bool) -> Result<(), WorkError> {
        let due = port.breaker.take_probe(self.clock.now(), &self.times.probes);
        if ordered || due && !port.target.locked_out() {
            port.target.forget_refusal();
        }
        let found = self.probe(port).await.map(drop);
        match &found {
            Ok(()) => self.well(&Side::target(port)),
            Err(error) => self.note_contact(&Side::target(port), error),
        }
        found
    }

    /// Contacts a source, as [`Engine::try_target`] does for a target.
    pub(super) async fn try_source(&self, connector: &Connector, ordered: bool) -> Result<(), WorkError> {
        if connector.breaker.take_probe(self.clock.now(), &self.times.probes) || ordered {
            connector.source.forget_refusal().await;
        }
        let contact = async {
            self.identify(connector).await?;
            // A listing would fail with a misconfigured federation, or delete the imported users that it reads.
            connector.source.user_count().await?;
            Ok::<(), WorkError>(())
        };
        let found = contact.await;
        match &found {
            Ok(()) => self.well(&Side::source(connector)),
            Err(error) => self.note_contact(&Side::source(connector), error),
        }
        found
    }

    /// Contacts the sides that operators ordered to be contacted, and records the results. Returns the number of sides.
    pub async fn carry_out_contacts(&self) -> Result<usize, StoreError> {
        let mut orders = self.store.contact_orders().await?;
        orders.retain(|order| order.ended.is_none());
        for order in &orders {
            let tried = match &order.about {
                About::Target { target } => match self.target(target) {
                    Ok(port) => self.try_target(port, true).await,
                    Err(error) => Err(error),
                },
                About::Source { connector } => match self.connector(connector) {
                    Ok(connector) => self.try_source(connector, true).await,
                    Err(error) => Err(error),
                },
                About::Store | About::Pair(_) => Err(WorkError::Unknown(format!("{} has no address", order.about))),
            };
            let end = match tried {
                Ok(()) => OrderEnd::Done,
                Err(error) => OrderEnd::Refused { why: error.to_string() },
            };
            self.store.end_contact(order, &end, self.clock.now()).await?;
        }
        Ok(orders.len())
    }

    fn note_contact(&self, side: &Side<'_>, error: &WorkError) {
        match error.class() {
            class @ (ErrorClass::Credentials | ErrorClass::Forbidden | ErrorClass::Conflict) => {
                self.refused(side, class, &error.to_string());
            }
            // It answers, if only this; a side with an open breaker has to answer a contact first.
            ErrorClass::Throttled if side.breaker.open().is_none() => {}
            _ => self.failed(side, &error.to_string()),
        }
    }

    /// Records how a run of a pair ended. If a side ended it, that is reported at once, whatever the state of the
    /// side's breaker.
    pub(super) fn note_run(&self, pair: &Pair, error: Option<&WorkError>) {
        let about = About::Pair(pair.clone());
        let Some(error) = error else {
            self.conditions().clear(&about, ConditionCode::RunFailed);
            if let (Ok(connector), Ok(port)) = (self.connector(&pair.connector), self.target(&pair.target)) {
                self.well(&Side::source(connector));
                self.well(&Side::target(port));
            }
            return;
        };
        let (now, text) = (self.clock.now(), error.to_string());
        self.conditions().raise(&about, ConditionCode::RunFailed, &text, now, None);
        let side = match error {
            WorkError::Source(error) => Some((About::source(&pair.connector), error.class)),
            WorkError::Target(error) | WorkError::Unanswered { error, .. } => {
                Some((About::target(&pair.target), error.class()))
            }
            _ => None,
        };
        // Refused credentials are recorded already, with the time when they are sent again.
        if let Some((side, class @ (ErrorClass::Transient | ErrorClass::Maintenance))) = side {
            self.conditions().raise(&side, code(class), &text, now, None);
        }
    }

    /// Loads the conditions that an earlier process left in the store. A side that had a problem gets no work until it
    /// was contacted, see [`Engine::try_again`].
    pub async fn recall(&self) -> Result<(), StoreError> {
        let pairs = self.pairs();
        let now = self.clock.now();
        let kept = self.store.conditions().await?;
        // The next call shows whether it accepts calls.
        let of_calls = [ConditionCode::RateLimited, ConditionCode::Unavailable];
        let holds =
            |one: &Condition| !of_calls.contains(&one.code) && pairs.iter().any(|pair| one.about.concerns(pair));
        let kept: Vec<Condition> = kept.into_iter().filter(holds).collect();
        for Condition { about, text, since, .. } in &kept {
            match about {
                About::Source { connector } => {
                    if let Ok(connector) = self.connector(connector) {
                        connector.breaker.recall(text, *since, now);
                    }
                }
                About::Target { target } => {
                    if let Ok(port) = self.target(target) {
                        port.breaker.recall(text, *since, now);
                    }
                }
                About::Store | About::Pair(_) => {}
            }
        }
        self.conditions().recall(kept);
        Ok(())
    }

    /// Contacts each side with an open breaker once. For commands that work without a server; a server does this by
    /// itself.
    pub async fn try_again(&self) {
        // The result of a contact is in the conditions.
        for port in self.targets().filter(|port| port.breaker.open().is_some()) {
            let _ = self.try_target(port, false).await;
        }
        for connector in self.connectors().filter(|connector| connector.breaker.open().is_some()) {
            let _ = self.try_source(connector, false).await;
        }
    }

    /// Writes the current conditions into the store, for commands and for the next process.
    pub async fn keep_conditions(&self) -> Result<(), StoreError> {
        let mut conditions = self.conditions().all();
        // A condition of the store itself cannot be stored.
        conditions.retain(|condition| condition.about != About::Store);
        self.store.keep_conditions(&conditions).await
    }
}
