//! `usersync unlink`: removes the link between a user and an account.

use crate::store::StoreReads;
use clap::Args;

use super::{
    Context,
    args::PairArgs,
    exit::{Failure, Outcome},
    link::{self, Order, Place},
};
use crate::model::Pair;

/// Remove the link between a user and an account
#[derive(Debug, Args)]
#[command(
    long_about = "\
Remove the link between a user and an account. The account stays unchanged and is no longer managed.

Both sides are re-read first; a protected account is refused. If the account has the user's login, adopting it again \
waits for approval. Otherwise a new account is created for the user.",
    after_help = "\
Examples:
  usersync unlink alice
  usersync unlink 3f0c8a52-6c5c-4a43-9d3e-8f3f2c1f6b0a --connector acme --target jira-prod"
)]
pub(super) struct UnlinkArgs {
    /// The user: login, e-mail address or Keycloak id
    #[arg(value_name = "USER")]
    user: String,
    #[command(flatten)]
    place: PairArgs,
}

impl UnlinkArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        let place = link::open(context, &self.place).await?;
        let ended = match self.order(&place).await {
            Ok(order) => place.carry_out(order).await,
            Err(failure) => Err(failure),
        };
        place.opened.store.close().await;
        ended
    }

    async fn order(&self, place: &Place<'_>) -> Result<Order, Failure> {
        let name = &self.user;
        let mut found = Vec::new();
        for person in place.users(name).await? {
            for pair in place.pairs.iter().filter(|pair| pair.connector == person.connector) {
                if let Some(link) = place.opened.store.link(pair, &person.id).await? {
                    found.push((pair.clone(), link));
                }
            }
        }
        if found.len() > 1 {
            let choices = found.iter().map(|(Pair { connector, target }, link)| {
                format!(
                    "\n  usersync unlink {} --connector {connector} --target {target}    ({})",
                    link.user, link.name
                )
            });
            return Err(Failure::usage(format!("{name}: which one?{}", choices.collect::<String>())));
        }
        let Some((pair, link)) = found.pop() else {
            return Err(Failure::usage(format!("{name}: has no link there. See: usersync explain {name}")));
        };
        let what = format!("{pair}: unlink {} from account {} ({})", link.user, link.name, link.account);
        Ok(Order { pair, user: link.user, login: link.name, account: None, what })
    }
}
