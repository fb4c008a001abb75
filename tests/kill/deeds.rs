//! Changes in Keycloak, and the one write to each kind of target that each causes.
//!
//! Deletions of users and groups are left out: neither the planner nor the engine ever sends them. An account is
//! deactivated when its user is deleted in Keycloak, and a deleted group is released.

use jiff::SignedDuration;
use usersync::{
    demo::targets::Product,
    model::{ChangeOutcome, Subject},
};
use usersync_simulators::keycloak::{NewUser, RealmHandle, UserChange};

/// A kind of target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jira,
    Other(Product),
}

/// A change in Keycloak that is one operation on a target, or one more after earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Create,
    Update,
    ChangeEmail,
    Rename,
    Deactivate,
    Activate,
    CreateGroup,
    RenameGroup,
    AddMember,
    /// A new user is added to two groups: both are stored together.
    AddMembers,
    RemoveMember,
}

/// Moment of the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The target has done it; its answer is lost.
    Done,
    /// The target has read the request, and never does it.
    NeverDone,
    /// The target does it after the process is gone and the next one runs.
    DoneLater,
}

/// Result of a deed on one target.
pub struct Expected {
    /// Number of writes that the target does, including those before the one that is cut off.
    pub writes: usize,
    /// The recorded changes, oldest first.
    pub changes: Vec<(&'static str, ChangeOutcome)>,
}

impl When {
    pub const ALL: [Self; 3] = [Self::Done, Self::NeverDone, Self::DoneLater];

    /// Returns the timeout of a write. A request can arrive until then, and no worker checks it earlier. It is long
    /// enough for a busy machine to get a write to every target, a kill, and the next process to its work where needed.
    /// It is short enough to wait for.
    pub fn call(self) -> SignedDuration {
        SignedDuration::from_secs(if self == Self::DoneLater { 25 } else { 10 })
    }

    /// Returns whether the write that is cut off takes effect.
    pub fn takes_effect(self) -> bool {
        self != Self::NeverDone
    }
}

impl Deed {
    /// All deeds, one row per world; those that a target does not support come last.
    pub const WORLDS: [&[Self]; 4] = [
        &[Self::Create, Self::Update, Self::RemoveMember, Self::RenameGroup],
        &[Self::AddMember, Self::AddMembers, Self::CreateGroup],
        &[Self::ChangeEmail, Self::Deactivate],
        &[Self::Activate, Self::Rename],
    ];

