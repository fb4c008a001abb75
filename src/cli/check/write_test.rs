//! `usersync check --write-test`: creates, changes and deletes temporary accounts and groups. It uses two of each,
//! because a change of one membership must leave the others unchanged.

use std::{collections::BTreeSet, time::Instant};

use jiff::{SignedDuration, Timestamp};

use super::note;
use crate::{
    model::{Account, AccountId, Operation, TargetGroup, TargetGroupId, UserFields},
    targets::{Applied, Capabilities, Deactivation, Note, NoteState, Target, TargetError, TargetErrorKind},
};

/// Timeout of one step.
const STEP_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

/// Tries every operation that the target supports, on temporary objects named after `tag`. Afterwards it deletes them,
/// even after a failure; an account that cannot be deleted is deactivated. Returns one note for each step.
pub(super) async fn write_test(target: &dyn Target, can: &Capabilities, tag: &str) -> Vec<Note> {
    let name = format!("usersync-check-{tag}");
    let mut trial = Trial { target, can, name: &name, notes: Vec::new(), quiet: false };
    let group = match trial.make_group(&name).await {
        Some(group) => Some(trial.rename_group(group).await),
        None => None,
    };
    if let Some(account) = trial.make_account(&name).await {
        let beside = trial.create_bystanders(group.as_ref()).await;
        let account = trial.change(account, group.as_ref(), &beside).await;
        trial.take_away(&account).await;
        trial.quietly(true);
        if let Some(other) = &beside.account {
            trial.take_away(other).await;
        }
        if let Some(other) = &beside.group {
            trial.delete_group(other).await;
        }
        trial.quietly(false);
    }
    if let Some(group) = group {
        trial.delete_group(&group).await;
    }
    let mut notes = trial.notes;
    notes.extend(target.observed());
    notes
}

/// A second account and a second group, which the tested operations must not affect.
#[derive(Default)]
struct Bystanders {
    account: Option<Account>,
    group: Option<TargetGroup>,
}

fn join(account: &AccountId, name: &str, group: &TargetGroup) -> Operation {
    let (group, group_name) = (group.id.clone(), group.name.clone());
    Operation::AddMember { group, group_name, account: account.clone(), name: name.to_owned() }
}

fn leave(account: &AccountId, name: &str, group: &TargetGroup) -> Operation {
    let (group, group_name) = (group.id.clone(), group.name.clone());
    Operation::RemoveMember { group, group_name, account: account.clone(), name: name.to_owned() }
}

struct Trial<'a> {
    target: &'a dyn Target,
    can: &'a Capabilities,
    /// Name of the account and of the group.
    name: &'a str,
    notes: Vec<Note>,
    /// Whether successful steps add no note.
    quiet: bool,
}

