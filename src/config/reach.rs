//! Reads what targets and connectors have in common: the way to their server, and secrets.

use url::{Host, Url};

use super::{Reach, Secret, permissions, problem::Place, reader::Table, values};

/// The three forms of a secret: in the file itself, in a file of its own, in the environment.
pub(super) type Forms = [&'static str; 3];

pub(super) fn reach(table: &Table<'_>) -> Option<Reach> {
    let ca_file = table.file("ca_file");
    let proxy = table.read("proxy", values::base_url);
    let parallel = table.read("parallel", values::count(64));
    let per_second = table.read("per_second", values::count(10_000));
    let timeout = table.read("timeout", values::wait);
    Some(Reach { ca_file, proxy, parallel: parallel?, per_second, timeout: timeout? })
}

/// The form that a secret is written in, if it is written.
pub(super) fn written_form(table: &Table<'_>, forms: Forms) -> Option<&'static str> {
    forms.into_iter().find(|form| table.has(form))
}

/// A secret, if it is there and right; a file that others can read is worth a warning.
pub(super) fn secret(table: &Table<'_>, forms: Forms) -> Option<(Secret, Place)> {
    let (secret, place) = table.secret(forms)?;
    if let Some(path) = secret.path()
        && permissions::others_can_read(&path)
    {
        let help = format!("chmod 600 {}", path.display());
        table.reader.warn(place.clone(), format!("others on this machine can read {}", secret.describe()), Some(help));
    }
    Some((secret, place))
}

/// Reads the base URL.
pub(super) fn server_url(table: &Table<'_>) -> Option<Url> {
    url(table, "url")
}

/// Reads a URL; secrets that travel without TLS are worth a warning.
pub(super) fn url(table: &Table<'_>, key: &'static str) -> Option<Url> {
    let url = table.read(key, values::base_url)?;
    let near = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !near {
        let help = "use https:// if the server speaks it".to_owned();
        table.reader.warn(table.place_of(key), "secrets and people's data go there without TLS", Some(help));
    }
    Some(url)
}
