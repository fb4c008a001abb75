//! Removes usersync from a realm.

use serde_json::Value;

use super::{
    ADDRESS_ATTRIBUTE, BEFORE_ATTRIBUTE, Plan, Setup, SetupOptions,
    plan::{Before, Step},
    present::{Present, Raw, text},
};
use crate::{
    keycloak::{
        SourceError,
        realm_settings::{ADMIN_EXPIRY, KEY_ATTRIBUTE, LISTENER},
    },
    targets::{Note, NoteState},
};

impl Setup {
    /// Plans the removal; changes nothing.
    pub async fn plan_removal(&self) -> Result<Plan, SourceError> {
        let present = Present::read(&self.admin, &self.options).await?;
        let (steps, notes) = plan(&self.options, &present);
        Ok(Plan { steps, notes, webhook_secret: None })
    }

    /// Applies a removal plan.
    pub async fn remove(&self, plan: &Plan) -> Result<(), SourceError> {
        for step in &plan.steps {
            step.apply(&self.admin, &self.options).await?;
        }
        Ok(())
    }
}

fn plan(options: &SetupOptions, present: &Present) -> (Vec<Step>, Vec<Note>) {
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    let before: Option<Before> =
        present.attributes.get(BEFORE_ATTRIBUTE).and_then(|text| serde_json::from_str(text).ok());
    if let Some(step) = events(present, before.as_ref()) {
        steps.push(step);
    }
    if before.is_none() && present.events.get("adminEventsEnabled") == Some(&Value::Bool(true)) {
        let text =
            "admin and user events are unchanged: they were on before usersync, or their previous settings are unknown";
        notes.push(Note { state: NoteState::Note, about: "events".into(), text: text.into() });
    }
    let mut attributes = present.attributes.clone();
    let mut words: Vec<_> = [ADDRESS_ATTRIBUTE, KEY_ATTRIBUTE, BEFORE_ATTRIBUTE]
        .into_iter()
        .filter(|name| attributes.remove(*name).is_some())
        .map(|name| format!("remove {name}"))
        .collect();
    if let Some(expiry) = before.and_then(|before| before.admin_expiry) {
        if expiry.is_empty() {
            attributes.remove(ADMIN_EXPIRY);
        } else {
            attributes.insert(ADMIN_EXPIRY.into(), expiry);
        }
        words.push("restore the previous expiry of admin events".into());
    }
    if !words.is_empty() {
        steps.push(Step::Attributes { words, all: attributes });
    }
    if let Some(client) = &present.client {
        let (client_id, realm) = (options.client_id.clone(), options.token_realm().to_owned());
        steps.push(Step::DeleteClient { client_id, realm, id: text(&client.raw, "id") });
    }
    (steps, notes)
}

fn events(present: &Present, before: Option<&Before>) -> Option<Step> {
    let mut config = present.events.clone();
    let mut words = Vec::new();
    config.remove("enabledEventTypes");
    let listeners = config.remove("eventsListeners");
    let mut listeners = listeners.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    if listeners.iter().any(|id| id == LISTENER) {
        listeners.retain(|id| id != LISTENER);
        // A listener that is no longer installed would make Keycloak reject the whole change.
        if let Some(known) = &present.listeners {
            listeners.retain(|id| id.as_str().is_some_and(|id| known.contains(id)));
        }
        config.insert("eventsListeners".into(), Value::Array(listeners));
        words.push(format!("remove listener {LISTENER}"));
    }
    let changed: Raw = before.map(|before| before.config.clone()).unwrap_or_default();
    if !changed.is_empty() {
        for (name, value) in changed {
            // Keycloak ignores a null; 0 means no expiry.
            let value = if value.is_null() && name == "eventsExpiration" { 0.into() } else { value };
            config.insert(name, value);
        }
        words.push("restore the previous settings".into());
    }
    (!words.is_empty()).then_some(Step::Events { words, config })
}
