//! Reads `[connector.policy]`.

use toml::{Spanned, de::DeValue};

use super::{problem::Place, reader::Table, typed::typed, values::Wrong};
use crate::model::Policy;

pub(super) fn policy(connector: &Table<'_>) -> Option<Policy> {
    let (policy, mut fine): (Policy, _) =
        typed(connector, "policy", "write [connector.policy] below its [[connector]]")?;
    let limits = [("percent", policy.safety.percent), ("remove_members_percent", policy.safety.remove_members_percent)];
    for (key, percent) in limits {
        if !(0.0..=50.0).contains(&percent) {
            let wrong = Wrong::new(format!("{percent} is not 0 to 50"))
                .help("no limit allows more than half; operations above a limit need an approval");
            let place = at(connector, &["safety", key]);
            let place = place.map_or_else(|| connector.place_of("policy"), |(_, value)| Place::Span(value.span()));
            connector.wrong(&format!("policy.safety.{key}"), place, wrong);
            fine = false;
        }
    }
    fine.then_some(policy)
}

/// Returns the key's place and the value at this path of the policy. If a key is missing, the last one found counts.
fn at<'t>(connector: &Table<'t>, path: &[&str]) -> Option<(Place, &'t Spanned<DeValue<'t>>)> {
    let mut found = None;
    let mut value = connector.raw("policy")?;
    for key in path {
        let DeValue::Table(table) = value.get_ref() else { break };
        let Some((name, inner)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        found = Some((Place::Span(name.span()), inner));
        value = inner;
    }
    found
}

/// Returns the place of the last of these keys that the policy contains.
pub(super) fn place_in_policy(connector: &Table<'_>, path: &[&str]) -> Place {
    at(connector, path).map_or_else(|| connector.place_of("policy"), |(key, _)| key)
}
