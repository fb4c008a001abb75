//! Confluence's JSON-RPC: deprecated, often disabled, and the only way to change names and e-mail addresses before 9.4.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ConfluenceTarget;
use crate::{
    model::ErrorClass,
    targets::{
        TargetError,
        http::{Answer, tidy},
        rest::{Ask, not_done},
    },
};

/// Message for a change that neither REST nor JSON-RPC supports.
pub(super) const OFF: &str = "is not supported by this Confluence's REST API (names and e-mail addresses: 9.4 or \
                              later), and its remote API is off. Turn it on (General configuration > Remote API \
                              (XML-RPC & SOAP), with secure administrator sessions off), or update Confluence, or \
                              change it manually";

/// Outcome of an RPC.
#[derive(Debug)]
pub(super) enum RpcOutcome {
    /// The result.
    Result(Value),
    /// Refused with this message.
    Refused(String),
    /// JSON-RPC does not exist here, or it is off.
    Off,
}

/// The response to an RPC.
#[derive(Debug, Deserialize)]
struct Envelope {
    jsonrpc: Option<String>,
    result: Option<Value>,
    error: Option<Fault>,
}

/// The reason of a refused RPC.
#[derive(Debug, Deserialize)]
struct Fault {
    message: Option<String>,
}

/// A user as JSON-RPC reads and writes it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RemoteUser {
    pub name: String,
    pub fullname: String,
    pub email: String,
}

impl Envelope {
    fn read(answer: &Answer) -> Option<Self> {
        serde_json::from_slice::<Self>(&answer.body)
            .ok()
            .filter(|it| it.jsonrpc.is_some() && (it.result.is_some() || it.error.is_some()))
    }
}

fn is_rpc(answer: &Answer) -> bool {
    Envelope::read(answer).is_some()
}

/// Whether an answer is an RPC response, or a 500 of a disabled remote API, which may answer with any status. For reads
/// only, where accepting it is harmless.
fn is_rpc_or_off(answer: &Answer) -> bool {
    is_rpc(answer) || answer.status == StatusCode::INTERNAL_SERVER_ERROR
}

impl ConfluenceTarget {
    /// Calls a method. The HTTP status of refusals is not defined, so the body is checked first.
    async fn rpc(
        &self,
        method: &str,
        parameters: &[Value],
        what: &str,
        reads: bool,
        deadline: Option<Timestamp>,
    ) -> Result<RpcOutcome, TargetError> {
        let body = json!({ "jsonrpc": "2.0", "method": method, "params": parameters, "id": 1 });
        let ask = Ask::new(Method::POST, "/confluenceservice-v2", what)
            .below("/rpc/json-rpc")
            .deadline(deadline)
            .json(&body)?;
        let ask = if reads { ask.only_reads().refuses_by(is_rpc_or_off) } else { ask.refuses_by(is_rpc) };
        let answer = match self.rest.ask(&ask).await {
            Err(error) if reads && error.class() == ErrorClass::Unconfirmed => return Ok(RpcOutcome::Off),
            other => other?,
        };
        match Envelope::read(&answer) {
            Some(Envelope { error: Some(fault), .. }) => {
                Ok(RpcOutcome::Refused(tidy(fault.message.as_deref().unwrap_or_default(), None)))
            }
            Some(Envelope { result, .. }) => Ok(RpcOutcome::Result(result.unwrap_or_default())),
            None if reads => Ok(RpcOutcome::Off),
            None => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Whether a user may sign in; `None` if JSON-RPC is off or does not report it.
    pub(super) async fn active_by_rpc(
        &self,
        login: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<bool>, TargetError> {
        let what = format!("reading whether {login} is active");
        let reported = self.rpc("isActiveUser", &[json!(login)], &what, true, deadline).await?;
        Ok(if let RpcOutcome::Result(value) = reported { value.as_bool() } else { None })
    }

    /// Returns a user's full name and e-mail address; `None` if JSON-RPC is off or does not report them.
    pub(super) async fn user_by_rpc(
        &self,
        login: &str,
        deadline: Option<Timestamp>,
    ) -> Result<Option<RemoteUser>, TargetError> {
        let what = format!("reading {login} over JSON-RPC");
        let reported = self.rpc("getUser", &[json!(login)], &what, true, deadline).await?;
        Ok(if let RpcOutcome::Result(value) = reported { serde_json::from_value(value).ok() } else { None })
    }

    /// Writes a user's full name and e-mail address; JSON-RPC requires both.
    pub(super) async fn edit_by_rpc(
        &self,
        user: &RemoteUser,
        what: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let reported = self.rpc("editUser", &[json!(user)], what, false, Some(deadline)).await?;
        done(reported, what)
    }

    /// Activates or deactivates a user.
    pub(super) async fn set_active_by_rpc(
        &self,
        login: &str,
        active: bool,
        what: &str,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let method = if active { "reactivateUser" } else { "deactivateUser" };
        let reported = self.rpc(method, &[json!(login)], what, false, Some(deadline)).await?;
        done(reported, what)
    }
}

/// Converts the outcome of a write over JSON-RPC.
fn done(reported: RpcOutcome, what: &str) -> Result<(), TargetError> {
    let why = match reported {
        RpcOutcome::Result(Value::Bool(false)) => "no reason reported".to_owned(),
        RpcOutcome::Result(_) => return Ok(()),
        RpcOutcome::Refused(why) => format!("it reports \"{}\"", why.trim_end_matches('.')),
        RpcOutcome::Off => "it is off".to_owned(),
    };
    Err(not_done(
        ErrorClass::Permanent,
        format!(
            "{what}: Confluence's remote API rejected the change ({why}). Check that secure administrator sessions \
             are off and that the directory is writable, then: usersync dead replay --all"
        ),
    ))
}
