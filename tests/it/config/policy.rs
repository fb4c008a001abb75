//! The settings of a connector's policy.

use std::path::Path;

use usersync::{
    config::{Config, Env},
    model::{Empty, When},
    targets::{
        CaseRule,
        scim::{Habits, Names},
    },
};

use super::{Folder, SMALL, small, with_connector};

/// Returns a target of kind crowd, and a connector that fills it with these lines appended.
fn with_crowd(lines: &str) -> String {
    let text = SMALL.replace("kind = \"jira\"", "kind = \"crowd\"\nuser = \"usersync\"");
    format!("{}\n{lines}\n", text.replace("token_file = \"jira.token\"", "password_file = \"jira.token\""))
}

/// Returns a target of kind scim, and a connector that fills it with these lines appended.
fn with_scim(lines: &str) -> String {
    let text = SMALL.replace("kind = \"jira\"", "kind = \"scim\"");
    format!("{text}\n{lines}\n")
}

#[test]
fn further_attributes_are_read_with_their_templates_and_passed_to_the_target() {
    let text = with_scim(
        "[connector.policy.targets.jira-prod.attributes]\ntitle = \"{{ attributes.title }}\"\n\
         'phoneNumbers[type eq \"work\"].value' = { template = \"{{ attributes.phone }}\", when = \"create\", empty = \"clear\" }",
    );
    let config = Folder::new().load(&text).unwrap();
    let rules = config.connectors[0].policy.account_rules(&config.targets[0].name).attributes;
    let phone = &rules["phoneNumbers[type eq \"work\"].value"];
    assert_eq!((phone.when, phone.empty), (When::Create, Empty::Clear));
    let title = &rules["title"];
    assert_eq!((title.template.to_string().as_str(), title.when), ("{{ attributes.title }}", When::Always));
    assert_eq!(config.targets[0].attributes.iter().collect::<Vec<_>>(), rules.keys().collect::<Vec<_>>());
    let none = Folder::new().load(SMALL).unwrap();
    assert!(none.targets[0].attributes.is_empty() && none.connectors[0].policy.targets.is_empty());
}

#[test]
fn a_scim_servers_habits_are_read_and_mistakes_in_them_are_reported() {
    let with =
        |habits: &str| SMALL.replace("kind = \"jira\"", "kind = \"scim\"").replace("\n\n", &format!("\n{habits}\n\n"));
    let config =
        Folder::new().load(&with("habits = { patch = false, names = \"split\", group_case = \"sensitive\" }")).unwrap();
    let habits = &config.targets[0].habits;
    assert_eq!(
        (habits.patch, habits.names, habits.group_case),
        (Some(false), Some(Names::Split), Some(CaseRule::Sensitive))
    );
    assert_eq!(Folder::new().load(&with("")).unwrap().targets[0].habits, Habits::default());
    for (habits, reported) in [
        ("habits = { pach = true }", "usersync.toml:6:12: target jira-prod: habits.pach: `pach` is not known here"),
        ("habits = { names = \"all\" }", "habits.names: `all` is not known here"),
        ("habits = 1", "habits: this is a whole number, but a table is expected"),
    ] {
        let errors = Folder::new().errors(&with(habits));
        assert!(errors.contains(reported), "{errors}");
    }
    let jira = Folder::new().errors(&SMALL.replace("\n\n", "\nhabits = { patch = true }\n\n"));
    assert!(jira.contains("habits: this is for kind scim, and the target is a jira"), "{jira}");
}

