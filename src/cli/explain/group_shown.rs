//! Prints the explanation of a group.

use super::{
    group::{ExplainedGroup, GroupOnTarget, Members},
    shown,
};
use crate::{
    cli::{
        out::Out,
        words::{count, thin},
    },
    model::GroupMapping,
};

pub(super) fn show(out: &Out, explained: &ExplainedGroup, asked: &str) {
    let ExplainedGroup { connector, id, group, members, .. } = explained;
    let name = group.as_ref().map_or(asked, |group| group.path.as_str());
    let members = members.map(|members| {
        if explained.with_subgroups {
            format!("{} with sub-groups   ", count(members, "member", "members"))
        } else {
            format!("{}   ", count(members, "direct member", "direct members"))
        }
    });
    out.prose(4, format!("{}   {}id {id}   connector {connector}", out.strong(name), members.unwrap_or_default()));
    match (&explained.trouble, explained.selected) {
        (Some(trouble), _) => out.prose(16, format!("Keycloak could not be read: {trouble}")),
        (None, selected) => {
            let word = selected.map_or("", |selected| if selected { "yes: " } else { "no: " });
            out.prose(16, format!("{:<13} {word}{}", "synced", explained.why));
        }
    }
    for on in &explained.targets {
        target(out, on);
    }
}

fn target(out: &Out, on: &GroupOnTarget) {
    out.prose(16, format!("{:<13} {}", out.strong(&on.target), state(on)));
    if let (Some(name), Some(rule)) = (&on.name, &on.named_by) {
        out.prose(16, format!("  {:<12}  {name} ← {rule}", "name"));
    }
    if let (Some(Members { count: members, or_more }), None) = (on.members, &on.trouble) {
        let more = if or_more { "at least " } else { "" };
        let members = count(members, "member", "members");
        out.prose(16, format!("  {:<12}  {more}{members}, of which usersync added {}", "members", thin(on.added)));
    }
    if let (Some(unmanaged), None) = (&on.unmanaged_members, &on.trouble) {
        out.prose(16, format!("  {:<12}  {unmanaged}", "unmanaged"));
    }
    if on.trouble.is_none() {
        shown::to_do(out, &on.to_do);
    }
    shown::work(out, Some(on.state), on.task.as_ref(), &on.held);
    shown::past(out, &on.changes);
}

fn state(on: &GroupOnTarget) -> String {
    if let Some(trouble) = &on.trouble {
        return format!("could not be read: {trouble}");
    }
    match (&on.managed, &on.mapping) {
        (Some(managed), _) => {
            let origin = match (managed.adopted, managed.removals_approved) {
                (false, _) => "created by usersync",
                (true, true) => "existed before usersync and was adopted",
                (true, false) => "existed before usersync and was adopted; removals of its other members need approval",
            };
            let others = managed.sources.len().saturating_sub(1);
            let others = match others {
                0 => String::new(),
                others => format!(", also fed by {}", count(others, "other group", "other groups")),
            };
            let lost = if on.exists == Some(false) { ", but the target does not find it" } else { "" };
            format!("group \"{}\", {origin}{others}{lost}", managed.name)
        }
        (None, Some(GroupMapping::Unmapped { why, .. })) => format!("no group is managed: {why}"),
        (None, _) => "no group is managed yet".to_owned(),
    }
}
