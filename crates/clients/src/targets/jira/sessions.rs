//! Sessions of deactivated accounts.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::JiraTarget;
use crate::targets::{
    TargetError,
    rest::{Ask, segment},
};

impl JiraTarget {
    /// Ends the open sessions of an account on all nodes.
    ///
    /// # Source
    /// "Invalidating user sessions in Jira Data Center", Jira knowledge base: since Jira 9.11. Earlier versions answer
    /// 404, as does a server without this login.
    pub(super) async fn end_sessions_of(&self, login: &str, deadline: Timestamp) -> Result<(), TargetError> {
        let what = format!("ending the sessions of {login}");
        let path = format!("/user/session/{}", segment(login));
        let ask = Ask::new(Method::DELETE, path, &what).login(login).deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }
}
