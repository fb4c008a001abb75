//! Checks how the policy of a connector matches users to accounts.

use super::{
    policy::{is_text, no_template, place_in_list},
    reader::Table,
    settings::ConnectorConfig,
    values::{Wrong, quoted},
};
use crate::{
    model::{MatchKey, MatchRules, TargetName},
    targets::TargetConfig,
};

/// Checks the keys, and whether each target of the connector can search accounts by them. Adds the attributes that are
/// compared to the targets.
pub(super) fn matching(table: &Table<'_>, connector: &ConnectorConfig, targets: &mut [Option<TargetConfig>]) {
    let policy = &connector.policy;
    keys(table, &policy.matching.by, None);
    for (name, own) in &policy.targets {
        if let Some(by) = &own.matching.by {
            keys(table, by, Some(name));
        }
    }
    for name in &connector.targets {
        let own = policy.targets.get(name).map(|own| &own.matching);
        let rules = MatchRules::new(&policy.matching, own);
        let written_at = own.and_then(|own| own.by.as_ref()).map(|_| name);
        let Some(target) = targets.iter_mut().flatten().find(|target| target.name == *name) else { continue };
        for (index, key) in rules.by.iter().enumerate() {
            match no_search(target, key) {
                Some(wrong) => report(table, written_at, index, None, wrong),
                None => target.match_attributes.extend(match key {
                    MatchKey::Attribute { attribute, .. } => Some(attribute.clone()),
                    MatchKey::Login | MatchKey::Email | MatchKey::OtherLogin(_) => None,
                }),
            }
        }
    }
}

/// Checks keys whatever the targets are.
fn keys(table: &Table<'_>, by: &[MatchKey], target: Option<&TargetName>) {
    for (index, key) in by.iter().enumerate() {
        if by[..index].contains(key) {
            let wrong = Wrong::new("this key is listed twice").help("remove one of the two; their order decides");
            report(table, target, index, None, wrong);
        }
        let (name, template) = match key {
            MatchKey::OtherLogin(template) => ("login", template),
            MatchKey::Attribute { equals, .. } => ("equals", equals),
            MatchKey::Login | MatchKey::Email => continue,
        };
        if is_text(Some(template)) {
            report(table, target, index, Some(name), no_template("\"{{ attributes.old_login }}\""));
        }
    }
}

/// Returns why accounts of a target cannot be searched by a key; `None`: they can.
fn no_search(target: &TargetConfig, key: &MatchKey) -> Option<Wrong> {
    let kind = target.kind.name;
    let fault = match key {
        MatchKey::Login | MatchKey::OtherLogin(_) => return None,
        MatchKey::Email if target.expected_capabilities().finds_by_email => return None,
        MatchKey::Email => format!("target {} (kind {kind}) cannot search accounts by e-mail address", target.name),
        MatchKey::Attribute { attribute, .. } => match target.kind.match_attribute {
            Some(check) => check(attribute).err()?,
            None => {
                format!(
                    "target {} (kind {kind}) cannot search accounts by attribute {}",
                    target.name,
                    quoted(attribute)
                )
            }
        },
    };
    let help = format!(
        "give this target keys of its own: [connector.policy.targets.{}.matching] with by = [\"login\"]",
        target.name
    );
    Some(Wrong::new(fault).help(help))
}

fn report(table: &Table<'_>, target: Option<&TargetName>, index: usize, key: Option<&str>, wrong: Wrong) {
    let (path, name) = match target {
        None => (vec!["matching", "by"], "policy.matching.by".to_owned()),
        Some(target) => {
            (vec!["targets", target.as_str(), "matching", "by"], format!("policy.targets.{target}.matching.by"))
        }
    };
    table.wrong(&name, place_in_list(table, &path, index, key), wrong);
}
