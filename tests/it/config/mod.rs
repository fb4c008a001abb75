//! The configuration: accepted values, error messages for refused ones, and secrets, which are never shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use usersync::{
    config::{
        ClientAuth, Config, ConfigErrors, DEFAULT_SCHEDULE, Drawing, EXAMPLE, Env, LogFormat, Row, Schedule, Secret,
        TargetAuth, find, full_example, reference, reference_markdown,
    },
    model::{Empty, FirstRun, Policy, When},
    targets::{
        CaseRule,
        scim::{Habits, Names},
    },
};

const TOKEN: &str = "NjM0OTk3ODQ2-Jira-token";
const HOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A valid configuration without any optional key.
const SMALL: &str = r#"[[target]]
name = "jira-prod"
kind = "jira"
url = "https://jira.example.org"
token_file = "jira.token"

[[connector]]
name = "acme"
url = "https://sso.example.org"
realm = "acme"
client_secret_file = "client.secret"
targets = ["jira-prod"]
"#;

/// A folder with the files that `SMALL` and the example refer to.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for name in ["jira.token", "client.secret", "jira-prod.token", "acme-client.secret"] {
            folder.write(name, &format!("{TOKEN}\n"));
        }
        folder.write("hook.secret", HOOK);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn load(&self, text: &str) -> Result<Config, ConfigErrors> {
        self.load_with(text, &Env::of([("ACME_HOOK_SECRET", HOOK)]))
    }

    fn load_with(&self, text: &str, env: &Env) -> Result<Config, ConfigErrors> {
        let path = self.write("usersync.toml", text);
        Config::load(&path, env)
    }

    /// Returns the errors of a configuration as plain text, without the folder.
    fn errors(&self, text: &str) -> String {
        self.errors_with(text, &Env::of([("ACME_HOOK_SECRET", HOOK)]))
    }

    fn errors_with(&self, text: &str, env: &Env) -> String {
        let errors = self.load_with(text, env).expect_err("this is wrong").to_string();
        errors.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        let config = self.load(text).unwrap_or_else(|errors| panic!("{errors}"));
        let folder = format!("{}/", self.0.path().display());
        config.warnings.iter().map(|warning| warning.to_string().replace(&folder, "")).collect()
    }
}

/// Returns `SMALL` with lines added below `[[target]]` (2) or `[[connector]]` (7 and later), or with a replacement.
fn small(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    SMALL.replacen(from, to, 1)
}

fn with_target(lines: &str) -> String {
    small("kind = \"jira\"\n", &format!("kind = \"jira\"\n{lines}\n"))
}

fn with_connector(lines: &str) -> String {
    format!("{SMALL}{lines}\n")
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

// ---- accepted values

#[test]
fn defaults_fill_what_is_not_written() {
    let folder = Folder::new();
    let config = folder.load(SMALL).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8475");
    assert!(!config.server.behind_proxy && config.server.tls.is_none());
    assert_eq!((config.server.body_limit, config.server.drain), (1 << 20, Duration::from_secs(20)));
    assert_eq!(config.store.path, folder.path("usersync.db"));
    assert_eq!(config.store.retention, SignedDuration::from_hours(30 * 24));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Text, tracing::Level::INFO));
    let target = &config.targets[0];
    assert_eq!(
        (target.name.as_str(), target.kind.name, target.url.as_str()),
        ("jira-prod", "jira", "https://jira.example.org/")
    );
    assert!(matches!(&target.auth, TargetAuth::Token(secret) if secret.read().unwrap().expose_secret() == TOKEN));
    assert_eq!(
        (target.reach.parallel.get(), target.reach.per_second, target.reach.timeout),
        (8, None, Duration::from_secs(30))
    );
    assert_eq!(target.applications, ["jira-software"]);
    assert!(target.protected_groups.is_empty() && target.frozen_groups.is_empty() && target.protected_users.is_empty());
    let connector = &config.connectors[0];
    assert_eq!((connector.realm.as_str(), connector.client_realm.as_str()), ("acme", "acme"));
    assert_eq!((connector.client_id.as_str(), connector.enabled), ("usersync", true));
    assert_eq!((connector.page_size.get(), connector.hook.secrets().count()), (500, 0));
    assert_eq!(connector.targets, ["jira-prod".into()]);
    let schedule = connector.schedule.as_ref().unwrap();
    assert_eq!((schedule.as_str(), schedule.to_string().as_str()), (DEFAULT_SCHEDULE, "0 0 * * * ? UTC"));
    assert_eq!(connector.policy, Policy::default());
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn everything_can_be_written() {
    let folder = Folder::new();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        folder.write(name, "PEM");
    }
    let text = r#"