    /// Returns the name of the operation. A group is recreated if the target cannot rename.
    pub fn verb(self, kind: Kind) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update | Self::ChangeEmail => "update",
            Self::Rename => "rename",
            Self::Deactivate => "deactivate",
            Self::Activate => "activate",
            Self::CreateGroup => "create_group",
            Self::RenameGroup if kind == Kind::Other(Product::Scim) => "rename_group",
            Self::RenameGroup => Self::CreateGroup.verb(kind),
            Self::AddMember | Self::AddMembers => "add_member",
            Self::RemoveMember => "remove_member",
        }
    }

    /// Returns method and part of the path of the write; `None`: the target does not support it.
    pub fn write(self, kind: Kind) -> Option<(&'static str, &'static str)> {
        Some(match (kind, self) {
            (kind, Self::RenameGroup) if kind != Kind::Other(Product::Scim) => return Self::CreateGroup.write(kind),

            (Kind::Jira, Self::Create) => ("POST", "/api/2/user"),
            (Kind::Jira, Self::Update | Self::ChangeEmail | Self::Rename | Self::Deactivate | Self::Activate) => {
                ("PUT", "/api/2/user?")
            }
            (Kind::Jira, Self::CreateGroup) => ("POST", "/api/2/group"),
            (Kind::Jira, Self::AddMember | Self::AddMembers) => ("POST", "/api/2/group/user?"),
            (Kind::Jira, Self::RemoveMember) => ("DELETE", "/api/2/group/user?"),

            (Kind::Other(Product::Confluence), Self::Rename) => return None,
            (Kind::Other(Product::Confluence), Self::Create) => ("POST", "/admin/user"),
            (Kind::Other(Product::Confluence), Self::Update | Self::ChangeEmail) => ("PUT", "/admin/user/"),
            (Kind::Other(Product::Confluence), Self::Deactivate) => ("PUT", "/disable"),
            (Kind::Other(Product::Confluence), Self::Activate) => ("PUT", "/enable"),
            (Kind::Other(Product::Confluence), Self::CreateGroup) => ("POST", "/admin/group"),
            (Kind::Other(Product::Confluence), Self::AddMember | Self::AddMembers) => ("PUT", "/group/"),
            (Kind::Other(Product::Confluence), Self::RemoveMember) => ("DELETE", "/group/"),

            (Kind::Other(Product::Bitbucket), Self::Create) => ("POST", "/admin/users?"),
            (Kind::Other(Product::Bitbucket), Self::Update | Self::ChangeEmail) => ("PUT", "/admin/users"),
            (Kind::Other(Product::Bitbucket), Self::Rename) => ("POST", "/admin/users/rename"),
            (Kind::Other(Product::Bitbucket), Self::Deactivate | Self::RemoveMember) => {
                ("POST", "/admin/users/remove-group")
            }
            (Kind::Other(Product::Bitbucket), Self::Activate | Self::AddMembers) => ("POST", "/admin/users/add-groups"),
            (Kind::Other(Product::Bitbucket), Self::CreateGroup) => ("POST", "/admin/groups?"),
            (Kind::Other(Product::Bitbucket), Self::AddMember) => ("POST", "/admin/groups/add-users"),

            (Kind::Other(Product::Crowd), Self::Create) => ("POST", "/1/user"),
            (Kind::Other(Product::Crowd), Self::Rename) => ("POST", "/1/user/rename?"),
            (Kind::Other(Product::Crowd), Self::Update | Self::ChangeEmail | Self::Deactivate | Self::Activate) => {
                ("PUT", "/1/user?")
            }
            (Kind::Other(Product::Crowd), Self::CreateGroup) => ("POST", "/1/group"),
            (Kind::Other(Product::Crowd), Self::AddMember | Self::AddMembers) => ("POST", "/1/group/user/direct?"),
            (Kind::Other(Product::Crowd), Self::RemoveMember) => ("DELETE", "/1/group/user/direct?"),

            (Kind::Other(Product::Scim), Self::Create) => ("POST", "/Users"),
            (
                Kind::Other(Product::Scim),
                Self::Update | Self::ChangeEmail | Self::Rename | Self::Deactivate | Self::Activate,
            ) => ("PATCH", "/Users/"),
            (Kind::Other(Product::Scim), Self::CreateGroup) => ("POST", "/Groups"),
            (_, Self::AddMember | Self::RemoveMember | Self::RenameGroup) => ("PATCH", "/Groups/"),
            (Kind::Other(Product::Scim), Self::AddMembers) => ("POST", "/Bulk"),
        })
    }

    /// Returns the number of stored operations at the kill.
    pub fn stored_intents(self) -> usize {
        if self == Self::AddMembers { 2 } else { 1 }
    }

    /// Returns the final result.
    pub fn expected(self, kind: Kind, when: When) -> Expected {
        use ChangeOutcome::{Done, FoundDone, FoundNotDone, NotSeen};
        let verb = self.verb(kind);
        // Confluence does not show addresses: whether one was written cannot be read, so it is written again.
        let unseen = (kind, self) == (Kind::Other(Product::Confluence), Self::ChangeEmail);
        let found = match (unseen, when.takes_effect()) {
            (true, _) => NotSeen,
            (false, true) => FoundDone,
            (false, false) => FoundNotDone,
        };
        let mut changes = vec![(verb, found.clone())];
        let mut writes = if when.takes_effect() && unseen { 2 } else { 1 };
        if self == Self::AddMembers {
            changes.insert(0, ("create", Done));
            writes += 1;
            if matches!(kind, Kind::Other(Product::Bitbucket | Product::Scim)) {
                // One call for both.
                changes.push((verb, found));
            } else {
                // The second one was not sent yet.
                changes.push((verb, FoundNotDone));
                writes += 1;
            }
        }
        let again = changes.iter().filter(|(_, outcome)| matches!(outcome, FoundNotDone | NotSeen)).count();
        changes.extend(std::iter::repeat_n((verb, Done), again));
        Expected { writes, changes }
    }

    /// Disables the user that is activated later.
    pub async fn keep_out(realm: &RealmHandle) {
        let id = realm.snapshot().user(Self::Activate.whom()).expect("imported").id.clone();
        realm.update_user(&id, UserChange::enabled(false)).await.expect("changed");
    }

    /// Makes the change in Keycloak; returns the subject of its task.
    pub async fn act(self, realm: &RealmHandle) -> Subject {
        match self {
            Self::Create => Subject::user(realm.create_user(NewUser::named("new")).await.expect("made")),
            Self::AddMembers => {
                let user = NewUser::named("new-in-two").in_groups(&["/more", "/others"]);
                Subject::user(realm.create_user(user).await.expect("made"))
            }
            Self::CreateGroup => Subject::group(realm.create_group(None, "new-group").await.expect("made")),
            Self::RenameGroup => {
                let id = realm.snapshot().group("/teams").expect("there from the start").id.clone();
                realm.rename_group(&id, "teams-since").await.expect("renamed");
                Subject::group(id)
            }
            _ => Subject::user(self.change_somebody(realm).await),
        }
    }

    /// Returns the login of the changed user, which is in the group `staff` from the start; empty for a new user.
    fn whom(self) -> &'static str {
        match self {
            Self::Update => "updated",
            Self::ChangeEmail => "moved",
            Self::Rename => "renamed",
            Self::Deactivate => "leaver",
            Self::Activate => "returner",
            Self::AddMember => "joiner",
            Self::RemoveMember => "member",
            Self::Create | Self::AddMembers | Self::CreateGroup | Self::RenameGroup => "",
        }
    }

    async fn change_somebody(self, realm: &RealmHandle) -> String {
        let snapshot = realm.snapshot();
        let id = snapshot.user(self.whom()).expect("imported").id.clone();
        let group = |name: &str| {
            snapshot.groups.values().find(|group| group.name == name).expect("there from the start").id.clone()
        };
        let change = match self {
            Self::Update => UserChange { first_name: Some("Other".to_owned()), ..UserChange::default() },
            Self::ChangeEmail => UserChange::email("moved-away@example.org"),
            Self::Rename => UserChange::username(RENAMED.1),
            Self::Deactivate => UserChange::enabled(false),
            Self::Activate => UserChange::enabled(true),
            Self::AddMember => {
                realm.join(&id, &group("more")).await.expect("joined");
                return id;
            }
            Self::RemoveMember => {
                realm.leave(&id, &group("staff")).await.expect("left");
                return id;
            }
            Self::Create | Self::AddMembers | Self::CreateGroup | Self::RenameGroup => return id,
        };
        realm.update_user(&id, change).await.expect("changed");
        id
    }
}

/// Old and new login of the renamed user.
pub const RENAMED: (&str, &str) = ("renamed", "renamed-since");

/// A user that does not change.
pub const WITNESS: &str = "witness";

/// Fills a realm with enough users that one more or less stays below every safety limit.
pub async fn prepare(realm: &RealmHandle) {
    for group in ["more", "others", "teams"] {
        realm.create_group(None, group).await.expect("made");
    }
    let deeds = Deed::WORLDS.into_iter().flatten().map(|deed| deed.whom()).filter(|login| !login.is_empty());
    let staff = deeds.chain([WITNESS, "staff0", "staff1"]);
    realm.import_users(staff.map(|login| NewUser::named(login).in_groups(&["/staff"]))).expect("imported");
}
