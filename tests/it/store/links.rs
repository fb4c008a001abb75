//! Links, groups, memberships.

use std::collections::BTreeSet;

use usersync::{model::*, store::*};

use super::world::*;

async fn put(store: &World, pair: &Pair, link: Link) {
    let subject = Subject::User(link.user.clone());
    store.raise(pair, std::slice::from_ref(&subject), Priority::Event, &because("x"), at(0)).await.unwrap();
    let claimed = store.claim(&pair.target, std::slice::from_ref(&pair.connector), at(0)).await.unwrap().unwrap();
    assert_eq!(claimed.subject, subject);
    let step = Step { link: Some(LinkWrite::Put(link)), ..Step::default() };
    assert_eq!(store.step(claimed.token, step, at(0)).await.unwrap(), Stepped::Written);
    store.done(claimed.token, at(0)).await;
}

fn groups(range: std::ops::Range<i64>) -> BTreeSet<TargetGroupId> {
    range.map(|nth| TargetGroupId::from(format!("group-{nth}"))).collect()
}

pub async fn a_link_is_read_back_as_it_was_written(store: World) {
    let full = Link {
        federated: Some(Federated { component: "ldap".into(), login: Some("ann".into()), ldap_id: None }),
        seen_alive: Some(at(7)),
        written: Written {
            name: Some("ann".into()),
            display_name: Some("Ann".into()),
            email: None,
            attributes: [("title".into(), "Dr".into())].into(),
            is_new: true,
        },
        deactivated_by_us: true,
        taken: ["group:users".into(), "permission:LICENSED_USER".into()].into(),
        given: groups(0..300),
        adopted: true,
        missing_since: Some(at(8)),
        leaving_since: Some(at(9)),
        ..link("ann", "a1").named("Ann")
    };
    put(&store, &pair(), full.clone()).await;
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(full.clone()));
    assert_eq!(store.links(&pair()).await.unwrap().find("ann"), Some(full.clone()));
    assert_eq!(store.link(&pair(), &"bob".into()).await.unwrap(), None);
    assert_eq!(store.link(&Pair::new("corp", "wiki"), &"ann".into()).await.unwrap(), None);
    // The worker sees the same.
    assert_eq!(store.work(&user("ann"), at(1)).await.link, Some(full));
}

pub async fn links_are_listed_and_found(store: World) {
    let other = Pair::new("other", "jira");
    let wiki = Pair::new("corp", "wiki");
    put(&store, &pair(), Link { given: groups(0..3), ..link("ann", "a1").named("Ann") }).await;
    put(&store, &pair(), Link { given: groups(2..4), deactivated_by_us: true, ..link("bob", "a2") }).await;
    put(&store, &other, link("zoe", "a3").named("ann")).await;
    put(&store, &wiki, link("ann", "w1").named("ann")).await;
    assert_eq!(store.links(&pair()).await.unwrap().len(), 2);
    assert_eq!(store.linked_elsewhere(&pair()).await.unwrap(), [("a3".into(), "other".into())].into());
    assert_eq!(
        store.linked_elsewhere(&other).await.unwrap(),
        [("a1".into(), "corp".into()), ("a2".into(), "corp".into())].into()
    );
    assert_eq!(store.linked_elsewhere(&Pair::new("new", "wiki")).await.unwrap(), [("w1".into(), "corp".into())].into());
    let named = async |text: &str| -> Vec<Pair> {
        store.links_named(text).await.unwrap().into_iter().map(|(pair, _)| pair).collect()
    };
    assert_eq!(named("ANN").await, [pair(), wiki.clone(), other.clone()]);
    assert_eq!(named("zoe").await, [other]);
    assert!(named("nobody").await.is_empty());
    assert_eq!(store.given(&pair(), &"group-2".into()).await.unwrap(), ["ann".into(), "bob".into()]);
    assert_eq!(store.given(&pair(), &"group-0".into()).await.unwrap(), ["ann".into()]);
    assert!(store.given(&pair(), &"group-9".into()).await.unwrap().is_empty());
    assert!(store.given(&wiki, &"group-0".into()).await.unwrap().is_empty());

    let counts = store.counts(&pair(), at(1)).await.unwrap();
    assert_eq!((counts.links, counts.active_links, counts.memberships), (2, 1, 5));
    put(&store, &pair(), Link { given: groups(0..1), ..link("bob", "a2") }).await;
    let counts = store.counts(&pair(), at(1)).await.unwrap();
    assert_eq!((counts.links, counts.active_links, counts.memberships), (2, 2, 4));
    let ann = store.work(&user("ann"), at(1)).await;
    store.step(ann.token, Step { link: Some(LinkWrite::Remove), ..Step::default() }, at(1)).await.unwrap();
    let counts = store.counts(&pair(), at(1)).await.unwrap();
    assert_eq!((counts.links, counts.active_links, counts.memberships), (1, 1, 1));
    assert_eq!(store.counts(&Pair::new("no", "body"), at(1)).await.unwrap(), PairCounts::default());
}

