//! Every write of every kind meets every fault. The result is correct, nothing is resent blindly, and a repetition
//! after the fault gives the expected state.

use std::time::Duration;

use futures::{StreamExt, future::BoxFuture, stream};
use usersync::{
    model::{Account, ErrorClass, Operation, TargetGroup},
    targets::{Applied, TargetError, TargetErrorKind},
};
use usersync_simulators::Fault;

use super::places::{
    self, Place, STEP_TIMEOUT, activate, deactivate, delete, fields, give, join, leave, rename, rename_group,
};

/// Possible result of an answer to a write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expected {
    /// The request may have arrived.
    Unanswered,
    /// Nothing was done, for this reason.
    Class(ErrorClass),
    /// Nothing was done, or the target was already as wanted: whichever is correct.
    Truth,
}

/// Name, fault, and result for most writes.
type Struck = (&'static str, fn() -> Fault, Expected);

/// Starts a place of one kind.
type Start = fn() -> BoxFuture<'static, Place>;

const FAULTS: &[Struck] = &[
    ("cut before", Fault::cut, Expected::Unanswered),
    ("cut after", Fault::cut_after, Expected::Unanswered),
    ("time-out before", || Fault::delay(STEP_TIMEOUT * 2), Expected::Unanswered),
    ("time-out after", || Fault::delay_after(STEP_TIMEOUT * 2), Expected::Unanswered),
    ("400", || Fault::status(400, "no"), Expected::Truth),
    ("401", || Fault::status(401, "no"), Expected::Class(ErrorClass::Credentials)),
    ("403", || Fault::status(403, "no"), Expected::Truth),
    ("404 of a proxy", || Fault::html(404, "<html>not here</html>"), Expected::Truth),
    ("409", || Fault::status(409, "busy"), Expected::Truth),
    ("429 with Retry-After", || Fault::too_many(1), Expected::Class(ErrorClass::Throttled)),
    ("429", || Fault::status(429, ""), Expected::Class(ErrorClass::Throttled)),
    ("500", || Fault::status(500, "{}"), Expected::Unanswered),
    ("502 in HTML", || Fault::html(502, "<html><b>Bad gateway</b></html>"), Expected::Unanswered),
    ("503", Fault::unavailable, Expected::Class(ErrorClass::Transient)),
    (
        "sign-in page",
        || Fault::login_redirect("https://sso.example.org/login"),
        Expected::Class(ErrorClass::Maintenance),
    ),
    ("200 in HTML", || Fault::html(200, "<html>Welcome</html>"), Expected::Unanswered),
    ("100 MiB", || Fault::new(usersync_simulators::fault::Kind::Huge(2 << 20)), Expected::Truth),
    ("truncated", || Fault::truncate(3), Expected::Truth),
];

/// Subjects of the writes.
struct Cast {
    person: Account,
    leaver: Account,
    group: TargetGroup,
    other: TargetGroup,
}

/// Name, and write.
type Write = (&'static str, fn(&Cast) -> Operation);

const WRITES: &[Write] = &[
    ("create", |_| Operation::CreateUser {
        name: "newcomer".to_owned(),
        fields: fields("New", "newcomer"),
        external_id: None,
    }),
    ("update", |cast| Operation::UpdateUser {
        account: cast.person.id.clone(),
        name: cast.person.name.clone(),
        fields: fields("Other Name", "other"),
    }),
    ("give an attribute", |cast| give(&cast.person, "title", "Dr")),
    ("take an attribute", |cast| give(&cast.person, "nickName", "")),
    ("rename", |cast| rename(&cast.person, "person.new")),
    ("deactivate", |cast| deactivate(&cast.person)),
    ("activate", |cast| activate(&cast.leaver)),
    ("delete", |cast| delete(&cast.person)),
    ("create group", |_| Operation::CreateGroup { name: "fresh".to_owned() }),
    ("rename group", |cast| rename_group(&cast.group, "renamed")),
    ("delete group", |cast| Operation::DeleteGroup { group: cast.other.id.clone(), name: cast.other.name.clone() }),
    ("add_member", |cast| join(&cast.person, &cast.other)),
    ("remove_member", |cast| leave(&cast.person, &cast.group)),
];

async fn cast(place: &Place) -> Cast {
    let (person, leaver) = (place.user("person").await, place.user("leaver").await);
    let (group, other) = (place.group("group").await, place.group("other").await);
    place.join(&person, &group).await;
    if place.info.capabilities.attributes {
        place.apply(&give(&person, "nickName", "Per")).await.expect("an attribute");
    }
    let (person, leaver) = (place.account(&person.id).await, place.account(&leaver.id).await);
    place.apply(&deactivate(&leaver)).await.expect("the leaver leaves");
    Cast { person, leaver, group, other }
}

/// Returns whether the result of an operation is in place.
async fn is_so(place: &Place, operation: &Operation) -> bool {
    let account = match operation.account() {
        Some(id) => place.target.account(id).await.expect("a look"),
        None => None,
    };
    let member = |group| account.as_ref().and_then(|one| one.groups.as_ref()).is_some_and(|all| all.contains(group));
    match operation {
        Operation::CreateUser { name, .. } => place.target.account_named(name).await.expect("a look").is_some(),
        Operation::UpdateUser { fields, .. } => {
            let named =
                |account: &Account| fields.display_name.as_ref().is_none_or(|name| account.display_name == *name);
            let given = |account: &Account| {
                fields.attributes.iter().all(|(name, wanted)| account.attributes.get(name) == Some(wanted))
            };
            account.is_some_and(|account| named(&account) && given(&account))
        }
        Operation::RenameUser { to, .. } => account.is_some_and(|account| account.name == *to),
        Operation::ActivateUser { gives, .. } => {
            account.is_some_and(|account| account.active && gives.iter().all(|one| account.access.contains(one)))
        }
        Operation::DeactivateUser { .. } => account.is_some_and(|account| !account.active),
        Operation::DeleteUser { .. } | Operation::AnonymizeUser { .. } => account.is_none(),
        Operation::CreateGroup { name } => place.target.group_named(name).await.expect("a look").is_some(),
        Operation::RenameGroup { group, to, .. } => {
            place.target.group_named(to).await.expect("a look").is_some_and(|found| found.id == *group)
        }
        Operation::DeleteGroup { name, .. } => place.target.group_named(name).await.expect("a look").is_none(),
        Operation::AddMember { group, .. } => member(group),
        Operation::RemoveMember { group, .. } => !member(group),
    }
}

fn writes(place: &Place) -> usize {
    place.journal.entries().iter().filter(|entry| entry.method != "GET").count()
}

/// A write, and the number of its call that the fault hits.
#[derive(Clone, Copy)]
struct Blow {
    write: usize,
    call: usize,
    calls: usize,
}

/// Runs one write with one fault; returns what is wrong with the result.
async fn meets(start: Start, blow: Blow, (fault, make, expected): &Struck) -> Vec<String> {
    let (name, operation) = WRITES[blow.write];
    let place = start().await;
    let operation = operation(&cast(&place).await);
    let mut wrong = Vec::new();
    let mut expect = |right: bool, what: String| {
        if !right {
            wrong.push(format!("{name} meets {fault} at call {}: {what}", blow.call + 1));
        }
    };
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        place.faults.add(make().method(method).after(u64::try_from(blow.call).expect("a small number")).once());
    }
    let before = writes(&place);
    let came = place.apply(&operation).await;
    let sent = writes(&place) - before;
    place.faults.clear();
    // A call that was cut off or late has its effect by now, if ever.
    if fault.starts_with("time-out") {
        tokio::time::sleep(STEP_TIMEOUT * 2 + Duration::from_millis(300)).await;
    }
    place.target.forget_refusal();
    let so = is_so(&place, &operation).await;
    match &came {
        Ok(_) => expect(so, "it says done, but it is not so".to_owned()),
        Err(error) => {
            expect(
                error.kind == TargetErrorKind::Unanswered || !so || matches!(operation, Operation::UpdateUser { .. }),
                format!("it says {:?}, but it was done: {error}", error.kind),
            );
            let clean = !error.text.contains('<') && !error.text.contains(&place.secret);
            expect(clean, format!("mark-up or a secret in its words: {error}"));
            let named = error.text.contains("person")
                || ["newcomer", "leaver", "fresh", "other", "renamed"].iter().any(|one| error.text.contains(one));
            expect(named, format!("it does not say to whom it happened: {error}"));
        }
    }
    // After a call that took effect, only a read shows what was done.
    let halfway = blow.call > 0 && came.as_ref().is_err_and(|error| error.kind == TargetErrorKind::Unanswered);
    expect(halfway || fits(&came, *expected), format!("came to {came:?}, which is not {expected:?}"));
    if *fault == "429 with Retry-After" && blow.call == 0 {
        let wait = came.as_ref().err().and_then(|error| error.retry_after).map(|wait| wait.as_secs());
        expect(wait == Some(1), format!("it does not tell how long to wait: {wait:?}"));
    }
    let again = place.apply(&operation).await;
    let settled = match &again {
        Ok(_) => true,
        Err(error) => so && error.kind == TargetErrorKind::NameTaken,
    };
    expect(settled, format!("doing it again came to {again:?}"));
    expect(is_so(&place, &operation).await, "doing it again did not bring it about".to_owned());
    // A fault may cause reads, but never a second send.
    expect(sent <= blow.calls, format!("{sent} writes were sent where {} are needed", blow.calls));
    wrong
}

fn fits(came: &Result<Applied, TargetError>, expected: Expected) -> bool {
    match (came, expected) {
        // A client that reads again may know more.
        (_, Expected::Truth) | (Ok(_), Expected::Unanswered) => true,
        (Ok(_), Expected::Class(_)) => false,
        (Err(error), Expected::Unanswered) => error.kind == TargetErrorKind::Unanswered,
        (Err(error), Expected::Class(class)) => error.kind == TargetErrorKind::NotDone(class),
    }
}

/// Returns how many calls an operation makes without a fault.
async fn calls_needed(start: Start, write: usize) -> usize {
    let place = start().await;
    let operation = WRITES[write].1(&cast(&place).await);
    let before = writes(&place);
    place.apply(&operation).await.expect("all is well");
    writes(&place) - before
}

/// Runs all supported writes with all faults, at each of their calls; returns the number of combinations.
async fn every_write_meets_every_fault(start: Start) -> usize {
    let place = start().await;
    let cast = cast(&place).await;
    let mut pairs = Vec::new();
    for (write, (_, operation)) in WRITES.iter().enumerate() {
        let can = match operation(&cast) {
            Operation::UpdateUser { fields, .. } if !fields.attributes.is_empty() => place.info.capabilities.attributes,
            Operation::RenameUser { .. } => place.info.capabilities.rename,
            Operation::DeleteUser { .. } => place.info.capabilities.delete,
            Operation::RenameGroup { .. } => place.info.capabilities.rename_group,
            _ => true,
        };
        if can {
            let calls = calls_needed(start, write).await;
            let blows = (0..calls).map(|call| Blow { write, call, calls });
            pairs.extend(blows.flat_map(|blow| FAULTS.iter().map(move |fault| (blow, fault))));
        }
    }
    let count = pairs.len();
    let met = stream::iter(pairs).map(|(blow, fault)| meets(start, blow, fault)).buffer_unordered(12);
    let wrong: Vec<String> = met.collect::<Vec<_>>().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    count
}

/// One test for each kind, with the total number of its writes' calls.
macro_rules! kinds {
    ($($kind:ident $calls:literal)*) => {
        $(
            #[tokio::test]
            async fn $kind() {
                let met = every_write_meets_every_fault(|| Box::pin(places::$kind())).await;
                println!("{}: {met} meetings of writes and faults", stringify!($kind));
                assert_eq!(met, $calls * FAULTS.len());
            }
        )*
    };
}

kinds! {
    jira 10
    crowd 12
    bitbucket 10
    scim 13
    scim_keycloak 13
    confluence 9
}
