//! The list of changes.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn changes_are_filtered_and_paged(store: World) {
    let run = store.begin_run(&pair(), RunTrigger::Operator, RunMode::Apply, at(0)).await.unwrap();
    for nth in 0..6 {
        let name = format!("u{}", nth % 3);
        let observation = store.next_observation().await.unwrap();
        let claimed = if nth < 3 {
            store.work(&user(&name), at(nth)).await
        } else {
            store.claim_planned(&pair(), run, planned(&user(&name), observation, None), at(nth)).await.unwrap().unwrap()
        };
        let id = store.intend(claimed.token, create(&name), at(nth + 9), at(nth)).await;
        store
            .resolve(claimed.token, id, ChangeOutcome::Refused { why: format!("no {nth}"), permanent: false }, at(nth))
            .await;
        store.done(claimed.token, at(nth)).await;
    }
    let why = async |filter: ChangeFilter| -> Vec<String> {
        let changes = store.changes(&filter).await.unwrap();
        changes
            .into_iter()
            .map(|change| match change.outcome {
                ChangeOutcome::Refused { why, .. } => why,
                other => format!("{other:?}"),
            })
            .collect()
    };
    let all = ChangeFilter::default();
    assert_eq!(why(all.clone()).await, ["no 5", "no 4", "no 3", "no 2", "no 1", "no 0"]);
    assert_eq!(why(ChangeFilter { subject: Some(user("u1")), ..all.clone() }).await, ["no 4", "no 1"]);
    assert_eq!(why(ChangeFilter { name: Some("u2".into()), limit: 1, ..all.clone() }).await, ["no 5"]);
    assert_eq!(why(ChangeFilter { run: Some(run), ..all.clone() }).await, ["no 5", "no 4", "no 3"]);
    assert_eq!(why(ChangeFilter { from: Some(at(1)), to: Some(at(3)), ..all.clone() }).await, ["no 2", "no 1"]);
    assert!(why(ChangeFilter { target: Some("wiki".into()), ..all.clone() }).await.is_empty());
    assert_eq!(why(ChangeFilter { connector: Some(connector()), ..all.clone() }).await.len(), 6);
    let page = store.changes(&ChangeFilter { limit: 2, ..all.clone() }).await.unwrap();
    assert_eq!(why(ChangeFilter { before: Some(page[1].id), limit: 2, ..all }).await, ["no 3", "no 2"]);
    assert_eq!(store.counts(&pair(), at(9)).await.unwrap().last_change, Some(at(5)));
}
