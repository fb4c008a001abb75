//! Secrets can be rotated and are never shown.

use std::fs;

use secrecy::ExposeSecret;
use usersync::config::{Drawing, Env, Secret};

use super::{Folder, HOOK, small, with_connector, with_target};

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
