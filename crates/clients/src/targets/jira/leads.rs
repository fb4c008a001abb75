//! Projects and components that an account leads. Jira refuses to deactivate or delete the lead of a project, so usersync
//! names what the account leads, or hands it over to the configured lead.

use futures::{StreamExt, stream};
use jiff::Timestamp;
use reqwest::Method;

use super::{
    JiraTarget,
    wire::{Component, ComponentLead, Project, ProjectLead},
};
use crate::{
    model::ErrorClass,
    targets::{
        AccountRef, Note, NoteState, TargetError,
        rest::{Ask, fold, lenient::Entries, not_done, note, segment, unconfirmed},
    },
};

/// Number of projects whose components are read concurrently.
const CONCURRENT_READS: usize = 4;
/// Maximum number of names in a message.
const NAMES: usize = 10;

/// What an account leads.
#[derive(Debug, Default, PartialEq, Eq)]
struct Led {
    /// Keys of the projects.
    projects: Vec<String>,
    components: Vec<LedComponent>,
    /// Why the components were not read; `None`: they were.
    unread: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct LedComponent {
    id: String,
    /// The key of its project and its name: `ALPHA/web`.
    name: String,
}

impl Led {
    fn is_empty(&self) -> bool {
        self.projects.is_empty() && self.components.is_empty()
    }

    /// Names the projects and components: `projects ALPHA and BETA and component ALPHA/web`.
    fn names(&self) -> String {
        let projects = named("project", self.projects.iter().map(String::as_str));
        let components = named("component", self.components.iter().map(|component| component.name.as_str()));
        projects.into_iter().chain(components).collect::<Vec<_>>().join(" and ")
    }

    /// Says that the components were not read, as a sentence; empty if they were.
    fn unread(&self) -> String {
        let unread = self.unread.as_ref();
        unread.map_or_else(String::new, |why| format!(" Components were not all read: {}.", why.trim_end_matches('.')))
    }
}

/// Names things of one kind, with their number beyond the first; `None`: there are none.
fn named<'a>(kind: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    let shown = match names.as_slice() {
        [] => return None,
        [one] => (*one).to_owned(),
        [first @ .., last] if names.len() <= NAMES => format!("{} and {last}", first.join(", ")),
        names => {
            let others = names.len() - NAMES;
            let other = if others == 1 { "other" } else { "others" };
            format!("{} and {others} {other}", names[..NAMES].join(", "))
        }
    };
    Some(format!("{kind}{plural} {shown}"))
}

impl JiraTarget {
    /// Hands over what an account leads to the configured lead, after Jira refused to end the account; `refusal` has no
    /// advice yet. Returns what was handed over, as the second half of a sentence: then the call may be sent again.
    ///
    /// # Errors
    /// The refusal with what the account leads and what to do; or why it could not be handed over.
    pub(super) async fn hand_over_leads(
        &self,
        account: AccountRef<'_>,
        what: &str,
        refusal: TargetError,
        advice: &str,
        deadline: Timestamp,
    ) -> Result<String, TargetError> {
        let refusal = TargetError { text: refusal.text.trim_end().to_owned(), ..refusal };
        let Some(new_lead) = &self.settings.new_lead else {
            return Err(self.refusal_with_leads(account, refusal, advice, deadline).await);
        };
        let led = self.led_by(account, deadline).await?;
        if led.is_empty() {
            let text = format!("{} {advice}{}", refusal.text, led.unread());
            return Err(TargetError { text, ..refusal });
        }
        self.check_new_lead(account, what, new_lead, &led, deadline).await?;
        let mut done = Led { unread: led.unread.clone(), ..Led::default() };
        for project in led.projects {
            let what = format!("giving project {project} the lead {new_lead}");
            let ask = Ask::new(Method::PUT, format!("/project/{}", segment(&project)), &what);
            self.give_lead(ask.json(&ProjectLead { lead: new_lead })?, deadline, &done).await?;
            tracing::info!(account = %account.id, project, "the project has another lead");
            done.projects.push(project);
        }
        for component in led.components {
            let what = format!("giving component {} the lead {new_lead}", component.name);
            let ask = Ask::new(Method::PUT, format!("/component/{}", segment(&component.id)), &what);
            self.give_lead(ask.json(&ComponentLead { lead_user_name: new_lead })?, deadline, &done).await?;
            tracing::info!(account = %account.id, component = component.name, "the component has another lead");
            done.components.push(component);
        }
        let unread = done.unread();
        let end = if unread.is_empty() { "" } else { "." };
        Ok(format!("{new_lead} was made the lead of {}{end}{}", done.names(), unread.trim_end_matches('.')))
    }

    /// Adds what an account leads to a refusal, and what to do.
    async fn refusal_with_leads(
        &self,
        account: AccountRef<'_>,
        refusal: TargetError,
        advice: &str,
        deadline: Timestamp,
    ) -> TargetError {
        let text = match self.led_by(account, deadline).await {
            Ok(led) if led.is_empty() => format!("{} {advice}{}", refusal.text, led.unread()),
            Ok(led) => format!(
                "{} It leads {}.{} Set another lead in Jira, or new_lead of the target, then: usersync dead replay --all",
                refusal.text,
                led.names(),
                led.unread()
            ),
            Err(why) => format!("{} {advice} Whether it leads projects is not known: {}", refusal.text, why.text),
        };
        TargetError { text, ..refusal }
    }

