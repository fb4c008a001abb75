//! Anonymizes accounts: Jira changes the login, the name and the address of a deactivated account in a task of its own.
//! The account stays, but counts as gone.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use super::{
    JiraTarget,
    wire::{Anonymization, AnonymizationStart, User},
};
use crate::{
    model::ErrorClass,
    targets::{
        AccountRef, Applied, TargetError, WriteResult,
        rest::{Ask, not_done, unanswered, unsupported},
    },
};

/// Domain of the addresses of anonymized accounts.
const ANONYMOUS: &str = "@jira.invalid";
/// Beginning of the keys that Jira makes; an anonymized account has its key in lower case as its login.
const MADE_KEY: &str = "JIRAUSER";
/// Delays between two reads of the progress, in milliseconds; the last one is repeated.
const DELAYS: [u64; 4] = [100, 300, 1_000, 3_000];

impl User {
    /// Whether the account is deleted or anonymized.
    ///
    /// # Source
    /// "Anonymizing users", Jira administration: since Jira 8.7. Address and login as read by `anonymize_jira_users` from
    /// Jira 8.7 to 9.6.
    pub(super) fn is_gone(&self) -> bool {
        let made = self.key.as_deref().filter(|key| key.starts_with(MADE_KEY)).map(str::to_lowercase);
        let anonymous = self.email_address.as_deref().is_some_and(|email| email.ends_with(ANONYMOUS))
            || (made.is_some() && made == self.name.as_deref().map(str::to_lowercase));
        self.deleted == Some(true) || (anonymous && self.active == Some(false))
    }
}

impl JiraTarget {
    /// Anonymizes an account, and waits until Jira has done it.
    pub(super) async fn anonymize(&self, account: AccountRef<'_>, deadline: Timestamp) -> WriteResult {
        let what = format!("anonymizing {}", account.name);
        let new_owner = self.new_owner(&what, deadline).await?;
        let body = AnonymizationStart { user_key: account.id.as_str(), new_owner_key: &new_owner };
        let ask = Ask::new(Method::POST, "/user/anonymization", &what)
            .login(account.name)
            .deadline(Some(deadline))
            .json(&body)?;
        let answer = self.rest.ask(&ask).await?;
        let said = || self.rest.said(&answer, Some(account.name)).quoted();
        match answer.status {
            status if status.is_success() => {
                let started: Anonymization = self.rest.parse(&ask, &answer)?;
                self.wait_for_anonymization(account, &what, started, deadline).await
            }
            // Jira anonymizes one account at a time.
            StatusCode::CONFLICT => {
                let text = format!("{what}: Jira is anonymizing another account. usersync retries it.");
                Err(not_done(ErrorClass::Transient, text))
            }
            StatusCode::NOT_FOUND if self.account_by_key(account.id, Some(deadline)).await?.is_none() => {
                Ok(Applied::Done)
            }
            StatusCode::BAD_REQUEST => {
                let refusal: Anonymization = serde_json::from_slice(&answer.body).unwrap_or_default();
                Err(refused(&what, &refusal.failure().unwrap_or_else(said)))
            }
            _ => Err(self.rest.unexpected(&ask, &answer)),
        }
    }

    /// Returns the key of the account that takes over what the account leads: the configured lead, or usersync's own
    /// account.
    async fn new_owner(&self, what: &str, deadline: Timestamp) -> Result<String, TargetError> {
        let Some(new_lead) = &self.settings.new_lead else {
            return Ok(self.protection(Some(deadline)).await?.own_id.clone());
        };
        match self.account_by_login(new_lead, Some(deadline)).await? {
            Some(found) if found.active => Ok(found.id.to_string()),
            _ => {
                let text = format!(
                    "{what}: new_lead of the target, {new_lead}, does not exist in Jira or is inactive. Set another \
                     new_lead, restart usersync, then: usersync dead replay --all"
                );
                Err(not_done(ErrorClass::Permanent, text))
            }
        }
    }

