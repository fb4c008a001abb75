//! Reads `[[target]]`.

use super::{
    TargetAuth, TargetConfig, TargetKind,
    reach::{Forms, reach, secret, server_url, written_form},
    reader::Table,
    values::{self, Wrong},
};

const KINDS: &[(&str, TargetKind)] =
    &[("jira", TargetKind::Jira), ("confluence", TargetKind::Confluence), ("crowd", TargetKind::Crowd)];
/// Keys that only some kinds have.
const ONLY: &[(&str, &[&str])] = &[("applications", &["jira"])];
const TOKEN: Forms = ["token", "token_file", "token_env"];
const PASSWORD: Forms = ["password", "password_file", "password_env"];

pub(super) fn target(table: &Table<'_>) -> Option<TargetConfig> {
    let name = table.read("name", values::name);
    let kind = table.read("kind", values::one_of(KINDS));
    refuse_keys_of_others(table);
    let url = server_url(table);
    let auth = auth(table, kind);
    let reach = reach(table);
    let texts = |key| Some(table.list(key, values::string)?.into_iter().map(|(text, _)| text).collect::<Vec<_>>());
    let (applications, groups, users) = (texts("applications"), texts("protected_groups"), texts("protected_users"));
    Some(TargetConfig {
        name: name?.into(),
        kind: kind?,
        url: url?,
        auth: auth?,
        reach: reach?,
        applications: applications?,
        protected_groups: groups?,
        protected_users: users?,
    })
}

/// A key that means nothing to the kind is a mistake, not a wish.
fn refuse_keys_of_others(table: &Table<'_>) {
    let Some(kind) = table.raw("kind").and_then(|kind| kind.get_ref().as_str()) else { return };
    for (key, kinds) in ONLY {
        if table.has(key) && !kinds.contains(&kind) && KINDS.iter().any(|(known, _)| *known == kind) {
            let wrong = Wrong::new(format!("this is for kind {}, and the target is a {kind}", kinds.join(" and ")));
            table.wrong(key, table.place_of(key), wrong.help("take it away"));
        }
    }
}

fn auth(table: &Table<'_>, kind: Option<TargetKind>) -> Option<TargetAuth> {
    let token = secret(table, TOKEN).map(|(secret, _)| secret);
    let password = secret(table, PASSWORD).map(|(secret, _)| secret);
    let user = table.read("user", values::string);
    let (token_key, password_key) = (written_form(table, TOKEN), written_form(table, PASSWORD));
    let user_key = table.has("user").then_some("user");
    // Crowd knows applications, which have a name and a password, and no tokens.
    let by_password_only = kind == Some(TargetKind::Crowd);
    match (token_key, user_key.or(password_key)) {
        (Some(_), Some(key)) => {
            let wrong = Wrong::new("a token is there too").help("keep the token, or user and password");
            table.wrong(key, table.place_of(key), wrong);
        }
        (Some(key), None) if by_password_only => {
            let wrong = Wrong::new("a target of kind crowd takes no token");
            table.wrong(key, table.place_of(key), wrong.help("add an application's name as user, and password_file"));
        }
        (None, None) if by_password_only => table.missing(
            "a way to sign in",
            Some("add an application's name as user; and password_file, password_env or password".to_owned()),
        ),
        (None, None) => table.missing(
            "a way to sign in",
            Some("add token_file, token_env or token; or user and password_file, password_env or password".to_owned()),
        ),
        (None, Some(_)) if user_key.is_none() => {
            table.missing("`user`", Some("add the login that the password belongs to".to_owned()));
        }
        (None, Some(_)) if password_key.is_none() => {
            table.missing("the password", Some("add password_file, password_env or password".to_owned()));
        }
        _ => {}
    }
    match token {
        Some(token) => Some(TargetAuth::Token(token)),
        None => Some(TargetAuth::Password { user: user?, password: password? }),
    }
}
