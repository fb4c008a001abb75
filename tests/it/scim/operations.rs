//! Operations on a SCIM server; the tests with a real one use them too.

use jiff::{SignedDuration, Timestamp};
use usersync::{
    model::{Account, ErrorClass, Operation, TargetGroupId, UserFields},
    targets::{NoteState, TargetErrorKind, TargetInfo},
};

pub fn soon() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(30)
}

pub fn not_done(class: ErrorClass) -> TargetErrorKind {
    TargetErrorKind::NotDone(class)
}

pub fn create(name: &str) -> Operation {
    let email = Some(format!("{name}@example.org"));
    Operation::CreateUser {
        name: name.to_owned(),
        fields: UserFields { display_name: Some(format!("{name} Example")), email, ..UserFields::default() },
        external_id: Some(format!("id-of-{name}").into()),
    }
}

pub fn update(account: &Account, display_name: Option<&str>, email: Option<&str>) -> Operation {
    let fields = UserFields {
        display_name: display_name.map(str::to_owned),
        email: email.map(str::to_owned),
        ..UserFields::default()
    };
    Operation::UpdateUser { account: account.id.clone(), name: account.name.clone(), fields }
}

pub fn rename(account: &Account, to: &str) -> Operation {
    Operation::RenameUser { account: account.id.clone(), name: account.name.clone(), to: to.to_owned() }
}

pub fn set_active(account: &Account, active: bool) -> Operation {
    let (account, name) = (account.id.clone(), account.name.clone());
    if active {
        Operation::ActivateUser { account, name, gives: Vec::new() }
    } else {
        Operation::DeactivateUser { account, name, takes: Vec::new() }
    }
}

pub fn delete(account: &Account) -> Operation {
    Operation::DeleteUser { account: account.id.clone(), name: account.name.clone() }
}

pub fn delete_group(id: &TargetGroupId, name: &str) -> Operation {
    Operation::DeleteGroup { group: id.clone(), name: name.to_owned() }
}

/// Returns the lines of a first contact about a topic.
pub fn lines(info: &TargetInfo, about: &str) -> Vec<(NoteState, String)> {
    info.notes.iter().filter(|note| note.about == about).map(|note| (note.state, note.text.clone())).collect()
}
