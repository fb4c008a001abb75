//! `usersync target`: list, confirm, retry, rename, remove.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Context,
    app::{self, Sides},
    args::PairArgs,
    contact_now,
    exit::{Exit, Failure, Outcome},
    renames,
    table::column,
};
use crate::{
    model::{About, Declared, TargetName},
    store::{OperatorStore, PairRecord, PairState, StoreReads},
};

/// Show targets, confirm another server, contact one at once, rename and remove them
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  usersync target list
  usersync target confirm jira-prod --same-server    the same server has a new address
  usersync target confirm jira-prod                  another server, such as a clone, took its place
  usersync target retry jira-prod                    contact it at once, with the same credentials
  usersync target rename jira jira-prod")]
pub(super) struct TargetArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the targets of the configuration and their states
    #[command(after_help = "Example:\n  usersync target list --json")]
    List,
    /// Confirm a different server, or a new address of the same server
    ///
    /// A target is stopped when its server has another id, or reports another base URL.
    ///
    /// With --same-server: the server is the same, and only its address changed (http to https, a new host name).
    /// Links, memberships that usersync added, managed groups and approvals stay, and work continues. usersync asks the
    /// server for its id, and refuses if it is another one. The next full reconcile compares the links.
    ///
    /// Without it: the server is another one, such as a clone. Its first runs are planned again and wait for approval.
    /// Groups are found by name again, and no member is removed from them without an approval. Earlier decisions no
    /// longer apply.
    ///
    /// In both cases a link stands only if its account has the same login there; the others are listed and dropped.
    #[command(after_help = "\
Examples:
  usersync target confirm jira-prod --same-server
  usersync target confirm jira-prod")]
    Confirm {
        /// Target name
        name: TargetName,
        /// Confirm the same server under a new address; everything known about it is kept
        #[arg(long)]
        same_server: bool,
    },
    /// Contact a target at once, and retry refused credentials
    ///
    /// usersync retries refused credentials after 1, 5 and 15 minutes, then every hour. After a CAPTCHA or a lock-out
    /// it retries them only when they change, or by this command. Work continues as soon as the target answers.
    #[command(after_help = "Example:\n  usersync target retry jira-prod")]
    Retry {
        /// Target name
        name: TargetName,
    },
    /// Rename a target; its links, managed groups and history are kept
    ///
    /// Stop the server, run this command, write the new name into the configuration, start the server.
    #[command(after_help = "Example:\n  usersync target rename jira-prod jira-prod-2")]
    Rename {
        /// Current name
        name: TargetName,
        /// New name
        to: String,
    },
    /// Remove a target for good; accounts and groups stay unchanged, and another connector can adopt them
    ///
    /// Stop the server, remove the target from the configuration, run this command, start the server.
    #[command(after_help = "Example:\n  usersync target remove jira-prod")]
    Remove {
        /// Target name
        name: TargetName,
    },
}

impl TargetArgs {
    pub async fn run(self, context: &Context) -> Outcome {
        match self.command {
            Command::List => list(context).await,
            Command::Confirm { name, same_server: true } => confirm_same_server(context, name).await,
            Command::Confirm { name, same_server: false } => confirm(context, name).await,
            Command::Rename { name, to } => renames::rename(context, Declared::Target(name), &to).await,
            Command::Remove { name } => renames::remove(context, Declared::Target(name)).await,
            Command::Retry { name } => {
                app::known_target(&context.config()?, &name)?;
                contact_now::contact(context, About::target(&name)).await
            }
        }
    }
}

