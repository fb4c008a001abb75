//! Many users with accounts are added to one new group, in a Bitbucket and in a SCIM server with a latency of 20 ms a
//! call. The bare client adds each member with a call of its own, with the same parallelism.

use std::{process::Stdio, sync::Arc, time::Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use usersync::{
    model::{Account, Operation, TargetGroup},
    targets::{
        Credentials, Target,
        bitbucket::{BitbucketSettings, BitbucketTarget},
        scim::{ScimSettings, ScimTarget},
    },
};
use usersync_simulators::{BitbucketOptions, Journal, ScimOptions, SimulatedBitbucket, SimulatedScim, bitbucket, scim};

use crate::{LATENCY, PARALLEL, login, support};

const GROUP: &str = "everybody";

/// Kind of the simulator.
#[derive(Clone, Copy)]
pub enum Kind {
    Bitbucket,
    Scim,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Bitbucket => "bitbucket",
            Self::Scim => "scim",
        }
    }

    fn credentials(self) -> Credentials {
        match self {
            Self::Bitbucket => {
                let (user, password) = BitbucketOptions::default().admin;
                Credentials::Basic { user, password: Arc::new(move || Ok(password.clone().into())) }
            }
            Self::Scim => {
                let token = ScimOptions::default().token;
                Credentials::Token(Arc::new(move || Ok(token.clone().into())))
            }
        }
    }

    fn client(self, url: &str) -> Arc<dyn Target> {
        let url = url.parse().expect("a URL");
        match self {
            Self::Bitbucket => {
                let mut settings = BitbucketSettings::new(url, self.credentials());
                settings.http.parallel = PARALLEL;
                Arc::new(BitbucketTarget::new(settings).expect("a client"))
            }
            Self::Scim => {
                let mut settings = ScimSettings::new(url, self.credentials());
                settings.http.parallel = PARALLEL;
                Arc::new(ScimTarget::new(settings).expect("a client"))
            }
        }
    }
}

/// Serves a simulator with all accounts. For each line of its input it prints the number of writes and the number of
/// members of the group.
pub async fn serve(kind: &str, users: usize) {
    let everybody = (0..users).map(login);
    let asked = || tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let tell = |journal: &Journal, members: usize| println!("{} {members}", journal.writes().len());
    if kind == Kind::Bitbucket.word() {
        let server = SimulatedBitbucket::start(BitbucketOptions::default()).await.expect("a simulated Bitbucket");
        server.add_accounts(everybody.map(bitbucket::NewAccount::named));
        server.add_group(GROUP);
        server.faults.set_latency(LATENCY);
        println!("{}", server.url());
        while matches!(asked().await, Ok(Ok(1..))) {
            tell(&server.journal, server.snapshot().groups[GROUP].len());
        }
    } else {
        let mut options = ScimOptions::default();
        // A complete group in each answer would be a different measurement.
        options.switches.patch_returns_resource = false;
        let server = SimulatedScim::start(options).await.expect("a simulated SCIM server");
        for name in everybody {
            server.add_account(scim::NewAccount::named(name));
        }
        server.add_group(GROUP);
        server.faults.set_latency(LATENCY);
        println!("{}", server.url());
        while matches!(asked().await, Ok(Ok(1..))) {
            tell(&server.journal, server.snapshot().groups[GROUP].len());
        }
    }
}

/// The server process, a client of it, and the members to add.
struct Place {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    kind: Kind,
    url: String,
    target: Arc<dyn Target>,
    group: TargetGroup,
    people: Vec<Account>,
}

impl Place {
    async fn start(kind: Kind, users: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("our own program"))
            .args(["fill", kind.word(), &users.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let url = output.next_line().await.expect("read").expect("it tells its address");
        let target = kind.client(&url);
        let group = target.group_named(GROUP).await.expect("a look").expect("there");
        let (mut people, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = target.accounts(cursor.as_deref()).await.expect("a page");
            people.extend(page.items.into_iter().filter(|account| account.name.starts_with("user-")));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(people.len(), users);
        Self { _child: child, input, output, kind, url, target, group, people }
    }

    /// Returns the number of writes; checks that all users are members.
    async fn writes(&mut self) -> usize {
        self.input.write_all(b"\n").await.expect("asked");
        let line = self.output.next_line().await.expect("read").expect("an answer");
        let (writes, members) = line.split_once(' ').expect("two numbers");
        assert_eq!(members.parse(), Ok(self.people.len()));
        writes.parse().expect("a number")
    }

    async fn ours(&self) {
        let join = |account: &Account| Operation::AddMember {
            group: self.group.id.clone(),
            group_name: self.group.name.clone(),
            account: account.id.clone(),
            name: account.name.clone(),
        };
        let join = async |account| {
            let deadline = Timestamp::now() + SignedDuration::from_secs(30);
            self.target.apply(&join(account), deadline).await.map(drop)
        };
        let all = stream::iter(self.people.iter().map(join)).buffer_unordered(PARALLEL);
        all.try_collect::<()>().await.expect("all are joined");
    }

    async fn bare(&self) {
        let client = reqwest::Client::new();
        let base = self.url.trim_end_matches('/');
        let (user, password) = BitbucketOptions::default().admin;
        let call = |account: &Account| match self.kind {
            Kind::Bitbucket => client
                .post(format!("{base}/rest/api/1.0/admin/groups/add-users"))
                .basic_auth(&user, Some(&password))
                .json(&json!({ "group": GROUP, "users": [account.name] })),
            Kind::Scim => client
                .patch(format!("{base}/Groups/{}", self.group.id))
                .bearer_auth(ScimOptions::default().token)
                .json(&adding(account.id.as_str())),
        };
        let join = async |account| call(account).send().await?.error_for_status()?.bytes().await.map(drop);
        let all = stream::iter(self.people.iter().map(join)).buffer_unordered(PARALLEL);
        all.try_collect::<()>().await.expect("all are joined");
    }
}

fn adding(account: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "add", "path": "members", "value": [{ "value": account }] }],
    })
}

/// Measures both sides in turn; prints the number of usersync's writes.
pub async fn compare(kind: Kind, users: usize, rounds: usize) {
    let mut sides = support::Sides::default();
    #[allow(clippy::cast_precision_loss)]
    let rate = |began: Instant| users as f64 / began.elapsed().as_secs_f64();
    for _ in 0..rounds {
        let mut place = Place::start(kind, users).await;
        let began = Instant::now();
        place.ours().await;
        let ours = rate(began);
        let writes = place.writes().await;
        println!("fill_group_{}: {writes} writes for {users} people", kind.word());
        let mut other = Place::start(kind, users).await;
        let began = Instant::now();
        other.bare().await;
        sides.push(ours, rate(began));
        assert_eq!(other.writes().await, users);
    }
    sides.print(&format!("fill_group_{}", kind.word()), "people/s");
}
