//! Changes of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::change::{Tx, text};
use super::errors::Refused;
use super::event::Subject;
use super::rep::GroupRep;
use super::state::{Group, Id};
use crate::roster::Roster;

impl Tx<'_> {
    /// Creates a group at the top level or below another one.
    pub(crate) fn create_group(&mut self, parent: Option<&str>, rep: &GroupRep) -> Result<Id, Refused> {
        let name = rep.named()?;
        let parent = parent.map(|id| self.group_id(id).ok_or_else(Refused::no_group)).transpose()?;
        self.check_sibling(parent.as_ref(), name, None)?;
        let id = self.id();
        let group = Group {
            id: Arc::clone(&id),
            name: name.to_owned(),
            parent: parent.clone(),
            children: BTreeMap::new(),
            members: Roster::default(),
            attributes: rep.attributes.clone().unwrap_or_default(),
            realm_roles: BTreeSet::new(),
            client_roles: BTreeMap::new(),
        };
        self.insert_group(group);
        self.model_group("GroupCreatedEvent", &id);
        let shown = GroupRep { id: Some(id.to_string()), ..rep.clone() };
        let path = match &parent {
            Some(parent) => format!("groups/{parent}/children"),
            None => format!("groups/{id}"),
        };
        self.admin("CREATE", "GROUP", Some(path), Some(text(&shown)), group_subject(&id));
        Ok(id)
    }

    /// Inserts a group into the tree.
    pub(crate) fn insert_group(&mut self, group: Group) {
        let (id, name) = (Arc::clone(&group.id), group.name.clone());
        if let Some(level) = self.level(group.parent.as_ref()) {
            level.insert(name, Arc::clone(&id));
        }
        self.realm.groups.insert(id, Arc::new(group));
    }

    fn level(&mut self, parent: Option<&Id>) -> Option<&mut BTreeMap<String, Id>> {
        match parent {
            None => Some(&mut self.realm.top),
            Some(id) => self.realm.groups.get_mut(id).map(|group| &mut Arc::make_mut(group).children),
        }
    }

    fn check_sibling(&self, parent: Option<&Id>, name: &str, own: Option<&str>) -> Result<(), Refused> {
        let level = match parent {
            None => Some(&self.realm.top),
            Some(id) => self.realm.groups.get(id).map(|group| &group.children),
        };
        if level.and_then(|level| level.get(name)).is_none_or(|id| Some(&**id) == own) {
            return Ok(());
        }
        let place = if parent.is_none() && own.is_none() { "Top level" } else { "Sibling" };
        Err(Refused::message(409, format!("{place} group named '{name}' already exists.")))
    }

    /// Updates a group's name or attributes.
    pub(crate) fn update_group(&mut self, id: &str, rep: &GroupRep) -> Result<(), Refused> {
        let before = self.realm.groups.get(id).cloned().ok_or_else(Refused::no_group)?;
        let name = rep.named()?.to_owned();
        self.check_sibling(before.parent.as_ref(), &name, Some(id))?;
        if name != before.name
            && let Some(level) = self.level(before.parent.as_ref())
        {
            level.remove(&before.name);
            level.insert(name.clone(), Arc::clone(&before.id));
        }
        if let Some(group) = self.realm.groups.get_mut(id).map(Arc::make_mut) {
            group.name.clone_from(&name);
            if let Some(attributes) = &rep.attributes {
                group.attributes.clone_from(attributes);
            }
        }
        self.model_group("GroupUpdatedEvent", id);
        if name != before.name {
            self.model_group("GroupPathChangeEvent", id);
        }
        self.admin("UPDATE", "GROUP", Some(format!("groups/{id}")), Some(text(rep)), group_subject(id));
        Ok(())
    }

    /// Moves a group below another one, or to the top level. The event's path names only the new parent.
    pub(crate) fn move_group(&mut self, id: &str, parent: Option<&str>) -> Result<(), Refused> {
        let gone = || Refused::error(404, "Could not find child by id");
        let before = self.realm.groups.get(id).cloned().ok_or_else(gone)?;
        let parent = parent.map(|id| self.group_id(id).ok_or_else(Refused::no_group)).transpose()?;
        let shown = GroupRep { id: Some(id.into()), name: Some(before.name.clone()), ..GroupRep::default() };
        let path = parent.as_ref().map_or_else(|| "groups".to_owned(), |parent| format!("groups/{parent}/children"));
        // Below itself: Keycloak reports success and does nothing. Below its own child: it fails.
        if parent.as_deref() != Some(id) {
            let mut above = parent.clone();
            while let Some(one) = above {
                if &*one == id {
                    return Err(Refused::broke());
                }
                above = self.realm.groups.get(&one).and_then(|group| group.parent.clone());
            }
            if before.parent != parent {
                self.check_sibling(parent.as_ref(), &before.name, Some(id))?;
                if let Some(level) = self.level(before.parent.as_ref()) {
                    level.remove(&before.name);
                }
                if let Some(level) = self.level(parent.as_ref()) {
                    level.insert(before.name.clone(), Arc::clone(&before.id));
                }
                if let Some(group) = self.realm.groups.get_mut(id).map(Arc::make_mut) {
                    group.parent = parent;
                }
            }
            self.model_group("GroupPathChangeEvent", id);
        }
        self.admin("UPDATE", "GROUP", Some(path), Some(text(&shown)), group_subject(id));
        Ok(())
    }

    /// Deletes a group and all groups below it: one event for the group, none for children and members.
    pub(crate) fn delete_group(&mut self, id: &str) -> Result<(), Refused> {
        let group = self.realm.groups.get(id).cloned().ok_or_else(Refused::no_group)?;
        if let Some(level) = self.level(group.parent.as_ref()) {
            level.remove(&group.name);
        }
        self.remove_tree(&group);
        let shown = GroupRep { id: Some(id.into()), name: Some(group.name.clone()), ..GroupRep::default() };
        self.admin("DELETE", "GROUP", Some(format!("groups/{id}")), Some(text(&shown)), group_subject(id));
        Ok(())
    }

    fn remove_tree(&mut self, group: &Group) {
        self.model_group("GroupRemovedEvent", &group.id);
        for child in group.children.values() {
            if let Some(child) = self.realm.groups.get(child).cloned() {
                self.remove_tree(&child);
            }
        }
        for member in group.members.ids() {
            if let Some(user) = self.realm.users.get_mut(member) {
                Arc::make_mut(user).groups.remove(&group.id);
            }
        }
        self.realm.default_groups.remove(&group.id);
        self.realm.groups.remove(&group.id);
    }

    /// Makes a group a default group for new users, or not.
    pub(crate) fn set_default_group(&mut self, id: &str, on: bool) -> Result<(), Refused> {
        let id = self.group_id(id).ok_or_else(|| Refused::error(404, "Group not found"))?;
        let operation = if on { "CREATE" } else { "DELETE" };
        if on {
            self.realm.default_groups.insert(Arc::clone(&id));
        } else {
            self.realm.default_groups.remove(&id);
        }
        self.admin(operation, "GROUP", Some(format!("default-groups/{id}")), None, group_subject(&id));
        Ok(())
    }
}

/// Adds these names to a set, or removes them.
pub(crate) fn set_names(held: &mut BTreeSet<String>, names: &[String], on: bool) {
    for name in names {
        if on {
            held.insert(name.clone());
        } else {
            held.remove(name);
        }
    }
}

fn group_subject(id: &str) -> Subject {
    Subject { resource_id: Some(id.into()), ..Subject::default() }
}
