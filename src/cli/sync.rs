//! `usersync sync`: runs a full reconcile, or reconciles one user, now. It asks the running server; without a server it
//! does the work itself.

mod asked;
mod one;
mod own;

use clap::Args;

use super::{
    Context,
    app::{self, Sides},
    args::PairArgs,
    exit::{Failure, Outcome},
};
use crate::{
    config::Config,
    model::Pair,
    store::{PairState, Store},
};

/// Run a full reconcile now, or bring one user in sync
#[derive(Debug, Args)]
#[command(
    long_about = "\
Run a full reconcile now, or bring one user in sync.

If a server runs, this command requests the run from it and follows the run until it ends. If no server runs, it \
locks the store, does the work itself, and works the other due tasks. The first run of a connector on a target is \
planned and held: check it with `usersync approvals show`, approve it, then run sync again.

Ctrl-C (exit code 130) and SIGTERM (143) stop it cleanly, between two users. It then reports what was done, and the \
next run does the rest. A run of the running server continues.",
    after_help = "\
Examples:
  usersync sync
  usersync sync --connector acme --target jira-prod
  usersync sync alice             one user, by login, e-mail address or Keycloak id
  usersync sync --no-wait         request it from the running server and return"
)]
pub(super) struct SyncArgs {
    /// Only this user: login, e-mail address or Keycloak id
    #[arg(value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    pair: PairArgs,
    /// Do not wait for the running server to finish
    #[arg(long)]
    no_wait: bool,
}

impl SyncArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let config = context.config()?;
        let pairs = app::pairs(&config, &self.pair)?;
        let sides = Sides::new(&config)?;
        let opened = app::work(context, &config).await?;
        let work = Work { context, config: &config, sides: &sides, opened: &opened };
        let ended = match (&self.user, &opened.server) {
            (Some(user), _) => one::sync(&work, &pairs, user, self.no_wait).await,
            (None, Some(pid)) => asked::sync(&work, &pairs, pid, self.no_wait).await,
            (None, None) => Box::pin(own::sync(&work, &pairs)).await,
        };
        opened.store.close().await;
        ended
    }
}

/// Values that the parts of this command share.
struct Work<'a> {
    context: &'a Context,
    config: &'a Config,
    sides: &'a Sides,
    opened: &'a app::Opened,
}

/// Returns why a pair is not worked now, with the exit code; `None`: it is worked.
pub(super) async fn kept_from(config: &Config, store: &dyn Store, pair: &Pair) -> Result<Option<Failure>, Failure> {
    let off = config.connectors.iter().any(|one| one.name == pair.connector && !one.enabled);
    if off {
        let text =
            format!("{pair}: connector {} is switched off in the configuration. Set enabled = true", pair.connector);
        return Ok(Some(Failure::problem(text)));
    }
    if store.paused().await?.contains(&pair.connector) {
        let name = &pair.connector;
        return Ok(Some(Failure::problem(format!(
            "{pair}: connector {name} is paused. Resume: usersync connector resume {name}"
        ))));
    }
    if store.pair_state(pair).await? == PairState::Stopped {
        return Ok(Some(Failure::held(format!("{pair}: stopped: {}", app::stopped(pair)))));
    }
    Ok(None)
}
