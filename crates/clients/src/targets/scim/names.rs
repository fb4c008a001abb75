//! The display name, in each of the attributes that hold it.

use std::sync::atomic::Ordering;

use super::{
    ScimTarget,
    paths::Path,
    profile::{Names, Profile},
    wire::Edit,
};

impl ScimTarget {
    /// Whether the policy maps given and family name.
    pub(super) fn names_by_policy(&self) -> bool {
        self.attributes.iter().any(Path::is_part_of_name)
    }

    /// Returns the edits that set a display name. `displayName`, `name.formatted` and, if accounts have them, given and
    /// family name are written together, so that none keeps a former name. If the policy maps the parts, they are not
    /// derived from the display name.
    pub(super) fn name_edits(&self, shown: &str, new: bool) -> Vec<Edit> {
        let names = self.profile.names;
        let by_policy = self.names_by_policy();
        let has_parts = self.learned.name_parts.load(Ordering::Relaxed) && !new;
        let mut edits = Vec::new();
        if names != Names::Split {
            edits.push(Edit::new("displayName", shown));
            edits.push(Edit::new("name.formatted", shown));
        }
        if !by_policy && (names != Names::Whole || has_parts) {
            let (given, family) = Profile::split(shown);
            edits.push(Edit::new("name.givenName", given));
            edits.push(Edit::new("name.familyName", family));
        }
        edits
    }
}