[server]
listen = "0.0.0.0:443"
body_limit = "64 KiB"
body_budget = "2 MiB"
drain = "1m 30s"
tls = { cert_file = "cert.pem", key_file = "key.pem" }
[store]
path = "/var/lib/usersync/usersync.db"
retention = "2w"
[log]
format = "json"
level = "debug"
[[target]]
name = "jira"
kind = "jira"
url = "https://intranet.example.org/jira"
user = "usersync"
password_env = "JIRA_PASSWORD"
ca_file = "ca.pem"
proxy = "http://proxy:3128"
applications = []
protected_groups = ["board"]
frozen_groups = ["council"]
protected_users = ["root"]
parallel = 2
per_second = 10
timeout = "5s"
[[connector]]
name = "a"
enabled = false
url = "https://sso.example.org/auth"
realm = "a"
client_realm = "master"
client_id = "sync"
client_secret = "inline"
hook_secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
hook_secret_previous_file = "hook.secret"
accept_p2 = true
p2_secret_env = "P2"
targets = ["jira"]
schedule = "30 2 * * *"
time_zone = "Europe/Berlin"
page_size = 100
[connector.policy]
first_run = "apply"
[connector.policy.safety]
percent = 7
"#;
    let config = folder.load_with(text, &Env::of([("JIRA_PASSWORD", "pw"), ("P2", HOOK)])).unwrap();
    assert_eq!(config.server.tls.as_ref().unwrap().cert_file, folder.path("cert.pem"));
    assert_eq!((config.server.body_limit, config.server.drain), (65536, Duration::from_secs(90)));
    assert_eq!(config.store.path, Path::new("/var/lib/usersync/usersync.db"));
    assert_eq!(config.store.retention, SignedDuration::from_hours(14 * 24));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, tracing::Level::DEBUG));
    let target = &config.targets[0];
    assert!(matches!(&target.auth, TargetAuth::Password { user, password }
        if user == "usersync" && password.read().unwrap().expose_secret() == "pw"));
    assert_eq!(target.reach.per_second.map(std::num::NonZeroU32::get), Some(10));
    assert_eq!(target.reach.proxy.as_ref().unwrap().as_str(), "http://proxy:3128/");
    let connector = &config.connectors[0];
    assert_eq!(
        (connector.enabled, connector.client_realm.as_str(), connector.hook.secrets().count()),
        (false, "master", 2)
    );
    assert!(connector.hook.p2.is_some());
    assert_eq!(connector.policy.first_run, FirstRun::Apply);
    assert!((connector.policy.safety.percent - 7.0).abs() < f64::EPSILON);
    let next = connector.schedule.as_ref().unwrap().next_after(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(next, at("2026-01-01T01:30:00Z"));
}

/// Returns `SMALL` with a SCIM server instead of the Jira.
fn scim(lines: &str) -> String {
    let scim = small("kind = \"jira\"\n", "kind = \"scim\"\n");
    scim.replacen("token_file = \"jira.token\"\n", &format!("{lines}\n"), 1)
}

