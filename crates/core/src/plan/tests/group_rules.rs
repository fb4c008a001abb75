//! Guarantees of the rules for groups, for any rules, groups and order of reading.

use proptest::sample::{Index, subsequence};

use super::*;
use crate::{
    capabilities::CaseRule,
    model::{GroupId, GroupRules, GroupVerdict, Members, parent_paths, path_names},
};

/// The groups of the realm.
const PATHS: [&str; 7] = ["/eng", "/eng/admins", "/eng/core", "/eng/core/red", "/ops", "/ops/Admins", "/hr"];
/// A group of the target that no rule names.
const UNMANAGED: &str = "unmanaged";

/// Rules that are drawn, and what they mean, stated without the policy's own code.
#[derive(Clone, Debug)]
struct Drawn {
    condition: usize,
    name: usize,
    prefix: &'static str,
    merged: bool,
    with_subgroups: bool,
}

impl Drawn {
    fn rules(&self) -> GroupRules {
        let conditions = [None, Some("{{ attributes.sync == 'yes' }}"), Some("{{ path | matches('^/(eng|hr)') }}")];
        let names = [None, Some("{{ name | lower }}"), Some("{{ names | join('-') }}"), Some("{{ attributes.name }}")];
        let mut json = serde_json::json!({ "prefix": self.prefix, "members": "direct" });
        if let Some(condition) = conditions[self.condition] {
            json["condition"] = condition.into();
        }
        if let Some(name) = names[self.name] {
            json["name"] = name.into();
        }
        if self.merged {
            json["merged"] = serde_json::json!(["*"]);
        }
        if self.with_subgroups {
            json["members"] = "with_subgroups".into();
        }
        serde_json::from_value(json).expect("rules")
    }