#[test]
fn mistakes_in_further_attributes_are_reported_with_their_location() {
    let lines = SMALL.lines().count();
    for (attribute, reported) in [
        (
            "title = \"{{ title }}\"",
            "this template is invalid: unknown variable title: custom attributes are written as attributes.title",
        ),
        ("title = \"{{ email | shout }}\"", "this template is invalid: unknown filter"),
        ("title = { template = \"{{\" }", "this template is invalid: syntax error"),
        ("title = { template = \"x\", wenn = \"create\" }", "`wenn` is not known here"),
        ("title = { template = \"x\", when = \"never\" }", "`never` is not known here"),
        ("title = { when = \"create\" }", "there is no `template`"),
        ("title = 7", "a template is expected"),
        ("userName = \"{{ email }}\"", "userName is written by usersync itself; remove it"),
        ("'a b' = \"x\"", "\"a b\" is not a valid attribute path"),
    ] {
        let text = with_scim(&format!("[connector.policy.targets.jira-prod.attributes]\n{attribute}"));
        let errors = Folder::new().load(&text).expect_err(attribute);
        assert!(errors.to_string().contains(reported), "{attribute}\n{errors}");
        assert_eq!(errors.problems().len(), 1, "{errors}");
        assert!(
            !attribute.contains("{{") || errors.to_string().contains(attribute),
            "a template is no secret: {errors}"
        );
        let (line, _) = errors.problems()[0].position().expect("a place");
        assert!(line > lines + 1, "{attribute}: line {line}");
    }
    let other = "[connector.policy.targets.jira-prot.attributes]\ntitle = \"x\"";
    let errors = Folder::new().load(&with_scim(other)).expect_err("another target").to_string();
    assert!(errors.contains("the connector does not fill this target") && errors.contains("`jira-prod`"), "{errors}");
    let jira = format!("{SMALL}\n[connector.policy.targets.jira-prod.attributes]\ntitle = \"x\"\n");
    let errors = Folder::new().load(&jira).expect_err("Jira has none").to_string();
    assert!(errors.contains("a target of kind jira does not support further attributes"), "{errors}");
}

#[test]
fn matching_is_read_for_all_targets_and_for_one() {
    let text = with_connector(
        "[connector.policy.matching]\nby = [\"email\", { login = \"{{ attributes.old }}\" }]\n\
         [connector.policy.targets.jira-prod.matching]\nby = [\"login\", \"email\"]\nunverified_email = true",
    );
    let config = Folder::new().load(&text).unwrap();
    let policy = &config.connectors[0].policy;
    let words = |target: &str| {
        let matching = policy.account_rules(&target.into()).matching;
        let by = matching.by.iter().map(|key| key.matched_by().to_string()).collect::<Vec<_>>().join(", ");
        (by, matching.unverified_email)
    };
    assert_eq!(words("jira-prod"), ("login, e-mail address".to_owned(), true));
    assert_eq!(words("other"), ("e-mail address, another login".to_owned(), false));
}

#[test]
fn a_key_by_which_a_target_cannot_be_searched_is_an_error_with_its_place() {
    let wiki = SMALL.replace("kind = \"jira\"", "kind = \"confluence\"");
    let scim = SMALL.replace("kind = \"jira\"", "kind = \"scim\"");
    let id = "{ attribute = \"externalId\", equals = \"{{ id }}\" }";
    let own = "give this target keys of its own: [connector.policy.targets.jira-prod.matching] with by = [\"login\"]";
    for (text, lines, line, reported, help) in [
        (
            &wiki,
            "matching]\nby = [\"login\", \"email\"]".to_owned(),
            15,
            "target jira-prod (kind confluence) cannot search accounts by e-mail address",
            own,
        ),
        (
            &wiki,
            "targets.jira-prod.matching]\nby = [\"email\"]".to_owned(),
            15,
            "target jira-prod (kind confluence) cannot search accounts by e-mail address",
            own,
        ),
        (
            &SMALL.to_owned(),
            format!("matching]\nby = [\n\"login\",\n{id}]"),
            17,
            "target jira-prod (kind jira) cannot search accounts by attribute `externalId`",
            own,
        ),
        (
            &scim,
            "matching]\nby = [{ attribute = \"userName\", equals = \"{{ id }}\" }]".to_owned(),
            15,
            "userName is written by usersync itself",
            own,
        ),
        (
            &scim,
            "matching]\nby = [\"email\", \"login\", \"email\"]".to_owned(),
            15,
            "this key is listed twice",
            "remove one of the two",
        ),
        (&scim, "matching]\nby = [{ login = \"old\" }]".to_owned(), 15, "this is no template", "docs/templates.md"),
        (
            &scim,
            "matching]\nby = [\"mail\"]".to_owned(),
            15,
            "this is not a key of matching",
            "write \"login\", \"email\"",
        ),
        (
            &scim,
            "matching]\nby = [{ login = \"{{ old }}\" }]".to_owned(),
            15,
            "this template is invalid: unknown variable old",
            "",
        ),
    ] {
        let errors = Folder::new().load(&format!("{text}\n[connector.policy.{lines}\n")).expect_err(&lines);
        let [problem] = errors.problems() else { panic!("{lines}: {errors}") };
        assert_eq!(problem.position().map(|(line, _)| line), Some(line), "{lines}: {problem}");
        assert!(problem.message().contains(reported) && problem.to_string().contains(help), "{lines}: {problem}");
    }
    let mixed = format!(
        "{wiki}\n[connector.policy.matching]\nby = [\"email\"]\n[connector.policy.targets.jira-prod.matching]\nby = [\"login\"]\n"
    );
    assert!(Folder::new().load(&mixed).is_ok(), "the target has keys of its own");
    let attribute = format!("{scim}\n[connector.policy.matching]\nby = [{id}]\n");
    let config = Folder::new().load(&attribute).unwrap();
    assert_eq!(config.targets[0].match_attributes, ["externalId".to_owned()].into());
}

