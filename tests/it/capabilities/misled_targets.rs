//! Ways in which Confluence, Bitbucket, Crowd and a SCIM service can mislead usersync. Each row is a test: nothing is
//! removed, one sentence reports it, and when the target is right again, a real leaver is out. The document
//! `docs/architecture.md` has the table; `misleading.rs` has the rows of Keycloak and Jira.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use usersync::{
    demo::{
        stack::{CONNECTOR, StackOptions},
        targets::{Product, SimulatedTarget},
    },
    engine::{Report, RunOptions, WorkError},
    model::{Pair, RunTrigger},
};
use usersync_simulators::{Fault, keycloak::NewUser};

use super::{
    misleading::{half, sign_in},
    support::{World, on, options, servers, until},
};

/// The lists of a page, by product: Confluence, Bitbucket, Crowd, SCIM.
const LISTS: [&str; 5] = ["results", "values", "users", "groups", "Resources"];

struct Misled {
    w: World,
    target: SimulatedTarget,
    faults: Vec<Fault>,
}

impl Misled {
    /// Starts a stack with this product, in sync; nothing misleads yet.
    async fn prepare(product: Product, faults: Vec<Fault>) -> Self {
        let target = product.simulate().await.expect("a free port");
        let other_targets = vec![target.other_target().expect("an address")];
        let servers = servers(StackOptions { other_targets, ..options() }).await;
        let two = ["leaver", "other"].map(|name| NewUser::named(name).in_groups(&["/staff", "/extra"]));
        servers.realm.import_users(two).expect("imported");
        let w = on(servers).await;
        w.calm().await;
        let prepared = Self { w, target, faults };
        prepared.run().await.expect("it is in sync");
        prepared
    }

    fn pair(&self) -> Pair {
        Pair { connector: CONNECTOR.into(), target: self.target.product.target_name() }
    }

    async fn run(&self) -> Result<Report, WorkError> {
        let options = RunOptions::apply(RunTrigger::Schedule);
        Box::pin(self.w.stack.engine.run(&self.pair(), &options)).await.map(|(_, report)| report)
    }

    /// Runs and sends an event while the target misleads. Returns what usersync reported.
    async fn during(&self) -> Vec<String> {
        let faults = &self.target.faults;
        let ids: Vec<_> = self.faults.iter().cloned().map(|fault| faults.add(fault)).collect();
        let reported = self.w.reported(self.run().await);
        assert!(ids.iter().any(|id| faults.hits(*id) > 0), "no fault was met: {reported:#?}");
        for login in ["staff1", "other"] {
            self.w.realm().user_action(&self.w.id(login), "logout").await.expect("an event");
        }
        self.w.realm().webhook_idle().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        faults.clear();
        reported
    }

    /// Returns what the users have at the target: active accounts, groups and memberships, without those of one login.
    fn granted(&self, without: &str) -> BTreeSet<String> {
        let held = self.target.server.held();
        let accounts = held.accounts.iter().filter(|(login, account)| account.active && login.as_str() != without);
        let accounts = accounts.map(|(login, account)| format!("active {login} {}", account.email));
        let groups = held.groups.keys().map(|group| format!("group {group}"));
        let members = held.groups.iter().flat_map(|(group, members)| {
            members.iter().filter(|one| *one != without).map(move |one| format!("{one} in {group}"))
        });
        accounts.chain(groups).chain(members).collect()
    }

    fn is_out(&self, login: &str) -> bool {
        let held = self.target.server.held();
        let is_active = held.accounts.get(login).is_some_and(|account| account.active);
        !is_active || held.groups["staff"].iter().all(|member| member != login)
    }
}