pub async fn a_link_can_move_to_another_account(store: World) {
    put(&store, &pair(), link("ann", "a1")).await;
    put(&store, &pair(), link("ann", "a2")).await;
    assert_eq!(store.links(&pair()).await.unwrap(), [link("ann", "a2")].into_iter().collect());
    put(&store, &pair(), link("bob", "a1")).await;
}

pub async fn the_last_time_a_user_was_observed_alive_is_stored(store: World) {
    for (name, account) in [("ann", "a1"), ("bob", "a2"), ("cid", "a3"), ("never", "a4")] {
        put(&store, &pair(), link(name, account)).await;
    }
    let saw = async |names: &[&str], federation: Option<&str>, now| {
        let seen = names.iter().map(|name| (UserId::from(*name), federation.map(Federated::of))).collect();
        store.record_seen(&pair(), seen, now).await.unwrap();
    };
    saw(&["ann"], None, at(10)).await;
    saw(&["cid", "unlinked"], Some("ldap"), at(30)).await;
    saw(&["bob"], None, at(20)).await;
    let alive = async |limit| store.seen_alive(&pair(), &"bob".into(), limit).await.unwrap();
    // Users of a federation come last.
    assert_eq!(alive(9).await, ["ann".into(), "cid".into()]);
    assert_eq!(alive(1).await, ["ann".into()]);
    let cid = store.link(&pair(), &"cid".into()).await.unwrap().unwrap();
    assert_eq!((cid.seen_alive, cid.federation()), (Some(at(30)), Some("ldap")));
    // With a resolution of an hour; another federation at once.
    saw(&["ann"], None, at(3_000)).await;
    saw(&["bob"], Some("ldap"), at(3_000)).await;
    let seen = async |name: &str| store.link(&pair(), &name.into()).await.unwrap().unwrap();
    assert_eq!((seen("ann").await.seen_alive, seen("bob").await.seen_alive), (Some(at(10)), Some(at(3_000))));
    saw(&["ann"], None, at(3_610)).await;
    assert_eq!(seen("ann").await.seen_alive, Some(at(3_610)));
    assert_eq!(seen("never").await.seen_alive, None);
}

