//! What federation providers answer about the users of a run.

use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::{
    Item, Run, evidence,
    users::{Pending, WalkDecision, planned},
    walk::{SourceWalk, TargetWalk},
};
use crate::{
    engine::error::WorkError,
    model::{Link, ObjectKind},
    plan::{GroupTable, Presence, ProviderAnswer},
};

impl Run<'_> {
    /// Returns what is known of the federation provider of a user.
    pub(super) fn provider_answer(&self, presence: &Presence, link: Option<&Link>) -> &ProviderAnswer {
        let id = presence.user().map(|user| &user.id).or(link.map(|link| &link.user));
        let component = presence.federation(link);
        let asked = id.and_then(|id| self.answers.get(id));
        let silent = || component.and_then(|component| self.silent.get(component));
        asked.or_else(silent).unwrap_or(&ProviderAnswer::NotAsked)
    }

    /// Asks the providers of the users for which something would be removed, and plans these users again. Whatever is
    /// confirmed counts towards the safety limits of the run; it is read and asked once more before it is done.
    pub(super) async fn plan_asked(
        &mut self,
        source: &SourceWalk,
        target: &TargetWalk,
        groups: &GroupTable,
    ) -> Result<Vec<Pending>, WorkError> {
        let (engine, connector, pair) = (self.engine, Arc::clone(&self.connector), self.pair);
        let link_of = |user| target.link(user).or_else(|| target.returned(user).cloned());
        let links: Vec<Link> = std::mem::take(&mut self.to_ask).iter().filter_map(link_of).collect();
        let mut answers = stream::iter(links)
            .map(|link| {
                let connector = &connector;
                async move {
                    let presence = engine.read_user(connector, pair, &link.user).await?;
                    let answer = engine.ask_provider(connector, pair, &link, &presence).await?;
                    Ok::<_, WorkError>((link, presence, answer))
                }
            })
            .buffered(connector.parallel.max(1));
        let mut items = Vec::new();
        while let Some(answered) = answers.next().await {
            let (link, presence, answer) = answered?;
            let changed = || ProviderAnswer::Unconfirmed("it changed while it was read".to_owned());
            let answer = answer.unwrap_or_else(changed);
            let exists = evidence::confirmed(&presence, &answer);
            self.report.evidence.source.by_id(ObjectKind::FederatedUsers).answered(exists);
            self.answers.insert(link.user.clone(), answer);
            let observation = source.observation.min(target.observation);
            let planned = planned(link.user.clone(), observation, Some(link.account.clone()));
            match self.plan_user(&presence, Some(&link), (source, target), groups, &planned.subject) {
                WalkDecision::InSync => self.in_sync.others.push(planned),
                WalkDecision::Nothing | WalkDecision::AskProvider => {}
                WalkDecision::FromWalk(operations) => {
                    items.push(Pending::Item(Box::new(Item::unread(planned, operations))));
                }
                WalkDecision::ReadAgain(expected) => {
                    items.push(Pending::Item(Box::new(Item::expecting(planned, expected, &presence))));
                }
            }
        }
        Ok(items)
    }
}
