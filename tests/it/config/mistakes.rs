//! Each mistake has its location and its message.

use usersync::config::Drawing;

use super::{Folder, HOOK, SMALL, small, with_connector, with_target};

/// Returns the complete text of the errors, so that positions, marks and advice are all checked.
#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let text = r#"[server]
behnd_proxy = true
[[target]]
name = "jira-prod"
kind = "jiro"
url = "https://jira.example.org"
token_file = "jira.token"
[[connector]]
name = "acme"
url = "https://sso.example.org"
client_secret_file = "client.secret"
targets = ["jira-prd"]
"#;
    assert_eq!(
        Folder::new().errors(text),
        r#"usersync.toml:2:1: unknown key `behnd_proxy` in [server]
    behnd_proxy = ****
    ^^^^^^^^^^^
    did you mean `behind_proxy`?
usersync.toml:5:8: target jira-prod: kind: `jiro` is not known here
    kind = "jiro"
           ^^^^^^
    did you mean `jira`?
usersync.toml:8:1: connector acme: `realm` is missing
    [[connector]]
    ^^^^^^^^^^^^^
    add realm = … (string): The realm whose users and groups are read.
usersync.toml:12:12: connector acme: targets: there is no target `jira-prd`
    targets = ["jira-prd"]
               ^^^^^^^^^^
    did you mean `jira-prod`?
4 errors in the configuration."#
    );
}

