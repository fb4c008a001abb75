//! Further attributes of accounts, from the realm to a Crowd.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;
use usersync::{
    demo::targets::OtherTarget,
    engine::RunOptions,
    model::{Pair, RunTrigger},
    targets::crowd::{CrowdSettings, CrowdTarget},
};
use usersync_simulators::{CrowdOptions, Fault, SimulatedCrowd, keycloak::NewUser};

use super::support::{World, policy, world_with};

/// Starts a stack that fills a Crowd, including titles, which are cleared if empty.
async fn titled() -> (World, SimulatedCrowd) {
    let crowd = SimulatedCrowd::start(CrowdOptions::default()).await.expect("a free port");
    let (application, password) = crowd.application();
    let password = password.to_owned();
    let url = crowd.url().parse().expect("a URL");
    let mut settings = CrowdSettings::new(url, application, Arc::new(move || Ok(password.clone().into())));
    settings.attributes = ["title".to_owned()].into();
    let target = Arc::new(CrowdTarget::new(settings).expect("good settings"));
    let mut options = policy(|policy| {
        let rules = json!({ "attributes": { "title": { "template": "{{ attributes.title }}", "empty": "clear" } } });
        policy.targets = [("crowd".into(), serde_json::from_value(rules).expect("rules"))].into();
    });
    options.other_targets = vec![OtherTarget { name: "crowd".into(), target }];
    (world_with(options).await, crowd)
}

fn kept(crowd: &SimulatedCrowd, login: &str) -> BTreeMap<String, Vec<String>> {
    crowd.snapshot().user(login).unwrap_or_else(|| panic!("{login} has an account")).attributes.clone()
}

fn title(title: &str) -> BTreeMap<String, Vec<String>> {
    [("title".to_owned(), vec![title.to_owned()])].into()
}

#[tokio::test]
async fn a_title_is_added_changed_removed_and_corrected() {
    let (w, crowd) = titled().await;
    w.realm().create_user(NewUser::named("ada").attribute("title", "Dr")).await.expect("made");
    w.settled().await;
    assert_eq!(kept(&crowd, "ada"), title("Dr"));
    let ada = w.id("ada");
    w.realm().set_attribute(&ada, "title", &["Prof"]).await.expect("changed");
    w.settled().await;
    assert_eq!(kept(&crowd, "ada"), title("Prof"));
    crowd.set_attribute("ada", "title", &["Countess"]);
    let options = RunOptions::apply(RunTrigger::Schedule);
    let run =
        async || Box::pin(w.stack.engine.run(&Pair::new("acme", "crowd"), &options)).await.expect("it ends well").1;
    let report = run().await;
    assert_eq!(report.done.get("update"), Some(&1), "{report:?}");
    assert_eq!(kept(&crowd, "ada"), title("Prof"));
    assert_eq!(run().await.done.get("update"), None, "all is in order");
    w.realm().set_attribute(&ada, "title", &[]).await.expect("changed");
    w.settled().await;
    assert_eq!(kept(&crowd, "ada"), BTreeMap::new());
}

#[tokio::test]
async fn what_a_new_account_misses_is_written_by_the_same_task() {
    let faults: [fn() -> Fault; 3] = [|| Fault::status(400, "no"), Fault::cut, Fault::cut_after];
    let (w, crowd) = titled().await;
    for (nth, fault) in faults.iter().enumerate() {
        let login = format!("new{nth}");
        let fault = crowd.faults.add(fault().path("/user/attribute").once());
        w.realm().create_user(NewUser::named(&login).attribute("title", "Dr")).await.expect("made");
        w.settled().await;
        assert_eq!(crowd.faults.hits(fault), 1);
        assert_eq!(kept(&crowd, &login), title("Dr"));
        let made = crowd.journal.matching(|entry| entry.method == "POST" && entry.path.ends_with("/user"));
        assert_eq!(made.iter().filter(|entry| entry.json()["name"] == login.as_str()).count(), 1, "and is made once");
    }
}
