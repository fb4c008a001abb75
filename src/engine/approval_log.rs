//! Logs approvals that workers and runs request and that operators decide in another process.

use std::collections::BTreeMap;

use crate::{
    store::{StoreReads, StoreResult},
    telemetry::logs::Personal,
};

/// Maximum number of decisions in one read.
const DECISIONS: usize = 100;

/// The approvals logged so far.
#[derive(Default)]
pub(super) struct ApprovalLog {
    /// Number of operations that wait, by approval id.
    waiting: BTreeMap<i64, i64>,
    /// The newest decision; `None`: none was read yet, and existing decisions are not logged.
    newest: Option<i64>,
}

impl ApprovalLog {
    /// Logs all changes since the last call.
    pub async fn write(&mut self, store: &dyn StoreReads) -> StoreResult<()> {
        let mut waiting = BTreeMap::new();
        for set in store.approvals(true).await? {
            if self.waiting.get(&set.id).is_none_or(|before| *before < set.open_items) {
                tracing::info!(
                    pair = %set.pair, set = set.id, kind = ?set.kind, waiting = set.open_items,
                    "approval requested: usersync approvals show {}", set.id
                );
            }
            waiting.insert(set.id, set.open_items);
        }
        self.waiting = waiting;
        let decisions = store.audit(None, DECISIONS).await?;
        if let Some(newest) = self.newest {
            let new = decisions.iter().rev().filter(|one| one.id > newest && one.what.starts_with("approval "));
            for decision in new {
                let (what, note) = decision.what.split_once(": ").unwrap_or((&decision.what, ""));
                tracing::info!(by = %Personal(&decision.by), note = %Personal(note), "approval decided: {what}");
            }
        }
        self.newest = Some(decisions.first().map_or(0, |decision| decision.id));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Arc};

    use jiff::Timestamp;

    use parking_lot::Mutex;

    use super::*;
    use crate::{
        model::Pair,
        store::{
            Decision, EngineStore, OperatorStore,
            sqlite::{OpenOptions, SqliteStore},
        },
    };

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock())).unwrap()
        }
    }

    #[tokio::test]
    async fn approvals_are_logged_once_when_requested_and_when_decided() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let now = Timestamp::UNIX_EPOCH;
        let store = SqliteStore::open_temporary(OpenOptions::simulation(now)).await.unwrap();
        let mut log = ApprovalLog::default();
        log.write(&store).await.unwrap();
        assert_eq!(lines.take(), "");

        let set = store.hold_first_run(&Pair::new("acme", "jira"), serde_json::json!({}), now).await.unwrap();
        log.write(&store).await.unwrap();
        let text = lines.take();
        assert!(text.contains(" INFO ") && text.contains("approval requested: usersync approvals show 1"), "{text}");
        log.write(&store).await.unwrap();
        assert_eq!(lines.take(), "");

        let note = Some("alice is fine".to_owned());
        let decision = Decision { set, items: Vec::new(), approve: true, by: "eve".to_owned(), note };
        store.decide(&decision, now).await.unwrap();
        log.write(&store).await.unwrap();
        let text = lines.take();
        assert!(text.contains("approval decided: approval 1 of acme → jira approved"), "{text}");
        assert!(!text.contains("eve") && !text.contains("alice"), "{text}");
    }
}