#[test]
fn a_key_of_one_kind_is_accepted_for_that_kind_only() {
    let folder = Folder::new();
    let bitbucket = SMALL.replace("kind = \"jira\"", "kind = \"bitbucket\"\ndefault_group = false\nuser = \"me\"");
    let bitbucket = bitbucket.replace("token_file", "password_file");
    let config = folder.load(&bitbucket).unwrap();
    assert_eq!((config.targets[0].kind.name, config.targets[0].default_group), ("bitbucket", false));
    let jira = SMALL.replace("kind = \"jira\"", "kind = \"jira\"\ndefault_group = false");
    let errors = Folder::new().errors(&jira);
    assert!(errors.contains("this is for kind bitbucket, and the target is a jira"), "{errors}");
    let lead = SMALL.replace("kind = \"jira\"", "kind = \"jira\"\nnew_lead = \"admin\"");
    assert_eq!(Folder::new().load(&lead).unwrap().targets[0].new_lead.as_deref(), Some("admin"));
    let wiki = SMALL.replace("kind = \"jira\"", "kind = \"confluence\"\nnew_lead = \"admin\"");
    let errors = Folder::new().errors(&wiki);
    assert!(errors.contains("this is for kind jira, and the target is a confluence"), "{errors}");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn each_mistake_has_its_location_and_its_message() {
    let two_targets = |name: &str, url: &str| {
        format!("{SMALL}[[target]]\nname = \"{name}\"\nkind = \"jira\"\nurl = \"{url}\"\ntoken_file = \"jira.token\"\n")
    };
    let cases: Vec<(String, &str)> = vec![
        // syntax
        ("[server\n".into(), "usersync.toml:1:8: this is not TOML: unclosed table, expected `]`"),
        (format!("{SMALL}realm = \"b\"\n"), "usersync.toml:13:1: this is not TOML: duplicate key"),
        // unknown keys
        (format!("[serverr]\n{SMALL}"), "usersync.toml:1:2: unknown key `serverr`\n"),
        (
            with_target("realm = \"x\""),
            "usersync.toml:4:1: unknown key `realm` in [[target]]\n    realm = \"x\"\n    ^^^^^\n    `realm` belongs in [[connector]]",
        ),
        (format!("[store]\nxyz = 1\n{SMALL}"), "    known here: path, retention"),
        // types of values
        (
            small("[[target]]", "[target]"),
            "usersync.toml:1:1: target: this is a table, but a list of tables is expected",
        ),
        (format!("server = 1\n{SMALL}"), "usersync.toml:1:10: server: this is a whole number, but a table is expected"),
        (
            small("\"acme\"", "7"),
            "usersync.toml:8:8: connector 1: name: this is a whole number, but a string in quotes is expected",
        ),
        (
            with_connector("enabled = \"yes\""),
            "usersync.toml:13:11: connector acme: enabled: this is a string, but true or false, without quotes, is expected",
        ),
        (
            small("[\"jira-prod\"]", "\"jira-prod\""),
            "usersync.toml:12:11: connector acme: targets: this is a string, but a list is expected",
        ),
        (
            small("[\"jira-prod\"]", "[\"jira-prod\", 5]"),
            "usersync.toml:12:25: connector acme: targets: this is a whole number, but a string",
        ),
        (with_connector("parallel = 65"), "usersync.toml:13:12: connector acme: parallel: 65 is not 1 to 64"),
        (with_connector("per_second = -1"), "usersync.toml:13:14: connector acme: per_second: -1 is not 1 to 10000"),
        (
            with_target("protected_users = [\" \"]"),
            "usersync.toml:4:20: target jira-prod: protected_users: this is empty",
        ),
        // durations and sizes
        (format!("[store]\nretention = \"30\"\n{SMALL}"), "usersync.toml:2:13: retention: `30` is not a duration"),
        (
            format!("[store]\nretention = \"2mo\"\n{SMALL}"),
            "retention: `2mo` has months or years, whose length differs",
        ),
        (format!("[store]\nretention = \"23h\"\n{SMALL}"), "usersync.toml:2:13: retention: 23h is less than a day"),
        (format!("[store]\nretention = \"-1d\"\n{SMALL}"), "retention: `-1d` is not greater than zero"),
        (
            format!("[server]\ndrain = 30\n{SMALL}"),
            "usersync.toml:2:9: drain: this duration has no unit\n    drain = 30\n            ^^\n    write it with its units",
        ),
        (with_target("timeout = \"2h\""), "usersync.toml:4:11: target jira-prod: timeout: 2h is longer than an hour"),
        (
            format!("[server]\nbody_limit = \"1 MB/s\"\n{SMALL}"),
            "usersync.toml:2:14: body_limit: `1 MB/s` is not a size",
        ),
        (
            format!("[server]\nbody_limit = \"20 MiB\"\n{SMALL}"),
            "body_limit: body_budget must be 1 MiB, and five times body_limit, or more",
        ),
        (
            format!("[server]\nbody_limit = \"1 KiB\"\nbody_budget = \"512 KiB\"\n{SMALL}"),
            "usersync.toml:3:15: body_budget: body_budget must be 1 MiB",
        ),
        (format!("[server]\nbody_limit = \"2 GiB\"\n{SMALL}"), "body_limit: `2 GiB` is not between 1 KiB and 1 GiB"),
        // URLs
        (
            format!("[server]\nlisten = \"localhost:80\"\n{SMALL}"),
            "usersync.toml:2:10: listen: `localhost:80` is not an IP address with a port",
        ),
        (
            small("https://jira.example.org", "jira.example.org"),
            "usersync.toml:4:7: target jira-prod: url: `jira.example.org` is not a URL: relative URL without a base",
        ),
        (
            small("https://jira.example.org", "ftp://jira"),
            "usersync.toml:4:7: target jira-prod: url: scheme `ftp` is not supported",
        ),
        (small("https://jira.example.org", "https://jira/?a=b"), "url: `https://jira/?a=*` has a query or a fragment"),
        (
            small("https://jira.example.org", "https://u:p@jira"),
            "usersync.toml:4:7: target jira-prod: url: this URL contains a user name or password\n    url = \"https://***@jira\"",
        ),
        // names
        (
            small("name = \"acme\"", "name = \"Acme Corp\""),
            "usersync.toml:8:8: connector Acme Corp: name: `Acme Corp` is not a valid name",
        ),
        (small("name = \"acme\"", "name = \"-a\""), "`-a` is not a valid name"),
        (small("name = \"acme\"", &format!("name = \"{}\"", "a".repeat(64))), "is not a valid name"),
        (
            two_targets("jira-prod", "https://other.example.org"),
            "usersync.toml:14:8: target jira-prod: name: `jira-prod` is already used",
        ),
        (
            two_targets("jira-2", "https://JIRA.example.org:443/"),
            "usersync.toml:16:7: target jira-2: url: this server is target `jira-prod` already",
        ),
        (
            format!("{SMALL}\n{}", SMALL.split("\n\n").nth(1).unwrap().replace("\"acme\"\nurl", "\"b\"\nurl")),
            "connector b: realm: connector `acme` reads this realm with the same client",
        ),
        // targets of a connector
        (small("targets = [\"jira-prod\"]\n", ""), "usersync.toml:7:1: connector acme: `targets` is missing"),
        (small("[\"jira-prod\"]", "[]"), "usersync.toml:12:11: connector acme: targets: it has no target"),
        (
            small("[\"jira-prod\"]", "[\"wiki\"]"),
            "usersync.toml:12:12: connector acme: targets: there is no target `wiki`\n    targets = [\"wiki\"]\n               ^^^^^^\n    known targets: `jira-prod`",
        ),
        (
            small("[\"jira-prod\"]", "[\"jira-prod\", \"jira-prod\"]"),
            "usersync.toml:12:25: connector acme: targets: `jira-prod` is named twice",
        ),
        // authentication
        (
            small("token_file = \"jira.token\"\n", ""),
            "usersync.toml:1:1: target jira-prod: an authentication method is missing",
        ),
        (with_target("user = \"me\""), "usersync.toml:4:8: target jira-prod: user: a token is also set"),
        (
            small("token_file = \"jira.token\"", "user = \"me\""),
            "usersync.toml:1:1: target jira-prod: the password is missing",
        ),
        (small("token_file", "password_file"), "usersync.toml:1:1: target jira-prod: `user` is missing"),
        (
            small("kind = \"jira\"", "kind = \"crowd\""),
            "usersync.toml:5:14: target jira-prod: token_file: a target of kind crowd does not accept tokens",
        ),
        (
            small("kind = \"jira\"", "kind = \"crowd\"").replace("token_file = \"jira.token\"\n", ""),
            "usersync.toml:1:1: target jira-prod: an authentication method is missing",
        ),
        (
            small("kind = \"jira\"", "kind = \"bitbucket\""),
            "usersync.toml:5:14: target jira-prod: token_file: a target of kind bitbucket does not accept tokens: Bitbucket's HTTP access tokens never carry the global permission ADMIN (BSERV-10482)\n    token_file = \"jira.token\"\n                 ^^^^^^^^^^^^\n    add an administrator's login as user, and password_file; or token_url, client_id and client_secret_file",
        ),
        // network settings
        (
            with_target("proxy = \"http://proxy.example.org:3128\"\nproxy_user = \"me\""),
            "usersync.toml:5:14: target jira-prod: proxy_user: there is no password",
        ),
        (
            with_connector("proxy = \"http://proxy.example.org:3128\"\nproxy_password_file = \"client.secret\""),
            "usersync.toml:14:23: connector acme: proxy_password_file: it requires proxy_user, which is missing",
        ),
        (
            with_target("proxy_user = \"me\"\nproxy_password_file = \"client.secret\""),
            "usersync.toml:4:14: target jira-prod: proxy_user: it requires proxy, which is missing",
        ),
        (
            with_target("proxy = \"http://me:hush@proxy.example.org:3128\""),
            "usersync.toml:4:9: target jira-prod: proxy: this URL contains a user name or password",
        ),
        (
            with_target(
                "proxy = \"http://proxy.example.org:3128\"\nproxy_user = \"me:hush\"\nproxy_password_file = \"client.secret\"",
            ),
            "usersync.toml:5:14: target jira-prod: proxy_user: a proxy's user has no colon",
        ),
        (
            with_connector("client_cert_file = \"client.secret\""),
            "usersync.toml:13:20: connector acme: client_cert_file: there is no client_key_file",
        ),
        (
            with_target("client_cert_file = \"client.secret\"\nclient_key_file = \"none.key\""),
            "usersync.toml:5:19: target jira-prod: client_key_file: file none.key cannot be read",
        ),
        (
            with_target("client_cert_file = \"client.secret\"\nclient_key_file = \"client.secret\""),
            "usersync.toml:4:20: target jira-prod: client_cert_file: client_cert_file client.secret holds no PEM certificate",
        ),
        (
            small("client_secret_file = \"client.secret\"\n", ""),
            "usersync.toml:7:1: connector acme: the client's secret is missing",
        ),
        // secrets
        (
            with_target("token_env = \"JIRA_TOKEN\""),
            "target jira-prod: token_env: the secret is also set in `token_file`",
        ),
        (
            small("token_file = \"jira.token\"", "token_env = \"JIRA_TOKEN\""),
            "usersync.toml:5:13: target jira-prod: token_env: environment variable JIRA_TOKEN is not set, or is not text\n    token_env = \"JIRA_TOKEN\"\n                ^^^^^^^^^^^^\n    set it in the environment of usersync",
        ),
        (
            small("token_file = \"jira.token\"", "token_env = \"$JIRA_TOKEN\""),
            "token_env: this is not the name of an environment variable",
        ),
        (
            small("jira.token", "nope"),
            "usersync.toml:5:14: target jira-prod: token_file: file nope cannot be read: there is no such file",
        ),
        (small("jira.token", "."), "token_file: file . cannot be read: it is a directory"),
        (
            with_connector("hook_secret = \"short\""),
            "usersync.toml:13:15: connector acme: hook_secret: the secret does not begin with whsec_\n    hook_secret = *******\n                  ^^^^^^^\n    Create one and set it in Keycloak too: echo \"whsec_$(openssl rand -base64 32)\"",
        ),
        (
            with_connector("hook_secret = \"whsec_c2hvcnQ=\""),
            "hook_secret: the secret has 5 bytes and needs at least 24",
        ),
        (with_connector("hook_secret = \"whsec_!\""), "hook_secret: the part after whsec_ is not base64"),
        (with_connector("hook_secret = \"'whsec_x'\""), "hook_secret: the secret is in quotes"),
        (with_connector("hook_secret = \"A=whsec_x\""), "hook_secret: the secret is written as NAME=value"),
        (
            with_connector("hook_secret = \"v1,tZ1I4/hDyg==\""),
            "hook_secret: this is a signature, not the signing secret",
        ),
        (
            with_connector(&format!("hook_secret = \"{}\"", "0f".repeat(32))),
            "hook_secret: the secret is hex, but must be whsec_ followed by base64",
        ),
        (
            with_connector("accept_p2 = true\np2_secret = \"short\""),
            "p2_secret: 5 bytes are too short for a signing secret; it needs at least 24",
        ),
        (
            with_connector("hook_secret_previous_file = \"hook.secret\""),
            "usersync.toml:13:29: connector acme: hook_secret_previous_file: a previous secret is set, but no current one",
        ),
        (
            with_connector("accept_p2 = true"),
            "usersync.toml:13:13: connector acme: accept_p2: there is no secret to verify them",
        ),
        (
            with_connector("poll_events = \"500ms\""),
            "usersync.toml:13:15: connector acme: poll_events: 500ms is not 1s to 1h",
        ),
        (with_connector("poll_events = \"2h\""), "write it as \"5s\" or \"1m\", or \"off\""),
        (with_connector("poll_events = false"), "poll_events: this is true or false, but a string in quotes"),
        // schedules
        (
            with_connector("schedule = \"0 0 25 * * ?\""),
            "usersync.toml:13:12: connector acme: schedule: `0 0 25 * * ?`: field 3 (hours): 25 is past 23",
        ),
        (with_connector("schedule = \"hourly\""), "`hourly`: it has 1 fields"),
        (
            with_connector("time_zone = \"Europe/Berln\""),
            "usersync.toml:13:13: connector acme: time_zone: `Europe/Berln` is not a time zone\n    time_zone = \"Europe/Berln\"\n                ^^^^^^^^^^^^^^\n    did you mean `Europe/Berlin`?",
        ),
        // policy
        (
            with_connector("policy = 1"),
            "usersync.toml:13:10: connector acme: policy: this is a whole number, but a table is expected",
        ),
        (
            with_connector("policy.first_run = \"holt\""),
            "usersync.toml:13:20: connector acme: policy.first_run: `holt` is not known here\n    policy.first_run = \"holt\"\n                       ^^^^^^\n    did you mean `hold`?",
        ),
        (
            with_connector("policy.safty.count = 1"),
            "usersync.toml:13:8: connector acme: policy.safty: `safty` is not known here",
        ),
        (
            with_connector("policy.safety.count = \"many\""),
            "usersync.toml:13:23: connector acme: policy.safety.count: a whole number of at least 0 is expected",
        ),
        (
            with_connector("policy.safety.percent = 80"),
            "usersync.toml:13:25: connector acme: policy.safety.percent: 80 is not 0 to 50",
        ),
        (
            with_connector("policy.same_person_within = \"1 lightyear\""),
            "usersync.toml:13:29: connector acme: policy.same_person_within: this is not a duration",
        ),
        (
            with_connector("policy.leavers.disabled = \"remove_group\""),
            "usersync.toml:13:27: connector acme: policy.leavers.disabled: `remove_group` is not known here\n    \
             policy.leavers.disabled = \"remove_group\"\n                              ^^^^^^^^^^^^^^\n    did you mean \
             `remove_groups`?",
        ),
        (
            with_connector("policy.leavers.grace = \"1 month\""),
            "usersync.toml:13:24: connector acme: policy.leavers.grace: this is not a duration\n    \
             policy.leavers.grace = \"1 month\"\n                           ^^^^^^^^^\n    write it in days or less, as \"7d\" or \
             \"12h\"",
        ),
        (
            with_connector("policy.leavers.grace = \"-1h\""),
            "usersync.toml:13:16: connector acme: policy.leavers.grace: a grace period cannot be negative",
        ),
        (
            with_connector("policy.leavers.deleted = \"delete\""),
            "usersync.toml:13:8: connector acme: policy.leavers: accounts are deleted only after a grace period",
        ),
        (
            with_connector("policy.leavers.deleted = \"anonymize\""),
            "usersync.toml:13:8: connector acme: policy.leavers: accounts are anonymized only after a grace period",
        ),
        (
            with_connector("policy.leavers = { deleted = \"anonymize\", grace = \"30d\" }")
                .replace("kind = \"jira\"", "kind = \"confluence\""),
            "usersync.toml:13:8: connector acme: policy.leavers: a target of kind confluence cannot anonymize accounts: \
             jira-prod",
        ),
        (
            with_connector("policy.leavers.kept_groups = [\"a[\"]"),
            "usersync.toml:13:30: connector acme: policy.leavers.kept_groups: this pattern is invalid: a[: unclosed \
             character class; missing ']'",
        ),
        (
            with_connector("policy.scope.required_groups = [\"/staff\", \"staff\"]"),
            "usersync.toml:13:32: connector acme: policy.scope.required_groups: this pattern is invalid: \"staff\" is not \
             a group's path; write it as /staff or /staff/**",
        ),
        (
            with_connector("policy.groups.constant = [{ name = \"Users\" }, { name = \"users\", for = \"new\" }]"),
            "usersync.toml:13:15: connector acme: policy.groups.constant: `users` is listed twice",
        ),
        (
            with_connector("policy.groups.constant = [{ name = \" \" }]"),
            "usersync.toml:13:15: connector acme: policy.groups.constant: a group has an empty name",
        ),
        (
            with_connector("policy.groups.constant = [{ for = \"all\" }]"),
            "usersync.toml:13:27: connector acme: policy.groups.constant: there is no `name`",
        ),
        (
            with_connector("policy.scope.condition = \"{{ nothing }}\""),
            "usersync.toml:13:26: connector acme: policy.scope.condition: this template is invalid: unknown variable \
             nothing: custom attributes are written as attributes.nothing; also available: id, username, first_name, \
             last_name, email, email_verified, enabled, attributes, values, groups",
        ),
        (
            with_connector("policy.scope.required_roles = [\"staff\", \"jira/user/x\"]"),
            "usersync.toml:13:31: connector acme: policy.scope.required_roles: this role is invalid: \"jira/user/x\" has \
             several slashes; write ~/ for a slash in a name",
        ),
        (
            with_connector("policy.scope.required_organizations = [\"acme\", \"\"]"),
            "usersync.toml:13:39: connector acme: policy.scope.required_organizations: this organization is invalid: it is \
             empty",
        ),
        (
            with_connector("policy.scope.excluded_roles = \"staff\""),
            "usersync.toml:13:31: connector acme: policy.scope.excluded_roles: a list is expected",
        ),
        (
            with_connector("policy.groups.constant = [{ name = \"all\", roles = [\"jira/\"] }]"),
            "usersync.toml:13:51: connector acme: policy.groups.constant: this role is invalid: \"jira/\" has an empty name; \
             write it as ROLE or CLIENT/ROLE",
        ),
        (
            with_connector("policy.scope.email_verified = \"yes\""),
            "usersync.toml:13:31: connector acme: policy.scope.email_verified: true or false, without quotes, is expected",
        ),
        (
            with_connector("policy.scope.condition = \"true\""),
            "usersync.toml:13:26: connector acme: policy.scope.condition: this is no template: write it as \"{{ … }}\"",
        ),
        (
            with_connector("policy.groups.constant = [{ name = \"all\", condition = \"enabled\" }]"),
            "usersync.toml:13:55: connector acme: policy.groups.constant.condition: this is no template: write it as \
             \"{{ … }}\"",
        ),
        (
            with_connector("[[connector.policy.groups.constant]]\nname = \"all\"\ncondition = \"enabled\""),
            "usersync.toml:15:13: connector acme: policy.groups.constant.condition: this is no template: write it as \
             \"{{ … }}\"",
        ),
        (
            with_connector("policy.groups.condition = \"{{ username }}\""),
            "usersync.toml:13:27: connector acme: policy.groups.condition: this template is invalid: unknown variable \
             username: custom attributes are written as attributes.username; also available: path, name, names, \
             attributes, values",
        ),
        (
            with_connector("policy.groups.condition = \"true\""),
            "usersync.toml:13:27: connector acme: policy.groups.condition: this is no template: write it as \"{{ … }}\"",
        ),
        (
            with_connector("policy.groups.name = \"{{ name | shout }}\""),
            "usersync.toml:13:22: connector acme: policy.groups.name: this template is invalid: unknown filter: filter \
             shout is unknown",
        ),
        (
            with_connector("policy.groups.name = \"{{ path | regex_replace('(', '') }}\""),
            "usersync.toml:13:22: connector acme: policy.groups.name: this template is invalid: invalid operation: the \
             pattern ( is invalid",
        ),
        (
            with_connector("policy.groups.merged = [\"admins\", \"a[\"]"),
            "usersync.toml:13:24: connector acme: policy.groups.merged: this pattern is invalid: a[: unclosed character \
             class; missing ']'",
        ),
        (
            with_connector("policy.groups.merged = [\"/eng/admins\"]"),
            "usersync.toml:13:25: connector acme: policy.groups.merged: `/eng/admins` is a path, but a name of a group in \
             the target is expected",
        ),
        (
            with_connector("policy.groups.overrides = [{ path = \"/eng\" }]"),
            "usersync.toml:13:37: connector acme: policy.groups.overrides: the entry for /eng sets nothing",
        ),
        (
            with_connector("policy.groups.overrides = [{ path = \"eng\", create = false }]"),
            "usersync.toml:13:37: connector acme: policy.groups.overrides: this pattern is invalid: \"eng\" is not a \
             group's path",
        ),
        (
            with_connector("policy.groups = [[]]"),
            "usersync.toml:13:17: connector acme: policy.groups: this is a list, but a table is expected",
        ),
        (
            with_connector("policy.scope = []"),
            "usersync.toml:13:16: connector acme: policy.scope: this is a list, but a table is expected",
        ),
        (
            with_connector("[connector.policy.targets]\njira-prod.groups = [[\"/wiki\"]]"),
            "usersync.toml:14:20: connector acme: policy.targets.jira-prod.groups: this is a list, but a table is expected",
        ),
        (
            with_connector("[connector.policy.targets]\njira-prod = []"),
            "usersync.toml:14:13: connector acme: policy.targets.jira-prod: this is a list, but a table is expected",
        ),
        (
            with_connector("policy.groups.name = \"everyone\""),
            "usersync.toml:13:22: connector acme: policy.groups.name: this text gives all groups the same name",
        ),
        (
            with_connector("[connector.policy.targets.jira-prod.groups]\nname = \"everyone\""),
            "usersync.toml:14:8: connector acme: policy.targets.jira-prod.groups.name: this text gives all groups the same \
             name",
        ),
        (
            with_connector("policy.targets.jira-prod.groups = { prefx = \"a\" }"),
            "usersync.toml:13:37: connector acme: policy.targets.jira-prod.groups.prefx: `prefx` is not known here",
        ),
        (
            with_connector("policy.targets.jira-prod.groups.constant = [{ name = \"a\", condition = \"enabled\" }]"),
            "usersync.toml:13:71: connector acme: policy.targets.jira-prod.groups.constant.condition: this is no template",
        ),
        (
            with_connector("policy.targets.jira-prod.groups.merged = [\"/eng/admins\"]"),
            "usersync.toml:13:43: connector acme: policy.targets.jira-prod.groups.merged: `/eng/admins` is a path",
        ),
        (
            with_connector("policy.targets.jira-prod.groups.names = { eng = \"E\" }"),
            "usersync.toml:13:33: connector acme: policy.targets.jira-prod.groups.names: `eng` is not a group's path",
        ),
        (
            with_connector("policy.targets.jira-prod.groups.overrides = [{ path = \"/eng\" }]"),
            "usersync.toml:13:55: connector acme: policy.targets.jira-prod.groups.overrides: the entry for /eng sets nothing",
        ),
        (
            with_connector("[connector.policy.groups]\nname = \"{{ name }}\"\nnamed_by = \"path\""),
            "usersync.toml:15:1: connector acme: policy.groups.named_by: `name` and `named_by` cannot both name the groups",
        ),
        (
            with_connector("policy.leavers.kept_groups = [\"alumni\", \"/staff\"]"),
            "usersync.toml:13:41: connector acme: policy.leavers.kept_groups: `/staff` is a path, but a name of a group in \
             the target is expected",
        ),
    ];
    let folder = Folder::new();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(text, expected)| {
            let errors = folder.errors(text);
            (!errors.contains(expected)).then(|| format!("--- expected\n{expected}\n--- found\n{errors}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn it_listens_beyond_this_machine_only_with_tls_or_behind_a_proxy() {
    let folder = Folder::new();
    let server = |lines: &str| format!("[server]\n{lines}\n{SMALL}");
    for fine in ["listen = \"127.0.0.2:1\"", "listen = \"[::1]:1\"", "listen = \"0.0.0.0:1\"\nbehind_proxy = true"] {
        assert!(folder.load(&server(fine)).is_ok(), "{fine}");
    }
    for address in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1"] {
        let errors = folder.errors(&server(&format!("listen = \"{address}\"")));
        assert!(
            errors.starts_with(&format!(
                "usersync.toml:2:10: listen: {address} can be reached from other machines, without TLS"
            )),
            "{errors}"
        );
        assert!(errors.contains("1 error "), "{errors}");
    }
    let errors = folder.errors(&server("listen = \"0.0.0.0:1\"\n[server.tls]\ncert_file = \"c.pem\""));
    assert!(
        errors.contains("usersync.toml:4:13: cert_file: file c.pem cannot be read: there is no such file"),
        "{errors}"
    );
    assert!(errors.contains("usersync.toml:3:1: [server.tls]: `key_file` is missing"), "{errors}");
    assert!(errors.contains("2 errors "), "{errors}");
}

#[test]
fn columns_are_counted_in_characters() {
    let errors = Folder::new().errors(&small("[\"jira-prod\"]", "[\"jira-prod\", \"jürä\", \"wäki\"]"));
    assert!(errors.contains("usersync.toml:12:25:") && errors.contains("usersync.toml:12:33:"), "{errors}");
}

#[test]
fn a_terminal_gets_a_drawing_and_a_pipe_plain_text() {
    let folder = Folder::new();
    let errors = folder.load(&small("\"jira\"", "\"jiro\"")).unwrap_err();
    let drawn = errors.render(Drawing::Terminal { colour: false });
    assert!(drawn.contains("3 │ kind = \"jiro\"") && drawn.contains("usersync.toml:3:8]"), "{drawn}");
    assert!(!drawn.contains('\u{1b}'), "{drawn}");
    assert!(errors.render(Drawing::Terminal { colour: true }).contains('\u{1b}'));
    assert_eq!(errors.render(Drawing::Plain), errors.to_string());
}

#[test]
fn each_mistake_of_an_alert_has_its_location_and_its_message() {
    let alert = |lines: &str| format!("{SMALL}[[alert]]\nname = \"ops\"\n{lines}\n");
    let webhook = |lines: &str| alert(&format!("webhook = \"https://a.example.org\"\nsecret = \"{HOOK}\"\n{lines}"));
    let email = |lines: &str| {
        let smtp = "smtp = \"mail.example.org:587\"\nfrom = \"usersync@example.org\"\nto = [\"ops@example.org\"]";
        alert(&format!("{smtp}\n{lines}"))
    };
    let command = "command = [\"/bin/true\"]";
    let cases: Vec<(String, &str)> = vec![
        (alert(""), "usersync.toml:13:1: alert ops: `webhook`, `smtp` or `command` is missing\n    [[alert]]\n"),
        (format!("{SMALL}[[alert]]\n{command}\n"), "usersync.toml:13:1: alert 1: `name` is missing"),
        (
            alert("webhook = \"https://a.example.org\""),
            "usersync.toml:13:1: alert ops: the webhook's signing secret is missing",
        ),
        (
            webhook("").replace("https://a", "ftp://a"),
            "usersync.toml:15:11: alert ops: webhook: scheme `ftp` is not supported",
        ),
        (
            alert("webhook = \"https://a.example.org\"\nsecret = \"a password\""),
            "usersync.toml:16:10: alert ops: secret: the secret does not begin with whsec_\n    secret = ***",
        ),
        (webhook(command), "usersync.toml:17:11: alert ops: command: webhook is also set"),
        (
            alert(&format!("{command}\nproxy = \"http://p.example.org\"")),
            "usersync.toml:16:9: alert ops: proxy: it requires webhook",
        ),
        (
            alert(&format!("{command}\nca_file = \"Cargo.toml\"")).replace("Cargo.toml", "/etc/hostname"),
            "usersync.toml:16:11: alert ops: ca_file: it requires webhook or smtp",
        ),
        (webhook("to = [\"ops@example.org\"]"), "usersync.toml:17:6: alert ops: to: it requires smtp"),
        (email("command = [\"/bin/true\"]"), "usersync.toml:18:11: alert ops: command: smtp is also set"),
        (
            email("").replace(":587", ""),
            "usersync.toml:15:8: alert ops: smtp: `mail.example.org` is not a mail server with a port",
        ),
        (
            email("").replace("mail.example", "smtp://mail.example"),
            "usersync.toml:15:8: alert ops: smtp: `smtp://mail.example.org:587` is not a mail server with a port",
        ),
        (email("tls = \"ssl\""), "usersync.toml:18:7: alert ops: tls: `ssl` is not known here"),
        (
            email("").replace("\"ops@example.org\"", "\"ops@example.org, admin@example.org\""),
            "usersync.toml:17:7: alert ops: to: `ops@example.org, admin@example.org` is not an e-mail address",
        ),
        (
            email("").replace("usersync@example", "usersync@bücher"),
            "usersync.toml:16:8: alert ops: from: the address in `usersync@bücher.org` is not ASCII",
        ),
        (
            email("").replace("usersync@example", "usersync\\r\\nBcc: x@example"),
            "usersync.toml:16:8: alert ops: from: ",
        ),
        (email("").replace("from = ", "# "), "usersync.toml:13:1: alert ops: `from` is missing"),
        (email("").replace("to = [\"ops@example.org\"]", "to = []"), "usersync.toml:13:1: alert ops: `to` is missing"),
        (email("user = \"u\""), "usersync.toml:18:8: alert ops: user: there is no password"),
        (email("password = \"p\""), "usersync.toml:18:12: alert ops: password: there is no user"),
        (
            email("tls = \"none\"\nuser = \"u\"\npassword = \"p\""),
            "usersync.toml:18:7: alert ops: tls: the password would be sent without TLS",
        ),
        (webhook("digest = \"8:00\""), "usersync.toml:17:10: alert ops: digest: `8:00` is not a time of day"),
        (webhook("digest = \"24:00\""), "usersync.toml:17:10: alert ops: digest: `24:00` is not a time of day"),
        (webhook("digest = 8"), "usersync.toml:17:10: alert ops: digest: this is a whole number, but a time of day"),
        (
            webhook("digest = \"08:00\"\ntime_zone = \"Berlin\""),
            "usersync.toml:18:13: alert ops: time_zone: `Berlin` is not a time zone",
        ),
        (webhook("time_zone = \"UTC\""), "usersync.toml:17:13: alert ops: time_zone: it requires digest"),
        (alert("command = []"), "usersync.toml:15:11: alert ops: command: it is empty"),
        (
            alert("command = \"/bin/true\""),
            "usersync.toml:15:11: alert ops: command: this is a string, but a list is expected",
        ),
        (alert("command = [\"true\"]"), "usersync.toml:15:11: alert ops: command: `true` is not an absolute path"),
        (alert("command = [\"/nowhere\"]"), "usersync.toml:15:11: alert ops: command: there is no program /nowhere"),
        (webhook("after = \"2h\""), "usersync.toml:17:9: alert ops: after: 2h is longer than an hour"),
        (webhook("timeout = \"10\""), "usersync.toml:17:11: alert ops: timeout: `10` is not a duration"),
        (
            webhook("problems = [\"stoped\"]"),
            "usersync.toml:17:13: alert ops: problems: `stoped` is not known here\n    problems = [\"stoped\"]\n                ^^^^^^^^\n    did you mean `stopped`?",
        ),
        (webhook("problems = []"), "usersync.toml:17:12: alert ops: problems: it names no problem"),
        (
            webhook("connectors = [\"acne\"]"),
            "usersync.toml:17:15: alert ops: connectors: there is no connector `acne`\n    connectors = [\"acne\"]\n                  ^^^^^^\n    did you mean `acme`?",
        ),
        (
            format!("{}[[alert]]\nname = \"ops\"\n{command}\n", alert(command)),
            "usersync.toml:17:8: alert ops: name: `ops` is already used",
        ),
    ];
    for (text, expected) in cases {
        let errors = Folder::new().errors(&text);
        assert!(errors.contains(expected), "expected {expected:?} in:\n{errors}\nof:\n{text}");
        assert!(errors.ends_with("1 error in the configuration."), "{errors}");
    }
}
