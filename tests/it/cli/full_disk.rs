//! The disk of the store is full, and later has space again.

use std::{
    fs::File,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use usersync::demo::stack::{CONNECTOR, HOOK_SECRET, agree_except};
use usersync_simulators::keycloak::{NewUser, UserChange, Webhook};

use super::served::Served;

/// Timeout of every wait. A request without a stored answer is protected for 35 s.
const STEP_TIMEOUT: Duration = Duration::from_mins(2);
/// Users with tasks in progress when the disk is full; few enough to be deactivated without an approval.
const JOINERS: usize = 4;

/// A small file system, unmounted when it is dropped.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"])
            .arg(folder.path())
            .output()
            .expect("this test needs the command `mount`");
        assert!(
            output.status.success(),
            "this test mounts a small tmpfs: run it as root on Linux, in a container with CAP_SYS_ADMIN. {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Uses up all free space.
    fn fill(&self) {
        let mut ballast = File::create(self.path("ballast")).expect("a file");
        for size in [1 << 20, 1 << 16, 1 << 12] {
            let zeros = vec![0; size];
            loop {
                match ballast.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).expect("removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, in case a process still has it open.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}

/// Waits until the condition holds.
async fn until(served: &Served, what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < STEP_TIMEOUT, "not so: {what}\n{}", served.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn joiner(number: usize) -> String {
    format!("joiner{number}")
}

#[tokio::test]
async fn a_full_disk_is_reported_and_all_converges_without_a_restart_once_there_is_room() {
    // Before the server, which is stopped first.
    let disk = Disk::mount();
    let store = disk.path("usersync.db");
    let served = Served::configured(
        "apply",
        |_| {},
        |place| {
            place.configure(|text| text.replace("path = \"usersync.db\"", &format!("path = \"{}\"", store.display())));
        },
    )
    .await;
    served.until(&["status"], 0, "In sync.").await;
    let (realm, jira) = (&served.servers.realm, &served.servers.jira);
    // A listener that retries for as long as it takes.
    let url = format!("http://{}/hooks/{CONNECTOR}", served.address);
    realm.set_webhook(Some(Webhook::listener(url, HOOK_SECRET).retries(vec![Duration::from_millis(200); 300])));

    // The disk becomes full while users are being worked on.
    jira.faults.set_latency(Duration::from_millis(300));
    for number in 0..JOINERS {
        realm.create_user(NewUser::named(joiner(number)).in_groups(&["/engineering"])).await.expect("created");
    }
    realm.webhook_idle().await;
    until(&served, "a user is being worked on", async || jira.snapshot().account(&joiner(0)).is_some()).await;
    disk.fill();
    // The log of the store is reused from its start, so writes succeed until the database has to grow.
    let began = Instant::now();
    for number in 0.. {
        realm.create_user(NewUser::named(format!("late{number}"))).await.expect("created");
        let refused = realm.deliveries().iter().any(|delivery| delivery.status == Some(503));
        if refused && served.place.run(&["status"]).await.code == 1 {
            break;
        }
        assert!(began.elapsed() < STEP_TIMEOUT, "status never reports the full disk\n{}", served.log());
        // The simulated servers run on this thread too.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (code, ready) = served.get("/readyz").await;
    assert_eq!(code, 503, "{ready}");
    assert!(ready.contains("the disk is full") && ready.contains(r#""code":"not_writable""#), "{ready}");
    let (_, metrics) = served.get("/metrics").await;
    assert!(metrics.contains(r#"condition="not_writable""#), "{metrics}");
    served.place.run(&["status"]).await.ended(1).says("Degraded: the store cannot be written: the disk is full.");
    served.place.run(&["check"]).await.ended(1).says("the disk is full");
    assert!(served.log().contains("the store cannot be written"), "{}", served.log());

    jira.faults.set_latency(Duration::ZERO);
    disk.make_room();
    realm.webhook_idle().await;
    let agrees = || agree_except(&served.servers, &[]);
    until(&served, "everybody is in sync", async || agrees().holds()).await;
    assert!(jira.snapshot().account("late0").is_some());
    served.until(&["status"], 0, "In sync.").await;
    until(&served, "it is ready", async || served.get("/readyz").await.0 == 200).await;
    let (_, ready) = served.get("/readyz").await;
    assert!(ready.contains(r#""conditions":[]"#), "{ready}");
    let (_, tasks) = served.place.json(&["tasks"]).await;
    assert_eq!(tasks["conditions"], serde_json::json!([]), "{tasks}");
    assert!(!served.get("/metrics").await.1.contains(r#"condition="not_writable""#));
    served.place.run(&["check"]).await.says("can be read and written");

    // A claim that stayed would keep its user from ever being worked on again.
    for number in 0..JOINERS {
        let id = realm.snapshot().user(&joiner(number)).map(|user| user.id.clone()).expect("there");
        realm.update_user(&id, UserChange::enabled(false)).await.expect("disabled");
    }
    let active = |number| jira.snapshot().account(&joiner(number)).is_some_and(|account| account.active);
    until(&served, "everybody can be worked on", async || !(0..JOINERS).any(active)).await;
}