impl Trial<'_> {
    /// Applies one operation and notes the result; returns `None` if it failed.
    async fn step(&mut self, about: &str, operation: &Operation) -> Option<Applied> {
        let began = Instant::now();
        let result = self.target.apply(operation, Timestamp::now() + STEP_TIMEOUT).await;
        self.note_result(about, operation, began, &result);
        result.ok()
    }

    fn quietly(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    fn note_result<T>(&mut self, about: &str, operation: &Operation, began: Instant, result: &Result<T, TargetError>) {
        if self.quiet && result.is_ok() {
            return;
        }
        self.notes.push(match result {
            Ok(_) => note(NoteState::Ok, about, format!("{operation}, in {} ms", began.elapsed().as_millis().max(1))),
            Err(error) if error.kind == TargetErrorKind::Unanswered => {
                let text = format!("{} If {} still exists there, delete it manually.", error.text, self.name);
                note(NoteState::No, about, text)
            }
            Err(error) => note(NoteState::No, about, error.text.clone()),
        });
    }

    fn cannot(&mut self, about: &str, text: &str) {
        self.notes.push(note(NoteState::Note, about, text));
    }

    async fn delete_group(&mut self, group: &TargetGroup) {
        let delete = Operation::DeleteGroup { group: group.id.clone(), name: group.name.clone() };
        self.step("delete group", &delete).await;
    }

    /// Creates a second account and a second group, and adds the account to both groups.
    async fn create_bystanders(&mut self, group: Option<&TargetGroup>) -> Bystanders {
        let Some(group) = group else { return Bystanders::default() };
        let name = format!("{}-2", self.name);
        self.quietly(true);
        let beside = Bystanders { group: self.make_group(&name).await, account: self.make_account(&name).await };
        if let Some(account) = &beside.account {
            for group in beside.group.iter().chain([group]) {
                self.step("add member", &join(&account.id, &account.name, group)).await;
            }
        }
        self.quietly(false);
        beside
    }

    /// Adds an account to both groups, removes it from one, and checks that the other memberships stay.
    async fn change_memberships(&mut self, account: &AccountId, login: &str, group: &TargetGroup, beside: &Bystanders) {
        if let Some(other) = &beside.group {
            self.quietly(true);
            self.step("add member", &join(account, login, other)).await;
            self.quietly(false);
        }
        let (join, leave) = (join(account, login, group), leave(account, login, group));
        if self.step("add member", &join).await.is_none() {
            return;
        }
        self.expect_member("add member", &join, account, &group.id, true).await;
        if self.step("remove member", &leave).await.is_none() {
            return;
        }
        self.expect_member("remove member", &leave, account, &group.id, false).await;
        let (Some(second), Some(other)) = (&beside.account, &beside.group) else { return };
        let expected = [(group, vec![&second.id]), (other, vec![&second.id, account])];
        for (group, expected) in expected {
            let members = match self.members(&group.id).await {
                Ok(Some(members)) => members,
                Ok(None) => {
                    let text =
                        format!("the target does not show the members of {}, so they were not verified", group.name);
                    return self.cannot("other members", &text);
                }
                Err(error) => return self.notes.push(note(NoteState::No, "other members", error.text)),
            };
            if members != expected.into_iter().cloned().collect() {
                let text = format!(
                    "the members of {} are not those that were written: a change of one membership changed another, or \
                     had no effect. Do not let usersync change groups of this target.",
                    group.name
                );
                return self.notes.push(note(NoteState::No, "other members", text));
            }
        }
        self.notes.push(note(NoteState::Ok, "other members", "unchanged, in this group and in another one"));
    }

    /// Returns a group's members; `None`: the target does not show all of them.
    async fn members(&self, group: &TargetGroupId) -> Result<Option<BTreeSet<AccountId>>, TargetError> {
        let (mut members, mut cursor) = (BTreeSet::new(), None::<String>);
        loop {
            let page = self.target.members(group, cursor.as_deref()).await?;
            let Some(page) = page.filter(|page| page.incomplete.is_none()) else { return Ok(None) };
            members.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(Some(members));
            }
        }
    }

    async fn make_group(&mut self, name: &str) -> Option<TargetGroup> {
        match self.step("create group", &Operation::CreateGroup { name: name.to_owned() }).await? {
            Applied::Group(group) => Some(group),
            Applied::Account(_) | Applied::Done | Applied::DoneWith(_) | Applied::Undocumented => None,
        }
    }

    /// Renames the group, if the target supports it, and returns the group with its current name.
    async fn rename_group(&mut self, group: TargetGroup) -> TargetGroup {
        if !self.can.rename_group {
            let text = "unsupported: a group that is renamed in Keycloak is recreated, and its members move";
            self.cannot("rename group", text);
            return group;
        }
        let to = format!("{}-renamed", group.name);
        let rename = Operation::RenameGroup { group: group.id.clone(), name: group.name.clone(), to: to.clone() };
        match self.step("rename group", &rename).await {
            Some(_) => TargetGroup { name: to, ..group },
            None => group,
        }
    }

    async fn make_account(&mut self, login: &str) -> Option<Account> {
        let (name, email) = (Some(format!("Usersync {login}")), Some(format!("{login}@example.org")));
        let fields = UserFields { display_name: name, email, ..UserFields::default() };
        match self.step("create", &Operation::CreateUser { name: login.to_owned(), fields, external_id: None }).await? {
            Applied::Account(account) => Some(account),
            Applied::Group(_) | Applied::Done | Applied::DoneWith(_) | Applied::Undocumented => None,
        }
    }

    /// Runs the steps between creation and deletion, and returns the account in its last state.
    async fn change(&mut self, account: Account, group: Option<&TargetGroup>, beside: &Bystanders) -> Account {
        let id = || account.id.clone();
        if self.can.update {
            let email = Some(format!("{}-changed@example.org", account.name));
            let fields =
                UserFields { display_name: Some("Usersync check, changed".to_owned()), email, ..UserFields::default() };
            self.step("update", &Operation::UpdateUser { account: id(), name: account.name.clone(), fields }).await;
        } else {
            self.cannot("update", "unsupported: changed names and e-mail addresses are not updated here");
        }
        let mut login = account.name.clone();
        if self.can.rename {
            let to = format!("{login}-renamed");
            let rename = Operation::RenameUser { account: id(), name: login.clone(), to: to.clone() };
            if self.step("rename", &rename).await.is_some() {
                login = to;
            }
        } else {
            self.cannot("rename", "unsupported: logins that change in Keycloak must be changed manually");
        }
        if let Some(group) = group {
            self.change_memberships(&account.id, &login, group, beside).await;
        }
        // Re-read: only this read reports what lets the account sign in.
        let read = self.target.account(&account.id).await.ok().flatten();
        let account = read.unwrap_or(Account { name: login, ..account });
        if self.can.deactivate == Deactivation::Never {
            self.cannot("deactivate", "unsupported: accounts of users who leave must be deactivated manually");
            return account;
        }
        if self.can.deactivate == Deactivation::Access && account.access.is_empty() {
            self.cannot("deactivate", "not tried: a new account has no access here that could be revoked");
            return account;
        }
        let (name, takes) = (account.name.clone(), account.access.clone());
        let off = Operation::DeactivateUser { account: account.id.clone(), name: name.clone(), takes: takes.clone() };
        if self.step("deactivate", &off).await.is_some() {
            let on = Operation::ActivateUser { account: account.id.clone(), name, gives: takes };
            self.step("activate", &on).await;
        }
        account
    }

    /// Checks a membership that was just written, from the account and from the group.
    async fn expect_member(
        &mut self,
        about: &str,
        operation: &Operation,
        account: &AccountId,
        group: &TargetGroupId,
        wanted: bool,
    ) {
        let own = self.target.account(account).await.map(|found| found.and_then(|account| account.groups));
        let own = own.map(|groups| groups.map(|groups| groups.contains(group)));
        let listed = self.target.has_member(group, account).await.map(|member| member == Some(true));
        let text = match (own, listed) {
            (Ok(Some(own)), _) if own != wanted => without_effect(operation),
            (_, Ok(listed)) if listed != wanted => without_effect(operation),
            (Ok(Some(_)), _) => return,
            (Ok(None), Ok(_)) => {
                let text = "an account does not show its groups here, so usersync reads them from each group, which takes \
                            more calls";
                if !self.notes.iter().any(|note| note.about == "memberships") {
                    self.cannot("memberships", text);
                }
                return;
            }
            (Err(error), _) | (_, Err(error)) => {
                format!("{operation}: cannot read whether it took effect. {}", error.text)
            }
        };
        self.notes.push(note(NoteState::No, about, text));
    }

    async fn take_away(&mut self, account: &Account) {
        let name = account.name.clone();
        if self.can.delete {
            let delete = Operation::DeleteUser { account: account.id.clone(), name };
            if self.step("delete", &delete).await.is_some()
                && matches!(self.target.account(&account.id).await, Ok(Some(_)))
            {
                self.notes.push(note(NoteState::No, "delete", without_effect(&delete)));
            }
            return;
        }
        let text = format!("unsupported: the account {name} stays, deactivated; delete it manually");
        self.cannot("delete", &text);
        let takes = account.access.clone();
        self.step("deactivate", &Operation::DeactivateUser { account: account.id.clone(), name, takes }).await;
    }
}