    /// Reads the progress until Jira has ended the task.
    async fn wait_for_anonymization(
        &self,
        account: AccountRef<'_>,
        what: &str,
        started: Anonymization,
        deadline: Timestamp,
    ) -> WriteResult {
        let mut delays = DELAYS.into_iter();
        let mut delay = Duration::ZERO;
        let task = started.task().map(str::to_owned);
        let mut now = started;
        while now.status.as_deref() == Some("IN_PROGRESS") {
            delay = delays.next().map_or(delay, Duration::from_millis);
            let clock = &self.settings.http.clock;
            if clock.now() + delay >= deadline {
                return Err(unanswered(what, "Jira has not ended it in time."));
            }
            clock.sleep_real(delay).await;
            // Without its number, Jira reports the last task, which may be that of another account.
            let Some(task) = &task else { return Err(unanswered(what, "Jira does not name the task.")) };
            let ask = Ask::get("/user/anonymization/progress", what)
                .query("taskId", task)
                .login(account.name)
                .deadline(Some(deadline));
            // The anonymization goes on, whatever happens to this read.
            now = self.rest.read(&ask).await.map_err(|error| unanswered(what, &error.text))?;
        }
        match (now.status.as_deref(), now.failure()) {
            (Some("COMPLETED"), None) => Ok(Applied::Done),
            (Some("COMPLETED"), Some(why)) => Err(refused(what, &format!(" a part of it{why}"))),
            (Some("VALIDATION_FAILED"), why) => Err(refused(what, &why.unwrap_or_default())),
            (status, _) => {
                let status = status.unwrap_or("nothing");
                Err(unanswered(what, &format!("Jira reports {status} as its status.")))
            }
        }
    }
}

/// Creates the error for an anonymization that Jira refuses; `why` continues the sentence.
fn refused(what: &str, why: &str) -> TargetError {
    unsupported(format!(
        "{what}: Jira refuses{why}. Anonymize the account manually there (User management > Anonymization)."
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_anonymized_account_counts_as_gone() {
        for (user, gone) in [
            (
                json!({"key": "JIRAUSER1", "name": "jirauser1", "emailAddress": "user-1a@jira.invalid", "active": false}),
                true,
            ),
            (json!({"key": "ada", "name": "jirauser1", "emailAddress": "user-1a@jira.invalid", "active": false}), true),
            (json!({"key": "JIRAUSER1", "name": "jirauser1", "active": false}), true),
            (json!({"key": "JIRAUSER1", "name": "ada", "active": false, "deleted": true}), true),
            (
                json!({"key": "JIRAUSER1", "name": "jirauser1", "emailAddress": "user-1a@jira.invalid", "active": true}),
                false,
            ),
            (json!({"key": "JIRAUSER1", "name": "ada", "emailAddress": "ada@example.org", "active": false}), false),
            (json!({"key": "ada", "name": "ada", "active": false}), false),
            (json!({"active": false}), false),
        ] {
            let read: User = serde_json::from_value(user.clone()).expect("a user");
            assert_eq!(read.is_gone(), gone, "{user}");
        }
    }

    #[test]
    fn the_reasons_of_failed_steps_are_named() {
        let read = |errors| serde_json::from_value::<Anonymization>(json!({ "errors": errors })).expect("an answer");
        assert_eq!(read(json!({})).failure(), None);
        let failed = json!({"USER_DISABLE": {"errorMessages": ["It is read-only."], "errors": {}}});
        assert_eq!(read(failed).failure().as_deref(), Some(", saying \"It is read-only\""));
        assert_eq!(read(json!({"USER_DISABLE": {}})).failure().as_deref(), Some(""));
        let started = Anonymization { progress_url: Some("/x?taskId=12".to_owned()), ..Anonymization::default() };
        assert_eq!(started.task(), Some("12"));
    }
}