#[test]
fn templates_of_accounts_are_read_for_all_targets_and_for_one() {
    let text = with_connector(
        "[connector.policy.account]\nlogin = \"{{ username | strip_domain }}\"\n\
         [connector.policy.targets.jira-prod.account]\nemail = { template = \"{{ attributes.mail }}\", when = \"create\" }",
    );
    let config = Folder::new().load(&text).unwrap();
    let rules = config.connectors[0].policy.account_rules(&config.targets[0].name);
    assert_eq!(
        rules.login.map(|rule| (rule.template.to_string(), rule.when)),
        Some(("{{ username | strip_domain }}".into(), When::Always))
    );
    assert_eq!(
        rules.email.map(|rule| (rule.template.to_string(), rule.when)),
        Some(("{{ attributes.mail }}".into(), When::Create))
    );
    assert!(rules.display_name.is_none());
    for (lines, reported) in [
        (
            "[connector.policy.account]\nlogin = \"{{ uid }}\"",
            "usersync.toml:14:9: connector acme: policy.account.login: this template is invalid: unknown variable uid",
        ),
        ("[connector.policy.account]\nname = \"x\"", "policy.account.name: `name` is not known here"),
        (
            "[connector.policy.account]\nemail = { template = \"x\", empty = \"clear\" }",
            "usersync.toml:14:1: connector acme: policy.account.email: empty = \"clear\" is only for further attributes",
        ),
        (
            "[connector.policy.targets.jira-prod.account]\nlogin = { template = \"x\", empty = \"clear\" }",
            "policy.targets.jira-prod.account.login: empty = \"clear\" is only for further attributes",
        ),
    ] {
        let errors = Folder::new().errors(&with_connector(lines));
        assert!(errors.contains(reported), "{lines}\n{errors}");
        assert!(!reported.contains("template is invalid") || errors.contains("docs/templates.md"), "{errors}");
    }
    for condition in ["{{ enabled }}", "{% if enabled %}true{% else %}false{% endif %}"] {
        Folder::new()
            .load(&with_connector(&format!("policy.scope.condition = \"{condition}\"")))
            .unwrap_or_else(|errors| panic!("{condition}: {errors}"));
    }
}

