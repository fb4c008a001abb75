//! `usersync demo`: the whole product on built-in imitations of Keycloak and Jira, and a short story.

use std::time::{Duration, Instant};

use clap::Args;

use super::{
    Context,
    exit::{Exit, Failure, Outcome},
    stop,
    words::count,
};
use crate::{
    model::RunTrigger,
    sandbox::{
        Fault,
        agree::{agree, compare},
        house::{CONNECTOR, Grounds, House, HouseError, HouseOptions},
        jira::JiraSnapshot,
        keycloak::{NewUser, Refused, UserChange},
        neighbours::{self, Imitation},
    },
    store::{Request, Store, TaskFilter},
};

/// The longest that one step may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Play the whole product on built-in imitations of Keycloak and Jira
#[derive(Debug, Args)]
#[command(
    long_about = "\
Play the whole product on built-in imitations of Keycloak and Jira, over real HTTP on loopback ports. Needs nothing and \
leaves nothing behind.

People join, change name and login, change groups, leave; one change is made while the listener is switched off, and the \
full run finds it; one call fails and is replayed. Each step is shown with its time from the change in Keycloak to the \
change in Jira. In the end both sides are compared from their bare state.",
    after_help = "\
Examples:
  usersync demo
  usersync demo --all       fills every kind of target, not just Jira
  usersync demo --keep      leaves it running, and says where"
)]
pub(super) struct DemoArgs {
    /// Fill one target of every kind beside the Jira
    #[arg(long)]
    all: bool,
    /// Leave everything running after the story, and say where
    #[arg(long)]
    keep: bool,
}

impl DemoArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let out = &context.out;
        context.refuse_json("demo", "the demo is a story")?;
        let failed = |error: DemoError| Failure::problem(format!("demo: {error}"));
        let neighbours = if self.all { neighbours::all().await.map_err(|why| failed(why.into()))? } else { Vec::new() };
        let demo = Demo::start(neighbours).await.map_err(failed)?;
        demo.play(&mut |line| out.line(line)).await.map_err(failed)?;
        if self.keep {
            for (name, address) in demo.addresses() {
                out.line(format!("{name:<10} {address}"));
            }
            out.line("Keycloak's administrator is admin / admin, Jira's token is sandbox-token. Ctrl-C ends it.");
            stop::on_signal(out).cancelled().await;
        }
        demo.stop().await;
        Ok(Exit::Done)
    }
}

