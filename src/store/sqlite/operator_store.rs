//! Reads and writes of the operators' commands.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{SqliteStore, activity, alerts, event_poll, events, hook_refusals, job, links, of_pair, orders, pairs};
use crate::{
    model::{
        About, AccountId, Activity, AlertState, ConnectorName, Declared, Link, Pair, Refusals, RunId, SourceIdentity,
        TargetIdentity, TargetName, UserId,
    },
    store::{
        Decision, EventCounts, EventFilter, LinkOrder, OperatorStore, PairHoldings, PairRecord, PolledEvents, Request,
        StoreResult, TaskFilter,
    },
};

#[async_trait]
impl OperatorStore for SqliteStore {
    async fn links_named(&self, name_or_id: &str) -> StoreResult<Vec<(Pair, Link)>> {
        let name_or_id = name_or_id.to_owned();
        self.read(move |conn| Box::pin(async move { links::named(conn, &name_or_id).await })).await
    }

    async fn remember_hooks(
        &self,
        connectors: &[(ConnectorName, serde_json::Value)],
    ) -> StoreResult<Vec<(ConnectorName, serde_json::Value)>> {
        job!(self, [connectors], |tx| tx.remember_hooks(&connectors))
    }

    async fn source_identity(&self, connector: &ConnectorName) -> StoreResult<Option<SourceIdentity>> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { pairs::source_identity(conn, &connector).await })).await
    }

    async fn target_identity(
        &self,
        target: &TargetName,
        identity: &TargetIdentity,
    ) -> StoreResult<(Option<TargetIdentity>, Option<TargetName>)> {
        let (target, identity) = (target.clone(), identity.clone());
        self.read(move |conn| Box::pin(async move { pairs::target_identity(conn, &target, &identity).await })).await
    }

    async fn confirm_identity(
        &self,
        connector: Option<&ConnectorName>,
        target: Option<&TargetName>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let (connector, target) = (connector.cloned(), target.cloned());
        job!(self, [by], |tx| tx.confirm_identity(connector.as_ref(), target.as_ref(), &by, now))
    }

    async fn confirm_same_server(
        &self,
        target: &TargetName,
        found: &TargetIdentity,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<Vec<PairRecord>> {
        job!(self, [target, found, by], |tx| tx.confirm_same_server(&target, &found, &by, now))
    }

    async fn rename(&self, named: &Declared, to: &str, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>> {
        job!(self, [named, to, by], |tx| tx.rename(&named, &to, &by, now))
    }

    async fn remove(&self, named: &Declared, by: &str, now: Timestamp) -> StoreResult<Vec<PairHoldings>> {
        job!(self, [named, by], |tx| tx.remove(&named, &by, now))
    }

    async fn set_paused(&self, connector: &ConnectorName, paused: bool, by: &str, now: Timestamp) -> StoreResult<()> {
        job!(self, [connector, by], |tx| tx.set_paused(&connector, paused, &by, now))
    }

    async fn decide(&self, decision: &Decision, now: Timestamp) -> StoreResult<usize> {
        job!(self, [decision], |tx| tx.decide(&decision, now))
    }

    async fn withdraw_rejections(&self, set: i64, items: &[i64], by: &str, now: Timestamp) -> StoreResult<usize> {
        job!(self, [items, by], |tx| tx.withdraw_rejections(set, &items, &by, now))
    }

    async fn order_link(
        &self,
        pair: &Pair,
        user: &UserId,
        account: Option<&AccountId>,
        by: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let account = account.cloned();
        job!(self, [pair, user, by], |tx| tx.order_link(&pair, &user, account.as_ref(), &by, now))
    }

    async fn link_order(&self, pair: &Pair, user: &UserId) -> StoreResult<Option<LinkOrder>> {
        let user = user.clone();
        of_pair!(self, pair, None, |conn, no| orders::of_user(conn, no, &user))
    }

    async fn cancel_run(&self, run: RunId, by: &str, now: Timestamp) -> StoreResult<()> {
        job!(self, [by], |tx| tx.cancel_run(run, &by, now))
    }

    async fn request(&self, request: &Request, by: &str, now: Timestamp) -> StoreResult<()> {
        job!(self, [request, by], |tx| tx.request(&request, &by, now))
    }

    async fn replay_events(
        &self,
        filter: &EventFilter,
        targets_of: &(dyn for<'a> Fn(&'a ConnectorName) -> Vec<TargetName> + Send + Sync),
        by: &str,
        now: Timestamp,
    ) -> StoreResult<(usize, usize)> {
        let filter = filter.clone();
        let (events, subjects) =
            self.read(move |conn| Box::pin(async move { events::hints(conn, &filter).await })).await?;
        let targets: HashMap<ConnectorName, Vec<TargetName>> =
            subjects.keys().map(|connector| (connector.clone(), targets_of(connector))).collect();
        let tasks = job!(self, [by], |tx| tx.replay(&subjects, &targets, events, &by, now))?;
        Ok((events, tasks))
    }

    async fn replay_dead(&self, filter: &TaskFilter, by: &str, now: Timestamp) -> StoreResult<usize> {
        job!(self, [filter, by], |tx| tx.replay_dead(&filter, &by, now))
    }

    async fn event_counts(&self, connector: &ConnectorName) -> StoreResult<EventCounts> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { events::counts(conn, &connector).await })).await
    }

    async fn busy_hours(&self, connector: &ConnectorName, from: Timestamp, to: Timestamp) -> StoreResult<u64> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { events::busy_hours(conn, &connector, from, to).await })).await
    }

    async fn polled_events(&self, connector: &ConnectorName) -> StoreResult<PolledEvents> {
        let connector = connector.clone();
        self.read(move |conn| Box::pin(async move { event_poll::polled(conn, &connector).await })).await
    }

    async fn refusals(&self) -> StoreResult<Vec<Refusals>> {
        self.read(|conn| Box::pin(hook_refusals::read(conn))).await
    }

    async fn order_contact(&self, about: &About, by: &str, now: Timestamp) -> StoreResult<()> {
        let about = about.clone();
        job!(self, [by], |tx| tx.order_contact(&about, &by, now))
    }

    async fn alert_state(&self, name: &str) -> StoreResult<AlertState> {
        let name = name.to_owned();
        self.read(move |conn| Box::pin(async move { alerts::read(conn, &name).await })).await
    }

    async fn keep_alert_state(&self, name: &str, state: &AlertState) -> StoreResult<()> {
        let name = name.to_owned();
        job!(self, [state], |tx| tx.keep_alert_state(&name, &state))
    }

    async fn forget_alerts_but(&self, names: &[String]) -> StoreResult<()> {
        let names = names.to_vec();
        job!(self, [], |tx| tx.forget_alerts_but(&names))
    }

    async fn activity(&self, pair: &Pair, since: Timestamp) -> StoreResult<Activity> {
        of_pair!(self, pair, Activity::default(), |conn, no| activity::read(conn, no, since))
    }

    async fn check(&self) -> StoreResult<()> {
        job!(self, [], |tx| tx.check())
    }
}