/// The promise of each row. `sentence`: words of one sentence that is reported.
async fn removes_nothing(product: Product, faults: Vec<Fault>, sentence: &[&str]) {
    let misled = Misled::prepare(product, faults).await;
    let before = misled.granted("");
    let mut reported = misled.during().await;
    let lost: Vec<String> = before.difference(&misled.granted("")).cloned().collect();
    assert_eq!(lost, Vec::<String>::new(), "{reported:#?}");

    // A user really leaves meanwhile. Nobody else loses anything.
    misled.w.realm().delete_user_without_event(&misled.w.id("leaver")).expect("deleted");
    let before = misled.granted("leaver");
    reported.extend(misled.during().await);
    let lost: Vec<String> = before.difference(&misled.granted("leaver")).cloned().collect();
    assert_eq!(lost, Vec::<String>::new(), "{reported:#?}");
    let is_such = |text: &String| sentence.iter().all(|words| text.contains(words));
    assert!(reported.iter().any(is_such), "{sentence:?} in {reported:#?}");

    until("the leaver is out", async || misled.run().await.is_ok() && misled.is_out("leaver")).await;
    misled.w.calm().await;
    let report = misled.run().await.expect("a full reconcile");
    assert_eq!((report.incomplete.clone(), report.errors.total()), (None, 0), "{report:?}");
    assert!(!misled.is_out("staff1") && !misled.is_out("other"));
}

fn lists(change: fn(&mut Vec<Value>)) -> Fault {
    Fault::edit(move |page| {
        for key in LISTS {
            if let Some(list) = page.get_mut(key).and_then(Value::as_array_mut) {
                change(list);
            }
        }
    })
}

/// Changes every list, and the counts of the page with it.
fn counted_lists(change: fn(&mut Vec<Value>)) -> Fault {
    Fault::edit(move |page| {
        for key in LISTS {
            let Some(list) = page.get_mut(key).and_then(Value::as_array_mut) else { continue };
            change(list);
            let len = list.len();
            for count in ["size", "totalResults", "itemsPerPage"] {
                if let Some(number) = page.get_mut(count) {
                    *number = json!(len);
                }
            }
        }
    })
}

fn twice(entries: &mut Vec<Value>) {
    entries.extend(entries.clone());
}

macro_rules! rows {
    ($($name:ident: $product:ident [$($fault:expr),+ $(,)?] => $sentence:expr;)+) => {$(
        #[tokio::test]
        async fn $name() {
            let faults = vec![$($fault.method("GET")),+];
            Box::pin(removes_nothing(Product::$product, faults, &$sentence)).await;
        }
    )+};
}

mod confluence {
    use super::*;

    const ACCOUNTS: &str = "/user/list?start";
    const MEMBERS: &str = "/group/staff/member";

    rows! {
        an_empty_list_of_accounts: Confluence [lists(Vec::clear).path(ACCOUNTS)] => ["the listing lacks usersync's own account"];
        an_empty_list_of_accounts_that_is_counted_so: Confluence [counted_lists(Vec::clear).path(ACCOUNTS)] => ["the listing lacks usersync's own account"];
        half_a_list_of_accounts: Confluence [counted_lists(half).path(ACCOUNTS)] => ["confluence: its list of accounts lacks"];
        accounts_that_are_listed_twice: Confluence [lists(twice).path(ACCOUNTS)] => ["confluence: the listing returned entries twice"];
        a_list_of_accounts_that_is_cut_off: Confluence [Fault::truncate(300).path(ACCOUNTS)] => ["listing all accounts: Confluence's answer cannot be read (truncated JSON"];
        a_sign_in_page_instead_of_accounts: Confluence [sign_in().path(ACCOUNTS)] => ["listing all accounts: received an HTML page instead of JSON"];
        an_unavailable_list_of_accounts: Confluence [Fault::unavailable().path(ACCOUNTS)] => ["listing all accounts: Confluence answered 503"];
        a_list_of_accounts_without_an_answer: Confluence [Fault::cut_after().path(ACCOUNTS)] => ["listing all accounts: the connection", "broke before the answer was complete"];
        an_empty_list_of_members: Confluence [counted_lists(Vec::clear).path(MEMBERS)] => ["group staff: confluence's member list lacks"];
        half_a_list_of_members: Confluence [counted_lists(half).path(MEMBERS)] => ["group staff: confluence's member list lacks"];
        members_that_are_forbidden: Confluence [Fault::status(403, "{}").path(MEMBERS)] => ["reading the members of staff", "Confluence answered 403", "lacks the permission"];
        a_group_that_is_not_found_for_a_while: Confluence [Fault::status(404, "{}").path(MEMBERS)] => ["the answer 404 does not come from Confluence, so nothing is treated as deleted"];
        a_sign_in_page_instead_of_members: Confluence [sign_in().path(MEMBERS)] => ["reading the members of staff", "received an HTML page instead of JSON"];
        everything_is_404: Confluence [Fault::status(404, "{}").path("/rest/")] => ["the answer 404 does not come from Confluence"];
        a_sign_in_page_instead_of_everything: Confluence [sign_in().path("/rest/")] => ["received an HTML page instead of JSON"];
    }
}