pub async fn a_managed_group_stores_its_sources(store: World) {
    let write = async |pair: &Pair, source: &str, group: GroupWrite| {
        let subject = Subject::group(source);
        store.raise(pair, std::slice::from_ref(&subject), Priority::Event, &because("x"), at(0)).await.unwrap();
        let claimed = store.claim(&pair.target, std::slice::from_ref(&pair.connector), at(0)).await.unwrap().unwrap();
        let step = Step { group: Some(group), ..Step::default() };
        assert_eq!(store.step(claimed.token, step, at(0)).await.unwrap(), Stepped::Written);
        store.done(claimed.token, at(0)).await;
    };
    let manage = |source: &str, id: &str, name: &str| GroupWrite::Manage {
        source: source.into(),
        name: name.into(),
        group: ManagedGroup {
            id: id.into(),
            name: name.into(),
            adopted: false,
            removals_approved: false,
            sources: vec![("ignored".into(), "ignored".into())],
        },
        named: NameFrom::Target,
        shared: false,
    };
    let other = Pair::new("other", "jira");
    write(&pair(), "g1", manage("g1", "t1", "devs")).await;
    write(&pair(), "g2", manage("g2", "t1", "devs")).await;
    write(&other, "h1", manage("h1", "t1", "Devs")).await;
    let managed = store.managed_groups(&target()).await.unwrap();
    assert_eq!(managed.len(), 1);
    assert_eq!((managed[0].id.as_str(), managed[0].name.as_str()), ("t1", "Devs"));
    let corp = |group: &str| (connector(), GroupId::from(group));
    assert_eq!(managed[0].sources, [corp("g1"), corp("g2"), ("other".into(), "h1".into())]);
    assert!(store.managed_groups(&"wiki".into()).await.unwrap().is_empty());
    assert_eq!(store.counts(&pair(), at(0)).await.unwrap().managed_groups, 1);

    // Mapped to another group, to none, deleted: the managed group loses it as a source.
    write(&pair(), "g1", manage("g1", "t2", "ops")).await;
    let why = GroupWrite::Unmap { source: "g2".into(), name: "devs".into(), why: "two of that name".into() };
    write(&pair(), "g2", why).await;
    write(&other, "h1", GroupWrite::Forget { source: "h1".into() }).await;
    let managed = store.managed_groups(&target()).await.unwrap();
    assert_eq!(managed.len(), 2, "it stays managed");
    assert!(managed[0].sources.is_empty());
    assert_eq!(managed[1].sources, [corp("g1")]);
    let mappings = store.group_mappings(&pair()).await.unwrap();
    let expected = [
        ("g1".into(), GroupMapping::Managed { group: "t2".into(), name: "ops".into() }),
        ("g2".into(), GroupMapping::Unmapped { name: "devs".into(), why: "two of that name".into() }),
    ];
    assert_eq!(mappings, expected);
    assert!(store.group_mappings(&other).await.unwrap().is_empty());

    // A deleted group is no longer managed.
    let subject = Subject::group("g1");
    let claimed = store.work(&subject, at(1)).await;
    let delete = Operation::DeleteGroup { group: "t2".into(), name: "ops".into() };
    let id = store.intend(claimed.token, delete, at(9), at(1)).await;
    assert_eq!(store.open_intents(claimed.token).await.unwrap().len(), 1);
    store.resolve(claimed.token, id, ChangeOutcome::Done, at(1)).await;
    let left: Vec<_> = store.managed_groups(&target()).await.unwrap().into_iter().map(|group| group.id).collect();
    assert_eq!(left, ["t1".into()]);
    assert_eq!(store.group_mappings(&pair()).await.unwrap().len(), 1);
}

/// Returns a write: the source group feeds the group known as `devs`.
fn feeds_devs(source: &str) -> GroupWrite {
    let group = ManagedGroup {
        id: "t1".into(),
        name: "devs".into(),
        adopted: false,
        removals_approved: false,
        sources: vec![],
    };
    GroupWrite::Manage { source: source.into(), name: "devs".into(), group, named: NameFrom::Store, shared: false }
}

pub async fn a_renamed_group_has_its_new_name_for_all_its_sources(store: World) {
    let map = async |source: &str| {
        let claimed = store.work(&Subject::group(source), at(1)).await;
        store.step(claimed.token, Step { group: Some(feeds_devs(source)), ..Step::default() }, at(1)).await.unwrap();
        store.complete(claimed.token, Step::default(), vec![], at(1), at(1)).await.unwrap();
    };
    map("g1").await;
    let claimed = store.work(&Subject::group("g1"), at(2)).await;
    let rename = Operation::RenameGroup { group: "t1".into(), name: "devs".into(), to: "ops".into() };
    let id = store.intend(claimed.token, rename, at(9), at(2)).await;
    // Another source starts to feed it by its former name, while the rename is in flight.
    map("g2").await;
    assert!(store.claim_one(at(3)).await.is_none());
    store.resolve(claimed.token, id, ChangeOutcome::Done, at(3)).await;
    let managed = store.managed_groups(&target()).await.unwrap();
    assert_eq!((managed[0].name.as_str(), managed[0].sources.len()), ("ops", 2));
    let again = store.claim_one(at(3)).await.expect("the other one has to look again");
    assert_eq!(again.subject, Subject::group("g2"));
    store.complete(again.token, Step::default(), vec![], at(3), at(3)).await.unwrap();
    store.complete(claimed.token, Step::default(), vec![], at(3), at(3)).await.unwrap();
    // The same for one that starts to feed it later, by the previously known name.
    map("g3").await;
    let again = store.claim_one(at(3)).await.expect("to look again");
    assert_eq!(again.subject, Subject::group("g3"));
    let managed = store.managed_groups(&target()).await.unwrap();
    assert_eq!((managed[0].name.as_str(), managed[0].sources.len()), ("ops", 3));
    let mappings = store.group_mappings(&pair()).await.unwrap();
    assert!(mappings.iter().all(|(_, mapping)| mapping.name() == "ops"), "{mappings:?}");
}

