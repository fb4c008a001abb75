//! What can be switched about a SCIM server while it runs; by default it does as the standard says.

use serde_json::Value;

/// How a member can be taken out of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRemoval {
    /// By filter; by value it removes all members, as the letter of the standard has it.
    Strict,
    /// By filter; by value it is refused.
    Filter,
    /// By value; by filter it is refused.
    Value,
    /// By filter; by value it answers well and does nothing.
    FilterElseNothing,
    /// By value it removes all members, by filter it is refused.
    ValueRemovesAll,
    /// In whatever form, it removes all members (github.com/msaad00/agent-bom#3533).
    AlwaysRemovesAll,
}

/// What adding a member by PATCH does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberAddition {
    /// It adds the member.
    Adds,
    /// It replaces the members by the one that is added (github.com/msaad00/agent-bom#3533).
    Replaces,
    /// It answers well and does nothing (github.com/pond/scimitar#8).
    Nothing,
}

/// What becomes of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    /// They work.
    On,
    /// They are refused.
    Off,
    /// They are passed over: all comes.
    Ignored,
    /// They find nothing.
    Empty,
    /// They are refused with 400, in a shape that is not the standard's.
    Broken,
}

/// When an attribute is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Unless it is excluded.
    Always,
    /// With one resource, but not in lists.
    NotInLists,
    /// In lists, but not with one resource.
    OnlyInLists,
    /// Only where it is asked for by name.
    OnRequest,
    /// As an empty list, whatever there is (github.com/microsoft/Policy-Weaver#103).
    Empty,
    /// Not at all (github.com/Captain-P-Goldfish/scim-for-keycloak#97).
    Never,
}

/// What `totalResults` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All that there is.
    All,
    /// What is on the page.
    Page,
    /// All that there is, while nothing of it is shown: too few rights.
    AllButShownNone,
}

/// A field of an answer that is not as it should be.
#[derive(Clone, Debug)]
pub struct Odd {
    /// The path in which the request has to hold this.
    pub path: &'static str,
    /// Of the resource with this id; of the whole answer where there is none.
    pub id: Option<String>,
    /// Where, as a JSON pointer.
    pub at: String,
    /// What is there instead; `None`: the field is missing.
    pub value: Option<Value>,
}

/// The switches.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of switches")]
pub struct ScimSwitches {
    /// PATCH works.
    pub patch: bool,
    /// The server says that PATCH works.
    pub patch_announced: bool,
    /// A PATCH is answered with 200 and the resource, else with 204.
    pub patch_tells: bool,
    /// How members are taken out.
    pub member_removal: MemberRemoval,
    /// How members are added by PATCH.
    pub member_addition: MemberAddition,
    /// Two PATCH requests for one group at the same time: the later one writes over what the first one did
    /// (github.com/fleetdm/fleet#50724, github.com/scimmyjs/scimmy#79).
    pub patch_races: bool,
    /// Filters by `userName`, `displayName` and the like.
    pub filters: Filters,
    /// Filters for groups by a member.
    pub member_filters: Filters,
    /// Filters by `externalId` find something.
    pub filter_external_id: bool,
    /// Filters mind upper and lower case.
    pub filter_case: bool,
    /// Members that one PATCH may name.
    pub members_per_patch: usize,
    /// Groups can be renamed.
    pub group_rename: bool,
    /// Logins can be changed.
    pub login_rename: bool,
    /// PUT clears what it does not name.
    pub put_clears: bool,
    /// A taken name is refused in the standard's words, else with a 409 of another shape.
    pub uniqueness_told: bool,
    /// Two groups cannot have one name.
    pub group_unique: bool,
    /// Group names that differ in case only are one name.
    pub group_unique_fold: bool,
    /// Logins and group names that are taken although nobody is shown who has them
    /// (github.com/Metatavu/keycloak-scim-server#74).
    pub hidden: Vec<&'static str>,
    /// Two accounts cannot have one address; the second is answered with 500.
    pub email_unique: bool,
    /// What a page holds at most.
    pub page_cap: usize,
    /// What the server says a page holds at most.
    pub page_told: usize,
    /// What is counted.
    pub counted: Counted,
    /// So many operations are taken in one request; 0 for none, as the server says.
    pub bulk: usize,
    /// Resources have versions.
    pub etag: bool,
    /// The versions are weak ones (RFC 9110, section 8.8.1), as in the examples of RFC 7644.
    pub etag_weak: bool,
    /// Who is not there is answered with a page for people instead of the standard's form.
    pub absent_page: bool,
    /// Answers to several operations in one request come in another order, without the operation's `bulkId`.
    pub bulk_reversed: bool,
    /// Positions beyond the first page are refused.
    pub one_page: bool,
    /// Lists can be walked by cursor, and the server says so.
    pub cursor: bool,
    /// Truth values are written as text.
    pub booleans_as_text: bool,
    /// When an account's groups are told.
    pub groups_told: Told,
    /// When a group's members are told.
    pub members_told: Told,
    /// Given and family name are kept, `displayName` is not, and `name.formatted` is made of the two.
    pub names_apart: bool,
    /// Logins are kept in lower case.
    pub lower_logins: bool,
    /// There are no groups.
    pub no_groups: bool,
    /// The server does not describe itself.
    pub discovery_off: bool,
    /// The base that it has for itself, where a proxy in front gives it another address.
    pub own_base: Option<&'static str>,
    /// Attributes that lists do not tell.
    pub not_in_lists: Vec<&'static str>,
    /// Attributes that are refused.
    pub refuses: Vec<&'static str>,
    /// Attributes that are taken, and not kept.
    pub drops: Vec<&'static str>,
    /// A field that is not as it should be (RFC 7643, section 2.5: null and an empty array are as none).
    pub odd: Option<Odd>,
    /// How long an access token lives; seconds.
    pub token_life: u64,
}

impl Default for ScimSwitches {
    fn default() -> Self {
        Self {
            patch: true,
            patch_announced: true,
            patch_tells: true,
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
            groups_told: Told::Always,
            members_told: Told::Always,
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

impl Odd {
    /// Makes an answer odd.
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
    /// As Keycloak 26.7.0 was seen to do, see `docs/targets/scim.md`.
    pub fn keycloak() -> Self {
        Self {
            member_removal: MemberRemoval::FilterElseNothing,
            filter_external_id: false,
            put_clears: false,
            email_unique: true,
            page_cap: 100,
            page_told: 100,
            bulk: 0,
            groups_told: Told::OnRequest,
            members_told: Told::OnRequest,
            names_apart: true,
            lower_logins: true,
            ..Self::default()
        }
    }
}