mod bitbucket {
    use super::*;

    const ACCOUNTS: &str = "/admin/users?start";
    const MEMBERS: &str = "more-members?context=staff&";

    rows! {
        an_empty_list_of_accounts: Bitbucket [lists(Vec::clear).path(ACCOUNTS)] => ["the listing lacks usersync's own account"];
        an_empty_list_of_accounts_that_is_counted_so: Bitbucket [counted_lists(Vec::clear).path(ACCOUNTS)] => ["the listing lacks usersync's own account"];
        half_a_list_of_accounts: Bitbucket [counted_lists(half).path(ACCOUNTS)] => ["bitbucket: its list of accounts lacks"];
        accounts_that_are_listed_twice: Bitbucket [lists(twice).path(ACCOUNTS)] => ["bitbucket: the listing returned entries twice"];
        a_list_of_accounts_that_is_cut_off: Bitbucket [Fault::truncate(300).path(ACCOUNTS)] => ["listing all accounts: Bitbucket's answer cannot be read (truncated JSON"];
        a_sign_in_page_instead_of_accounts: Bitbucket [sign_in().path(ACCOUNTS)] => ["listing all accounts: received an HTML page instead of JSON"];
        an_unavailable_list_of_accounts: Bitbucket [Fault::unavailable().path(ACCOUNTS)] => ["listing all accounts: Bitbucket answered 503"];
        a_list_of_accounts_without_an_answer: Bitbucket [Fault::cut_after().path(ACCOUNTS)] => ["listing all accounts: the connection", "broke before the answer was complete"];
        an_empty_list_of_members: Bitbucket [counted_lists(Vec::clear).path(MEMBERS)] => ["group staff: bitbucket's member list lacks"];
        half_a_list_of_members: Bitbucket [counted_lists(half).path(MEMBERS)] => ["group staff: bitbucket's member list lacks"];
        members_that_are_forbidden: Bitbucket [Fault::status(403, "{}").path(MEMBERS)] => ["reading the members of staff", "Bitbucket answered 403", "lacks the permission"];
        a_group_that_is_not_found_for_a_while: Bitbucket [Fault::status(404, "{}").path(MEMBERS)] => ["the answer 404 does not come from Bitbucket, so nothing is treated as deleted"];
        a_sign_in_page_instead_of_members: Bitbucket [sign_in().path(MEMBERS)] => ["reading the members of staff", "received an HTML page instead of JSON"];
        everything_is_404: Bitbucket [Fault::status(404, "{}").path("/rest/")] => ["the answer 404 does not come from Bitbucket"];
        a_sign_in_page_instead_of_everything: Bitbucket [sign_in().path("/rest/")] => ["received an HTML page instead of JSON"];
    }
}

mod crowd {
    use super::*;

    const ACCOUNTS: &str = "entity-type=user&restriction=&start-index=0&max-results=1000";
    const MEMBERS: &str = "group/user/direct?groupname=staff";