#[test]
fn a_scim_server_is_signed_in_to_with_a_token_or_as_a_client() {
    let folder = Folder::new();
    let config = folder.load(&scim("token_file = \"jira.token\"")).unwrap();
    assert_eq!((config.targets[0].kind.name, config.targets[0].profile), ("scim", None));
    let client =
        "token_url = \"https://sso.example.org/token\"\nclient_id = \"us\"\nclient_secret_file = \"client.secret\"";
    let config = folder.load(&scim(&format!("{client}\nscope = \"scim\"\nprofile = \"keycloak\""))).unwrap();
    assert_eq!(config.targets[0].profile, Some("keycloak"));
    assert!(matches!(&config.targets[0].auth, TargetAuth::Client { token_url, id, scope, .. }
        if token_url.as_str() == "https://sso.example.org/token" && id == "us" && scope.as_deref() == Some("scim")));
    for name in ["generic", "keycloak", "atlassian-cloud"] {
        let config = folder.load(&scim(&format!("{client}\nprofile = \"{name}\""))).unwrap();
        usersync::targets::build(&config.targets[0]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let plain = client.replace("https://sso", "http://sso");
    assert!(folder.warnings(&scim(&plain)).iter().any(|warning| warning.contains("without TLS")));
    for (lines, reported) in [
        ("token_url = \"https://sso.example.org/token\"".to_owned(), "`client_id` is missing"),
        ("token_url = \"https://sso.example.org/token\"\nclient_id = \"us\"".to_owned(), "secret is missing"),
        (format!("{client}\ntoken_file = \"jira.token\""), "token_url is also set"),
        ("token_file = \"jira.token\"\nscope = \"x\"".to_owned(), "it requires token_url"),
        ("token_file = \"jira.token\"\nprofile = \"keyclok\"".to_owned(), "keycloak"),
    ] {
        let errors = folder.errors(&scim(&lines));
        assert!(errors.contains(reported), "{reported}: {errors}");
    }
    let errors = folder.errors(&with_target("profile = \"generic\""));
    assert!(errors.contains("for kind scim"), "{errors}");
}

#[test]
fn a_bitbucket_and_a_crowd_are_signed_in_to_with_a_password_or_as_a_client() {
    let folder = Folder::new();
    let lines = "token_url = \"https://sso.example.org/token\"\nclient_id = \"us\"\nclient_secret_file = \"client.secret\"\n\
                 client_auth = \"form\"\naudience = \"https://git.example.org\"\nresource = \"urn:git\"\n\
                 [target.token_parameters]\ntenant = \"acme\"";
    let password = "user = \"us\"\npassword_file = \"client.secret\"";
    for kind in ["bitbucket", "crowd", "scim"] {
        let written = |lines: &str| scim(lines).replacen("kind = \"scim\"", &format!("kind = \"{kind}\""), 1);
        let config = folder.load(&written(lines)).unwrap_or_else(|errors| panic!("{kind}: {errors}"));
        let TargetAuth::Client { client_auth, parameters, .. } = &config.targets[0].auth else { panic!("{kind}") };
        assert_eq!(*client_auth, ClientAuth::Form);
        let wanted = [("audience", "https://git.example.org"), ("resource", "urn:git"), ("tenant", "acme")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(*parameters, wanted);
        usersync::targets::build(&config.targets[0]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let config = folder.load(&written(password)).unwrap_or_else(|errors| panic!("{kind}: {errors}"));
        usersync::targets::build(&config.targets[0]).unwrap_or_else(|error| panic!("{kind}: {error}"));
        for (name, reported) in [("scope", "`scope` has a key of its own"), ("grant_type", "always client_credentials")]
        {
            let errors = folder.errors(&written(&lines.replace("tenant", name)));
            assert!(errors.contains(reported), "{errors}");
        }
        let errors = folder.errors(&written(&format!("{password}\nclient_auth = \"form\"")));
        assert!(errors.contains("client_auth: it requires token_url, which is missing"), "{errors}");
    }
    let errors = folder.errors(&with_target("client_auth = \"form\""));
    assert!(errors.contains("this is for kind bitbucket and crowd and scim, and the target is a jira"), "{errors}");
}

#[test]
fn a_connection_can_need_a_client_certificate_and_a_proxy_user() {
    let folder = Folder::new();
    let pairs = ["one", "other"].map(|name| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        folder.write(&format!("{name}.pem"), &made.cert.pem());
        folder.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        (folder.path(&format!("{name}.pem")), folder.path(&format!("{name}.key")))
    });
    let lines = "client_cert_file = \"one.pem\"\nclient_key_file = \"one.key\"\nproxy = \"http://proxy.example.org:3128\"\n\
                 proxy_user = \"me\"\nproxy_password_env = \"PROXY\"";
    let text = format!("{}{lines}\n", with_target(lines));
    let config = folder.load_with(&text, &Env::of([("PROXY", "hush")])).unwrap_or_else(|errors| panic!("{errors}"));
    for reach in [&config.targets[0].reach, &config.connectors[0].reach] {
        let certificate = reach.client_certificate.as_ref().expect("a certificate");
        assert_eq!((&certificate.cert_file, &certificate.key_file), (&pairs[0].0, &pairs[0].1));
        let user = reach.proxy_user.as_ref().expect("a user");
        assert_eq!((user.user.as_str(), user.password.read().unwrap().expose_secret()), ("me", "hush"));
        assert!(!format!("{reach:?}").contains("hush"));
    }
    let mixed = with_target("client_cert_file = \"one.pem\"\nclient_key_file = \"other.key\"");
    let errors = folder.errors(&mixed);
    assert!(errors.contains("usersync.toml:5:19: target jira-prod: client_key_file: "), "{errors}");
    assert!(
        errors.contains("other.key does not hold the key of the certificate in client_cert_file one.pem"),
        "{errors}"
    );
    fs::set_permissions(&pairs[0].1, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = folder.warnings(&with_target("client_cert_file = \"one.pem\"\nclient_key_file = \"one.key\""));
    assert!(
        warnings.iter().any(|warning| warning.contains("other users on this machine can read the private key")),
        "{warnings:?}"
    );
}

#[test]
fn stored_events_are_polled_at_an_interval_or_not_at_all() {
    let every = |text: &str| Folder::new().load(&with_connector(text)).unwrap().connectors[0].poll_events;
    assert_eq!(every(""), Some(SignedDuration::from_secs(5)));
    assert_eq!(every("poll_events = \"1m\""), Some(SignedDuration::from_mins(1)));
    assert_eq!(every("poll_events = \"off\""), None);
}

#[test]
fn a_schedule_can_be_off() {
    let config = Folder::new().load(&with_connector("schedule = \"off\"")).unwrap();
    assert_eq!(config.connectors[0].schedule, None);
}

#[test]
fn variables_override_the_servers_own_settings() {
    let folder = Folder::new();
    let env = Env::of([
        ("USERSYNC_SERVER_LISTEN", "[::]:80"),
        ("USERSYNC_SERVER_BEHIND_PROXY", "true"),
        ("USERSYNC_STORE_PATH", "data/other.db"),
        ("USERSYNC_LOG_LEVEL", "warn"),
        ("USERSYNC_LOG_FORMAT", "json"),
    ]);
    let config = folder.load_with(&format!("[server]\nlisten = \"127.0.0.1:1\"\n{SMALL}"), &env).unwrap();
    assert_eq!((config.server.listen.to_string().as_str(), config.server.behind_proxy), ("[::]:80", true));
    // A path in a variable is relative to the working directory, as in a shell.
    assert_eq!(config.store.path, Path::new("data/other.db"));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, tracing::Level::WARN));
}

#[test]
fn a_wrong_variable_is_reported_by_its_name() {
    let env = Env::of([("USERSYNC_LOG_LEVEL", "inf"), ("USERSYNC_SERVER_BEHIND_PROXY", "yes")]);
    let errors = Folder::new().errors_with(SMALL, &env);
    assert!(
        errors.contains(
            "environment variable USERSYNC_LOG_LEVEL: level: `inf` is not known here\n    did you mean `info`?"
        ),
        "{errors}"
    );
    assert!(
        errors.contains(
            "environment variable USERSYNC_SERVER_BEHIND_PROXY: behind_proxy: this is a string, but true or false"
        ),
        "{errors}"
    );
}

#[test]
fn a_variable_that_overrides_nothing_is_a_warning() {
    let config =
        Folder::new().load_with(SMALL, &Env::of([("USERSYNC_SERVER_LISTN", "x"), ("USERSYNC_TOKEN", "y")])).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "environment variable USERSYNC_SERVER_LISTN: warning: it overrides no key\n    did you mean `USERSYNC_SERVER_LISTEN`?"
        ]
    );
}

