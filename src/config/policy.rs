//! Reads `[connector.policy]`.

use toml::{Spanned, de::DeValue};

use super::{problem::Place, reader::Table, typed::typed, values::Wrong};
use crate::model::Policy;

pub(super) fn policy(connector: &Table<'_>) -> Option<Policy> {
    let policy: Policy = typed(connector, "policy", "write [connector.policy] below its [[connector]]")?;
    let mut fine = true;
    let limits = [("percent", policy.safety.percent), ("leave_percent", policy.safety.leave_percent)];
    for (key, percent) in limits {
        if !(0.0..=50.0).contains(&percent) {
            let wrong = Wrong::new(format!("{percent} is not 0 to 50"))
                .help("no limit lets more than half go; the way past a limit is approval");
            connector.wrong(&format!("policy.safety.{key}"), place_in_policy(connector, &["safety", key]), wrong);
            fine = false;
        }
    }
    fine.then_some(policy)
}

/// Where the policy has the last of these keys, each in the table of the one before.
pub(super) fn place_in_policy(connector: &Table<'_>, path: &[&str]) -> Place {
    let mut value = connector.raw("policy");
    let mut place = None;
    for key in path {
        let Some(DeValue::Table(table)) = value.map(Spanned::get_ref) else { break };
        let Some((name, inner)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        place = Some(Place::Span(name.span()));
        value = Some(inner);
    }
    place.unwrap_or_else(|| connector.place_of("policy"))
}
