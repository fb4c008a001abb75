//! Requests that the hook refused, for `status` and `check`.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    out::{Out, State},
    words::count,
};
use crate::{
    config::{Config, ConnectorConfig, Secret},
    model::{ConnectorName, RefusalReason, Refusals},
    store::Store,
};

/// Maximum age of the refusals shown.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Requests that were refused for one reason, prepared for output.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    refusals: Refusals,
    /// Whether the connector has accepted no event since the last refusal.
    problem: bool,
    sentence: String,
}

impl Shown {
    /// Returns the connector; `None`: the name in the address is no connector.
    pub fn connector(&self) -> Option<&ConnectorName> {
        self.refusals.connector.as_ref()
    }

    pub fn state(&self) -> State {
        if self.problem { State::No } else { State::Note }
    }

    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

/// Returns the refusals of the last day: of one or all configured connectors, and those that name no connector.
pub(super) async fn recent(
    store: &dyn Store,
    config: &Config,
    only: Option<&ConnectorName>,
    out: &Out,
) -> Result<Vec<Shown>, Failure> {
    let mut shown = Vec::new();
    for refusals in store.refusals().await? {
        let name = refusals.connector.as_ref();
        let connector = config.connectors.iter().find(|one| Some(&one.name) == name);
        let is_meant = only.is_none_or(|only| Some(only) == name) && (name.is_none() || connector.is_some());
        if !is_meant || out.now.duration_since(refusals.last) > SHOWN_FOR {
            continue;
        }
        let accepted = match name {
            Some(name) => store.event_counts(name).await?.last,
            None => None,
        };
        shown.push(show(refusals, connector, config, accepted, out));
    }
    Ok(shown)
}

/// Prints the refusals, and returns their exit code.
pub(super) fn print(out: &Out, shown: &[Shown]) -> Exit {
    for one in shown.iter().filter(|one| one.problem || !out.quiet) {
        let place = one.connector().map_or_else(|| "/hooks".to_owned(), |name| format!("/hooks/{name}"));
        out.prose(6, format!("{}  {}    {}", out.state(one.state()), out.strong(&place), one.sentence));
    }
    exit(shown)
}

/// Returns the exit code of the refusals.
pub(super) fn exit(shown: &[Shown]) -> Exit {
    if shown.iter().any(|one| one.problem) { Exit::Problems } else { Exit::Done }
}

fn show(
    refusals: Refusals,
    connector: Option<&ConnectorConfig>,
    config: &Config,
    accepted: Option<Timestamp>,
    out: &Out,
) -> Shown {
    let since_then = accepted.filter(|at| *at > refusals.last);
    // Any sender can post to unknown names, so those refusals are no problem.
    let problem = connector.is_some() && since_then.is_none();
    let after =
        since_then.map(|at| format!(" An event was accepted after that, {}.", out.when(at))).unwrap_or_default();
    let sentence = format!(
        "Refused: {}, {} since {}, last {}. {}{after}",
        refusals.reason,
        count(refusals.count, "request", "requests"),
        out.exact(refusals.since),
        out.when(refusals.last),
        advice(refusals.reason, connector, config),
    );
    Shown { refusals, problem, sentence }
}

/// Returns the likely cause, and what to do.
fn advice(reason: RefusalReason, connector: Option<&ConnectorConfig>, config: &Config) -> String {
    let place = |secret: Option<&Secret>, key: &str| secret.map_or_else(|| key.to_owned(), Secret::describe);
    let hook = place(connector.and_then(|one| one.hook.secret.as_ref()), "hook_secret_file");
    let p2 = place(connector.and_then(|one| one.hook.p2.as_ref()), "p2_secret_file");
    match reason {
        RefusalReason::UnknownConnector => {
            let names: Vec<&str> = config.connectors.iter().map(|one| one.name.as_str()).collect();
            format!("The address does not end with a connector's name. Correct it in Keycloak's listener: {}.", names.join(", "))
        }
        RefusalReason::Unsigned => {
            "The requests carry no signature. Another program sends them, or a proxy removes the webhook- headers.".to_owned()
        }
        RefusalReason::Malformed => {
            "The headers are no signature of Standard Webhooks or p2-inc. Another program sends them, or a proxy changes them."
                .to_owned()
        }
        RefusalReason::TooOld | RefusalReason::TooNew => {
            "The clocks of Keycloak and this machine differ, or old requests are sent again. Synchronize both clocks \
             with NTP."
                .to_owned()
        }
        RefusalReason::NoSecret => {
            "The connector has no hook secret that can be read. Add hook_secret_file, or see: usersync config check.".to_owned()
        }
        RefusalReason::WrongSecret => format!(
            "The secret in Keycloak's listener and that in {hook} differ. Set both to the same secret, then: \
             usersync keycloak test-event."
        ),
        RefusalReason::WrongP2Secret => {
            format!("The secret of the p2-inc webhook and that in {p2} differ. Set both to the same secret.")
        }
        RefusalReason::P2NotAccepted => {
            "The requests are signed in the p2-inc form, which this connector does not accept. Set accept_p2 = true and p2_secret_file, or use usersync's own listener."
                .to_owned()
        }
        RefusalReason::TooLarge => "Send fewer events at once, or raise body_limit in [server].".to_owned(),
        RefusalReason::TooSlow => {
            "The body did not arrive whole within 5 s. Check the network and the proxies between Keycloak and usersync."
                .to_owned()
        }
        RefusalReason::MediaType => "Send the header Content-Type: application/json.".to_owned(),
        RefusalReason::NotJson | RefusalReason::NotAnEvent => {
            "The signature is right, but the body is no Keycloak event. Another listener uses this secret.".to_owned()
        }
        RefusalReason::TooMany => "Send at most 1000 events in a request.".to_owned(),
    }
}
