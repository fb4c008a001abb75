//! The process that is killed: a usersync between simulators that its parent holds.

use std::{path::PathBuf, process::Stdio, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use usersync::{
    demo::{
        stack::{CONNECTOR, HOOK_SECRET, Place, SimulatedServers, StackError, StackOptions},
        targets::{OtherTarget, Product},
    },
    engine::EngineTimes,
};
use usersync_simulators::keycloak::Webhook;

/// What the process finds its orders in.
pub const ORDERS: &str = "USERSYNC_KILL_CHILD";

/// Where the process works, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Its store.
    pub store: PathBuf,
    /// Where targets are that it fills beside the Jira, in the order of [`Product::ALL`].
    pub other_targets: Vec<String>,
    /// How long a write may take.
    pub call: SignedDuration,
    /// How long a read may take, and a write to Jira.
    pub patience: Duration,
}

impl Orders {
    pub fn options(&self) -> Result<StackOptions, StackError> {
        let other_targets = Product::ALL.iter().zip(&self.other_targets).map(|(product, url)| product.at(url));
        Ok(StackOptions {
            times: EngineTimes { call: self.call, ..EngineTimes::hasty() },
            patience: self.patience,
            store: Some(self.store.clone()),
            other_targets: other_targets.collect::<Result<Vec<OtherTarget>, _>>()?,
            ..StackOptions::default()
        })
    }

    /// Starts the process and waits until it listens; from then on it is told what happens in Keycloak.
    pub async fn start(&self, servers: &SimulatedServers) -> Child {
        let orders = (servers.keycloak.url(), servers.jira.url(), self);
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .env(ORDERS, serde_json::to_string(&orders).expect("plain values"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines.next_line().await.expect("readable").expect("it says where it listens");
        servers.realm.set_webhook(Some(Webhook::listener(format!("{url}/hooks/{CONNECTOR}"), HOOK_SECRET)));
        child
    }
}

/// Says where it listens, and works until it is killed.
pub async fn live(orders: &str) {
    let (keycloak, jira, orders): (String, String, Orders) = serde_json::from_str(orders).expect("orders");
    let place = Place::new(keycloak, jira, orders.options().expect("good addresses"));
    let stack = place.build().await.expect("the stack stands");
    println!("{}", stack.url());
    tokio::time::sleep(Duration::from_mins(10)).await;
}
