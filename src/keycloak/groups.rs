//! The tree of groups: all of it, and the groups of one name.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{KeycloakSource, SourceError, Walked, fault::Asked, wire::Group};
use crate::model::{GroupId, GroupState};

/// What one folder of the tree holds.
struct Folder {
    groups: Vec<(Group, GroupState)>,
    /// Some came twice: the pages shifted while they were read.
    shifted: bool,
}

impl KeycloakSource {
    /// Every group. Keycloak lists the top level only, and children ten at a time unless told otherwise.
    pub(super) async fn walk_groups(&self) -> Result<Walked<GroupState>, SourceError> {
        let before = self.group_count().await?;
        let mut found: BTreeMap<GroupId, GroupState> = BTreeMap::new();
        let mut shifted = false;
        let mut level = vec![self.folder(None).await?];
        while !level.is_empty() {
            let mut parents = Vec::new();
            for folder in level {
                shifted |= folder.shifted;
                for (group, state) in folder.groups {
                    let has_children = group.sub_group_count != Some(0);
                    if found.insert(state.id.clone(), state.clone()).is_none() && has_children {
                        parents.push(state);
                    }
                }
            }
            level = stream::iter(parents)
                .map(|parent| async move { self.folder(Some(&parent)).await })
                .buffer_unordered(self.settings.connection.parallel.max(1))
                .try_collect()
                .await?;
        }
        let after = self.group_count().await?;
        let blind = found.is_empty() && self.is_blind().await?;
        let doubt = doubt(found.len(), before, after, shifted, blind);
        Ok(Walked { items: found.into_values().collect(), doubt })
    }

    /// The groups right below one, or the top level. One that went meanwhile has none.
    async fn folder(&self, parent: Option<&GroupState>) -> Result<Folder, SourceError> {
        let below = parent.map_or(vec!["groups"], |parent| vec!["groups", parent.id.as_str(), "children"]);
        let query = [("briefRepresentation", "true")];
        let max = self.settings.page;
        let mut folder = Folder { groups: Vec::new(), shifted: false };
        let mut first = 0;
        loop {
            let gone = parent.map(|_| "Could not find group by id");
            let Some(page) = self.page(Asked::Groups, &below, &query, (first, max), gone).await? else {
                folder.shifted = true;
                return Ok(folder);
            };
            let read = page.len();
            for group in page {
                let group: Group = group;
                let state = group.state(parent.map_or("", |parent| parent.path.as_str()));
                folder.groups.push((group, state));
            }
            first += read;
            if read < max {
                break;
            }
        }
        folder.groups.sort_by(|a, b| a.1.cmp(&b.1));
        let read = folder.groups.len();
        folder.groups.dedup_by(|a, b| a.1.id == b.1.id);
        folder.shifted |= folder.groups.len() != read;
        Ok(folder)
    }

    /// Groups whose name equals this one without regard to case. Keycloak's exact search regards the case, so its
    /// search for a part is filtered. Found groups may come inside their parents or flat.
    pub(super) async fn search_groups(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let wanted = name.to_lowercase();
        let query = [("search", name), ("briefRepresentation", "true"), ("populateHierarchy", "false")];
        let max = self.settings.page;
        let mut found = BTreeMap::new();
        let mut first = 0;
        loop {
            let page: Option<Vec<Group>> = self.page(Asked::Groups, &["groups"], &query, (first, max), None).await?;
            let page = page.unwrap_or_default();
            // Where parents come along, several hits share one, and a page looks shorter than it is.
            let nested = page.iter().any(|group| group.sub_groups.as_ref().is_some_and(|below| !below.is_empty()));
            let last = if nested { page.is_empty() } else { page.len() < max };
            for group in &page {
                collect(group, "", &wanted, &mut found);
            }
            if last {
                return Ok(found.into_values().collect());
            }
            first += max;
        }
    }
}

fn collect(group: &Group, parent: &str, wanted: &str, found: &mut BTreeMap<GroupId, GroupState>) {
    let state = group.state(parent);
    for child in group.sub_groups.iter().flatten() {
        collect(child, &state.path, wanted, found);
    }
    if state.name.to_lowercase() == wanted {
        found.insert(state.id.clone(), state);
    }
}

/// Why a walk may not have met all groups.
fn doubt(found: usize, before: usize, after: usize, shifted: bool, blind: bool) -> Option<String> {
    if before != after {
        return Some(format!("the number of groups went from {before} to {after} during the walk"));
    }
    if found == 0 && (after > 0 || blind) {
        return Some(format!(
            "the listing of groups is empty, but Keycloak counts {after}: the role view-users is missing"
        ));
    }
    if found != after {
        return Some(format!("the walk found {found} groups, but Keycloak counts {after}"));
    }
    shifted.then(|| "groups were moved, made or removed during the walk".to_owned())
}

#[cfg(test)]
mod tests {
    use super::doubt;

    #[test]
    fn a_walk_is_believed_only_if_everything_adds_up() {
        assert_eq!(doubt(3, 3, 3, false, false), None);
        assert_eq!(doubt(0, 0, 0, false, false), None);
        for (found, before, after, shifted, why) in [
            (3, 3, 4, false, "from 3 to 4"),
            (0, 3, 3, false, "view-users is missing"),
            (2, 3, 3, false, "found 2 groups, but Keycloak counts 3"),
            (4, 3, 3, false, "found 4 groups, but Keycloak counts 3"),
            (3, 3, 3, true, "during the walk"),
        ] {
            assert!(doubt(found, before, after, shifted, false).unwrap().contains(why));
        }
        assert!(doubt(0, 0, 0, false, true).unwrap().contains("view-users is missing"));
    }
}
