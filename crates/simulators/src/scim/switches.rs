//! Switches of a running SCIM server; by default it follows the standard.

use serde_json::Value;

/// Supported ways to remove a member from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRemoval {
    /// By filter; by value it removes all members, as a literal reading of the standard says.
    Strict,
    /// By filter; by value it is refused.
    Filter,
    /// By value; by filter it is refused.
    Value,
    /// By filter; by value it reports success and changes nothing.
    FilterElseNothing,
    /// By value it removes all members, by filter it is refused.
    ValueRemovesAll,
    /// In any form, it removes all members (github.com/msaad00/agent-bom#3533).
    AlwaysRemovesAll,
}

/// Effect of a PATCH that adds a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAddition {
    /// It adds the member.
    Adds,
    /// It replaces all members with the added one (github.com/msaad00/agent-bom#3533).
    Replaces,
    /// It reports success and changes nothing (github.com/pond/scimitar#8).
    Nothing,
}

/// Handling of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    /// They are applied.
    On,
    /// They are refused.
    Off,
    /// They are ignored: all items are returned.
    Ignored,
    /// They find nothing.
    Empty,
    /// They are refused with 400, not in the standard's form.
    Broken,
}

/// Visibility of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Unless it is excluded.
    Always,
    /// In single resources, but not in lists.
    NotInLists,
    /// In lists, but not in single resources.
    OnlyInLists,
    /// Only if it is requested by name.
    OnRequest,
    /// As an empty list, whatever its values are (github.com/microsoft/Policy-Weaver#103).
    Empty,
    /// Never (github.com/Captain-P-Goldfish/scim-for-keycloak#97).
    Never,
}

/// Items that `totalResults` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All items.
    All,
    /// The items of the page.
    Page,
    /// All items, while none of them is shown: too few rights.
    AllButShownNone,
}

/// An invalid field of an answer.
#[derive(Clone, Debug)]
pub struct InvalidField {
    /// Text that the request's path must contain.
    pub path: &'static str,
    /// Id of the resource to change; `None`: the whole answer.
    pub id: Option<String>,
    /// JSON pointer to the field.
    pub at: String,
    /// The new value; `None`: the field is removed.
    pub value: Option<Value>,
}

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of switches")]
pub struct ScimSwitches {
    /// PATCH works.
    pub patch: bool,
    /// The server advertises PATCH.
    pub patch_announced: bool,
    /// A PATCH is answered with 200 and the resource, else with 204.
    pub patch_returns_resource: bool,
    /// Supported ways to remove members.
    pub member_removal: MemberRemoval,
    /// Effect of a PATCH that adds a member.
    pub member_addition: MemberAddition,
    /// Of two concurrent PATCH requests for one group, the later one overwrites the effect of the first
    /// (github.com/fleetdm/fleet#50724, github.com/scimmyjs/scimmy#79).
    pub patch_races: bool,
    /// Handling of filters by `userName`, `displayName` and similar attributes.
    pub filters: Filters,
    /// Handling of filters for groups by a member.
    pub member_filters: Filters,
    /// Filters by `externalId` find matches.
    pub filter_external_id: bool,
    /// Filters are case-sensitive.
    pub filter_case: bool,
    /// Maximum number of members in one PATCH.
    pub members_per_patch: usize,
    /// Groups can be renamed.
    pub group_rename: bool,
    /// Logins can be changed.
    pub login_rename: bool,
    /// PUT clears attributes that it does not contain.
    pub put_clears: bool,
    /// A taken name is refused in the standard's form; else with a 409 in another form.
    pub uniqueness_told: bool,
    /// Two groups cannot have the same name.
    pub group_unique: bool,
    /// Group names that differ only in case are the same name.
    pub group_unique_fold: bool,
    /// Logins and group names that are taken although no resource with them is visible
    /// (github.com/Metatavu/keycloak-scim-server#74).
    pub hidden: Vec<&'static str>,
    /// Two accounts cannot have the same address; the second is answered with 500.
    pub email_unique: bool,
    /// Maximum number of entries on a page.
    pub page_cap: usize,
    /// Page size limit that the server advertises.
    pub page_told: usize,
    /// Items that `totalResults` counts.
    pub counted: Counted,
    /// Maximum number of operations in a bulk request, as advertised; 0: no bulk requests.
    pub bulk: usize,
    /// Resources have versions.
    pub etag: bool,
    /// Versions are weak entity tags (RFC 9110, section 8.8.1), as in the examples of RFC 7644.
    pub etag_weak: bool,
    /// A missing resource is answered with an HTML page instead of the standard's form.
    pub absent_page: bool,
    /// Answers to bulk operations come in another order, without the operation's `bulkId`.
    pub bulk_reversed: bool,
    /// Positions beyond the first page are refused.
    pub one_page: bool,
    /// Lists can be paged by cursor, and the server advertises it.
    pub cursor: bool,
    /// Boolean values are written as strings.
    pub booleans_as_text: bool,
    /// Visibility of an account's groups.
    pub groups_told: Visibility,
    /// Visibility of a group's members.
    pub members_told: Visibility,
    /// Given and family name are stored, `displayName` is not; `name.formatted` is built from the two.
    pub names_apart: bool,
    /// Logins are stored in lower case.
    pub lower_logins: bool,
    /// The server has no groups.
    pub no_groups: bool,
    /// The discovery endpoints are off.
    pub discovery_off: bool,
    /// Base path that the server reports, if a proxy in front of it has another; `None`: its own.
    pub own_base: Option<&'static str>,
    /// Attributes that lists do not include.
    pub not_in_lists: Vec<&'static str>,
    /// Attributes that are refused.
    pub refuses: Vec<&'static str>,
    /// Attributes that are accepted but not stored.
    pub drops: Vec<&'static str>,
    /// An invalid field (RFC 7643, section 2.5: null and an empty array are equal to no value).
    pub odd: Option<InvalidField>,
    /// Lifetime of an access token, in seconds.
    pub token_life: u64,
}