    /// Changes one lead; `done`: what was handed over before.
    async fn give_lead(&self, ask: Ask<'_>, deadline: Timestamp, done: &Led) -> Result<(), TargetError> {
        let ask = ask.deadline(Some(deadline));
        let answer = self.rest.ask(&ask).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let mut error = self.rest.unexpected(&ask, &answer);
        if !done.is_empty() {
            error.text = format!("{} Handed over before: {}.", error.text, done.names());
        }
        Err(error)
    }

    /// Checks that the configured lead exists, is active and is another account.
    async fn check_new_lead(
        &self,
        account: AccountRef<'_>,
        what: &str,
        new_lead: &str,
        led: &Led,
        deadline: Timestamp,
    ) -> Result<(), TargetError> {
        let wrong = match self.account_by_login(new_lead, Some(deadline)).await? {
            None => "does not exist in Jira",
            Some(found) if found.id == *account.id => "is this account",
            Some(found) if !found.active => "is inactive in Jira",
            Some(_) => return Ok(()),
        };
        let text = format!(
            "{what}: it leads {}, but new_lead of the target, {new_lead}, {wrong}. Set another new_lead, restart \
             usersync, then: usersync dead replay --all",
            led.names()
        );
        Err(not_done(ErrorClass::Permanent, text))
    }

    /// Returns the line of `usersync check` about the configured lead.
    pub(super) async fn new_lead_note(&self) -> Result<Option<Note>, TargetError> {
        let Some(new_lead) = &self.settings.new_lead else { return Ok(None) };
        let wrong = match self.account_by_login(new_lead, None).await? {
            None => "does not exist in Jira",
            Some(found) if !found.active => "is inactive in Jira",
            Some(_) => {
                let text =
                    format!("{new_lead} takes over projects and components whose leads Jira does not deactivate");
                return Ok(Some(note(NoteState::Ok, "leads", text)));
            }
        };
        let text = format!("new_lead {new_lead} {wrong}, so no lead of a project can be deactivated. Set another one.");
        Ok(Some(note(NoteState::No, "leads", text)))
    }

    /// Reads what an account leads, among the projects that usersync's account may browse.
    ///
    /// # Source
    /// Jira's REST description: `GET /project` with `expand=lead` returns the visible projects, and
    /// `GET /project/{key}/components` their components with leads.
    async fn led_by(&self, account: AccountRef<'_>, deadline: Timestamp) -> Result<Led, TargetError> {
        let what = format!("reading the projects that {} leads", account.name);
        let ask = Ask::get("/project", &what).query("expand", "lead").deadline(Some(deadline));
        let projects: Entries<Project> = self.rest.read(&ask).await?;
        if !projects.reported {
            return Err(unconfirmed(format!("{what}: Jira's answer is not a list.")));
        }
        let is_led = |project: &&Project| project.lead.as_ref().is_some_and(|lead| lead.is(account));
        let mut led = Led {
            projects: projects.iter().filter(is_led).filter_map(|project| project.key.clone()).collect(),
            ..Led::default()
        };
        // Time has to remain to hand them over and to send the call again.
        let now = self.settings.http.clock.now();
        let half = now.checked_add(deadline.duration_since(now) / 2).unwrap_or(deadline);
        let keys: Vec<String> = projects.iter().filter_map(|project| project.key.clone()).collect();
        let read = |project: String| async move { self.components_led_by(&project, account, half).await };
        let reads: Vec<_> = stream::iter(keys.into_iter().map(read)).buffered(CONCURRENT_READS).collect().await;
        for read in reads {
            match read {
                Ok(components) => led.components.extend(components),
                Err(error) => led.unread = led.unread.or(Some(error.text)),
            }
        }
        Ok(led)
    }

    async fn components_led_by(
        &self,
        project: &str,
        account: AccountRef<'_>,
        deadline: Timestamp,
    ) -> Result<Vec<LedComponent>, TargetError> {
        let what = format!("reading the components of project {project}");
        let ask = Ask::get(format!("/project/{}/components", segment(project)), &what).deadline(Some(deadline));
        let components: Entries<Component> = self.rest.find(&ask).await?.unwrap_or_default();
        let led = components.iter().filter(|component| component.lead.as_ref().is_some_and(|lead| lead.is(account)));
        Ok(led
            .filter_map(|component| {
                let (id, name) = (component.id.clone()?, component.name.as_deref()?);
                Some(LedComponent { id, name: format!("{project}/{name}") })
            })
            .collect())
    }
}

impl super::wire::User {
    /// Whether this is the account. Jira before 8.4 does not always show keys, so the login decides there.
    fn is(&self, account: AccountRef<'_>) -> bool {
        match (&self.key, &self.name) {
            (Some(key), _) => key == account.id.as_str(),
            (None, Some(name)) => fold(name) == fold(account.name),
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_names_are_shown_and_the_others_counted() {
        let led = |projects: usize, components: usize| Led {
            projects: (0..projects).map(|number| format!("P{number}")).collect(),
            components: (0..components)
                .map(|number| LedComponent { id: number.to_string(), name: format!("P0/c{number}") })
                .collect(),
            unread: None,
        };
        let ten = "P0, P1, P2, P3, P4, P5, P6, P7, P8, P9";
        for (led, text) in [
            (led(1, 0), "project P0".to_owned()),
            (led(2, 0), "projects P0 and P1".to_owned()),
            (led(0, 1), "component P0/c0".to_owned()),
            (led(1, 3), "project P0 and components P0/c0, P0/c1 and P0/c2".to_owned()),
            (led(11, 0), format!("projects {ten} and 1 other")),
            (led(12, 0), format!("projects {ten} and 2 others")),
        ] {
            assert_eq!(led.names(), text);
        }
        assert!(led(0, 0).is_empty() && !led(0, 1).is_empty());
    }
}
