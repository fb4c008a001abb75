//! Confluence's long-running tasks, which some writes start.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::ConfluenceTarget;
use crate::targets::{
    TargetError,
    http::tidy,
    rest::{
        Ask,
        lenient::{Entries, maybe},
        segment, unanswered,
    },
};

/// First delay between two polls of a task. Each delay is twice the previous one, up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A long-running task.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LongTask {
    #[serde(default, deserialize_with = "maybe")]
    percentage_complete: Option<u32>,
    #[serde(default, deserialize_with = "maybe")]
    successful: Option<bool>,
    #[serde(default)]
    messages: Entries<TaskMessage>,
}

/// A message of a task.
#[derive(Debug, Default, Deserialize)]
struct TaskMessage {
    #[serde(default, deserialize_with = "maybe")]
    translation: Option<String>,
}

impl ConfluenceTarget {
    /// Waits for the end of a task, if its id is known. Returns why the task failed, if it did.
    pub(super) async fn await_task(
        &self,
        task: Option<&str>,
        what: &str,
        deadline: Timestamp,
    ) -> Result<Option<String>, TargetError> {
        let Some(id) = task else { return Ok(None) };
        let mut wait = FIRST_WAIT;
        loop {
            let ask = Ask::get(format!("/longtask/{}", segment(id)), what).deadline(Some(deadline));
            // A task that Confluence no longer knows has ended; the account shows the result.
            let Some(task) = self.rest.find::<LongTask>(&ask).await? else { return Ok(None) };
            if task.percentage_complete.is_some_and(|percent| percent >= 100) {
                let said = task.messages.into_iter().filter_map(|message| message.translation);
                let said = tidy(&said.collect::<Vec<_>>().join(" "), None);
                let quoted = if said.is_empty() { said } else { format!(", saying \"{said}\"") };
                return Ok((task.successful == Some(false)).then_some(quoted));
            }
            let until = Timestamp::now() + SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
            if until >= deadline {
                return Err(unanswered(what, "Confluence has not finished the task."));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
