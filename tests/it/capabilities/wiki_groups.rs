//! A Confluence beside the Jira: its groups have lower-case names.

use std::{collections::BTreeSet, sync::Arc};

use usersync::{
    demo::{
        stack::{CONNECTOR, StackOptions},
        targets::Product,
    },
    engine::{Report, RunOptions},
    model::{Pair, RunTrigger},
};
use usersync_simulators::{ConfluenceOptions, SimulatedConfluence, keycloak::NewUser};

use super::support::{World, on, options, servers};

struct Place {
    w: World,
    wiki: Arc<SimulatedConfluence>,
}

impl Place {
    async fn start(users: impl IntoIterator<Item = NewUser>) -> Self {
        let wiki = Arc::new(SimulatedConfluence::start(ConfluenceOptions::default()).await.expect("a free port"));
        let other_targets = vec![Product::Confluence.at(&wiki.url()).expect("an address")];
        let servers = servers(StackOptions { other_targets, ..options() }).await;
        servers.realm.import_users(users).expect("imported");
        let w = on(servers).await;
        w.calm().await;
        Self { w, wiki }
    }

    async fn run(&self) -> Report {
        let pair = Pair { connector: CONNECTOR.into(), target: Product::Confluence.target_name() };
        let options = RunOptions::apply(RunTrigger::Operator);
        let (_, report) = Box::pin(self.w.stack.engine.run(&pair, &options)).await.expect("a run");
        self.w.calm().await;
        report
    }

    fn members(&self, group: &str) -> Option<BTreeSet<String>> {
        self.wiki.snapshot().groups.get(group).cloned()
    }
}

#[tokio::test]
async fn a_group_is_created_found_compared_and_reported_in_lower_case() {
    let place = Place::start([NewUser::named("ada").in_groups(&["/Dev Team"])]).await;
    assert_eq!(place.members("dev team"), Some(["ada".to_owned()].into()));
    assert_eq!(place.members("Dev Team"), None);
    assert!(place.w.members("Dev Team").contains(&"ada".to_owned()), "Jira keeps the case");
    let report = place.run().await;
    assert!(report.planned.is_empty() && report.errors.total() == 0, "{report:?}");
    let changes = place.w.changes().await;
    let made: Vec<&str> = changes
        .iter()
        .filter(|change| change.pair.target.as_str() == "confluence" && change.verb == "create_group")
        .map(|change| change.name.as_str())
        .collect();
    assert!(made.contains(&"dev team") && !made.contains(&"Dev Team"), "{made:?}");
    assert_eq!(place.wiki.journal.matching(|entry| entry.status == Some(400)).len(), 0, "nothing was refused");
}

#[tokio::test]
async fn two_groups_with_the_same_lower_case_name_are_a_conflict() {
    let users = [NewUser::named("ada").in_groups(&["/x/Ops"]), NewUser::named("bob").in_groups(&["/y/ops"])];
    let place = Place::start(users).await;
    let report = place.run().await;
    let reported: Vec<&String> =
        report.unsupported.iter().filter(|why| why.contains("two groups in Keycloak")).collect();
    assert!(!reported.is_empty(), "{report:?}");
}
