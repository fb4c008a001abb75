//! `rename` and `remove` of connectors and targets. Both require that no server runs: it would continue under the old
//! name.

use serde_json::json;

use super::{
    Context, app,
    exit::{Exit, Failure, Outcome},
    words::{count, thin},
};
use crate::{
    config::Config,
    model::Declared,
    store::{OperatorStore, PairHoldings, StoreError, StoreReads},
};

/// Renames a connector or a target; its links, changes and managed groups are kept.
pub(super) async fn rename(context: &Context, named: Declared, to: &str) -> Outcome {
    let config = context.config()?;
    valid(to)?;
    let (word, name) = (named.word(), named.to_string());
    if name == to {
        return Err(Failure::usage(format!("{word} {name} already has this name.")));
    }
    let (kept, asked) = {
        let opened = alone(context, &config, &format!("{word} rename")).await?;
        let renamed = async {
            let kept = opened.store.rename(&named, to, &context.by(), context.out.now).await?;
            let mut asked = Vec::new();
            for one in &kept {
                if opened.store.requested_run(&one.pair).await?.is_some() {
                    asked.push(one.pair.clone());
                }
            }
            Ok::<_, StoreError>((kept, asked))
        };
        let renamed = renamed.await;
        opened.store.close().await;
        renamed?
    };
    let out = &context.out;
    let links: u64 = kept.iter().map(|one| one.links).sum();
    let groups: u64 = kept.iter().map(|one| one.managed_groups).sum();
    if out.json {
        out.document(
            &json!({ "renamed": name, "to": to, "links": links, "managed_groups": groups, "runs_asked_for": asked }),
        );
        return Ok(Exit::Done);
    }
    out.say(format!(
        "{word} {name} is renamed to {to}, with {} and {}.",
        count(links, "link", "links"),
        count(groups, "managed group", "managed groups"),
    ));
    for pair in &asked {
        out.say(format!(
            "{pair}: a full reconcile is requested, for what waited under the old name. It starts with the server."
        ));
    }
    if is_configured(&config, &named) {
        let places = match &named {
            Declared::Connector(_) => "in its [[connector]]",
            Declared::Target(_) => "in its [[target]], and in targets and policy of the connectors that fill it",
        };
        out.say(format!("Replace {name} with {to} in {} ({places}), then start the server.", config.path.display()));
    } else {
        out.say("Start the server.");
    }
    if matches!(named, Declared::Connector(_)) {
        out.say(format!(
            "Its hook is now /hooks/{to}. Set the new address in Keycloak: \
             usersync keycloak setup --connector {to} --address URL"
        ));
    }
    Ok(Exit::Done)
}

/// Removes a connector or a target for good. Accounts and groups stay unchanged, and others may adopt them.
pub(super) async fn remove(context: &Context, named: Declared) -> Outcome {
    let config = context.config()?;
    let (word, name) = (named.word(), named.to_string());
    if is_configured(&config, &named) {
        return Err(Failure::usage(format!(
            "{word} {name} is in {}. Stop the server, remove it from the file, then: usersync {word} remove {name}",
            config.path.display()
        )));
    }
    let kept = {
        let opened = alone(context, &config, &format!("{word} remove")).await?;
        let kept = opened.store.remove(&named, &context.by(), context.out.now).await;
        opened.store.close().await;
        kept?
    };
    let out = &context.out;
    if out.json {
        out.document(&json!({ "removed": name, "pairs": kept }));
        return Ok(Exit::Done);
    }
    out.say(format!("{word} {name} is removed. Nothing was changed in a target."));
    for PairHoldings { pair, links, memberships, managed_groups, .. } in &kept {
        out.say(format!(
            "{pair}: {} and {} stay as they are, with {}. Another connector may adopt them.",
            count(*links, "account", "accounts"),
            count(*managed_groups, "group", "groups"),
            if *memberships == 1 { "1 membership".to_owned() } else { format!("{} memberships", thin(*memberships)) },
        ));
    }
    out.say("Its events, changes and runs are kept for the usual retention time.");
    Ok(Exit::Done)
}

/// Opens the store, and returns an error if a server runs.
async fn alone(context: &Context, config: &Config, what: &str) -> Result<app::Opened, Failure> {
    let path = &config.store.path;
    if !path.exists() {
        return Err(Failure::usage(format!("There is no store at {}, so no name is known.", path.display())));
    }
    let opened = app::work(context, config).await?;
    let Some(pid) = &opened.server else { return Ok(opened) };
    let text = format!(
        "{what}: the server runs (pid {pid}) with the old configuration. Stop it, run this command again, change the \
         configuration, then start it."
    );
    opened.store.close().await;
    Err(Failure::problem(text))
}

fn is_configured(config: &Config, named: &Declared) -> bool {
    match named {
        Declared::Connector(name) => config.connectors.iter().any(|one| one.name == *name),
        Declared::Target(name) => config.targets.iter().any(|one| one.name == *name),
    }
}

/// Checks that a name is valid in the configuration.
fn valid(name: &str) -> Result<(), Failure> {
    crate::config::check_name(name).map_err(|why| Failure::usage(format!("{why}.")))
}