pub async fn a_group_with_an_open_intent_waits(store: World) {
    let mapped = async |source: &str| {
        let claimed = store.work(&Subject::group(source), at(1)).await;
        store.step(claimed.token, Step { group: Some(feeds_devs(source)), ..Step::default() }, at(1)).await.unwrap();
        claimed.token
    };
    let first = mapped("g1").await;
    let second = mapped("g2").await;
    store.defer(second, at(2), None, at(1)).await.unwrap();
    let delete = Operation::DeleteGroup { group: "t1".into(), name: "devs".into() };
    store.intend(first, delete, at(30), at(1)).await;
    // Another source of the same group: not before that request can no longer arrive.
    assert!(store.claim_one(at(29)).await.is_none());
    assert_eq!(store.claims(&Subject::group("g2"), at(30)).await.intents.len(), 1);
}

pub async fn a_link_order_is_part_of_the_claim_of_its_user(store: World) {
    let (ann, account) = (UserId::from("ann"), AccountId::from("a1"));
    let ordered = async || store.link_order(&pair(), &ann).await.unwrap().expect("ordered");
    assert_eq!(store.link_order(&pair(), &ann).await.unwrap(), None);
    // Another user's conflict waits for a decision.
    let bob = store.work(&user("bob"), at(1)).await;
    let conflict = Failure { class: ErrorClass::Conflict, text: "two fit".into(), retry_at: None };
    store.fail(bob.token, conflict, at(1)).await.unwrap();

    store.order_link(&pair(), &ann, Some(&account), "eve", at(2)).await.unwrap();
    let claimed = store.claims(&user("ann"), at(2)).await;
    assert_eq!(claimed.order.as_ref().and_then(|order| order.account.clone()), Some(account.clone()));
    assert_eq!(store.adopt(claimed.token, link("ann", "a1"), None, at(2)).await.unwrap(), Adopted::Linked);
    let done = Step { order: Some(OrderEnd::Done), ..Step::default() };
    store.step(claimed.token, done, at(2)).await.unwrap();
    assert_eq!((ordered().await.ended, ordered().await.unlinked), (Some(OrderEnd::Done), None));
    store.done(claimed.token, at(2)).await;
    let bob = store.claims(&user("bob"), at(2)).await;
    assert_eq!((bob.order.clone(), bob.attempts), (None, 0), "another link may solve the conflict");
    store.done(bob.token, at(2)).await;

    // The next worker learns what was unlinked.
    store.order_link(&pair(), &ann, None, "eve", at(3)).await.unwrap();
    let claimed = store.claims(&user("ann"), at(3)).await;
    let done = Step { order: Some(OrderEnd::Done), link: Some(LinkWrite::Remove), ..Step::default() };
    store.step(claimed.token, done, at(3)).await.unwrap();
    store.done(claimed.token, at(3)).await;
    let claimed = store.work(&user("ann"), at(4)).await;
    assert_eq!((claimed.order, claimed.unlinked), (None, Some(account.clone())));
    store.done(claimed.token, at(4)).await;
    assert_eq!(store.link_orders(&pair()).await.unwrap().len(), 1);

    store.order_link(&pair(), &ann, Some(&account), "eve", at(5)).await.unwrap();
    let claimed = store.claims(&user("ann"), at(5)).await;
    let refused = OrderEnd::Refused { why: "protected".into() };
    store.step(claimed.token, Step { order: Some(refused.clone()), ..Step::default() }, at(5)).await.unwrap();
    store.done(claimed.token, at(5)).await;
    assert_eq!((ordered().await.ended, ordered().await.unlinked), (Some(refused), Some(account)));
    let audit: Vec<String> = store.audit(None, 2).await.unwrap().into_iter().map(|one| one.what).collect();
    assert!(
        audit[0].starts_with("refused: link user ann to account a1") && audit[1].starts_with("requested:"),
        "{audit:?}"
    );
}

