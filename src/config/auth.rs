//! Reads the credentials of a target.

use std::collections::BTreeMap;

use super::{
    ClientAuth, TargetAuth,
    connection::{Forms, secret, url, written_form},
    problem::Place,
    reader::Table,
    typed::typed,
    values::{self, Wrong, quoted},
};
use crate::targets::TargetKind;

const TOKEN: Forms = ["token", "token_file", "token_env"];
const PASSWORD: Forms = ["password", "password_file", "password_env"];
const CLIENT_SECRET: Forms = ["client_secret", "client_secret_file", "client_secret_env"];
/// The keys of OAuth 2.0 client credentials.
pub(super) const CLIENT_KEYS: [&str; 10] = [
    "token_url",
    "client_id",
    "client_secret",
    "client_secret_file",
    "client_secret_env",
    "client_auth",
    "scope",
    "audience",
    "resource",
    "token_parameters",
];
/// Parameters of a token request that have their own keys, or a fixed value.
const OWN_PARAMETERS: [&str; 6] = ["grant_type", "client_id", "client_secret", "scope", "audience", "resource"];
static CLIENT_AUTHS: [(&str, ClientAuth); 2] = [("basic", ClientAuth::Basic), ("form", ClientAuth::Form)];

pub(super) fn auth(table: &Table<'_>, kind: Option<&TargetKind>) -> Option<TargetAuth> {
    let token = secret(table, TOKEN).map(|(secret, _)| secret);
    let password = secret(table, PASSWORD).map(|(secret, _)| secret);
    let user = table.read("user", values::string);
    let (token_key, password_key) = (written_form(table, TOKEN), written_form(table, PASSWORD));
    let user_key = table.has("user").then_some("user");
    let parameters = parameters(table);
    if table.has("token_url") {
        for key in token_key.into_iter().chain(user_key).chain(password_key) {
            let wrong = Wrong::new("token_url is also set").help("keep one authentication method");
            table.wrong(key, table.place_of(key), wrong);
        }
        return client(table, parameters);
    }
    for (key, value) in CLIENT_KEYS.into_iter().filter_map(|key| Some((key, table.raw(key)?))) {
        let wrong = Wrong::new("it requires token_url, which is missing").help("add token_url");
        table.wrong(key, Place::Span(value.span()), wrong);
    }
    let no_token = kind.and_then(|kind| Some((kind, kind.no_token?)));
    let or_client = match kind {
        Some(kind) if kind.client_credentials => "; or token_url, client_id and client_secret_file",
        _ => "",
    };
    match (token_key, user_key.or(password_key)) {
        (Some(_), Some(key)) if no_token.is_none() => {
            let wrong = Wrong::new("a token is also set").help("keep the token, or user and password");
            table.wrong(key, table.place_of(key), wrong);
        }
        (Some(key), _) if let Some((kind, no_token)) = no_token => {
            let wrong = Wrong::new(format!("a target of kind {} does not accept tokens{}", kind.name, no_token.why));
            let help = format!("{}, and password_file{or_client}", no_token.user);
            table.wrong(key, table.place_of(key), wrong.help(help));
        }
        (None, None) => {
            let passwords = "password_file, password_env or password";
            let help = match no_token {
                Some((_, no_token)) => format!("{}; and {passwords}{or_client}", no_token.user),
                None => format!("add token_file, token_env or token; or user and {passwords}{or_client}"),
            };
            table.missing("an authentication method", Some(help));
        }
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

/// Reads OAuth 2.0 client credentials.
fn client(table: &Table<'_>, parameters: Option<Vec<(String, String)>>) -> Option<TargetAuth> {
    let token_url = url(table, "token_url");
    if !table.has("client_id") {
        table.missing("`client_id`", Some("add the client that requests tokens".to_owned()));
    }
    let id = table.read("client_id", values::string);
    if written_form(table, CLIENT_SECRET).is_none() {
        let help = "add client_secret_file, client_secret_env or client_secret";
        table.missing("the client's secret", Some(help.to_owned()));
    }
    let secret = secret(table, CLIENT_SECRET).map(|(secret, _)| secret);
    let client_auth = table.read("client_auth", values::one_of(&CLIENT_AUTHS));
    let scope = table.read("scope", values::string);
    Some(TargetAuth::Client {
        token_url: token_url?,
        id: id?,
        secret: secret?,
        client_auth: client_auth?,
        scope,
        parameters: parameters?,
    })
}

/// Reads the parameters of a token request other than grant, client and scope.
fn parameters(table: &Table<'_>) -> Option<Vec<(String, String)>> {
    let own = ["audience", "resource"].map(|key| Some((key.to_owned(), table.read(key, values::string)?)));
    let further: BTreeMap<String, String> =
        match typed(table, "token_parameters", "write [target.token_parameters] below its [[target]]")? {
            (further, true) => further,
            (_, false) => return None,
        };
    if let Some(name) = further.keys().find(|name| OWN_PARAMETERS.contains(&name.as_str())) {
        let wrong = if name == "grant_type" {
            Wrong::new("grant_type is always client_credentials").help("remove it")
        } else {
            Wrong::new(format!("{} has a key of its own", quoted(name))).help(format!("write {name} in [[target]]"))
        };
        let place = table.raw("token_parameters").map_or(Place::File, |value| Place::Span(value.span()));
        table.wrong("token_parameters", place, wrong);
        return None;
    }
    Some(own.into_iter().flatten().chain(further).collect())
}
