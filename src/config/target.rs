//! Reads `[[target]]`.

use std::{collections::BTreeSet, sync::LazyLock};

use super::{
    TargetConfig,
    auth::{CLIENT_KEYS, auth},
    connection::{reach, server_url},
    problem::Place,
    reader::Table,
    typed::typed,
    values::{self, Wrong},
};
use crate::targets::{KINDS, ProtectionSettings, TargetKind, scim};

/// The profiles of SCIM servers by name.
static PROFILES: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| scim::profiles().map(|name| (name, name)).collect());
/// The target kinds by name.
static KIND_NAMES: LazyLock<Vec<(&str, &TargetKind)>> =
    LazyLock::new(|| KINDS.iter().map(|kind| (kind.name, kind)).collect());

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
    let new_lead = table.read("new_lead", values::string);
    let default_group = table.read("default_group", values::flag);
    Some(TargetConfig {
        name: name?.into(),
        kind: kind?,
        url: address?,
        auth: auth?,
        reach: reach?,
        applications: applications?,
        new_lead,
        default_group: default_group?,
        protection: ProtectionSettings {
            protected_groups: groups?,
            frozen_groups: frozen_groups?,
            managed_access_groups: access_groups?,
            protected_users: users?,
        },
        profile,
        habits: habits?,
        // Filled in from the connectors' policies.
        attributes: BTreeSet::new(),
        match_attributes: BTreeSet::new(),
    })
}

/// Reports keys that have no meaning for the target's kind as errors.
fn refuse_keys_of_others(table: &Table<'_>, kind: &TargetKind) {
    let takes = |kind: &TargetKind, key: &str| {
        kind.keys.contains(&key) || (kind.client_credentials && CLIENT_KEYS.contains(&key))
    };
    let others: BTreeSet<&'static str> =
        KINDS.iter().flat_map(|other| other.keys).chain(&CLIENT_KEYS).copied().collect();
    for key in others.into_iter().filter(|key| table.raw(key).is_some() && !takes(kind, key)) {
        let its: Vec<&str> = KINDS.iter().filter(|other| takes(other, key)).map(|other| other.name).collect();
        let wrong = Wrong::new(format!("this is for kind {}, and the target is a {}", its.join(" and "), kind.name));
        let place = table.raw(key).map_or_else(|| Place::File, |value| Place::Span(value.span()));
        table.wrong(key, place, wrong.help("remove it"));
    }
}
