//! Reads the group tree: all groups, or the groups of one name.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    FullListing, KeycloakSource, SourceError,
    fault::Asked,
    pages::Paged,
    requests::GROUP_GONE,
    requests::Listing,
    wire::{self, Group},
};
use crate::model::{GroupId, GroupState, ReadEvidence};

/// Groups of one listing, by id.
type Folder = Paged<BTreeMap<String, Group>>;

/// The result of reading all groups.
#[derive(Default)]
struct Tree {
    groups: BTreeMap<GroupId, GroupState>,
    with_attributes: bool,
    odd: Folder,
}

impl Tree {
    /// Adds the groups of a folder; `parent` is its path. Returns the groups that may have sub-groups.
    fn add(&mut self, folder: Folder, parent: &str) -> Vec<GroupState> {
        let mut parents = Vec::new();
        for group in folder.items.into_values() {
            let state = group.state(parent, self.with_attributes);
            if self.groups.insert(state.id.clone(), state.clone()).is_none() && group.sub_group_count != Some(0) {
                parents.push(state);
            }
        }
        self.odd.unreadable.extend(folder.unreadable);
        self.odd.failed += folder.failed;
        self.odd.pages.add_part(&folder.pages);
        if let Some(why) = folder.incomplete {
            self.odd.unconfirmed(|| why);
        }
        parents
    }
}

impl KeycloakSource {
    /// Lists every group: flat in pages, or folder by folder if the server does not support that.
    pub(super) async fn walk_groups(&self) -> Result<FullListing<GroupId, Vec<GroupState>>, SourceError> {
        let before = self.group_count().await?;
        let tree = match self.flat_groups(before).await? {
            Some(flat) => flat,
            None => self.folders().await?,
        };
        let after = self.group_count().await?;
        let Tree { groups, odd, .. } = tree;
        let found = groups.len() + odd.len();
        let blind = found == 0 && self.is_blind().await?;
        let evidence = ReadEvidence {
            lists: 1,
            read: found,
            unreadable: odd.unreadable.len() + odd.failed,
            count_before: before,
            count_after: after,
            ..odd.pages
        };
        Ok(FullListing {
            evidence,
            items: groups.into_values().collect(),
            unreadable: odd.unreadable.into_iter().map(|(id, odd)| (id.into(), odd)).collect(),
            incomplete: odd.incomplete.or_else(|| short(found, before, after, blind)),
        })
    }

    /// Reads all groups by one listing; `None` if it returns fewer than Keycloak counts, or nested groups.
    async fn flat_groups(&self, count: Option<usize>) -> Result<Option<Tree>, SourceError> {
        let listing = Listing {
            asked: Asked::Groups,
            below: &["groups"],
            query: &[("search", "*"), ("populateHierarchy", "false"), self.group_depth()],
            from: 0,
            max: self.settings.page.max(1),
            gone: None,
        };
        let flat: Folder = self.pages(listing, &|_| {}).await?.unwrap_or_default();
        let nested = flat.items.values().any(|group| group.sub_groups.as_ref().is_some_and(|below| !below.is_empty()));
        let short = count.is_some_and(|count| flat.len() < count) && self.group_count().await? != Some(flat.len());
        if nested || short || flat.incomplete.is_some() && flat.failed == 0 {
            return Ok(None);
        }
        let mut tree = self.tree();
        tree.add(flat, "");
        Ok(Some(tree))
    }

    fn tree(&self) -> Tree {
        Tree { with_attributes: self.reads_group_attributes(), ..Tree::default() }
    }

    /// Reads all groups level by level. By default, Keycloak lists the top level only, and ten children at a time.
    async fn folders(&self) -> Result<Tree, SourceError> {
        let mut tree = self.tree();
        let top = self.folder(None).await?;
        let mut parents = tree.add(top, "");
        while !parents.is_empty() {
            let folders: Vec<(Folder, String)> = stream::iter(parents)
                .map(|parent| async move { Ok::<_, SourceError>((self.folder(Some(&parent)).await?, parent.path)) })
                .buffer_unordered(self.settings.connection.parallel.max(1))
                .try_collect()
                .await?;
            parents = folders.into_iter().flat_map(|(folder, path)| tree.add(folder, &path)).collect();
        }
        Ok(tree)
    }

