//! The last administrator is deactivated or deleted only if the other administrators can be read completely.

use std::time::Duration;

use serde_json::json;
use usersync::{
    model::{ErrorClass::Unconfirmed, Operation},
    targets::{Target, TargetErrorKind::Unsupported, jira::JiraTarget},
};

use super::{
    scripted_server::{Reply, Server},
    world::{healthy, member_page, not_done, settings, soon, user},
};

fn ends() -> [Operation; 2] {
    let (account, name) = (|| "JIRAUSER2".into(), || "root".to_owned());
    [
        Operation::DeactivateUser { account: account(), name: name(), takes: Vec::new() },
        Operation::DeleteUser { account: account(), name: name() },
    ]
}

/// Applies both operations to `root`; `reply` lists the active members of its administrators' group.
async fn refused(reply: Reply) -> Vec<usersync::targets::TargetError> {
    let mut errors = Vec::new();
    for operation in ends() {
        let reply = reply.clone();
        let server = Server::start(move |seen| {
            let active = seen.asks("includeInactiveUsers") == Some("false");
            if active && seen.asks("groupname") == Some("jira-administrators") { reply.clone() } else { healthy(seen) }
        })
        .await;
        let mut settings = settings(&server.url);
        settings.http.call_timeout = Duration::from_secs(5);
        let jira = JiraTarget::new(settings).expect("good settings");
        let error = jira.apply(&operation, soon()).await.expect_err("refused");
        assert_eq!((server.count("PUT", "/user"), server.count("DELETE", "/user")), (0, 0), "{operation}: {error}");
        errors.push(error);
    }
    errors
}

#[tokio::test]
async fn the_last_active_administrator_is_neither_deactivated_nor_deleted() {
    for error in refused(member_page(&[user("JIRAUSER2", "root", &[])], 0, 1)).await {
        assert!(error.kind == Unsupported && error.text.contains("last active administrator"), "{error}");
    }
}

#[tokio::test]
async fn an_incomplete_read_of_the_administrators_refuses_to_deactivate_or_delete_one() {
    let keyless = json!({"name": "root", "active": true});
    for values in [vec![], vec![keyless.clone()], vec![user("JIRAUSER3", "boss", &[]), keyless]] {
        let total = values.len().max(1);
        let page = json!({"total": total, "isLast": true, "values": values});
        for error in refused(Reply::json(200, page)).await {
            assert_eq!(error.kind, not_done(Unconfirmed), "{error}");
            assert!(error.text.contains("cannot be confirmed; nothing was changed"), "{error}");
        }
    }
}
