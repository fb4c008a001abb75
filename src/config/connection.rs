//! Reads what targets and connectors have in common: the connection to their server, and secrets.

use url::{Host, Url};

use super::{
    Reach, Secret, permissions,
    problem::Place,
    reader::Table,
    values::{self, Wrong},
};
use crate::http::{ClientCertificate, ProxyUser};

/// The keys of a secret's three forms: the value, a file, an environment variable.
pub(super) type Forms = [&'static str; 3];

const PROXY_PASSWORD: Forms = ["proxy_password", "proxy_password_file", "proxy_password_env"];

pub(super) fn reach(table: &Table<'_>) -> Option<Reach> {
    let ca_file = table.file("ca_file");
    let client_certificate = client_certificate(table);
    let proxy = table.read("proxy", values::base_url);
    let proxy_user = proxy_user(table);
    let parallel = table.read("parallel", values::count(64));
    let per_second = table.read("per_second", values::count(10_000));
    let timeout = table.read("timeout", values::wait);
    Some(Reach { ca_file, client_certificate, proxy, proxy_user, parallel: parallel?, per_second, timeout: timeout? })
}

/// Reads certificate and key, both or none; an unusable pair is an error.
fn client_certificate(table: &Table<'_>) -> Option<ClientCertificate> {
    let files = ["client_cert_file", "client_key_file"].map(|key| table.file(key));
    for (key, other) in [("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")] {
        if table.has(key) && !table.has(other) {
            let wrong = Wrong::new(format!("there is no {other}")).help(format!("add {other}, or remove {key}"));
            table.wrong(key, table.place_of(key), wrong);
        }
    }
    let [Some(cert_file), Some(key_file)] = files else { return None };
    if let Some(path) = permissions::others_can_read(&key_file).then_some(&key_file) {
        let message = format!("other users on this machine can read the private key in {}", path.display());
        let help = format!("chmod 600 {}", path.display());
        table.reader.warn(table.place_of("client_key_file"), message, Some(help));
    }
    let certificate = ClientCertificate { cert_file, key_file };
    if table.reader.checks_files
        && let Err(error) = certificate.check()
    {
        let text = error.to_string();
        let (what, help) = text.split_once(". ").unwrap_or((text.trim_end_matches('.'), ""));
        let wrong = Wrong::new(what);
        let wrong = if help.is_empty() { wrong } else { wrong.help(help.trim_end_matches('.')) };
        table.wrong(error.key(), table.place_of(error.key()), wrong);
        return None;
    }
    Some(certificate)
}

/// Reads the credentials for the proxy: user and password, both or none.
fn proxy_user(table: &Table<'_>) -> Option<ProxyUser> {
    let user = table.read("proxy_user", values::proxy_user);
    let password = secret(table, PROXY_PASSWORD).map(|(secret, _)| secret);
    let password_key = written_form(table, PROXY_PASSWORD);
    let user_key = table.has("proxy_user").then_some("proxy_user");
    let mistake = match (user_key, password_key) {
        (Some(key), _) | (None, Some(key)) if !table.has("proxy") => {
            Some((key, "it requires proxy, which is missing", "add proxy, or remove it"))
        }
        (Some(key), None) => {
            Some((key, "there is no password", "add proxy_password_file, proxy_password_env or proxy_password"))
        }
        (None, Some(key)) => Some((key, "it requires proxy_user, which is missing", "add proxy_user")),
        _ => None,
    };
    if let Some((key, message, help)) = mistake {
        table.wrong(key, table.place_of(key), Wrong::new(message).help(help));
        return None;
    }
    Some(ProxyUser { user: user?, password: password? })
}

/// Returns the form in which a secret is set; `None` if it is not set.
pub(super) fn written_form(table: &Table<'_>, forms: Forms) -> Option<&'static str> {
    forms.into_iter().find(|form| table.has(form))
}

/// Reads a secret, if it is set and valid; warns about a file that others can read.
pub(super) fn secret(table: &Table<'_>, forms: Forms) -> Option<(Secret, Place)> {
    let (secret, place) = table.secret(forms)?;
    if let Some(path) = secret.path()
        && permissions::others_can_read(&path)
    {
        let help = format!("chmod 600 {}", path.display());
        let message = format!("other users on this machine can read {}", secret.describe());
        table.reader.warn(place.clone(), message, Some(help));
    }
    Some((secret, place))
}

/// Reads the base URL.
pub(super) fn server_url(table: &Table<'_>) -> Option<Url> {
    url(table, "url")
}

/// Reads a URL; warns if secrets would be sent without TLS.
pub(super) fn url(table: &Table<'_>, key: &'static str) -> Option<Url> {
    let url = table.read(key, values::base_url)?;
    warn_without_tls(table, key, &url);
    Some(url)
}

/// Warns if data would be sent to another machine without TLS.
pub(super) fn warn_without_tls(table: &Table<'_>, key: &'static str, url: &Url) {
    if url.scheme() == "http" && !url.host().is_some_and(|host| is_loopback(&host)) {
        let help = "use https:// if the server supports it".to_owned();
        table.reader.warn(table.place_of(key), "secrets and personal data are sent there without TLS", Some(help));
    }
}

/// Returns whether a host is this machine.
pub(super) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref() == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
