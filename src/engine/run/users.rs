//! What a run makes of each user: in order, to be worked from what the walk saw, or to be looked at again.

use super::{
    Item, Report, Run,
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::{
        error::WorkError,
        user::{View, fingerprint_of},
    },
    model::{Account, AdoptRule, Link, Operation, RunMode, Subject},
    plan::{self, Decision, GroupTable, NameHolder, Presence, Situation, Then},
    policy,
    store::Planned,
};

/// What the walk makes of one user.
enum Verdict {
    InOrder,
    Nothing,
    FromWalk(Box<View>),
    LookAgain,
}

impl Run<'_> {
    /// Decides for each user who was read; returns those with something to do.
    pub(super) fn plan_users(
        &mut self,
        source: &mut SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Vec<Item> {
        let mut items = Vec::new();
        let users = Vec::with_capacity(source.users.len());
        for (user, look) in std::mem::replace(&mut source.users, users) {
            if policy::out_of_scope(&user).is_none() {
                self.report.in_scope += 1;
            }
            let link = target.links.get(&user.id);
            let planned = Planned {
                subject: Subject::User(user.id.clone()),
                look: look.min(target.look),
                account: link.map(|link| link.account.clone()),
            };
            let presence = Presence::Present(user);
            match self.plan_user(&presence, link, target, groups, &planned.subject) {
                Verdict::InOrder => self.in_order.push(planned),
                Verdict::Nothing => {}
                Verdict::FromWalk(view) => items.push(Item { planned, view: Some(*view) }),
                Verdict::LookAgain => items.push(Item { planned, view: None }),
            }
            // Put back, as it is read again later and a copy of each would cost as much as deciding.
            if let Presence::Present(user) = presence {
                source.users.push((user, look));
            }
        }
        items
    }

    /// Decides for each linked user who was not read. Absence from a listing proves nothing: each is read by id.
    pub(super) async fn plan_absent(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<Vec<Item>, WorkError> {
        let mut absent: Vec<&Link> = target.links.values().filter(|link| !source.holds(&link.user)).collect();
        absent.sort_by(|one, other| one.user.cmp(&other.user));
        let mut items = Vec::new();
        if self.report.doubt.is_some() {
            if !absent.is_empty() {
                let text = format!("{} linked users were not read; nothing is done about them", absent.len());
                self.report.doubts.push(text);
            }
            return Ok(items);
        }
        for link in absent {
            let subject = Subject::User(link.user.clone());
            let planned = Planned { subject, look: target.look, account: Some(link.account.clone()) };
            let active = target.accounts.get(&link.account).is_none_or(|account| account.active);
            if !active {
                self.report.unchanged += 1;
                self.in_order.push(planned);
                continue;
            }
            let presence = self.engine.read_user(&self.connector, self.pair, &link.user).await?;
            match self.plan_user(&presence, Some(link), target, groups, &planned.subject) {
                Verdict::InOrder => self.in_order.push(planned),
                Verdict::Nothing => {}
                Verdict::FromWalk(_) | Verdict::LookAgain => {
                    items.push(Item { planned, view: None });
                }
            }
        }
        Ok(items)
    }

    fn plan_user(
        &mut self,
        presence: &Presence,
        link: Option<&Link>,
        target: &TargetWalk,
        groups: &GroupTable,
        subject: &Subject,
    ) -> Verdict {
        let account = link.and_then(|link| target.accounts.get(&link.account));
        let capabilities = &self.info.capabilities;
        let wanted = plan::wanted_name(presence, link, account, capabilities);
        if let Some(login) = wanted.as_ref().filter(|login| target.is_ambiguous(login)) {
            self.report.conflicts.push(format!(
                "{login}: the target has several accounts of this login, so none of them is taken. Delete or rename all but one \
                 there."
            ));
            return if self.options.mode == RunMode::DryRun { Verdict::Nothing } else { Verdict::LookAgain };
        }
        let holder = wanted.map_or(NameHolder::NotAsked, |login| target.holder(&login, link));
        let decision = plan::decide(&Situation {
            pair: self.pair,
            capabilities,
            presence,
            link,
            account,
            holder: &holder,
            groups,
            attributes: self.connector.policy.attributes_of(&self.pair.target),
            adopt_freely: self.options.first || self.connector.policy.adopt == AdoptRule::Always,
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        });
        let view = || View {
            presence: presence.clone(),
            account: account.cloned(),
            holder: holder.clone(),
            walked: Some(target.began),
        };
        let report = &mut self.report;
        match decision {
            Decision::Plan(mut planned) => {
                let known = forgo_impossible(&mut planned, target, presence, subject);
                planned.findings.not_possible.extend(known);
                let forgone = report.doubt.is_some() && planned.forgo_removals();
                for operation in &planned.operations {
                    report.plan(subject, operation);
                }
                Report::count(&mut report.planned, "join", planned.joins_after_create.len() as u64);
                report.held += if self.options.mode == RunMode::DryRun { planned.holds.len() } else { 0 };
                if planned.findings.protected.is_some() {
                    report.protected += 1;
                }
                let told = !planned.findings.not_possible.is_empty() || !planned.findings.doubts.is_empty();
                report.not_possible.append(&mut planned.findings.not_possible);
                report.doubts.append(&mut planned.findings.doubts);
                let nothing =
                    planned.operations.is_empty() && planned.holds.is_empty() && planned.missing_groups.is_empty();
                // Somebody activated an account that we had deactivated: that is to be noted.
                let forgotten = link.is_some_and(|link| link.deactivated_by_us)
                    && account.is_some_and(|account| account.active)
                    && self.options.mode == RunMode::Apply;
                if nothing && forgone {
                    return Verdict::Nothing;
                }
                if nothing && forgotten {
                    return Verdict::LookAgain;
                }
                if nothing {
                    report.unchanged += usize::from(!told && planned.findings.protected.is_none());
                    return Verdict::InOrder;
                }
                let removes = planned.operations.iter().any(Operation::removes) || !planned.holds.is_empty();
                // A membership that usersync gave and the walk did not see is read once more, before it is given again.
                let unseen = |operation: &Operation| {
                    let given = |group| link.is_some_and(|link| link.given.contains(group));
                    matches!(operation, Operation::AddMember { group, .. } if given(group))
                };
                let again = planned.operations.iter().any(unseen);
                if removes || again || !planned.missing_groups.is_empty() {
                    Verdict::LookAgain
                } else {
                    Verdict::FromWalk(Box::new(view()))
                }
            }
            Decision::Adopt(account) => {
                Report::count(&mut report.planned, "adopt", 1);
                if self.options.mode == RunMode::DryRun {
                    self.plan_adopted(presence, subject, &account, target, groups);
                }
                Verdict::FromWalk(Box::new(view()))
            }
            Decision::Conflict(text) => {
                report.conflicts.push(text);
                if self.options.mode == RunMode::DryRun { Verdict::Nothing } else { Verdict::LookAgain }
            }
            Decision::TakeOver(..)
            | Decision::LookAt(_)
            | Decision::WaitFor(_)
            | Decision::Later
            | Decision::Unlink => {
                self.model_entangled(presence, link, subject);
                Verdict::LookAgain
            }
        }
    }

    /// What follows from adopting an account, for a dry run.
    fn plan_adopted(
        &mut self,
        presence: &Presence,
        subject: &Subject,
        account: &Account,
        target: &TargetWalk,
        groups: &GroupTable,
    ) {
        let Some(user) = subject.as_user() else { return };
        let link = Link { adopted: true, ..Link::new(user.clone(), account.id.clone(), account.name.clone()) };
        let planned = plan::decide(&Situation {
            pair: self.pair,
            capabilities: &self.info.capabilities,
            presence,
            link: Some(&link),
            account: Some(target.accounts.get(&account.id).unwrap_or(account)),
            holder: &NameHolder::Own,
            groups,
            attributes: self.connector.policy.attributes_of(&self.pair.target),
            adopt_freely: true,
            wanted_by_other: false,
            in_ring: false,
            own_login: &self.info.signed_in_as,
        });
        if let Decision::Plan(planned) = planned {
            for operation in &planned.operations {
                self.report.plan(subject, operation);
            }
            self.report.held += planned.holds.len();
        }
    }

    /// Users whose accounts wait for each other: what can be told beforehand is where each of them ends.
    fn model_entangled(&mut self, presence: &Presence, link: Option<&Link>, subject: &Subject) {
        let Presence::Present(user) = presence else { return };
        let login = policy::login(user, &self.info.capabilities);
        match link {
            Some(link) if link.name != login => {
                let (account, name) = (link.account.clone(), link.name.clone());
                self.report.plan(subject, &Operation::RenameUser { account, name, to: login });
            }
            Some(_) => {}
            None => Report::count(&mut self.report.planned, "relink", 1),
        }
    }
}

/// Takes out of a plan what is known to be impossible; gives the reasons.
fn forgo_impossible(
    planned: &mut plan::Planned,
    target: &TargetWalk,
    presence: &Presence,
    subject: &Subject,
) -> Vec<String> {
    if target.not_possible.is_empty() {
        return Vec::new();
    }
    let fingerprint = fingerprint_of(presence);
    let mut reasons = Vec::new();
    let mut possible = |operation: &Operation| {
        let why = target.why_not(subject, operation, &fingerprint);
        reasons.extend(why.clone());
        why.is_none()
    };
    planned.operations.retain(&mut possible);
    planned.holds.retain(|hold| !matches!(&hold.then, Then::Do(operation) if !possible(operation)));
    if planned.operations.is_empty() && planned.holds.is_empty() {
        planned.joins_after_create.clear();
    }
    reasons
}
