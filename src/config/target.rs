//! Reads `[[target]]`.

use std::{collections::BTreeSet, sync::LazyLock};

use super::{
    TargetAuth, TargetConfig,
    problem::Place,
    reach::{Forms, reach, secret, server_url, url, written_form},
    reader::Table,
    typed::typed,
    values::{self, Wrong},
};
use crate::target::{KINDS, TargetKind, scim};

/// The profiles of SCIM servers by their words.
static PROFILES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| scim::profiles().map(|name| (name, name)).collect());
/// The kinds by their words.
static KIND_NAMES: LazyLock<Vec<(&str, &TargetKind)>> =
    LazyLock::new(|| KINDS.iter().map(|kind| (kind.name, kind)).collect());
const TOKEN: Forms = ["token", "token_file", "token_env"];
const PASSWORD: Forms = ["password", "password_file", "password_env"];
const CLIENT_SECRET: Forms = ["client_secret", "client_secret_file", "client_secret_env"];

pub(super) fn target(table: &Table<'_>) -> Option<TargetConfig> {
    let name = table.read("name", values::name);
    let kind = table.read("kind", values::one_of(&KIND_NAMES));
    if let Some(kind) = kind {
        refuse_keys_of_others(table, kind);
    }
    let address = server_url(table);
    let auth = auth(table, kind);
    let profile = table.read("profile", values::one_of(&PROFILES));
    let habits = typed(table, "habits", "write [target.habits] below its [[target]]");
    let habits = habits.and_then(|(habits, fine)| fine.then_some(habits));
    let reach = reach(table);
    let texts = |key| Some(table.list(key, values::string)?.into_iter().map(|(text, _)| text).collect::<Vec<_>>());
    let (applications, users) = (texts("applications"), texts("protected_users"));
    let (groups, frozen_groups) = (texts("protected_groups"), texts("frozen_groups"));
    let access_groups = texts("managed_access_groups");
    let default_group = table.read("default_group", values::flag);
    Some(TargetConfig {
        name: name?.into(),
        kind: kind?,
        url: address?,
        auth: auth?,
        reach: reach?,
        applications: applications?,
        default_group: default_group?,
        protected_groups: groups?,
        frozen_groups: frozen_groups?,
        managed_access_groups: access_groups?,
        protected_users: users?,
        profile,
        habits: habits?,
        // The policies of connectors tell.
        attributes: BTreeSet::new(),
    })
}

/// A key that means nothing to the kind is a mistake, not a wish.
fn refuse_keys_of_others(table: &Table<'_>, kind: &TargetKind) {
    let others: BTreeSet<&'static str> = KINDS.iter().flat_map(|other| other.keys).copied().collect();
    for key in others.into_iter().filter(|key| table.raw(key).is_some() && !kind.keys.contains(key)) {
        let its: Vec<&str> = KINDS.iter().filter(|other| other.keys.contains(&key)).map(|other| other.name).collect();
        let wrong = Wrong::new(format!("this is for kind {}, and the target is a {}", its.join(" and "), kind.name));
        let place = table.raw(key).map_or_else(|| Place::File, |value| Place::Span(value.span()));
        table.wrong(key, place, wrong.help("take it away"));
    }
}

fn auth(table: &Table<'_>, kind: Option<&TargetKind>) -> Option<TargetAuth> {
    let token = secret(table, TOKEN).map(|(secret, _)| secret);
    let password = secret(table, PASSWORD).map(|(secret, _)| secret);
    let client_secret = secret(table, CLIENT_SECRET).map(|(secret, _)| secret);
    let user = table.read("user", values::string);
    let token_url = url(table, "token_url");
    let client_id = table.read("client_id", values::string);
    let scope = table.read("scope", values::string);
    let (token_key, password_key) = (written_form(table, TOKEN), written_form(table, PASSWORD));
    let user_key = table.has("user").then_some("user");
    let by_password_only = kind.filter(|kind| kind.password_only);
    if table.has("token_url") {
        for key in token_key.into_iter().chain(user_key).chain(password_key) {
            let wrong = Wrong::new("a token_url is there too").help("keep one way to sign in");
            table.wrong(key, table.place_of(key), wrong);
        }
        if !table.has("client_id") {
            table.missing("`client_id`", Some("add the client that asks for tokens".to_owned()));
        }
        if written_form(table, CLIENT_SECRET).is_none() {
            let help = "add client_secret_file, client_secret_env or client_secret";
            table.missing("the client's secret", Some(help.to_owned()));
        }
        return Some(TargetAuth::Client { token_url: token_url?, id: client_id?, secret: client_secret?, scope });
    }
    for key in ["client_id", "scope"].into_iter().chain(written_form(table, CLIENT_SECRET)) {
        if table.has(key) {
            let wrong = Wrong::new("there is no token_url that it could be used at").help("add token_url");
            table.wrong(key, table.place_of(key), wrong);
        }
    }
    match (token_key, user_key.or(password_key)) {
        (Some(_), Some(key)) => {
            let wrong = Wrong::new("a token is there too").help("keep the token, or user and password");
            table.wrong(key, table.place_of(key), wrong);
        }
        (Some(key), None) if let Some(kind) = by_password_only => {
            let wrong = Wrong::new(format!("a target of kind {} takes no token", kind.name));
            table.wrong(key, table.place_of(key), wrong.help("add an application's name as user, and password_file"));
        }
        (None, None) if by_password_only.is_some() => table.missing(
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