pub async fn a_dropped_link_leaves_a_change_and_is_restored_with_its_account(store: World) {
    store.linked("ann", "a1", at(1)).await;
    store.linked("bob", "a2", at(1)).await;
    let ann = store.work(&user("ann"), at(2)).await;
    let known = Link {
        given: ["g1".into()].into(),
        deactivated_by_us: true,
        missing_since: Some(at(2)),
        ..ann.link.clone().unwrap()
    };
    let put = Step { link: Some(LinkWrite::Put(known.clone())), ..Step::default() };
    store.step(ann.token, put, at(2)).await.unwrap();
    assert_eq!(store.counts(&pair(), at(2)).await.unwrap().missing, 1);
    let drop = |limit| Step {
        link: Some(LinkWrite::Drop { why: "its account is gone".into(), limit, approved_by: None }),
        ..Step::default()
    };
    let refused = store.step(ann.token, drop(Some(0)), at(3)).await.unwrap();
    assert_eq!(refused, Stepped::LimitReached { done: 0 });
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(known.clone()));
    assert_eq!(store.step(ann.token, drop(Some(1)), at(3)).await.unwrap(), Stepped::Written);
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), None);
    store.done(ann.token, at(3)).await;

    // It is a change with its reason, and counts towards its limit.
    let changes = store.changes(&ChangeFilter::default()).await.unwrap();
    assert_eq!((changes[0].verb.as_str(), changes[0].name.as_str()), ("drop_link", "ann"));
    assert_eq!(changes[0].after["why"], "its account is gone");
    assert_eq!(changes[0].limited, Some(Limited::DropLink));
    assert_eq!(store.done_in_last_hour(&pair(), Limited::DropLink, at(4)).await.unwrap(), 1);
    let bob = store.work(&user("bob"), at(4)).await;
    assert_eq!(store.step(bob.token, drop(Some(1)), at(4)).await.unwrap(), Stepped::LimitReached { done: 1 });
    store.done(bob.token, at(4)).await;

    // The next worker of the user learns the old link, and links it again if the account is back.
    assert_eq!(store.dropped_links(&pair()).await.unwrap(), std::slice::from_ref(&known));
    let again = store.work(&user("ann"), at(5)).await;
    assert_eq!((again.link, again.dropped), (None, vec![known.clone()]));
    let back = Link { missing_since: None, ..known };
    assert_eq!(store.adopt(again.token, back.clone(), None, at(5)).await.unwrap(), Adopted::Linked);
    store.done(again.token, at(5)).await;
    assert_eq!(store.link(&pair(), &"ann".into()).await.unwrap(), Some(back));
    assert_eq!(store.dropped_links(&pair()).await.unwrap(), []);
    assert_eq!(store.counts(&pair(), at(5)).await.unwrap().missing, 0);
}

pub async fn the_path_of_a_group_is_replaced_only_if_it_is_as_read(store: World) {
    let subject = [Subject::group("g1")];
    store.raise(&pair(), &subject, Priority::Event, &because("x"), at(0)).await.unwrap();
    let claimed = store.claim_one(at(0)).await.unwrap();
    let write = GroupWrite::Unmap { source: "g1".into(), name: "eng".into(), why: "left out".into() };
    store.step(claimed.token, Step { group: Some(write), ..Step::default() }, at(1)).await.unwrap();
    let moved = |group: &str, from: Option<&str>, to: &str| MovedGroup {
        group: group.into(),
        from: from.map(str::to_owned),
        to: to.to_owned(),
    };
    for (change, expected) in [
        (moved("g1", None, "/eng"), "/eng"),
        (moved("g1", None, "/old"), "/eng"),
        (moved("g1", Some("/eng"), "/dev"), "/dev"),
        // A group without a mapping.
        (moved("g2", None, "/ops"), "/dev"),
    ] {
        store.keep_group_paths(&pair(), &[change]).await.unwrap();
        assert_eq!(store.group_paths(&pair()).await.unwrap(), [("g1".into(), expected.to_owned())]);
    }
}