    rows! {
        an_empty_list_of_accounts: Crowd [lists(Vec::clear).path("entity-type=user")] => ["crowd: its list of accounts lacks"];
        half_a_list_of_accounts: Crowd [counted_lists(half).path("entity-type=user")] => ["crowd: its list of accounts lacks"];
        accounts_that_are_listed_twice: Crowd [lists(twice).path(ACCOUNTS)] => ["crowd: the listing returned entries twice"];
        a_list_of_accounts_that_is_cut_off: Crowd [Fault::truncate(300).path(ACCOUNTS)] => ["listing all accounts: Crowd's answer cannot be read (truncated JSON"];
        a_sign_in_page_instead_of_accounts: Crowd [sign_in().path(ACCOUNTS)] => ["listing all accounts: received an HTML page instead of JSON"];
        an_unavailable_list_of_accounts: Crowd [Fault::unavailable().path(ACCOUNTS)] => ["listing all accounts: Crowd answered 503"];
        a_list_of_accounts_without_an_answer: Crowd [Fault::cut_after().path(ACCOUNTS)] => ["listing all accounts: the connection", "broke before the answer was complete"];
        an_empty_list_of_members: Crowd [counted_lists(Vec::clear).path(MEMBERS)] => ["group staff: crowd's member list lacks"];
        half_a_list_of_members: Crowd [counted_lists(half).path(MEMBERS)] => ["group staff: crowd's member list lacks"];
        members_that_are_forbidden: Crowd [Fault::status(403, "{}").path(MEMBERS)] => ["reading the members of staff", "Crowd answered 403", "lacks the permission"];
        a_group_that_is_not_found_for_a_while: Crowd [Fault::status(404, "{}").path(MEMBERS)] => ["the answer 404 does not come from Crowd, so nothing is treated as deleted"];
        a_sign_in_page_instead_of_members: Crowd [sign_in().path(MEMBERS)] => ["reading the members of staff", "received an HTML page instead of JSON"];
        everything_is_404: Crowd [Fault::status(404, "{}").path("/rest/")] => ["answered 404, but not as Crowd does"];
        a_sign_in_page_instead_of_everything: Crowd [sign_in().path("/rest/")] => ["received an HTML page instead of JSON"];
    }
}

mod scim {
    use super::*;

    const ACCOUNTS: &str = "/Users?count";
    const MEMBERS: &str = "/Groups/";

    rows! {
        an_empty_list_of_accounts: Scim [lists(Vec::clear).path(ACCOUNTS)] => ["scim: 0 of 12 were returned"];
        an_empty_list_of_accounts_that_is_counted_so: Scim [counted_lists(Vec::clear).path(ACCOUNTS)] => ["scim: its list of accounts lacks"];
        half_a_list_of_accounts: Scim [counted_lists(half).path(ACCOUNTS)] => ["scim: the server counted 6 at first and 3 later"];
        accounts_that_are_listed_twice: Scim [lists(twice).path(ACCOUNTS)] => ["scim: the listing returned entries twice"];
        a_list_of_accounts_that_is_cut_off: Scim [Fault::truncate(300).path(ACCOUNTS)] => ["listing all accounts: the SCIM server's answer cannot be read (truncated JSON"];
        a_sign_in_page_instead_of_accounts: Scim [sign_in().path(ACCOUNTS)] => ["listing all accounts: received an HTML page instead of JSON"];
        an_unavailable_list_of_accounts: Scim [Fault::unavailable().path(ACCOUNTS)] => ["listing all accounts: the SCIM server answered 503"];
        a_list_of_accounts_without_an_answer: Scim [Fault::cut_after().path(ACCOUNTS)] => ["listing all accounts: the connection", "broke before the answer was complete"];
        a_group_without_its_members: Scim [Fault::edit(|group| drop(group.as_object_mut().map(|group| group.remove("members")))).path(MEMBERS)] => ["was returned without members, but an account lists it"];
        half_a_list_of_members: Scim [Fault::edit(|group| group["members"].as_array_mut().into_iter().for_each(half)).path(MEMBERS)] => ["group staff: scim's member list lacks"];
        members_that_are_forbidden: Scim [Fault::status(403, "{}").path(MEMBERS)] => ["reading the members of", "the SCIM server answered 403", "lacks the permission"];
        a_group_that_is_not_found_for_a_while: Scim [Fault::status(404, "{}").path(MEMBERS)] => ["the answer 404 does not come from the SCIM server, so nothing is treated as deleted"];
        a_sign_in_page_instead_of_members: Scim [sign_in().path(MEMBERS)] => ["reading the members of", "received an HTML page instead of JSON"];
        everything_is_404: Scim [Fault::status(404, "{}").path("/scim/")] => ["the answer 404 does not come from the SCIM server"];
        a_sign_in_page_instead_of_everything: Scim [sign_in().path("/scim/")] => ["received an HTML page instead of JSON"];
    }
}