    /// Returns a group's name in the target; `None`: it is left out. `Err`: its name is empty.
    fn name(&self, group: &GroupState) -> Result<Option<String>, ()> {
        let attribute = |name: &str| group.attributes.as_ref().and_then(|all| all.get(name)?.first());
        let selected = match self.condition {
            0 => true,
            1 => attribute("sync").is_some_and(|value| value == "yes"),
            _ => group.path.starts_with("/eng") || group.path.starts_with("/hr"),
        };
        if !selected {
            return Ok(None);
        }
        let name = match self.name {
            0 => group.name.clone(),
            1 => group.name.to_lowercase(),
            2 => group.path[1..].replace('/', "-"),
            _ => attribute("name").cloned().ok_or(())?,
        };
        Ok(Some(format!("{}{name}", self.prefix)))
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let prefix = prop_oneof![Just(""), Just("kc-")];
    (0..3_usize, 0..4_usize, prefix, any::<bool>(), any::<bool>()).prop_map(
        |(condition, name, prefix, merged, with_subgroups)| Drawn { condition, name, prefix, merged, with_subgroups },
    )
}

/// Generates the groups of the realm with their attributes.
fn realm() -> impl Strategy<Value = Vec<GroupState>> {
    let attributes = || {
        let sync = option::of(prop_oneof![Just("yes"), Just("no")]);
        let name = option::of(prop_oneof![Just("x"), Just("y"), Just("z")]);
        (sync, name).prop_map(|(sync, name)| {
            let all = [("sync", sync), ("name", name)].into_iter();
            let all = all.filter_map(|(key, value)| Some((key.to_owned(), vec![value?.to_owned()])));
            Some(all.collect::<BTreeMap<_, _>>())
        })
    };
    proptest::collection::vec(attributes(), PATHS.len()).prop_map(|all| {
        let group = |(path, attributes): (&&str, _)| {
            let name = path_names(path).last().unwrap_or_default();
            GroupState { attributes, ..GroupState::new((*path).into(), name, (*path).to_owned()) }
        };
        PATHS.iter().zip(all).map(group).collect()
    })
}

/// Reconciles the groups in this order, as a run without other connectors does: a group of a taken name is in conflict.
fn reconciled(groups: &[GroupState], rules: &GroupRules, before: &BTreeSet<GroupId>) -> GroupTable {
    let fold = |name: &str| CaseRule::Insensitive.fold(name);
    let mut table = GroupTable::default();
    let manage = |table: &mut GroupTable, group: &GroupState, name: &str| {
        let id = TargetGroupId::from(fold(name));
        let managed =
            ManagedGroup { id, name: name.to_owned(), adopted: false, removals_approved: false, sources: Vec::new() };
        table.assume(&pair(), group, managed);
    };
    // Groups whose templates fail now were synced before.
    for group in groups.iter().filter(|group| before.contains(&group.id) && group.verdict.fault().is_some()) {
        manage(&mut table, group, &format!("before {}", group.path));
    }
    for group in groups {
        if let Some(why) = policy::left_out(group, rules) {
            table.assume_unmapped(&pair(), group, why);
            continue;
        }
        if group.verdict.fault().is_some() {
            continue;
        }
        let is_named =
            |other: &&GroupState| other.verdict == GroupVerdict::Selected && fold(&other.name) == fold(&group.name);
        let others: Vec<&GroupState> = groups.iter().filter(is_named).collect();
        if others.len() > 1 && !policy::is_merged(&group.name, rules) {
            let why = policy::same_name(&group.name, rules, others);
            table.assume_unmapped(&pair(), group, why);
        } else {
            manage(&mut table, group, &group.name);
        }
    }
    table
}

/// A user with these groups, as the rules name them.
fn member(of: &[GroupState], all: &[GroupState], rules: &GroupRules) -> UserState {
    let groups = of.iter().cloned().map(Arc::new).collect();
    let user = UserState { groups, enabled: true, ..user() };
    let above = policy::paths_above_user(&user, rules);
    let above: Vec<_> = all.iter().filter(|group| above.contains(group.path.as_str())).cloned().map(Arc::new).collect();
    policy::with_named_groups(UserState { parent_groups: above, ..user }, rules)
}

/// Applies plans until one is empty. Returns the groups of the account.
fn converged(
    user: &UserState,
    table: &GroupTable,
    rules: &GroupRules,
    held: &BTreeSet<TargetGroupId>,
) -> BTreeSet<TargetGroupId> {
    let mut account = Account { groups: Some(held.iter().cloned().collect()), ..account() };
    let mut link = Link::new(user.id.clone(), "a".into(), "alice");
    link.given = held.iter().filter(|group| group.as_str() != UNMANAGED).cloned().collect();
    for _ in 0..ROUNDS {
        let decision = decide(&Situation {
            pair: &pair(),
            capabilities: &capabilities(),
            presence: &present(user.clone()),
            link: Some(&link),
            account: Some(&account),
            account_gone: false,
            holder: &NameHolder::Own,
            groups: table,
            rules: AccountRules::of_attributes(&NO_ATTRIBUTES),
            matched: None,
            same_login_as: None,
            same_account_as: None,
            group_rules: rules,
            leavers: &LEAVER_RULES,
            now: Timestamp::UNIX_EPOCH,
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: "usersync",
            provider: &ProviderAnswer::NotAsked,
            drift: DriftRule::Mend,
        });
        let Decision::Plan(planned) = decision else { panic!("nothing but a plan fits here") };
        assert_eq!(planned.missing_groups, [] as [GroupId; 0], "all groups are reconciled");
        if planned.operations.is_empty() {
            return account.groups.unwrap_or_default().into_iter().collect();
        }
        for operation in &planned.operations {
            account.apply(operation);
            link.learn(operation);
        }
    }
    panic!("{ROUNDS} rounds did not settle it");
}

proptest! {
    #[test]
    fn any_rules_for_groups_reach_what_they_say_in_any_order(
        drawn in drawn(),
        realm in realm(),
        joined in subsequence((0..PATHS.len()).collect::<Vec<_>>(), 0..=PATHS.len()),
        before in subsequence(PATHS.to_vec(), 0..=PATHS.len()),
        held in subsequence(PATHS.to_vec(), 0..=PATHS.len()),
        turn in any::<Index>(),
    ) {
        let rules = drawn.rules();
        let mut of: Vec<GroupState> = joined.iter().map(|nth| realm[*nth].clone()).collect();
        let user = member(&of, &realm, &rules);
        let named: Vec<GroupState> = realm.iter().cloned().map(|group| policy::named_group(group, &rules)).collect();
        let before: BTreeSet<GroupId> = before.into_iter().map(GroupId::from).collect();
        let table = reconciled(&named, &rules, &before);

        // What the rules say, stated separately.
        let is_member = |group: &&GroupState| {
            let below = |one: &GroupState| parent_paths(&one.path).any(|above| above == group.path);
            of.iter().any(|one| one.id == group.id || drawn.with_subgroups && below(one))
        };
        let names: Vec<Result<Option<String>, ()>> = realm.iter().map(|group| drawn.name(group)).collect();
        let same = |name: &str| names.iter().filter(|other| matches!(other, Ok(Some(other)) if other.to_lowercase() == name.to_lowercase())).count();
        let wanted: BTreeSet<TargetGroupId> = realm.iter().zip(&names).filter(|(group, _)| is_member(group)).filter_map(|(_, name)| {
            let name = name.as_ref().ok()?.as_ref()?;
            (drawn.merged || same(name) == 1).then(|| name.to_lowercase().as_str().into())
        }).collect();

        // Before, the account is in some of the managed groups, in those whose templates fail now, and in an unmanaged one.
        let failing = |path: &str| realm.iter().zip(&names).any(|(group, name)| group.path == path && name.is_err());
        let stays: BTreeSet<TargetGroupId> = held.iter()
            .filter(|path| failing(path) && before.contains(&GroupId::from(**path)))
            .filter(|path| realm.iter().find(|group| group.path == **path).is_some_and(|group| is_member(&group)))
            .map(|path| TargetGroupId::from(format!("before {path}").to_lowercase()))
            .collect();
        let others = held.iter().filter_map(|path| match table.mapping(&GroupId::from(*path)) {
            Some(GroupMapping::Managed { group, .. }) if !group.as_str().starts_with("before ") => Some(group.clone()),
            _ => None,
        });
        let held: BTreeSet<TargetGroupId> = others.chain(stays.iter().cloned()).chain([UNMANAGED.into()]).collect();

        let reached = converged(&user, &table, &rules, &held);
        let expected: BTreeSet<TargetGroupId> = wanted.into_iter().chain(stays).chain([UNMANAGED.into()]).collect();
        prop_assert_eq!(&reached, &expected);
        prop_assert_eq!(&converged(&user, &table, &rules, &reached), &reached, "nothing is left to do");

        // Another order of reading changes nothing.
        let mut turned = named;
        turned.rotate_left(turn.index(PATHS.len()));
        turned.reverse();
        of.reverse();
        let other = reconciled(&turned, &rules, &before);
        prop_assert_eq!(&converged(&member(&of, &realm, &rules), &other, &rules, &held), &reached);
        prop_assert!(rules.members == Members::Direct || drawn.with_subgroups);
    }
}
