//! State of a simulated SCIM server: JSON resources in the order of their creation; their logins need not be unique, so
//! [`Identities`](crate::identities::Identities) does not fit.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::switches::ScimSwitches;
use crate::identities::fold;

/// A user or a group: its attributes as written, without those that the server adds.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: String,
    /// Position in lists.
    pub(crate) number: u64,
    pub(crate) version: u64,
    pub(crate) fields: Map<String, Value>,
    /// Ids of a group's members.
    pub(crate) members: BTreeSet<String>,
}

impl Item {
    /// Returns the version as an entity tag.
    pub(crate) fn tag(&self, switches: &ScimSwitches) -> String {
        if switches.etag_weak { format!("W/\"{}\"", self.version) } else { format!("\"{}\"", self.version) }
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn emails(&self) -> impl Iterator<Item = &str> {
        let all = self.fields.get("emails").and_then(Value::as_array);
        all.into_iter().flatten().filter_map(|one| one["value"].as_str())
    }

    pub(crate) fn active(&self) -> bool {
        self.fields.get("active").is_some_and(|active| active == &Value::Bool(true))
    }
}

/// Users or groups, by id and in listing order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf {
    items: BTreeMap<u64, Arc<Item>>,
    numbers: HashMap<String, u64>,
    /// Numbers of users by folded login.
    logins: HashMap<String, BTreeSet<u64>>,
}

impl Shelf {
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Item>> {
        self.numbers.get(id).and_then(|number| self.items.get(number))
    }

    /// Returns an item for a change in place of anything except the login.
    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Item> {
        let number = self.numbers.get(id)?;
        self.items.get_mut(number).map(Arc::make_mut)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.items.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns the first user with this login.
    fn named(&self, login: &str) -> Option<&Arc<Item>> {
        self.logins.get(&fold(login)).and_then(BTreeSet::first).and_then(|number| self.items.get(number))
    }

    pub(crate) fn put(&mut self, item: Item) {
        self.remove(&item.id);
        if item.fields.contains_key("userName") {
            self.logins.entry(fold(item.text("userName"))).or_default().insert(item.number);
        }
        self.numbers.insert(item.id.clone(), item.number);
        self.items.insert(item.number, Arc::new(item));
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some(item) = self.numbers.remove(id).and_then(|number| self.items.remove(&number)) else { return false };
        if let Entry::Occupied(mut numbers) = self.logins.entry(fold(item.text("userName"))) {
            numbers.get_mut().remove(&item.number);
            if numbers.get().is_empty() {
                numbers.remove();
            }
        }
        true
    }
}

/// All state of the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) users: Shelf,
    pub(crate) groups: Shelf,
    last: u64,
}

impl World {
    /// Returns a new item that is not on a shelf yet.
    pub(crate) fn item(&mut self, fields: Map<String, Value>) -> Item {
        self.last += 1;
        let id = uuid::Uuid::new_v4().to_string();
        Item { id, number: self.last, version: 1, fields, members: BTreeSet::new() }
    }

    pub(crate) fn user_named(&self, name: &str) -> Option<&Arc<Item>> {
        self.users.named(name)
    }

    pub(crate) fn group_named(&self, name: &str) -> Option<&Arc<Item>> {
        self.groups.all().find(|group| group.text("displayName") == name)
    }

    pub(crate) fn remove_user(&mut self, id: &str) -> bool {
        let ids: Vec<String> =
            self.groups.all().filter(|group| group.members.contains(id)).map(|group| group.id.clone()).collect();
        for group in ids {
            if let Some(group) = self.groups.get_mut(&group) {
                group.members.remove(id);
            }
        }
        self.users.remove(id)
    }
}