impl Default for ScimSwitches {
    fn default() -> Self {
        Self {
            patch: true,
            patch_announced: true,
            patch_returns_resource: true,
            member_removal: MemberRemoval::Strict,
            member_addition: MemberAddition::Adds,
            patch_races: false,
            filters: Filters::On,
            member_filters: Filters::On,
            filter_external_id: true,
            filter_case: false,
            members_per_patch: 1000,
            group_rename: true,
            login_rename: true,
            put_clears: true,
            uniqueness_told: true,
            group_unique: true,
            group_unique_fold: false,
            hidden: Vec::new(),
            email_unique: false,
            page_cap: 200,
            page_told: 200,
            counted: Counted::All,
            bulk: 100,
            etag: false,
            etag_weak: false,
            absent_page: false,
            bulk_reversed: false,
            one_page: false,
            cursor: false,
            booleans_as_text: false,
            groups_told: Visibility::Always,
            members_told: Visibility::Always,
            names_apart: false,
            lower_logins: false,
            no_groups: false,
            discovery_off: false,
            own_base: None,
            not_in_lists: Vec::new(),
            refuses: Vec::new(),
            drops: Vec::new(),
            odd: None,
            token_life: 300,
        }
    }
}

impl InvalidField {
    /// Makes the field of an answer invalid.
    pub(crate) fn apply(&self, answer: &mut Value) {
        let resources = match (&self.id, answer.get("Resources").is_some()) {
            (None, _) => return self.set(answer),
            (Some(_), true) => {
                answer["Resources"].as_array_mut().map(|all| all.iter_mut().collect()).unwrap_or_default()
            }
            (Some(_), false) => vec![answer],
        };
        for resource in resources {
            if resource["id"].as_str() == self.id.as_deref() {
                self.set(resource);
            }
        }
    }

    fn set(&self, value: &mut Value) {
        let Some((parent, last)) = self.at.rsplit_once('/') else { return };
        match value.pointer_mut(parent) {
            Some(Value::Object(fields)) if fields.contains_key(last) => {
                match &self.value {
                    Some(value) => fields.insert(last.to_owned(), value.clone()),
                    None => fields.remove(last),
                };
            }
            Some(Value::Array(all)) => {
                if let Some(place) = last.parse::<usize>().ok().filter(|place| *place < all.len()) {
                    match &self.value {
                        Some(value) => all[place] = value.clone(),
                        None => drop(all.remove(place)),
                    }
                }
            }
            _ => {}
        }
    }
}

impl ScimSwitches {
    /// Returns the switches of Keycloak 26.7.0 as observed; see `docs/targets/scim.md`.
    pub fn keycloak() -> Self {
        Self {
            member_removal: MemberRemoval::FilterElseNothing,
            filter_external_id: false,
            put_clears: false,
            email_unique: true,
            page_cap: 100,
            page_told: 100,
            bulk: 0,
            groups_told: Visibility::OnRequest,
            members_told: Visibility::OnRequest,
            names_apart: true,
            lower_logins: true,
            ..Self::default()
        }
    }
}