async fn list(context: &Context) -> Outcome {
    let config = context.config()?;
    let opened = app::open_for_reading(context, &config).await?;
    let out = &context.out;
    let (mut documents, mut rows) = (Vec::new(), Vec::new());
    for target in &config.targets {
        let mut filled = Vec::new();
        for connector in config.connectors.iter().filter(|one| one.targets.contains(&target.name)) {
            let pair = crate::model::Pair { connector: connector.name.clone(), target: target.name.clone() };
            let state = opened.store.pair_state(&pair).await?;
            let counts = opened.store.counts(&pair, out.now).await?;
            filled.push((pair.connector, state, counts));
        }
        let kind = target.kind.name;
        documents.push(json!({
            "name": target.name, "kind": kind, "url": target.url,
            "filled_by": filled.iter().map(|(connector, state, counts)| json!({
                "connector": connector, "state": state, "links": counts.links, "managed_groups": counts.managed_groups,
            })).collect::<Vec<_>>(),
        }));
        let by: Vec<String> =
            filled.iter().map(|(connector, state, _)| format!("{connector} ({})", app::state_word(*state))).collect();
        let links: u64 = filled.iter().map(|(_, _, counts)| counts.links).sum();
        let groups: u64 = filled.iter().map(|(_, _, counts)| counts.managed_groups).sum();
        rows.push(vec![
            target.name.to_string(),
            kind.to_owned(),
            target.url.to_string(),
            if by.is_empty() { "no connector fills it".to_owned() } else { by.join(", ") },
            super::words::thin(links),
            super::words::thin(groups),
        ]);
    }
    if out.json {
        out.document(&json!({ "targets": documents }));
    } else if rows.is_empty() {
        out.say("0 targets: the configuration has none. See: usersync config example");
    } else {
        let columns = [
            column("target"),
            column("kind").spared(),
            column("address"),
            column("filled by"),
            column("links").right(),
            column("groups").right(),
        ];
        out.table(&columns, rows);
    }
    Ok(Exit::Done)
}

async fn confirm(context: &Context, name: TargetName) -> Outcome {
    let config = context.config()?;
    app::known_target(&config, &name)?;
    let pairs = app::pairs(&config, &PairArgs { connector: None, target: Some(name.clone()) })?;
    let opened = app::intend(context, &config).await?;
    opened.store.confirm_identity(None, Some(&name), &context.by(), context.out.now).await?;
    opened.store.close().await;
    app::confirmed(&context.out, &format!("target {name}"), "server", &pairs);
    Ok(Exit::Done)
}

/// Contacts the server, and confirms it if it is the one that is known.
async fn confirm_same_server(context: &Context, name: TargetName) -> Outcome {
    let config = context.config()?;
    app::known_target(&config, &name)?;
    let sides = Sides::new(&config)?;
    let Some(client) = sides.targets.get(&name) else {
        return Err(Failure::usage(format!("{name} is not configured")));
    };
    let found = client.probe().await?.identity;
    let opened = app::intend(context, &config).await?;
    let confirmed = opened.store.confirm_same_server(&name, &found, &context.by(), context.out.now).await;
    opened.store.close().await;
    let (pairs, out) = (confirmed?, &context.out);
    if out.json {
        let standing = pairs
            .iter()
            .map(|one| json!({ "connector": one.pair.connector, "target": one.pair.target, "state": one.state }));
        let standing: Vec<_> = standing.collect();
        out.document(&json!({ "confirmed": format!("target {name}"), "same_server": found, "pairs": standing }));
        return Ok(Exit::Done);
    }
    out.say(format!("target {name}: {found} is the same server; everything known about it is kept."));
    for PairRecord { pair, state, .. } in &pairs {
        out.say(match state {
            PairState::InService => format!("{pair} is in service. Its next full reconcile compares the links."),
            PairState::Stopped => format!(
                "{pair} stays stopped, because its realm is another one. If that is intended: usersync connector confirm {}",
                pair.connector
            ),
            state => format!("{pair} keeps its state: {}. See: usersync status", app::state_word(*state)),
        });
    }
    if pairs.iter().any(|one| one.state == PairState::InService) {
        out.say(match opened.server.as_deref() {
            Some(pid) => format!("The running server (pid {pid}) starts it now."),
            None => "No server runs: it is done when one starts, or by: usersync sync".to_owned(),
        });
    }
    Ok(Exit::Done)
}
