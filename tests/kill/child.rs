//! The process that is killed: a usersync between simulators of its parent process.

use std::{path::PathBuf, process::Stdio, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use usersync::{
    demo::{
        StackError,
        stack::{CONNECTOR, HOOK_SECRET, Place, SimulatedServers, StackOptions},
        targets::{OtherTarget, Product},
    },
    engine::EngineTimes,
};
use usersync_simulators::keycloak::Webhook;

/// Environment variable with the orders of the process.
pub const ORDERS: &str = "USERSYNC_KILL_CHILD";

/// Paths, URLs and timeouts of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Path of the store.
    pub store: PathBuf,
    /// URLs of the targets beside the Jira, in the order of [`Product::ALL`].
    pub other_targets: Vec<String>,
    /// Timeout of a write.
    pub call: SignedDuration,
    /// Timeout of a read, and of a write to Jira.
    pub timeout: Duration,
    /// Interval at which stored events are polled; `None`: they are not polled.
    pub poll_events: Option<SignedDuration>,
}

impl Orders {
    pub fn options(&self) -> Result<StackOptions, StackError> {
        let other_targets = Product::ALL.iter().zip(&self.other_targets).map(|(product, url)| product.at(url));
        Ok(StackOptions {
            times: EngineTimes { call: self.call, ..EngineTimes::hasty() },
            timeout: self.timeout,
            store: Some(self.store.clone()),
            poll_events: self.poll_events,
            other_targets: other_targets.collect::<Result<Vec<OtherTarget>, _>>()?,
            ..StackOptions::default()
        })
    }

    /// Starts the process and waits until it listens; from then on it receives Keycloak's events.
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

/// Prints its address, and works until it is killed.
pub async fn live(orders: &str) {
    let (keycloak, jira, orders): (String, String, Orders) = serde_json::from_str(orders).expect("orders");
    let place = Place::new(keycloak, jira, orders.options().expect("good addresses"));
    let stack = place.build().await.expect("the stack stands");
    println!("{}", stack.url());
    tokio::time::sleep(Duration::from_mins(10)).await;
}