    /// Reads the direct sub-groups of a group, or the top level. A group that was deleted meanwhile has none.
    async fn folder(&self, parent: Option<&GroupState>) -> Result<Folder, SourceError> {
        let below = parent.map_or(vec!["groups"], |parent| vec!["groups", parent.id.as_str(), "children"]);
        let listing = Listing {
            asked: Asked::Groups,
            below: &below,
            query: &[self.group_depth()],
            from: 0,
            max: self.settings.page.max(1),
            gone: parent.map(|_| GROUP_GONE),
        };
        Ok(self.pages(listing, &|_| {}).await?.unwrap_or_default())
    }

    /// Returns the number of all groups, including sub-groups; `None` if the answer is not a number.
    pub(super) async fn group_count(&self) -> Result<Option<usize>, SourceError> {
        self.count(Asked::Groups, &["groups", "count"], &[]).await
    }

    /// Returns the groups with this name, case-insensitive. Keycloak's exact search is case-sensitive, so the results
    /// of its substring search are filtered. Keycloak may return them inside their parents or flat.
    pub(super) async fn search_groups(&self, name: &str) -> Result<Vec<GroupState>, SourceError> {
        let wanted = name.to_lowercase();
        let query = [("search", name), self.group_depth(), ("populateHierarchy", "false")];
        let max = self.settings.page.max(1);
        let mut search = Search { wanted, with_attributes: self.reads_group_attributes(), ..Search::default() };
        for first in (0..).step_by(max) {
            let page = self.page::<Group>(Asked::Groups, &["groups"], &query, (first, max), None).await?;
            let known = search.seen.len();
            // With nested results, several hits share a parent, and a page seems shorter than it is.
            for group in &wire::readable(page.unwrap_or_default()) {
                search.collect(group, "");
            }
            if search.seen.len() == known {
                break;
            }
        }
        Ok(search.found.into_values().collect())
    }
}

/// A search for the groups of one name.
#[derive(Default)]
struct Search {
    /// The name, in lower case.
    wanted: String,
    with_attributes: bool,
    /// Ids of all groups that were returned.
    seen: BTreeSet<String>,
    found: BTreeMap<GroupId, GroupState>,
}

impl Search {
    fn collect(&mut self, group: &Group, parent: &str) {
        let state = group.state(parent, self.with_attributes);
        self.seen.insert(group.id.clone());
        for child in group.sub_groups.iter().flatten() {
            self.collect(child, &state.path);
        }
        if state.name.to_lowercase() == self.wanted {
            self.found.insert(state.id.clone(), state);
        }
    }
}

/// Returns why a listing is too short, if it is. Groups that are created or deleted during the read are not a reason.
fn short(found: usize, before: Option<usize>, after: Option<usize>, blind: bool) -> Option<String> {
    let Some(count) = before.zip(after).map(|(before, after)| before.min(after)) else {
        return Some("Keycloak's count of groups is not a number".to_owned());
    };
    if found == 0 && (count > 0 || blind) {
        return Some(format!(
            "the listing of groups is empty, but Keycloak counts {count}: the role view-users is missing"
        ));
    }
    (found < count).then(|| format!("{found} groups were read, but Keycloak counts {count}"))
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn only_fewer_groups_than_counted_before_and_after_are_too_few() {
        for (found, before, after) in [(3, 3, 3), (0, 0, 0), (3, 3, 4), (3, 4, 3), (4, 3, 3)] {
            assert_eq!(short(found, Some(before), Some(after), false), None);
        }
        for (found, before, after, why) in [
            (0, Some(3), Some(3), "view-users is missing"),
            (2, Some(3), Some(4), "2 groups were read, but Keycloak counts 3"),
            (2, None, Some(2), "not a number"),
        ] {
            assert!(short(found, before, after, false).is_some_and(|text| text.contains(why)), "{found}");
        }
        assert!(short(0, Some(0), Some(0), true).is_some_and(|text| text.contains("view-users is missing")));
    }
}
