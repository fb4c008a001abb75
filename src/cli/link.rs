//! `usersync link`: links a user to an account that usersync cannot match by itself. `usersync unlink` is the reverse.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::{
    Context,
    app::{self, Opened, Sides},
    args::PairArgs,
    exit::{Exit, Failure, Outcome},
    find_users::{self, MatchedUser},
    stop, sync,
};
use crate::{
    config::Config,
    model::{Account, AccountId, ConnectorName, Pair, Subject, TargetName, UserId},
    plan,
    store::{OperatorStore, OrderEnd, PairState, StoreReads, TaskFilter},
};

/// Polling interval for the running server's result; `WAIT` is the timeout.
const EVERY: Duration = Duration::from_millis(150);
const WAIT: Duration = Duration::from_secs(30);

/// Link a user to an account
#[derive(Debug, Args)]
#[command(
    long_about = "\
Link a user to an account, where usersync reports a conflict or would link another account.

Both sides are re-read before the link is created. Protected accounts are refused, and accounts that are linked to \
another user in Keycloak. A user that is linked to another account is refused too, unless the link is to be moved: the \
former account then stays as it is and is no longer managed. The account of a user who was deleted in Keycloak is relinked \
with everything that usersync knows about it. Afterwards the user is reconciled like any other. A running server applies the link at \
once; if none runs, this command does.",
    after_help = "\
Examples:
  usersync link alice alice.liddell
  usersync link alice alice.liddell --move
  usersync link 3f0c8a52-6c5c-4a43-9d3e-8f3f2c1f6b0a alice --connector acme --target jira-prod"
)]
pub(super) struct LinkArgs {
    /// The user: login, e-mail address or Keycloak id
    #[arg(value_name = "USER")]
    user: String,
    /// The account: its login or its id in the target
    #[arg(value_name = "ACCOUNT")]
    account: String,
    /// Move the link of a user that is linked to another account
    #[arg(long = "move")]
    moves: bool,
    #[command(flatten)]
    place: PairArgs,
}

/// An order to link one user on one target to an account; without an account, to remove the link.
pub(super) struct Order {
    pub pair: Pair,
    pub user: UserId,
    pub login: String,
    pub account: Option<AccountId>,
    /// Description of the order, for messages.
    pub what: String,
}

impl LinkArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let place = open(context, &self.place).await?;
        let ended = match self.order(&place).await {
            Ok(order) => place.carry_out(order).await,
            Err(failure) => Err(failure),
        };
        place.opened.store.close().await;
        ended
    }

    async fn order(&self, place: &Place<'_>) -> Result<Order, Failure> {
        let (users, account) = (&self.user, &self.account);
        let mut found = Vec::new();
        for MatchedUser { connector, id, user, .. } in place.users(users).await? {
            let Some(user) = user else { continue };
            for pair in place.pairs.iter().filter(|pair| pair.connector == connector) {
                if let Some(account) = place.account(&pair.target, account).await? {
                    found.push((pair.clone(), id.clone(), user.username.clone(), account));
                }
            }
        }
        if found.len() > 1 {
            let choices = found.iter().map(|(pair, id, login, found)| {
                format!("\n  {}    ({login})", plan::link_command(pair, id, &found.name))
            });
            return Err(Failure::usage(format!("{users}: which one?{}", choices.collect::<String>())));
        }
        let Some((pair, user, login, account)) = found.pop() else {
            return Err(Failure::usage(format!(
                "{users}: no Keycloak user of this name has a target with an account {account}. \
                 See: usersync explain {users}"
            )));
        };
        let link = place.opened.store.link(&pair, &user).await?;
        if let Some(link) = link.filter(|link| link.account != account.id && !self.moves) {
            // The argument is resolved as a login first, so the command names the login.
            let command = plan::link_command(&pair, &user, &account.name);
            return Err(Failure::problem(format!(
                "{login}: already linked to account {} ({}) on {}, so nothing was changed. To link account {} ({}) instead, \
                 run: {command} --move",
                link.name, link.account, pair.target, account.name, account.id
            )));
        }
        let what = format!("{pair}: link {login} ({user}) to account {} ({})", account.name, account.id);
        Ok(Order { pair, user, login, account: Some(account.id), what })
    }
}

