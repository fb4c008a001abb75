//! Deletions, which Confluence does in the background.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::roster::Id;

/// A deletion.
#[derive(Clone, Debug)]
struct Task {
    id: String,
    account: Id,
    /// Number of requests left before it is done.
    left: u32,
    of: u32,
    failed: Option<String>,
}

/// All deletions so far.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<Task>);

impl Tasks {
    /// Queues a deletion, or reuses the pending one of the account. Returns its id.
    pub(crate) fn submit(&mut self, account: &Id, requests: u32, failed: Option<String>) -> String {
        if let Some(task) = self.0.iter().find(|task| task.account == *account && task.left > 0) {
            return task.id.clone();
        }
        let id = uuid::Uuid::new_v4().to_string();
        let (left, of) = (requests, requests.max(1));
        self.0.push(Task { id: id.clone(), account: Arc::clone(account), left, of, failed });
        id
    }

    /// Counts a request against all deletions; returns the accounts whose deletion is now done.
    pub(crate) fn advance(&mut self) -> Vec<Id> {
        let mut done = Vec::new();
        for task in self.0.iter_mut().filter(|task| task.left > 0) {
            task.left -= 1;
            if task.left == 0 && task.failed.is_none() {
                done.push(Arc::clone(&task.account));
            }
        }
        done
    }

    /// Returns the status of a deletion.
    pub(crate) fn show(&self, id: &str) -> Option<Value> {
        let task = self.0.iter().find(|task| task.id == id)?;
        let over = task.left == 0;
        let messages: Vec<Value> = task
            .failed
            .iter()
            .filter(|_| over)
            .map(|text| json!({ "key": "user.delete.failed", "args": [], "translation": text }))
            .collect();
        Some(json!({
            "id": task.id,
            "name": { "key": "user.delete", "args": [], "translation": "Deleting a user" },
            "elapsedTime": 100,
            "percentageComplete": (task.of - task.left.min(task.of)) * 100 / task.of,
            "successful": !(over && task.failed.is_some()),
            "messages": messages,
        }))
    }
}
