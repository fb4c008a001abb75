//! A target without an active flag: a leaver loses the permissions that let the user sign in and gets the same ones
//! back, whatever happens in between.

use std::sync::Arc;

use usersync::{
    demo::{stack::StackOptions, targets::OtherTarget},
    model::Pair,
    store::StoreReads,
    targets::{
        Credentials,
        bitbucket::{BitbucketSettings, BitbucketTarget},
    },
};
use usersync_simulators::{
    BitbucketOptions, Fault, SimulatedBitbucket,
    bitbucket::{AccountState, Permission},
    keycloak::{NewUser, UserChange},
};

use super::support::{World, options, world_with};

pub struct Git {
    pub w: World,
    pub server: Arc<SimulatedBitbucket>,
}

impl Git {
    /// Starts a stack with a Bitbucket target too; alice has a permission of her own beside the licensed group.
    pub async fn start() -> Self {
        Box::pin(Self::with(options())).await
    }

    /// The same with these options.
    pub async fn with(options: StackOptions) -> Self {
        Self::set(options, |_| {}).await
    }

    /// The same with these settings of the target.
    pub async fn set(options: StackOptions, set: impl FnOnce(&mut BitbucketSettings)) -> Self {
        let server = Arc::new(SimulatedBitbucket::start(BitbucketOptions::default()).await.expect("a free port"));
        let (user, password) = BitbucketOptions::default().admin;
        let credentials = Credentials::Basic { user, password: Arc::new(move || Ok(password.clone().into())) };
        let mut settings = BitbucketSettings::new(server.url().parse().expect("an address"), credentials);
        settings.http.call_timeout = std::time::Duration::from_secs(2);
        set(&mut settings);
        let target = Arc::new(BitbucketTarget::new(settings).expect("good settings"));
        let git = OtherTarget { name: "git".into(), target };
        let w = Box::pin(world_with(StackOptions { other_targets: vec![git], ..options })).await;
        w.realm().create_user(NewUser::named("alice").in_groups(&["/staff"])).await.expect("made");
        let git = Self { w, server };
        git.w.calm().await;
        git.server.set_user_permission("alice", Some(Permission::ProjectCreate));
        git
    }

    async fn enable(&self, enabled: bool) {
        self.w.realm().update_user(&self.w.id("alice"), UserChange::enabled(enabled)).await.expect("changed");
        self.w.calm().await;
    }

    fn alice(&self) -> AccountState {
        self.server.snapshot().account("alice").expect("there").clone()
    }

    async fn taken(&self) -> Vec<String> {
        let id = self.w.id("alice").into();
        let link = self.w.stack.store.link(&Pair::new("acme", "git"), &id).await.expect("read").expect("linked");
        link.taken.into_iter().collect()
    }
}

#[tokio::test]
async fn a_leaver_loses_access_and_gets_the_same_access_back() {
    let git = Git::start().await;
    let before = git.alice();
    assert!(before.licensed && before.groups.contains("staff"));
    git.enable(false).await;
    let left = git.alice();
    assert!(!left.licensed && left.permission.is_none(), "{left:?}");
    assert!(left.groups.contains("staff"), "other groups are kept");
    assert_eq!(git.taken().await, ["group:stash-users", "permission:PROJECT_CREATE"]);
    git.enable(true).await;
    assert_eq!(git.alice(), before);
    assert_eq!(git.taken().await, Vec::<String>::new());
}

#[tokio::test]
async fn access_revoked_by_an_interrupted_deactivation_is_granted_again_completely() {
    let git = Git::start().await;
    let before = git.alice();
    // The group is removed, the permission is not; the second attempt sees only the rest.
    git.server.faults.add(Fault::cut().method("DELETE").path("/admin/permissions/users").once());
    git.enable(false).await;
    assert!(!git.alice().licensed);
    assert_eq!(git.taken().await, ["group:stash-users", "permission:PROJECT_CREATE"]);
    git.enable(true).await;
    assert_eq!(git.alice(), before);
}

#[tokio::test]
async fn an_interrupted_activation_grants_the_rest_later() {
    let git = Git::start().await;
    let before = git.alice();
    git.enable(false).await;
    // The group is added back, so the account counts as active; the answer for the permission is lost.
    git.server.faults.add(Fault::cut().method("PUT").path("/admin/permissions/users").once());
    git.enable(true).await;
    assert_eq!(git.alice(), before);
    assert_eq!(git.taken().await, Vec::<String>::new());
}

#[tokio::test]
async fn access_whose_revocation_was_refused_is_not_granted_later() {
    let git = Git::start().await;
    // Bitbucket refuses to remove the group, so nothing was revoked.
    let refusal = r#"{"errors":[{"context":null,"message":"No.","exceptionName":null}]}"#;
    let fault = Fault::status(409, refusal).method("POST").path("/admin/users/remove-group");
    let fault = git.server.faults.add(fault);
    git.enable(false).await;
    git.server.faults.remove(fault);
    assert_eq!(git.taken().await, Vec::<String>::new());
    // An administrator removes it manually.
    git.server.remove_member("stash-users", "alice");
    git.server.set_user_permission("alice", None);
    git.enable(true).await;
    assert!(!git.alice().licensed, "what a person took is a person's to give");
}
