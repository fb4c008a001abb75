//! Carries out an operator's order about a user's link, under the user's claim and after both sides were read again.

use super::{
    case::Case,
    error::WorkError,
    user::{Round, View},
};
use crate::{
    model::{Account, MatchedBy, UserId},
    plan::Presence,
    policy::Verdict,
    store::{Holder, LinkOrder, LinkWrite, OrderEnd},
};

impl Case<'_> {
    /// Carries out an order or refuses it. The user is planned afterwards as usual.
    pub(super) async fn carry_out_order(
        &mut self,
        id: &UserId,
        order: &LinkOrder,
        view: &mut View,
    ) -> Result<Round, WorkError> {
        if let Some(why) = view.account.as_ref().and_then(|account| self.untouchable(account)) {
            return self.end_order(OrderEnd::Refused { why }).await;
        }
        let Some(account) = &order.account else { return self.unlink(view).await };
        let why = match &view.presence {
            Presence::Gone => {
                Some(format!("user {id} no longer exists in Keycloak; only an existing user can be linked"))
            }
            Presence::Present(_, Verdict::Out { why, .. }) => Some(format!("user {id} is not in scope: {why}")),
            Presence::Present(_, Verdict::Undecided(why)) => {
                Some(format!("it is undecided whether user {id} is in scope: {why}"))
            }
            Presence::Present(_, Verdict::In) => None,
        };
        if let Some(why) = why {
            return self.end_order(OrderEnd::Refused { why }).await;
        }
        let Some(account) = self.port.target.account(account).await? else {
            let why = format!("{} has no account {account}", self.port.name);
            return self.end_order(OrderEnd::Refused { why }).await;
        };
        if let Some(why) = self.untouchable(&account) {
            return self.end_order(OrderEnd::Refused { why }).await;
        }
        let target = &self.claim.pair.target;
        let from = match self.engine.store.holder(self.claim.token, &account.id, &account.name).await? {
            Holder::Unlinked => None,
            Holder::Linked { connector, link } if connector != self.claim.pair.connector => {
                let why = format!(
                    "connector {connector} links account {} to user {}. To remove that link, run: usersync unlink {} \
                     --connector {connector} --target {target}",
                    account.name, link.user, link.user
                );
                return self.end_order(OrderEnd::Refused { why }).await;
            }
            Holder::Linked { link, .. } if link.user == *id => return self.end_order(OrderEnd::Done).await,
            Holder::Linked { link, connector } => {
                let other = self.engine.read_user(&self.connector, &self.claim.pair, &link.user).await?;
                if let Presence::Present(other, _) = other {
                    let why = format!(
                        "account {} is linked to user {} ({}), who is in Keycloak. To remove that link, run: usersync unlink \
                         {} --connector {connector} --target {target}",
                        account.name, other.username, other.id, other.id
                    );
                    return self.end_order(OrderEnd::Refused { why }).await;
                }
                Some(link.user)
            }
            Holder::BeingCreated => {
                self.defer(self.engine.times.step_back).await?;
                return Ok(Round::Released);
            }
        };
        match self.take(&account, MatchedBy::Operator, from, view).await? {
            Round::Again => {
                self.claim.unlinked = None;
                self.end_order(OrderEnd::Done).await
            }
            Round::ReadAgain => Err(WorkError::Unsteady(self.claim.subject.to_string())),
            ended => Ok(ended),
        }
    }

    async fn unlink(&mut self, view: &mut View) -> Result<Round, WorkError> {
        let Some(link) = self.link.take() else {
            let why = "the user has no link on this target".to_owned();
            return self.end_order(OrderEnd::Refused { why }).await;
        };
        self.claim.unlinked = Some(link.account);
        self.step.link = Some(LinkWrite::Remove);
        view.account = None;
        view.forget_holder();
        self.end_order(OrderEnd::Done).await
    }

    async fn end_order(&mut self, end: OrderEnd) -> Result<Round, WorkError> {
        self.step.order = Some(end);
        self.flush().await?;
        Ok(Round::Again)
    }

    /// Returns why no order may change this account; `None`: an order may.
    fn untouchable(&self, account: &Account) -> Option<String> {
        if account.name == self.info.signed_in_as {
            return Some(format!("account {} is usersync's own", account.name));
        }
        account.protected.as_ref().map(|why| format!("account {} is protected: {why}", account.name))
    }
}