/// Describes an operation that the target reported as successful but did not do.
fn without_effect(operation: &Operation) -> String {
    format!(
        "{operation}: the target reported success, but the operation had no effect. A proxy in front of it may answer \
         such requests itself; let it forward PUT, POST and DELETE."
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::targets::{
        Credentials,
        jira::{JiraSettings, JiraTarget},
        scim::{ScimSettings, ScimTarget},
    };
    use usersync_simulators::{
        Fault, JiraOptions, ScimOptions, ScimSwitches, SimulatedJira, SimulatedScim,
        jira::ShownGroups,
        scim::{MemberAddition, MemberRemoval, Visibility},
    };

    #[tokio::test]
    async fn what_a_server_does_to_other_members_is_told_and_nothing_stays() {
        let cases: [fn(&mut ScimSwitches); 3] = [
            |switches| switches.member_addition = MemberAddition::Replaces,
            |switches| switches.member_removal = MemberRemoval::AlwaysRemovesAll,
            |switches| (switches.members_told, switches.groups_told) = (Visibility::Empty, Visibility::Empty),
        ];
        for (nth, case) in cases.into_iter().enumerate() {
            let mut options = ScimOptions::default();
            case(&mut options.switches);
            let simulator = SimulatedScim::start(options).await.expect("a free port");
            let before = simulator.snapshot();
            let token = simulator.token().to_owned();
            let credentials = Credentials::Token(Arc::new(move || Ok(token.clone().into())));
            let address = simulator.url().parse().expect("an address");
            let target = ScimTarget::new(ScimSettings::new(address, credentials)).expect("good settings");
            let info = target.probe().await.expect("a first contact");
            let notes = write_test(&target, &info.capabilities, "1a2b").await;
            let wrong = |note: &Note| note.state == NoteState::No && note.about.ends_with("members");
            assert!(notes.iter().any(wrong), "{nth}: {notes:?}");
            assert!(notes.iter().any(|note| note.about == "other members"), "{nth}: {notes:?}");
            assert_eq!(simulator.snapshot(), before, "{nth}");
        }
    }

    async fn tried(simulator: &SimulatedJira) -> Vec<Note> {
        let token = Credentials::Token(Arc::new(|| Ok("simulator-token".to_owned().into())));
        let address = simulator.url().parse().expect("an address");
        let target = JiraTarget::new(JiraSettings::new(address, token)).expect("good settings");
        let info = target.probe().await.expect("a first contact");
        write_test(&target, &info.capabilities, "1a2b").await
    }

    #[tokio::test]
    async fn every_step_is_told_and_nothing_stays() {
        let simulator = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        let before = simulator.snapshot();
        let notes = tried(&simulator).await;
        let fine = |note: &&Note| note.state == NoteState::Ok || note.about == "rename group";
        assert!(notes.iter().all(|note| fine(&note)), "{notes:?}");
        let steps: Vec<_> = notes.iter().map(|note| note.about.as_str()).collect();
        let all = "create group,rename group,create,update,rename,add member,remove member,other members,deactivate,\
                   activate,delete,delete group";
        assert_eq!(steps.join(","), all);
        assert_eq!(simulator.snapshot(), before);
    }

    #[tokio::test]
    async fn what_fails_is_told_and_the_rest_is_taken_away_all_the_same() {
        let simulator = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        let before = simulator.snapshot();
        simulator.faults.add(Fault::status(403, "{}").method("PUT").path("/user"));
        let notes = tried(&simulator).await;
        let failed: Vec<_> = notes.iter().filter(|note| note.state == NoteState::No).collect();
        let steps: Vec<_> = failed.iter().map(|note| note.about.as_str()).collect();
        assert_eq!(steps, ["update", "rename", "deactivate"]);
        assert!(failed.iter().all(|note| note.text.contains("usersync-check-1a2b")), "{failed:?}");
        assert_eq!(simulator.snapshot(), before);
    }

    #[tokio::test]
    async fn an_account_that_does_not_show_its_groups_is_noted() {
        let simulator = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        simulator.set_shown_groups(ShownGroups::Missing);
        let notes = tried(&simulator).await;
        let noted: Vec<_> = notes.iter().filter(|note| note.about == "memberships").collect();
        assert_eq!(noted.len(), 1, "{notes:?}");
        assert!(notes.iter().all(|note| note.state != NoteState::No), "{notes:?}");
    }

    #[tokio::test]
    async fn a_removal_without_effect_is_a_failure() {
        let simulator = SimulatedJira::start(JiraOptions::default()).await.expect("a free port");
        for path in ["/group/user", "/user?key"] {
            let fault = simulator.faults.add(Fault::status(200, "").method("DELETE").path(path));
            let notes = tried(&simulator).await;
            let failed: Vec<_> = notes.iter().filter(|note| note.state == NoteState::No).collect();
            let about = if path == "/group/user" { "remove member" } else { "delete" };
            assert!(failed.iter().any(|note| note.about == about && note.text.contains("had no effect")), "{notes:?}");
            simulator.faults.remove(fault);
            simulator.remove_account("usersync-check-1a2b-renamed");
            simulator.remove_group("usersync-check-1a2b");
        }
    }
}
