//! `usersync policy test`: tests of the policy, without servers, store and secrets.

use super::{place::Place, schemas::assert_valid};

const TESTS: &str = r#"
[connector.policy.scope]
excluded_logins = ["svc-*"]
condition = "{{ attributes.type != 'contractor' }}"

[connector.policy.groups]
named_by = "path"
excluded = ["/hr/**"]

[[connector.group_test]]
path = "/eng/platform"
expect = "eng-platform"

[[connector.group_test]]
path = "/hr/pay"
expect = false

[[connector.user_test]]
name = "contractors stay out"
user = { username = "bob", email = "bob@example.org", groups = ["/staff"], attributes = { type = ["contractor"] } }
in_scope = false
login = false

[[connector.user_test]]
name = "employees come in"
user = { username = "Ann", first_name = "Ann", last_name = "Lee", email = "ann@example.org", groups = ["/eng/platform", "/hr/pay"] }
in_scope = true
groups = ["eng-platform"]
login = "ann"
display_name = "Ann Lee"
email = "ann@example.org"
"#;

fn place_with(tests: &str) -> Place {
    let place = Place::nowhere();
    place.configure(|text| format!("{text}{tests}"));
    place
}

#[tokio::test]
async fn tests_that_pass_are_counted_without_a_server_a_store_or_secrets() {
    let place = place_with(TESTS);
    place.configure(|text| text.replace("token = \"very-secret-token-of-jira\"", "token_file = \"not-there\""));
    place.run(&["config", "check"]).await.ended(2).complains("not-there");
    place.run(&["policy", "test"]).await.ended(0).says("All 4 tests pass.");
    assert!(!place.store_file().exists());
    let (code, document) = place.json(&["policy", "test", "--connector", "acme"]).await;
    assert_eq!((code, &document["passed"], &document["failed"]), (0, &4.into(), &0.into()));
    assert_valid(&["policy", "test"], &document);
    place.run(&["policy", "test", "--connector", "acmee"]).await.ended(2).complains("did you mean acme?");
    place.configure(|text| format!("{text}\n[connector.policy.targets.jira.groups]\nexcluded = [\"/eng\"]\n"));
    let own = "name: expected \"eng-platform\", actual not synced, because left out by targets.jira.groups.excluded";
    place.run(&["policy", "test"]).await.ended(1).says(own);
}

#[tokio::test]
async fn a_test_that_fails_names_expected_and_actual_value_and_the_reason() {
    let wrong = r#"
[[connector.group_test]]
path = "/eng/platform"
expect = "platform"

[[connector.user_test]]
name = "service accounts come in"
user = { username = "svc-ci" }
in_scope = true
login = "svc-ci"
"#;
    let place = place_with(&format!("{TESTS}{wrong}"));
    let file = place.file("results.xml");
    let ran = place.run(&["policy", "test", "--junit", "results.xml"]).await;
    ran.ended(1)
        .says("no    /eng/platform  acme  ")
        .says("usersync.toml:")
        .says("name: expected \"platform\", actual \"eng-platform\"")
        .says("no    service accounts come in  acme  ")
        .says("in scope: expected yes, actual no, because its login matches svc-* of excluded_logins")
        .says("login: expected \"svc-ci\", actual none, because it is not in scope: its login matches svc-*")
        .says("2 tests fail, 4 tests pass.");
    let xml = std::fs::read_to_string(file).expect("written");
    assert!(xml.contains("<testsuite name=\"acme\" tests=\"6\" failures=\"2\""), "{xml}");
    assert!(xml.contains("<failure message=\"in scope: expected yes, actual no, because its login"), "{xml}");
    let (code, document) = place.json(&["policy", "test"]).await;
    assert_eq!((code, &document["failed"]), (1, &2.into()));
    assert_valid(&["policy", "test"], &document);
    let lines: Vec<&str> = std::str::from_utf8(ran.out.as_bytes()).expect("text").lines().collect();
    let text = std::fs::read_to_string(place.file("usersync.toml")).expect("read");
    let line = text.lines().position(|line| line == "name = \"service accounts come in\"").expect("there");
    assert!(lines.iter().any(|shown| shown.ends_with(&format!("usersync.toml:{line}"))), "{line}: {ran}");
    place.run(&["policy", "test", "--junit", "no/such/folder.xml"]).await.ended(1).complains("cannot be written");
}

#[tokio::test]
async fn without_a_test_it_says_how_to_write_one() {
    let ran = Place::nowhere().run(&["policy", "test"]).await;
    ran.ended(0).says("0 tests: ").says("[[connector.user_test]]").says("usersync policy test --help");
}
