//! The conditions that hold now: the single source for `/readyz`, the metrics, the log and the store.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use tokio::sync::watch;

use super::logs::Personal;
use crate::model::{About, Condition, ConditionCode};

type Held = BTreeMap<(About, ConditionCode), Condition>;

/// The list of conditions, shared by all that raise or report them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Conditions(Arc<watch::Sender<Held>>);

impl Default for Conditions {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Held::new())))
    }
}

impl Conditions {
    /// Raises a condition. `again_at` is the next retry, if known. A condition that already holds keeps its start time.
    pub fn raise(&self, about: &About, code: ConditionCode, text: &str, now: Timestamp, again_at: Option<Timestamp>) {
        self.0.send_if_modified(|held| {
            let key = (about.clone(), code);
            if let Some(condition) = held.get_mut(&key) {
                let other = condition.text != text || condition.again_at != again_at;
                text.clone_into(&mut condition.text);
                condition.again_at = again_at;
                return other;
            }
            let condition = Condition { about: about.clone(), code, text: text.to_owned(), since: now, again_at };
            tracing::warn!(condition = code.as_str(), detail = %Personal(text), "{}", condition.summary());
            held.insert(key, condition);
            true
        });
    }

    /// Clears one condition.
    pub fn clear(&self, about: &About, code: ConditionCode) {
        self.clear_if(|condition| condition.code == code && condition.about == *about);
    }

    /// Clears all conditions about this subject.
    pub fn clear_all(&self, about: &About) {
        self.clear_if(|condition| condition.about == *about);
    }

    fn clear_if(&self, over: impl Fn(&Condition) -> bool) {
        self.0.send_if_modified(|held| {
            let before = held.len();
            held.retain(|_, condition| {
                let over = over(condition);
                if over {
                    tracing::info!(
                        condition = condition.code.as_str(), since = %condition.since, "over: {}", condition.summary()
                    );
                }
                !over
            });
            held.len() < before
        });
    }

    /// Restores the conditions of an earlier process.
    pub fn recall(&self, conditions: impl IntoIterator<Item = Condition>) {
        self.0.send_modify(|held| {
            for condition in conditions {
                held.entry((condition.about.clone(), condition.code)).or_insert(condition);
            }
        });
    }

    /// Returns all conditions that hold now.
    pub fn all(&self) -> Vec<Condition> {
        self.0.borrow().values().cloned().collect()
    }

    /// Subscribes to changes.
    pub fn changes(&self) -> ConditionChanges {
        ConditionChanges(self.0.subscribe())
    }
}

/// A subscription to changes of the conditions, since it was created or since the last change received.
pub struct ConditionChanges(watch::Receiver<Held>);

impl ConditionChanges {
    /// Waits for the next change.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // All senders are gone, so no condition can change.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn a_condition_keeps_its_time_and_tells_only_of_changes() {
        let conditions = Conditions::default();
        let mut changes = conditions.changes();
        let jira = About::target(&"jira".into());
        let changed = async |changes: &mut ConditionChanges| {
            tokio::time::timeout(std::time::Duration::from_millis(1), changes.next()).await.is_ok()
        };
        conditions.clear_all(&jira);
        assert!(!changed(&mut changes).await);
        conditions.raise(&jira, ConditionCode::CredentialsRefused, "401", at(1), None);
        assert!(changed(&mut changes).await);
        conditions.raise(&jira, ConditionCode::CredentialsRefused, "401", at(2), None);
        assert!(!changed(&mut changes).await);
        conditions.raise(&jira, ConditionCode::CredentialsRefused, "403", at(3), None);
        assert!(changed(&mut changes).await);
        let [only] = conditions.all().try_into().unwrap();
        assert_eq!((only.since, only.text.as_str()), (at(1), "403"));
        conditions.clear(&jira, ConditionCode::Unreachable);
        assert!(!changed(&mut changes).await);
        conditions.clear_all(&jira);
        assert!(changed(&mut changes).await);
        assert_eq!(conditions.all(), []);
    }
}
