//! Accepted values, variables that override them, and the file's location.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use jiff::SignedDuration;
use secrecy::ExposeSecret;
use usersync::{
    config::{AlertChannel, ClientAuth, Config, DEFAULT_SCHEDULE, Env, LogFormat, SmtpTls, TargetAuth, find},
    model::{AlertKind, FirstRun, Policy},
};

use super::{Folder, HOOK, SMALL, TOKEN, at, scim, with_connector, with_target};

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
    assert!(
        target.protection.protected_groups.is_empty()
            && target.protection.frozen_groups.is_empty()
            && target.protection.protected_users.is_empty()
    );
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

#[test]
fn alerts_have_a_webhook_or_a_command() {
    let folder = Folder::new();
    let webhook = format!("webhook = \"https://a.example.org/hook?key=k\"\nsecret = \"{HOOK}\"");
    let narrow =
        "command = [\"/bin/echo\", \"a b\"]\nafter = \"5m\"\nproblems = [\"stopped\"]\nconnectors = [\"acme\"]";
    let text = format!("{SMALL}[[alert]]\nname = \"ops\"\n{webhook}\n[[alert]]\nname = \"pager\"\n{narrow}\n");
    let config = folder.load(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.warnings.len(), config.alerts.len()), (0, 2));
    let [ops, pager] = &config.alerts[..] else { panic!("two") };
    assert_eq!(
        (ops.name.as_str(), ops.after, ops.timeout),
        ("ops", SignedDuration::from_mins(1), Duration::from_secs(10))
    );
    assert_eq!((ops.problems.len(), ops.connectors.len()), (5, 0));
    let AlertChannel::Webhook { url, secret, proxy: None, ca_file: None } = &ops.channel else { panic!("a webhook") };
    assert_eq!((url.as_str(), secret.read().unwrap().expose_secret()), ("https://a.example.org/hook?key=k", HOOK));
    let AlertChannel::Command { program, arguments } = &pager.channel else { panic!("a command") };
    assert_eq!((program.as_path(), arguments.as_slice()), (Path::new("/bin/echo"), &["a b".to_owned()][..]));
    assert_eq!((pager.after, &pager.problems[..]), (SignedDuration::from_mins(5), &[AlertKind::Stopped][..]));
    assert_eq!(pager.connectors, ["acme".into()]);
    let plain = folder.warnings(&text.replace("https://a.", "http://a."));
    assert!(plain.len() == 1 && plain[0].contains("without TLS"), "{plain:?}");
}

#[test]
fn alerts_by_email_are_encrypted_unless_the_file_says_otherwise() {
    let folder = Folder::new();
    let email = "smtp = \"mail.example.org:587\"\nfrom = \"usersync <usersync@example.org>\"\n\
                 to = [\"ops@example.org\", \"Night Shift <night@example.org>\"]";
    let text = format!("{SMALL}[[alert]]\nname = \"ops\"\n{email}\n");
    let read = |text: &str| {
        let config = folder.load(text).unwrap_or_else(|errors| panic!("{errors}"));
        let AlertChannel::Email(email) = config.alerts[0].channel.clone() else { panic!("e-mail") };
        (email, config.warnings.len())
    };
    let (email, warnings) = read(&text);
    assert_eq!((email.host.as_str(), email.port, email.tls, warnings), ("mail.example.org", 587, SmtpTls::Starttls, 0));
    assert!(email.sign_in.is_none() && email.ca_file.is_none());
    assert_eq!(email.from.to_string(), "usersync <usersync@example.org>");
    let to: Vec<String> = email.to.iter().map(|one| one.email.to_string()).collect();
    assert_eq!(to, ["ops@example.org", "night@example.org"]);
    let (email, warnings) = read(&format!("{text}tls = \"implicit\"\nuser = \"u\"\npassword = \"p\"\n"));
    assert_eq!((email.tls, email.sign_in.map(|(user, _)| user), warnings), (SmtpTls::Implicit, Some("u".into()), 0));
    let plain = format!("{text}tls = \"none\"\n");
    assert_eq!(read(&plain).1, 1);
    assert!(folder.warnings(&plain)[0].contains("alerts are sent there without TLS"));
    for near in ["localhost:25", "127.0.0.1:25", "[::1]:25"] {
        let plain = plain.replace("mail.example.org:587", near);
        let (email, warnings) = read(&format!("{plain}user = \"u\"\npassword = \"p\"\n"));
        assert_eq!((email.port, warnings, email.host.contains('[')), (25, 0, false), "{near}");
    }
}

#[test]
fn a_digest_has_a_time_of_day_in_a_time_zone() {
    let folder = Folder::new();
    let text = format!("{SMALL}[[alert]]\nname = \"ops\"\ncommand = [\"/bin/true\"]\n");
    let digest = |lines: &str| {
        let config = folder.load(&format!("{text}{lines}")).unwrap_or_else(|errors| panic!("{errors}"));
        config.alerts[0].digest.clone()
    };
    assert_eq!(digest(""), None);
    let at = |lines: &str, after: &str| {
        let after: jiff::Timestamp = after.parse().unwrap();
        digest(lines).unwrap().next_after(after).unwrap().to_string()
    };
    assert_eq!(at("digest = \"08:05\"", "2026-01-15T08:05:00Z"), "2026-01-16T08:05:00Z");
    let berlin = "digest = \"08:05\"\ntime_zone = \"Europe/Berlin\"";
    assert_eq!(at(berlin, "2026-01-15T06:00:00Z"), "2026-01-15T07:05:00Z");
    // In the night in which the clock skips 02:30.
    let night = berlin.replace("08:05", "02:30");
    assert_eq!(at(&night, "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(at(&night, "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
}