/// Values that `link` and `unlink` share.
pub(super) struct Place<'a> {
    context: &'a Context,
    config: Config,
    sides: Sides,
    pub opened: Opened,
    pub pairs: Vec<Pair>,
}

pub(super) async fn open<'a>(context: &'a Context, args: &PairArgs) -> Result<Place<'a>, Failure> {
    let config = context.config()?;
    let pairs = app::pairs(&config, args)?;
    let sides = Sides::new(&config)?;
    let opened = app::work(context, &config).await?;
    Ok(Place { context, config, sides, opened, pairs })
}

impl Place<'_> {
    pub async fn users(&self, name: &str) -> Result<Vec<MatchedUser>, Failure> {
        let mut connectors: Vec<ConnectorName> = self.pairs.iter().map(|pair| pair.connector.clone()).collect();
        connectors.dedup();
        find_users::find(self.opened.store.as_ref(), &self.sides, &connectors, name).await
    }

    async fn account(&self, target: &TargetName, name: &str) -> Result<Option<Account>, Failure> {
        let Some(target) = self.sides.targets.get(target) else { return Ok(None) };
        match target.account_named(name).await? {
            Some(account) => Ok(Some(account)),
            None => Ok(target.account(&AccountId::from(name)).await?),
        }
    }

    /// Stores the order, and waits until it is carried out.
    pub async fn carry_out(&self, order: Order) -> Outcome {
        let (out, store) = (&self.context.out, &self.opened.store);
        if let Some(failure) = sync::kept_from(&self.config, store.as_ref(), &order.pair).await? {
            return Err(failure);
        }
        store
            .order_link(&order.pair, &order.user, order.account.as_ref(), &self.context.by(), Timestamp::now())
            .await?;
        if store.pair_state(&order.pair).await? != PairState::InService {
            let text = format!("{}: stored. The first run applies it, once that is approved", order.what);
            return Err(Failure::held(format!("{text}: usersync approvals list")));
        }
        let stop = stop::on_signal(out);
        let subject = Subject::User(order.user.clone());
        if self.opened.server.is_none() {
            let engine = self.sides.engine(&self.config, store.clone());
            engine.work_until(&order.pair, &subject, &stop.token).await?;
        }
        let began = std::time::Instant::now();
        let ended = loop {
            let ended = store.link_order(&order.pair, &order.user).await?.and_then(|order| order.ended);
            let waits = self.opened.server.is_some() && began.elapsed() < WAIT && stop.by().is_none();
            if ended.is_some() || !waits {
                break ended;
            }
            tokio::time::sleep(EVERY).await;
        };
        if out.json {
            out.document(&json!({
                "connector": order.pair.connector, "target": order.pair.target, "user": order.user, "login": order.login,
                "account": order.account, "end": ended,
            }));
        }
        match ended {
            Some(OrderEnd::Done) => {
                out.say(format!("{}: done. See what follows: usersync explain {}", order.what, order.user));
                Ok(Exit::Done)
            }
            Some(OrderEnd::Refused { why }) => Err(Failure::problem(format!("{}: refused: {why}.", order.what))),
            None => {
                let exit = stop.by().unwrap_or(Exit::Problems);
                Err(Failure::new(exit, self.not_yet(&order, subject).await?))
            }
        }
    }

    /// Describes why an order is not carried out yet.
    async fn not_yet(&self, order: &Order, subject: Subject) -> Result<String, Failure> {
        let filter = TaskFilter {
            connector: Some(order.pair.connector.clone()),
            target: Some(order.pair.target.clone()),
            subject: Some(subject),
            limit: 1,
            ..TaskFilter::default()
        };
        let error = self.opened.store.tasks(&filter).await?.pop().and_then(|task| task.error);
        let why = error.map(|(_, text)| format!(": {}", text.trim_end_matches('.'))).unwrap_or_default();
        Ok(format!("{}: not done yet{why}. The request is kept; see: usersync tasks", order.what))
    }
}