/// Why the story could not be told to its end.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    /// The imitations or usersync between them did not start.
    #[error(transparent)]
    House(#[from] HouseError),
    /// The imitated Keycloak refused a change.
    #[error("the imitated Keycloak refused: {0}")]
    Refused(Refused),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// What should have happened did not.
    #[error("{0}: not in Jira after 20 s")]
    Late(&'static str),
    /// Source and target differ at the end.
    #[error("source and target differ: {0}")]
    Differ(String),
}

impl From<Refused> for DemoError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The stage: imitations, and usersync at work between them.
struct Demo {
    grounds: Grounds,
    house: House,
    neighbours: Vec<Imitation>,
}

impl Demo {
    /// Starts everything.
    async fn start(neighbours: Vec<Imitation>) -> Result<Self, DemoError> {
        let filled = neighbours.iter().map(Imitation::neighbour).collect::<Result<_, _>>()?;
        let options = HouseOptions { neighbours: filled, ..HouseOptions::default() };
        let grounds = Grounds::prepare(options).await?;
        let staff = (1..=40).map(|number| NewUser::named(format!("staff{number:02}")));
        grounds.realm.import_users(staff)?;
        let house = grounds.build().await?;
        house.in_service().await?;
        Ok(Self { grounds, house, neighbours })
    }

    /// Where the three servers listen, for a person who wants to look around.
    fn addresses(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("Keycloak", self.grounds.keycloak.url()), ("Jira", self.grounds.jira.url())];
        all.extend(self.neighbours.iter().map(|other| (other.product.name(), other.url.clone())));
        all.push(("usersync", self.house.url()));
        all
    }

    /// Plays the story; each line is told as it happens.
    async fn play(&self, tell: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let realm = &self.grounds.realm;
        tell(format!(
            "The first run found {} users in the imitated Keycloak and made their accounts in the imitated Jira.",
            self.grounds.jira.snapshot().accounts.len().saturating_sub(1)
        ));
        let engineering = realm.create_group(None, "engineering").await?;
        let admins = realm.create_group(Some(&engineering), "release-managers").await?;

        let began = Instant::now();
        let alice = realm.create_user(NewUser::named("alice").in_groups(&["/engineering"])).await?;
        self.when(tell, began, "alice joins, in group engineering", |jira| {
            jira.account("alice").is_some_and(|account| account.active) && member(jira, "engineering", "alice")
        })
        .await?;

        let began = Instant::now();
        realm.join(&alice, &admins).await?;
        self.when(tell, began, "alice joins release-managers", |jira| member(jira, "release-managers", "alice"))
            .await?;

        let began = Instant::now();
        let change = UserChange { first_name: Some("Alicia".into()), ..UserChange::default() };
        realm.update_user(&alice, change).await?;
        self.when(tell, began, "alice changes her name", |jira| {
            jira.account("alice").is_some_and(|account| account.display_name == "Alicia Example")
        })
        .await?;

        let began = Instant::now();
        realm.update_user(&alice, UserChange::username("alicia")).await?;
        self.when(tell, began, "alice becomes alicia", |jira| jira.account("alicia").is_some()).await?;

        let began = Instant::now();
        realm.leave(&alice, &admins).await?;
        self.when(tell, began, "alicia leaves release-managers", |jira| !member(jira, "release-managers", "alicia"))
            .await?;

        let began = Instant::now();
        realm.update_user(&alice, UserChange::enabled(false)).await?;
        self.when(tell, began, "alicia leaves the company", |jira| {
            jira.account("alicia").is_some_and(|account| !account.active)
        })
        .await?;

        self.lose_an_event(tell).await?;
        self.fail_and_replay(tell).await?;
        self.compare(tell).await
    }

    /// A change that no event told of is found by the full run.
    async fn lose_an_event(&self, tell: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let realm = &self.grounds.realm;
        realm.switch_webhook(false);
        realm.create_user(NewUser::named("bob").in_groups(&["/engineering"])).await?;
        tell("The listener is switched off, and bob joins: no event arrives.".to_owned());
        realm.switch_webhook(true);
        let began = Instant::now();
        let request = Request::Run { connector: CONNECTOR.into(), target: None, trigger: RunTrigger::Person };
        self.house.store.request(&request, "demo", jiff::Timestamp::now()).await?;
        self.when(tell, began, "the full run finds bob", |jira| member(jira, "engineering", "bob")).await
    }

    /// A call that Jira refuses leaves a dead letter, which a person replays.
    async fn fail_and_replay(&self, tell: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let refusal = r#"{"errorMessages":["The licence does not allow it."],"errors":{}}"#;
        let fault = Fault::status(400, refusal).method("POST").path("/rest/api/2/user");
        let fault = self.grounds.jira.faults.add(fault);
        self.grounds.realm.create_user(NewUser::named("carol")).await?;
        let dead = TaskFilter { dead: Some(true), limit: 10, ..TaskFilter::default() };
        let began = Instant::now();
        let letter = loop {
            if let Some(task) = self.house.store.tasks(&dead).await?.into_iter().next() {
                break task;
            }
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Late("carol as a dead letter"));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let why = letter.error.map(|(_, text)| text).unwrap_or_default();
        tell(format!("Jira refuses to make carol's account, and it is kept as a dead letter: {why}"));
        self.grounds.jira.faults.remove(fault);
        let began = Instant::now();
        self.house.store.replay_dead(&dead, "demo", jiff::Timestamp::now()).await?;
        self.when(tell, began, "the dead letter is replayed", |jira| jira.account("carol").is_some()).await
    }

    async fn compare(&self, tell: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        self.grounds.realm.webhook_idle().await;
        self.house.quiet(jiff::SignedDuration::from_secs(1)).await?;
        let agreement = agree(&self.grounds);
        if !agreement.holds() {
            return Err(DemoError::Differ(agreement.differences.join("; ")));
        }
        self.compare_neighbours(tell).await?;
        tell(format!(
            "source and target agree: {}, {}, {}",
            count(agreement.users, "user", "users"),
            count(agreement.groups, "group", "groups"),
            count(agreement.memberships, "membership", "memberships"),
        ));
        Ok(())
    }

    /// Each of the other targets agrees with the realm for itself.
    async fn compare_neighbours(&self, tell: &mut (dyn FnMut(String) + Send)) -> Result<(), DemoError> {
        let began = Instant::now();
        for other in &self.neighbours {
            // A run may still be under way there.
            let agreement = loop {
                let agreement = compare(&self.grounds.realm.snapshot(), &other.server.held(), &[]);
                if agreement.holds() {
                    break agreement;
                }
                if began.elapsed() > PATIENCE {
                    return Err(DemoError::Differ(agreement.differences.join("; ")));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            };
            let users = count(agreement.users, "user", "users");
            let memberships = count(agreement.memberships, "membership", "memberships");
            tell(format!("{:>9}  {} holds the same: {users}, {memberships}", "", other.product.name()));
        }
        Ok(())
    }

    /// Waits until Jira shows it, and tells how long that took.
    async fn when(
        &self,
        tell: &mut (dyn FnMut(String) + Send),
        began: Instant,
        what: &'static str,
        shows: impl Fn(&JiraSnapshot) -> bool,
    ) -> Result<(), DemoError> {
        while !shows(&self.grounds.jira.snapshot()) {
            if began.elapsed() > PATIENCE {
                return Err(DemoError::Late(what));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tell(format!("{:>6} ms  {what}", began.elapsed().as_millis()));
        Ok(())
    }

    /// Stops everything. What is left to write is in the store, and the store goes with the demo.
    async fn stop(self) {
        self.house.stop().await;
    }
}

fn member(jira: &JiraSnapshot, group: &str, login: &str) -> bool {
    jira.groups.get(group).is_some_and(|members| members.contains(login))
}