pub async fn a_requested_run_is_requested_once(store: World) {
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
    store.request_run(&pair()).await.unwrap();
    store.request_run(&pair()).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), Some(RunTrigger::Event));
    store.begin_run(&pair(), RunTrigger::Event, RunMode::Apply, at(1)).await.unwrap();
    assert_eq!(store.requested_run(&pair()).await.unwrap(), None);
}

pub async fn observed_members_are_kept_until_they_expire_or_the_server_changes(store: World) {
    let read = |group: &str, others: &[&str], second| MembersRead {
        group: group.into(),
        others: others.iter().map(|id| (*id).into()).collect(),
        at: at(second),
    };
    let kept = async || {
        let mut kept = store.members_read(&pair(), None).await.unwrap();
        kept.sort_by(|one, other| one.group.cmp(&other.group));
        kept
    };
    assert_eq!(kept().await, []);
    let first = [read("dev", &["a1", "a2"], 10), read("ops", &[], 20)];
    store.keep_members_read(&pair(), &first, at(0)).await.unwrap();
    assert_eq!(kept().await, first);
    assert_eq!(store.members_read(&Pair::new("other", "jira"), None).await.unwrap(), []);
    let names: Vec<String> = (0..120).map(|number| format!("group-{number:03}")).collect();
    let many: Vec<_> = names.iter().map(|name| read(name, &["a1"], 10)).collect();
    store.keep_members_read(&pair(), &many, at(0)).await.unwrap();
    let (mut paged, mut after) = (Vec::new(), Some("dev".into()));
    loop {
        let page = store.members_read(&pair(), after.as_ref()).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() < 100, "some at a time");
        after = Some(last.group.clone());
        paged.extend(page);
    }
    let ops = read("ops", &[], 20);
    assert_eq!(paged, many.into_iter().chain([ops]).collect::<Vec<_>>());
    store.keep_members_read(&pair(), &[read("ops", &["a3"], 30)], at(11)).await.unwrap();
    assert_eq!(kept().await, [read("ops", &["a3"], 30)], "the newer one counts, the old one is forgotten");
    let (one, other) = (TargetIdentity::new("one", None), TargetIdentity::new("other", None));
    store.pin_target(&pair().target, &one).await.unwrap();
    store.pin_target(&pair().target, &other).await.unwrap();
    store.confirm_identity(None, Some(&pair().target), "ann", at(40)).await.unwrap();
    assert_eq!(kept().await, [], "another server");
}

/// The federation providers of linked users, and users of one of them with their logins.
pub async fn linked_users_of_a_federation_provider_are_listed(store: World) {
    let of = |component: &str, login: Option<&str>| {
        Some(Federated { component: component.to_owned(), login: login.map(str::to_owned), ldap_id: None })
    };
    for (user, federated) in [
        ("ann", of("ldap", Some("Ann"))),
        ("bob", of("ldap", Some("bob"))),
        ("cid", of("ldap", None)),
        ("dan", of("other", Some("dan"))),
        ("eve", None),
        ("f:none:fay", of("none", None)),
    ] {
        put(&store, &pair(), Link { federated, ..link(user, &format!("a-{user}")) }).await;
    }
    let linked = |component: &str, users, imported| LinkedFederation { component: component.into(), users, imported };
    let all = [linked("ldap", 3, true), linked("none", 1, false), linked("other", 1, true)];
    assert_eq!(store.federations(&pair()).await.unwrap(), all);
    let mut users = store.federated_users(&pair(), "ldap", 9).await.unwrap();
    users.sort();
    assert_eq!(users, [("ann".into(), "Ann".to_owned()), ("bob".into(), "bob".to_owned())]);
    put(
        &store,
        &pair(),
        Link { deactivated_by_us: true, ..store.link(&pair(), &"cid".into()).await.unwrap().unwrap() },
    )
    .await;
    let mut active = store.active_federated(&pair()).await.unwrap();
    active.sort();
    assert_eq!(active, ["ann", "bob", "dan", "f:none:fay"].map(UserId::from));
    assert_eq!(store.federated_users(&pair(), "ldap", 1).await.unwrap().len(), 1);
    assert_eq!(store.federated_users(&pair(), "none", 9).await.unwrap(), []);
}