#[test]
fn the_file_is_found_by_the_option_then_by_the_variable() {
    let env = Env::of([("USERSYNC_CONFIG", "/srv/u.toml")]);
    assert_eq!(find(Some(Path::new("x.toml")), &env).unwrap(), Path::new("x.toml"));
    assert_eq!(find(None, &env).unwrap(), Path::new("/srv/u.toml"));
    let errors = find(None, &Env::of([("A", "")])).unwrap_err().to_string();
    assert!(errors.starts_with("usersync.toml: there is no configuration file\n    searched for usersync.toml and /etc/usersync/usersync.toml."), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_reported() {
    let errors = Config::load(Path::new("/nowhere/usersync.toml"), &Env::default()).unwrap_err().to_string();
    assert_eq!(
        errors,
        "/nowhere/usersync.toml: it cannot be read: there is no such file\n1 error in the configuration."
    );
    let folder = Folder::new();
    let path = folder.path("latin1.toml");
    fs::write(&path, b"# caf\xe9").unwrap();
    let errors = Config::load(&path, &Env::default()).unwrap_err().to_string();
    assert!(errors.contains("it is not UTF-8 at byte 6"), "{errors}");
}

// ---- the list of keys

/// Returns sections, keys and values of the example, including those behind a #.
fn example_keys() -> BTreeMap<(String, String), String> {
    let mut section = String::new();
    let mut keys = BTreeMap::new();
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section == "[connector.policy.groups.names]" && line.starts_with('"') {
            keys.insert((section.clone(), "PATH".to_owned()), String::new());
        } else if let Some((key, value)) = line.split_once(" = ")
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            // Keys that an administrator names freely stand for all such keys.
            if section == "[target.token_parameters]" {
                keys.insert((section.clone(), "NAME".to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") && section.ends_with(".account]") {
                let section = "[connector.policy.targets.TARGET.account]".to_owned();
                keys.insert((section, key.to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") && section.ends_with(".matching]") {
                let section = "[connector.policy.targets.TARGET.matching]".to_owned();
                keys.insert((section, key.to_owned()), value.to_owned());
                continue;
            }
            if section.contains(".policy.targets.") {
                let section = "[connector.policy.targets.TARGET.attributes]".to_owned();
                keys.insert((section, "ATTRIBUTE".to_owned()), value.to_owned());
                continue;
            }
            keys.insert((section.clone(), key.to_owned()), value.to_owned());
        }
    }
    keys
}

#[test]
fn the_example_works_as_it_is() {
    let folder = Folder::new();
    folder.write("acme-hook.secret", HOOK);
    let config = folder.load(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!((config.targets.len(), config.connectors.len()), (1, 1));
}

#[test]
fn the_full_example_works_as_it_is_and_has_valid_values_for_every_key() {
    let folder = Folder::new();
    folder.write("acme-hook.secret", HOOK);
    let config = folder.load(&full_example()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let lines = full_example();
    let lines = lines.lines().map(|line| match line.strip_prefix("# ") {
        Some(bare) => bare,
        None => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let path = folder.write("usersync.toml", &text);
    let errors = Config::find_and_load_without_files(Some(&path), &Env::of([("NONE", "")])).unwrap_err();
    // Some keys exclude each other, apply to another kind of target, or name one that the example has not.
    for problem in errors.problems() {
        let message = problem.message();
        let known = [
            "is also set",
            "and the target is a jira",
            "does not fill this target",
            "does not begin with whsec_",
            "too short for a signing secret",
        ];
        assert!(known.iter().any(|part| message.contains(part)), "{problem}");
    }
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let example = example_keys();
    let rows = reference();
    let listed: BTreeSet<_> = rows.iter().map(|row| (row.section.clone(), row.key.to_owned())).collect();
    assert_eq!(example.keys().cloned().collect::<BTreeSet<_>>(), listed);
    for row in rows {
        if let Some(default) = row.default.strip_prefix('`') {
            assert_eq!(example[&(row.section, row.key.to_owned())], default.trim_end_matches('`'), "{}", row.key);
        }
    }
}

#[test]
fn the_parser_reads_every_key_of_the_list() {
    let folder = Folder::new();
    for row in reference() {
        // A list of lists is invalid for every key, so each key that is read reports an error.
        let mut text = String::new();
        let mut wrong_line = 0;
        let mut lines: Vec<String> = Vec::new();
        let sections = [
            "[server]",
            "[server.tls]",
            "[store]",
            "[log]",
            "[[target]]",
            "[target.token_parameters]",
            "[target.habits]",
            "[[connector]]",
            "[connector.policy]",
            "[connector.policy.scope]",
            "[connector.policy.groups]",
            "[connector.policy.groups.names]",
            "[[connector.policy.groups.overrides]]",
            "[[connector.policy.groups.constant]]",
            "[connector.policy.account]",
            "[connector.policy.matching]",
            "[connector.policy.leavers]",
            "[connector.policy.safety]",
            "[connector.policy.targets.TARGET.account]",
            "[connector.policy.targets.TARGET.matching]",
            "[connector.policy.targets.TARGET.attributes]",
            "[[connector.group_test]]",
            "[[connector.user_test]]",
        ];
        for section in sections {
            let optional = [
                "[server.tls]",
                "[target.token_parameters]",
                "[target.habits]",
                "[connector.policy.groups.names]",
                "[[connector.policy.groups.overrides]]",
                "[[connector.policy.groups.constant]]",
                "[connector.policy.account]",
                "[connector.policy.targets.TARGET.account]",
                "[connector.policy.targets.TARGET.matching]",
                "[connector.policy.targets.TARGET.attributes]",
                "[[connector.group_test]]",
                "[[connector.user_test]]",
            ];
            if optional.contains(&section) && row.section != section {
                continue;
            }
            lines.push(section.to_owned());
            if section == row.section {
                lines.push(format!("{} = [[]]", row.key));
                wrong_line = lines.len();
            }
            let own = SMALL.split("\n\n").find(|part| part.starts_with(section)).unwrap_or_default();
            for line in own
                .lines()
                .skip(1)
                .filter(|line| section != row.section || !line.starts_with(&format!("{} =", row.key)))
            {
                lines.push(line.to_owned());
            }
        }
        text.push_str(&lines.join("\n"));
        let errors = folder.load(&text).expect_err(row.key);
        let there =
            errors.problems().iter().find(|problem| problem.position().is_some_and(|(line, _)| line == wrong_line));
        let problem = there.unwrap_or_else(|| panic!("{} {} is not read:\n{errors}", row.section, row.key));
        assert!(!problem.message().contains("unknown"), "{problem}");
    }
}

#[test]
fn the_policys_keys_and_defaults_are_those_of_the_model() {
    fn flatten(value: &serde_json::Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    flatten(value, &format!("{path}.{key}"), into);
                }
            }
            _ => {
                into.insert(path.to_owned());
            }
        }
    }
    let mut model = BTreeSet::new();
    flatten(&serde_json::to_value(Policy::default()).unwrap(), "connector.policy", &mut model);
    let rows = reference().into_iter().filter(|row| row.section.starts_with("[connector.policy"));
    // Keys that an administrator names freely have no default.
    let is_free = |row: &Row| {
        row.section.contains(".targets.") || row.section.ends_with(".names]") || row.section.ends_with("]]")
    };
    let rows: Vec<_> = rows.filter(|row| !is_free(row)).collect();
    let listed: BTreeSet<String> =
        rows.iter().map(|row| format!("{}.{}", row.section.trim_matches(['[', ']']), row.key)).collect();
    assert_eq!(model, listed);
    let line = |row: Row| {
        let section = row.section.trim_matches(['[', ']']).trim_start_matches("connector.").to_owned();
        format!("{section}.{} = {}", row.key, row.default.trim_matches('`'))
    };
    let text = with_connector(
        &rows.into_iter().filter(|row| !row.default.is_empty()).map(line).collect::<Vec<_>>().join("\n"),
    );
    assert_eq!(Folder::new().load(&text).unwrap().connectors[0].policy, Policy::default());
}

#[test]
fn the_documentation_table_has_every_key() {
    let table = reference_markdown();
    assert!(table.starts_with("### `[server]`\n\n| key | value | default | meaning |\n"));
    assert!(table.contains("| `listen` | address and port | `\"127.0.0.1:8475\"` |"));
    assert!(table.contains("Variable: `USERSYNC_SERVER_TLS_KEY_FILE`."));
    assert_eq!(table.lines().filter(|line| line.starts_with("| `")).count(), reference().len());
    let mut headings: Vec<&str> = table.lines().filter(|line| line.starts_with('#')).collect();
    headings.sort_unstable();
    assert!(headings.is_sorted_by(|one, next| one < next), "a section stands twice: {headings:?}");
}

#[test]
fn the_documentation_is_the_table_of_this_version() {
    let documented = include_str!("../../../docs/configuration.md");
    let tables = &documented[documented.find("### ").unwrap()..];
    assert!(
        tables == reference_markdown(),
        "docs/configuration.md is outdated: replace its tables by `usersync config reference`"
    );
}

// ---- errors

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
            with_connector("policy.groups.name = \"everyone\""),
            "usersync.toml:13:22: connector acme: policy.groups.name: this text gives all groups the same name",
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

// ---- warnings

#[test]
fn what_is_unwise_is_a_warning() {
    let folder = Folder::new();
    let unused = format!(
        "{SMALL}[[target]]\nname = \"wiki\"\nkind = \"jira\"\nurl = \"https://wiki\"\ntoken_file = \"jira.token\"\n"
    );
    let cases = [
        (unused, "usersync.toml:14:8: warning: no connector fills this target"),
        (
            with_connector("accept_p2 = true\np2_secret_file = \"hook.secret\""),
            "usersync.toml:13:13: warning: events in the p2 form have no timestamp",
        ),
        (
            with_connector("p2_secret_file = \"hook.secret\""),
            "usersync.toml:13:18: warning: p2_secret_file is not used",
        ),
        (
            small("https://sso", "http://sso"),
            "usersync.toml:9:7: warning: secrets and personal data are sent there without TLS",
        ),
        (String::new(), "usersync.toml: warning: there is no connector, so nothing is kept in sync"),
    ];
    for (text, expected) in cases {
        let warnings = folder.warnings(&text);
        assert!(warnings.len() == 1 && warnings[0].starts_with(expected), "{expected}\n{warnings:?}");
    }
    assert_eq!(folder.warnings(&small("https://sso.example.org", "http://localhost:8080")), Vec::<String>::new());
}

#[test]
fn a_secret_that_others_can_read_is_a_warning() {
    let folder = Folder::new();
    let open = |name: &str| fs::set_permissions(folder.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    open("jira.token");
    let warnings = folder.warnings(SMALL);
    assert_eq!(
        warnings,
        [
            "usersync.toml:5:14: warning: other users on this machine can read file jira.token\n    token_file = \"jira.token\"\n                 ^^^^^^^^^^^^\n    chmod 600 jira.token"
        ]
    );
    folder.write("jira.token", TOKEN);
    let path = folder.write("usersync.toml", &small("token_file = \"jira.token\"", "token = \"inline\""));
    assert!(Config::load(&path, &Env::default()).unwrap().warnings.is_empty());
    open("usersync.toml");
    let warnings = Config::load(&path, &Env::default()).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message(), "it contains secrets, and other users on this machine can read it");
}

// ---- secrets

#[test]
fn a_rotated_secret_is_used_without_a_restart() {
    let folder = Folder::new();
    let secret = Secret::file(folder.write("s", "one\r\n"));
    assert_eq!(secret.read().unwrap().expose_secret(), "one");
    folder.write("s", "two\n");
    assert_eq!(secret.read().unwrap().expose_secret(), "two");
    fs::remove_file(folder.path("s")).unwrap();
    assert!(secret.read().unwrap_err().to_string().ends_with("/s cannot be read: there is no such file"));
}

#[test]
fn impossible_secrets_are_refused() {
    let folder = Folder::new();
    for (content, why) in
        [("", "is empty"), ("\n", "is empty"), ("a\nb", "more than one line"), ("a\u{0}b", "control character")]
    {
        let error = Secret::file(folder.write("s", content)).read().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    fs::write(folder.path("s"), [0xff, 0xfe]).unwrap();
    assert!(Secret::file(folder.path("s")).read().unwrap_err().to_string().ends_with("is not UTF-8 text"));
    fs::write(folder.path("s"), vec![b'a'; 70_000]).unwrap();
    assert!(Secret::file(folder.path("s")).read().unwrap_err().to_string().contains("larger than 64 KiB"));
    let error = Secret::variable("NOT_THERE", Env::of([("A", "b")])).read().unwrap_err().to_string();
    assert_eq!(error, "environment variable NOT_THERE is not set, or is not text");
}

#[test]
fn a_secret_shows_its_location_and_never_its_value() {
    let env = Env::of([("JIRA_TOKEN", "hunter2")]);
    let secrets = [Secret::inline("hunter2"), Secret::variable("JIRA_TOKEN", env.clone())];
    assert_eq!(secrets[0].describe(), "the configuration file");
    assert_eq!(secrets[1].to_string(), "environment variable JIRA_TOKEN");
    let shown = format!("{secrets:?} {secrets:#?} {env:?} {:?}", secrets[0].read());
    assert!(!shown.contains("hunter2"), "{shown}");
    let text = small("token_file = \"jira.token\"", "token = \"hunter2\"");
    assert!(!format!("{:#?}", Folder::new().load(&text).unwrap()).contains("hunter2"));
}

#[test]
fn a_secret_with_a_byte_order_mark_is_refused_with_what_to_do() {
    let folder = Folder::new();
    folder.write("hook.secret", &format!("\u{feff}{HOOK}"));
    let error = folder.load(&with_connector("hook_secret_file = \"hook.secret\"")).unwrap_err().to_string();
    let expected = "hook.secret begins with a byte order mark. Save it as UTF-8 without one";
    assert!(error.contains(expected) && error.contains("hook_secret_file: file"), "{error}");
    assert!(!error.contains(HOOK), "{error}");
}

#[test]
fn errors_never_show_a_secret() {
    let s = "hunter2-hunter2";
    let texts = [
        // beside an error of another key
        small("token_file = \"jira.token\"", &format!("token = \"{s}\"\nuser = \"x\"")),
        small("token_file = \"jira.token\"", &format!("\"token\" = '{s}' # {s}\nuser = \"x\"")),
        // invalid values
        with_connector(&format!("hook_secret = \"{s}\"")),
        with_connector(&format!("hook_secret = [\"{s}\",\n\"{s}\"]")),
        with_connector(&format!("hook_secret = \"\"\"\n{s}\n{s}\"\"\"")),
        // misspelt, or in the wrong section
        with_target(&format!("tokn = \"{s}\"")),
        with_target(&format!("secret = \"{s}\"")),
        with_connector(&format!("policy = {{ token = \"{s}\" }}")),
        with_connector(&format!("policy.password = \"{s}\"")),
        small("token_file = \"jira.token\"", &format!("token_env = \"{s}\"")),
        // in a URL
        small("https://jira.example.org", &format!("https://me:{s}@jira.example.org")),
        with_target(&format!("proxy = \"http://me:p/{s}@proxy:3128\"")),
        // in a file that is not TOML
        small("token_file = \"jira.token\"", &format!("token = \"{s}")),
        small("token_file = \"jira.token\"", &format!("token = {s}")),
        small("token_file = \"jira.token\"", &format!("token = \"\"\"{s}\n{s}")),
        small("token_file = \"jira.token\"", &format!("x = {{ token = \"{s}\", }} }}")),
        small("token_file = \"jira.token\"", &format!("token = \"{s}\" kind = \"{s}\"")),
    ];
    let folder = Folder::new();
    for text in texts {
        let errors = folder.load(&text).expect_err(&text);
        for shown in [errors.to_string(), errors.render(Drawing::Terminal { colour: false }), format!("{errors:?}")] {
            assert!(!shown.contains("hunter2"), "{text}\n---\n{shown}");
        }
    }
}

// ---- schedules

fn times(expression: &str, zone: &TimeZone, from: &str, count: usize) -> Vec<String> {
    let from = at(from);
    let schedule =
        Schedule::parse(expression, zone.clone(), from).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let local = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%a %F %T %:z").to_string();
    schedule.next_n(from, count).into_iter().map(local).collect()
}

/// 1 July 2026 is a Wednesday.
#[test]
fn cron_expressions_mean_what_quartz_and_unix_say() {
    let cases: [(&str, &[&str]); 35] = [
        ("0 0 * * * ?", &["Wed 2026-07-01 01:00:00", "Wed 2026-07-01 02:00:00"]),
        ("0 0/20 * * * ?", &["Wed 2026-07-01 00:20:00", "Wed 2026-07-01 00:40:00", "Wed 2026-07-01 01:00:00"]),
        ("0 5/20 * * * ?", &["Wed 2026-07-01 00:05:00", "Wed 2026-07-01 00:25:00"]),
        ("0 /20 * * * ?", &["Wed 2026-07-01 00:20:00"]),
        ("*/20 * * * * *", &["Wed 2026-07-01 00:00:20", "Wed 2026-07-01 00:00:40"]),
        ("0 30 2 * * ?", &["Wed 2026-07-01 02:30:00", "Thu 2026-07-02 02:30:00"]),
        (
            "0 0 9-17/4 * * ?",
            &[
                "Wed 2026-07-01 09:00:00",
                "Wed 2026-07-01 13:00:00",
                "Wed 2026-07-01 17:00:00",
                "Thu 2026-07-02 09:00:00",
            ],
        ),
        ("0 0 22-2 * * ?", &["Wed 2026-07-01 01:00:00", "Wed 2026-07-01 02:00:00", "Wed 2026-07-01 22:00:00"]),
        // Quartz: 1 is Sunday.
        ("0 0 6 ? * 1", &["Sun 2026-07-05 06:00:00", "Sun 2026-07-12 06:00:00"]),
        ("0 0 6 ? * 2", &["Mon 2026-07-06 06:00:00"]),
        ("0 0 6 ? * 7", &["Sat 2026-07-04 06:00:00"]),
        (
            "0 0 6 ? * 2-6",
            &[
                "Wed 2026-07-01 06:00:00",
                "Thu 2026-07-02 06:00:00",
                "Fri 2026-07-03 06:00:00",
                "Mon 2026-07-06 06:00:00",
            ],
        ),
        (
            "0 0 6 ? * MON-FRI",
            &[
                "Wed 2026-07-01 06:00:00",
                "Thu 2026-07-02 06:00:00",
                "Fri 2026-07-03 06:00:00",
                "Mon 2026-07-06 06:00:00",
            ],
        ),
        ("0 0 6 ? * sat,sun", &["Sat 2026-07-04 06:00:00", "Sun 2026-07-05 06:00:00"]),
        (
            "0 0 6 ? * FRI-MON",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Mon 2026-07-06 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        ("0 0 6 ? * L", &["Sat 2026-07-04 06:00:00", "Sat 2026-07-11 06:00:00"]),
        ("0 0 6 ? * 6L", &["Fri 2026-07-31 06:00:00", "Fri 2026-08-28 06:00:00"]),
        ("0 0 6 ? * FRIL", &["Fri 2026-07-31 06:00:00"]),
        ("0 0 6 ? * 2#1", &["Mon 2026-07-06 06:00:00", "Mon 2026-08-03 06:00:00"]),
        ("0 0 6 ? * WED#5", &["Wed 2026-07-29 06:00:00", "Wed 2026-09-30 06:00:00"]),
        ("0 0 6 * * MON", &["Mon 2026-07-06 06:00:00"]),
        ("0 0 6 L * ?", &["Fri 2026-07-31 06:00:00", "Mon 2026-08-31 06:00:00"]),
        (
            "0 0 6 LW * ?",
            &[
                "Fri 2026-07-31 06:00:00",
                "Mon 2026-08-31 06:00:00",
                "Wed 2026-09-30 06:00:00",
                "Fri 2026-10-30 06:00:00",
            ],
        ),
        ("0 0 6 4W * ?", &["Fri 2026-07-03 06:00:00", "Tue 2026-08-04 06:00:00"]),
        ("0 0 6 1,15 * ?", &["Wed 2026-07-01 06:00:00", "Wed 2026-07-15 06:00:00"]),
        ("0 0 0 29 2 ?", &["Tue 2028-02-29 00:00:00"]),
        ("0 0 0 1 JAN-MAR ?", &["Fri 2027-01-01 00:00:00", "Mon 2027-02-01 00:00:00", "Mon 2027-03-01 00:00:00"]),
        ("0 0 0 1 1 ? 2030", &["Tue 2030-01-01 00:00:00"]),
        ("0 0 0 1 1 ? 2027-2031/2", &["Fri 2027-01-01 00:00:00", "Mon 2029-01-01 00:00:00", "Wed 2031-01-01 00:00:00"]),
        // Unix: 0 and 7 are Sunday.
        ("0 6 * * 1", &["Mon 2026-07-06 06:00:00"]),
        ("0 6 * * 0", &["Sun 2026-07-05 06:00:00"]),
        (
            "0 6 * * 5-7",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        (
            "0 6 * * FRI-SUN",
            &[
                "Fri 2026-07-03 06:00:00",
                "Sat 2026-07-04 06:00:00",
                "Sun 2026-07-05 06:00:00",
                "Fri 2026-07-10 06:00:00",
            ],
        ),
        // Unix: with both day fields, either one matches.
        ("0 6 4 * MON", &["Sat 2026-07-04 06:00:00", "Mon 2026-07-06 06:00:00"]),
        ("@daily", &["Thu 2026-07-02 00:00:00"]),
    ];
    for (expression, expected) in cases {
        let found = times(expression, &TimeZone::UTC, "2026-07-01T00:00:00Z", expected.len());
        let expected: Vec<String> = expected.iter().map(|time| format!("{time} +00:00")).collect();
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn wrong_expressions_are_reported_by_field() {
    let cases = [
        ("0 0 25 * * ?", "field 3 (hours): 25 is past 23"),
        ("60 0 * * * ?", "field 1 (seconds): 60 is past 59"),
        ("0 99999999 * * * ?", "field 2 (minutes): 99999999 is past 59"),
        ("0 0 0 0 * ?", "field 4 (day of month): 0 is below 1"),
        ("0 0 0 ? 13 *", "field 5 (month): 13 is past 12"),
        ("0 0 0 ? * 0", "field 6 (day of week): 0 is below 1"),
        ("0 0 0 ? * 8", "field 6 (day of week): 8 is past 7"),
        ("0 0 0 * * 8", "field 6 (day of week): 8 is past 7"),
        ("* * * * 8", "field 5 (day of week): 8 is past 7"),
        ("0 0 0 ? * MOON", "field 6 (day of week): `MOON` is neither a number nor a day (SUN to SAT)"),
        ("0 0 0 ? XYZ *", "field 5 (month): `XYZ` is neither a number nor a month (JAN to DEC)"),
        ("0 0 x * * ?", "field 3 (hours): `X` is not a number"),
        ("0 0 ? * * ?", "field 3 (hours): ? is for the two day fields; write *"),
        ("0 0 0 1,? * *", "field 4 (day of month): ? must stand alone"),
        ("0 0 1,,2 * * ?", "field 3 (hours): there is nothing between two commas"),
        ("0 */0 * * * ?", "field 2 (minutes): the step in `*/0` is not 1 to 59"),
        ("0 */61 * * * ?", "field 2 (minutes): the step in `*/61` is not 1 to 59"),
        ("0 5-1 * * *", "field 2 (hours): 5-1 goes backwards"),
        ("30-10 * * * *", "field 1 (minutes): 30-10 goes backwards"),
        ("0 0 0 ? * 2#6", "field 6 (day of week): `6` after # is not 1 to 5"),
        ("0 0 * * L", "field 5 (day of week): L alone means nothing here; 5L is the month's last Friday"),
        ("0 0 0 L-3 * ?", "field 4 (day of month): L-3 (days before the last) is not supported; L and LW are"),
        ("0 0 0 5X,1-3W * ?", "field 4 (day of month): `5X` is not a number"),
        ("0 0 0 L,LW * ?", "field 4 (day of month): L and LW cannot be combined"),
        ("0 0 0 1 * MON", "day of month and day of week are both given; write ? for one of them"),
        ("0 0 0 1 1 ? 1969", "field 7 (year): 1969 is below 1970"),
        ("0 0 0 1 1 ? 2100", "field 7 (year): 2100 is past 2099"),
        ("", "it has 0 fields; the Quartz form has 6 or 7 (seconds first), the Unix form 5"),
        ("* * * *", "it has 4 fields; the Quartz form has 6 or 7 (seconds first), the Unix form 5"),
        ("0 0 0 30 2 ?", "it never fires: no future date matches"),
        ("0 0 0 1 1 ? 2020", "it never fires: no future date matches"),
    ];
    for (expression, expected) in cases {
        let result = Schedule::parse(expression, TimeZone::UTC, at("2026-07-01T00:00:00Z"));
        assert_eq!(result.expect_err(expression).to_string(), expected, "{expression}");
    }
}

/// Berlin: on 29 March 2026 the clock goes from 02:00 to 03:00, on 25 October from 03:00 back to 02:00.
#[test]
fn the_clocks_changes_lose_no_daily_run_and_double_none() {
    assert_eq!(
        times("0 30 2 * * ?", &berlin(), "2026-03-28T00:00:00Z", 3),
        ["Sat 2026-03-28 02:30:00 +01:00", "Sun 2026-03-29 03:00:00 +02:00", "Mon 2026-03-30 02:30:00 +02:00"]
    );
    assert_eq!(
        times("0 30 2 * * ?", &berlin(), "2026-10-24T12:00:00Z", 2),
        ["Sun 2026-10-25 02:30:00 +02:00", "Mon 2026-10-26 02:30:00 +01:00"]
    );
    // Hourly schedules follow the clock: 23 hours in spring, 25 in autumn.
    assert_eq!(
        times("0 0 * * * ?", &berlin(), "2026-03-29T00:30:00Z", 2),
        ["Sun 2026-03-29 03:00:00 +02:00", "Sun 2026-03-29 04:00:00 +02:00"]
    );
    assert_eq!(
        times("0 0 * * * ?", &berlin(), "2026-10-24T23:30:00Z", 4),
        [
            "Sun 2026-10-25 02:00:00 +02:00",
            "Sun 2026-10-25 02:00:00 +01:00",
            "Sun 2026-10-25 03:00:00 +01:00",
            "Sun 2026-10-25 04:00:00 +01:00"
        ]
    );
}

#[test]
fn a_time_zone_moves_the_day() {
    let kathmandu = TimeZone::get("Asia/Kathmandu").unwrap();
    assert_eq!(times("0 0 0 ? * SUN", &kathmandu, "2026-07-01T00:00:00Z", 1), ["Sun 2026-07-05 00:00:00 +05:45"]);
}

#[test]
fn the_next_time_is_later_even_within_the_second() {
    let schedule = Schedule::parse("0 0 * * * ?", TimeZone::UTC, at("2026-07-01T00:00:00Z")).unwrap();
    assert_eq!(schedule.next_after(at("2026-07-01T01:00:00Z")), Some(at("2026-07-01T02:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-07-01T01:00:00.5Z")), Some(at("2026-07-01T02:00:00Z")));
    assert_eq!(schedule.next_after(at("2026-07-01T00:59:59.5Z")), Some(at("2026-07-01T01:00:00Z")));
}

#[test]
fn an_expression_that_ends_has_no_next_time() {
    let schedule = Schedule::parse("0 0 0 1 1 ? 2030", TimeZone::UTC, at("2026-07-01T00:00:00Z")).unwrap();
    assert_eq!(schedule.next_n(at("2026-07-01T00:00:00Z"), 5).len(), 1);
    assert_eq!(schedule.next_after(at("2030-01-01T00:00:00Z")), None);
}

// ---- arbitrary input

/// Generates pieces of a configuration in any order, with arbitrary text between.
fn tomlish() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[server]",
        "[[target]]",
        "[[connector]]",
        "[connector.policy]",
        "[server.tls]",
        "[",
        "]",
        "=",
        "\n",
        "\"",
        "'''",
        "\"\"\"",
        "name",
        "token",
        "token_env",
        "schedule",
        "targets",
        "policy",
        "safety",
        "hook_secret",
        "listen",
        "url",
        "url = \"https://é@x\"",
        "name = \"ä\"",
        "targets = [\"ä\", 1]",
        "policy.safety.count = -1",
        "schedule = \"0 0 0 L * ?\"",
        "time_zone = \"X/Y\"",
        "retention = \"9999999999d\"",
        "body_limit = \"99999999999999999999 GiB\"",
        "{",
        "}",
        ",",
        "# é",
        "\r\n",
        "0x",
        "1e400",
        "nan",
    ]);
    prop::collection::vec(prop_oneof![4 => word.prop_map(str::to_owned), 1 => ".{0,8}"], 0..40)
        .prop_map(|parts| parts.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_input_makes_the_parser_panic(text in prop_oneof![tomlish(), ".*", tomlish().prop_map(|text| text.replace(' ', "\n"))]) {
        let parsed = Config::parse(&text, Path::new("usersync.toml"), &Env::of([("A", "b")]), at("2026-07-01T00:00:00Z"));
        if let Err(errors) = parsed {
            prop_assert!(!errors.problems().is_empty());
            prop_assert!(!errors.to_string().is_empty());
            let drawn = errors.render(Drawing::Terminal { colour: true });
            prop_assert!(!drawn.is_empty());
        }
    }

    #[test]
    fn no_surrounding_text_reveals_a_secret(before in tomlish(), after in tomlish()) {
        let text = format!("{before}\ntoken = \"hunter2-hunter2\"\n{after}");
        let parsed = Config::parse(&text, Path::new("usersync.toml"), &Env::of([("A", "b")]), at("2026-07-01T00:00:00Z"));
        if let Err(errors) = parsed {
            let shown = format!("{errors}{}", errors.render(Drawing::Terminal { colour: false }));
            prop_assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn no_expression_makes_the_schedule_panic(text in prop_oneof!["[0-9*?/,#LW-]{1,4}( [0-9*?/,#LWA-Z-]{1,4}){4,6}", ".*"]) {
        let now = at("2026-07-01T00:00:00Z");
        if let Ok(schedule) = Schedule::parse(&text, berlin(), now) {
            let next = schedule.next_n(now, 3);
            prop_assert!(next.iter().all(|time| *time > now));
            prop_assert!(next.is_sorted());
        }
    }
}