#[test]
fn a_crowd_accepts_attributes_of_any_name_but_its_own() {
    let lines = |attribute: &str| with_crowd(&format!("[connector.policy.targets.jira-prod.attributes]\n{attribute}"));
    let config = Folder::new().load(&lines("title = \"{{ attributes.title }}\"\n'cost centre' = \"x\"")).unwrap();
    assert_eq!(config.targets[0].attributes, ["cost centre", "title"].map(str::to_owned).into());
    for (attribute, reported) in [
        ("lastAuthenticated", "lastAuthenticated is reserved for what Crowd or Jira records about passwords"),
        ("'login.count'", "login.count is reserved for what Crowd or Jira records"),
        ("\"\"", "an attribute in Crowd needs a name"),
        ("\"a\\nb\"", "is not a valid attribute name in Crowd"),
    ] {
        let errors = Folder::new().errors(&lines(&format!("{attribute} = \"x\"")));
        assert!(errors.contains(reported) && errors.contains("usersync.toml:16:"), "{attribute}\n{errors}");
    }
}

#[test]
fn mistakes_in_tests_of_the_policy_are_reported_with_their_location() {
    let folder = Folder::new();
    let group = |lines: &str| with_connector(&format!("[[connector.group_test]]\n{lines}"));
    let user = |lines: &str| with_connector(&format!("[[connector.user_test]]\nname = \"one\"\n{lines}"));
    for (text, expected) in [
        (group("path = \"/a\""), "usersync.toml:13:1: connector acme: group_test: there is no `expect`"),
        (
            group("path = \"a\"\nexpect = false"),
            "usersync.toml:14:8: connector acme: group_test.path: `a` is not a group's path",
        ),
        (
            group("path = \"/a\"\nexpect = 7"),
            "usersync.toml:15:10: connector acme: group_test.expect: a string in quotes, or false for none, is expected",
        ),
        (
            group("path = \"/a\"\nexpect = false\ntarget = \"jira-prd\""),
            "usersync.toml:16:10: connector acme: group_test.target: the connector does not fill `jira-prd`",
        ),
        (
            with_connector("group_test = 1"),
            "usersync.toml:13:14: connector acme: group_test: this is a whole number, but a list of tables is expected",
        ),
        (
            user("user = { username = \"bob\" }\nlogn = \"bob\""),
            "usersync.toml:16:1: connector acme: user_test.logn: `logn` is not known here",
        ),
        (
            user("user = { username = \"bob\", groups = [\"staff\"] }\nin_scope = true"),
            "usersync.toml:15:8: connector acme: user_test.user: `staff` is not a group's path",
        ),
        (
            user("user = { username = \"bob\", attributes = { type = \"x\" } }\nin_scope = true"),
            "connector acme: user_test.user.attributes.type: a list is expected",
        ),
        (user("user = { username = \"bob\" }"), "usersync.toml:14:8: connector acme: user_test: `one` expects nothing"),
        (
            user("user = { username = \"bob\" }\nin_scope = \"no\""),
            "usersync.toml:16:12: connector acme: user_test.in_scope: true or false, without quotes, is expected",
        ),
    ] {
        let errors = folder.errors(&text);
        assert!(errors.contains(expected), "{text}\n{errors}");
        assert!(errors.ends_with("\n1 error in the configuration."), "{errors}");
    }
}

#[test]
fn without_files_secrets_and_certificates_are_not_read_but_all_else_is_checked() {
    let folder = Folder::new();
    let text = small("jira.token", "none.token").replace("client.secret", "none.secret");
    let path = folder.write("usersync.toml", &format!("{text}ca_file = \"none.pem\"\n"));
    let without = |path: &Path| Config::find_and_load_without_files(Some(path), &Env::of([("NONE", "")]));
    assert_eq!(without(&path).unwrap().connectors.len(), 1);
    let path = folder.write("usersync.toml", &format!("{text}parallel = 65\n"));
    assert!(without(&path).unwrap_err().to_string().contains("65 is not 1 to 64"));
}

#[test]
fn all_mistakes_in_a_policy_are_reported() {
    let errors = Folder::new().errors(&with_connector(
        "[connector.policy]\nfirst_run = 1\nadopt = \"x\"\n[connector.policy.safety]\ncount = \"a\"\nremove_members_percent = 51.5\nperzent = 1",
    ));
    for line in ["14:13:", "15:9:", "17:9:", "18:26:", "19:1:"] {
        assert!(errors.contains(&format!("usersync.toml:{line} connector acme: policy.")), "{line}\n{errors}");
    }
}
