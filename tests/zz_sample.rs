#[path = "cli/place.rs"]
#[allow(dead_code)]
mod place;
use usersync::sandbox::{
    house::{Grounds, HouseOptions},
    jira::NewAccount,
    keycloak::{NewUser, UserChange},
};
#[tokio::test]
async fn sample() {
    let grounds = Grounds::prepare(HouseOptions::default()).await.unwrap();
    grounds.realm.import_group("/engineering").unwrap();
    let staff = (0..60).map(|n| NewUser::named(format!("staff{n}")).in_groups(&["/engineering"]));
    grounds.realm.import_users(staff).unwrap();
    grounds.jira.add_account(NewAccount::named("staff7"));
    let place = place::Place::at(&grounds);
    for args in [
        &["check"][..],
        &["plan"],
        &["sync"],
        &["status"],
        &["held", "show", "1"],
        &["held", "approve", "1"],
        &["sync"],
        &["status"],
        &["explain", "staff3"],
        &["changes", "--limit", "3"],
        &["runs"],
        &["keycloak", "setup", "--help"],
    ] {
        let ran = place.run(args).await;
        println!("$ usersync {}   (exit {})\n{}{}", args.join(" "), ran.code, ran.out, ran.err);
    }
    let id = grounds.realm.snapshot().user("staff1").map(|u| u.id.clone()).unwrap();
    grounds.realm.change_quietly(&id, &UserChange::enabled(false)).unwrap();
    for args in [&["plan", "--list"][..], &["sync", "staff1"], &["explain", "staff1"]] {
        let ran = place.run(args).await;
        println!("$ usersync {}   (exit {})\n{}{}", args.join(" "), ran.code, ran.out, ran.err);
    }
}
