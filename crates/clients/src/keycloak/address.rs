//! Finds Keycloak's base URL: with `/auth`, the default path of older versions, or without.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::{
    SourceError,
    base::Base,
    fault::{self, Asked, Names},
    http::Http,
};
use crate::model::ErrorClass;

/// Returns the URLs at which Keycloak may answer, most likely first.
fn candidates(given: &Url) -> Vec<Base> {
    let path = given.path().trim_end_matches('/');
    // The URL may be copied from a browser's address bar.
    let path = ["/admin", "/realms"].iter().fold(path, |path, tail| match path.find(&format!("{tail}/")) {
        Some(at) => &path[..at],
        None => path.strip_suffix(tail).unwrap_or(path),
    });
    let path = path.trim_end_matches('/');
    let base = |path: &str| Base(format!("{}{path}", given.origin().ascii_serialization()));
    let other = match path.strip_suffix("/auth") {
        Some(without) => base(without),
        None => base(&format!("{path}/auth")),
    };
    vec![base(path), other]
}

/// Finds Keycloak's URL among the candidates by requesting the realm.
pub(super) async fn find(http: &Http, given: &Url, names: &Names, within: Duration) -> Result<Base, SourceError> {
    #[derive(Deserialize)]
    struct Realm {
        realm: String,
    }
    let mut without_realm = None;
    let mut first_error = None;
    for base in candidates(given) {
        let request = http.client().get(base.realm(&names.realm));
        let answer = http.get(&names.at(&base), request, within).await?;
        let found = serde_json::from_slice::<Realm>(&answer.body);
        if answer.status == StatusCode::OK && found.is_ok_and(|found| found.realm == names.realm) {
            return Ok(base);
        }
        if answer.status == StatusCode::NOT_FOUND
            && fault::reported(&answer.body).is_some_and(|text| text.starts_with("Realm "))
        {
            without_realm = Some(base);
        } else if first_error.is_none() {
            first_error = Some((base, answer));
        }
    }
    if let Some(base) = without_realm {
        return Err(fault::no_realm(&names.realm, &base));
    }
    Err(match first_error {
        Some((base, answer)) if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => {
            names.status(Asked::Realm, &base, answer.status, &answer.headers, &answer.body)
        }
        Some((base, answer)) => {
            let mut error = names.status(Asked::Realm, &base, answer.status, &answer.headers, &answer.body);
            error.text = format!(
                "realm {} at {base}: Keycloak answers neither here nor with /auth (HTTP {}). Set url to the address \
                 up to, but not including, /realms",
                names.realm,
                answer.status.as_u16()
            );
            error.class = ErrorClass::Transient;
            error
        }
        None => fault::transient(format!("realm {}: no address to try", names.realm)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_tried_with_and_without_auth() {
        for (given, expected) in [
            ("https://sso.example.org", ["https://sso.example.org", "https://sso.example.org/auth"]),
            ("https://sso.example.org/", ["https://sso.example.org", "https://sso.example.org/auth"]),
            ("https://sso.example.org/auth/", ["https://sso.example.org/auth", "https://sso.example.org"]),
            ("http://h:8080/iam/kc//", ["http://h:8080/iam/kc", "http://h:8080/iam/kc/auth"]),
            ("https://h/auth/admin/master/console/#/acme", ["https://h/auth", "https://h"]),
            ("https://h/realms/acme/account?x=y", ["https://h", "https://h/auth"]),
            ("https://h/admin", ["https://h", "https://h/auth"]),
        ] {
            let found: Vec<_> = candidates(&Url::parse(given).unwrap()).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{given}");
        }
    }

    #[test]
    fn no_name_climbs_out_of_its_place() {
        let base = Base("https://h".into());
        assert_eq!(base.admin("a b", &["users", "f:x:y/z"]), "https://h/admin/realms/a%20b/users/f%3Ax%3Ay%2Fz");
        let climbing = Url::parse(&base.admin("acme", &["users", ".."])).unwrap();
        assert_eq!(climbing.path(), "/admin/realms/acme/users/%00%00");
    }
}
