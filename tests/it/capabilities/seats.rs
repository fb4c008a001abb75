//! A plan compares the users that it creates and activates with the seats of the target's licence.

use usersync::engine::{Report, Seats};
use usersync_simulators::{
    Fault,
    keycloak::{NewUser, UserChange},
};

use super::support::{STAFF, World, world};

const APPLICATION: &str = "jira-software";
/// The administrator, and the staff.
const USED: usize = STAFF + 1;

impl World {
    fn seats_left(&self, left: usize) {
        self.jira().set_seats(APPLICATION, Some(USED + left));
    }

    async fn hires(&self, number: usize) {
        self.realm().switch_webhook(false);
        for number in 0..number {
            self.realm().create_user(NewUser::named(format!("new{number}"))).await.unwrap();
        }
    }

    /// Returns the plan, and how often it read the licence.
    async fn plan_and_reads(&self) -> (Report, usize) {
        let reads = || self.jira().journal.count("GET", "/applicationrole");
        // The first contact reads the licence, too.
        self.dry_run().await;
        let before = reads();
        (self.dry_run().await, reads() - before)
    }
}

#[tokio::test]
async fn a_plan_says_how_many_users_it_creates_and_activates_and_how_many_seats_remain() {
    let w = world().await;
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(false)).await.unwrap();
    w.settled().await;
    w.hires(4).await;
    w.realm().update_user(&w.id("staff1"), UserChange::enabled(true)).await.unwrap();
    w.seats_left(2);
    let (plan, reads) = w.plan_and_reads().await;
    // The deactivated account has freed a seat.
    let seats = Seats { remaining: 3, needed: 5 };
    assert_eq!((plan.seats, seats.missing()), (Some(seats), 2), "{plan:?}");
    // The first contact of each dry run reads it, too.
    assert!(reads >= 1);
    let stored = plan.stored();
    assert_eq!(stored["seats"], serde_json::json!({ "remaining": 3, "needed": 5 }));
}

#[tokio::test]
async fn without_seats_to_compare_nothing_is_read_and_nothing_is_said() {
    let w = world().await;
    w.seats_left(2);
    let read_without_need = w.plan_and_reads().await;
    assert_eq!(read_without_need.0.seats, None, "the plan takes no seat");
    w.hires(1).await;
    let (plan, reads) = w.plan_and_reads().await;
    assert_eq!(plan.seats, Some(Seats { remaining: 2, needed: 1 }));
    assert_eq!(reads, read_without_need.1 + 1, "one call more");
    w.jira().set_seats(APPLICATION, None);
    assert_eq!(w.dry_run().await.seats, None, "unlimited");
    w.seats_left(2);
    let hidden = w.jira().faults.add(Fault::status(403, "{}").path("/applicationrole"));
    let report = w.dry_run().await;
    assert_eq!((report.seats, report.planned.get("create")), (None, Some(&1)), "the plan is made without it");
    w.jira().faults.remove(hidden);
    let report = w.run().await;
    assert_eq!((report.seats, report.done.get("create")), (None, Some(&1)), "a run that writes forecasts nothing");
}

#[tokio::test]
async fn users_that_find_no_seat_fail_alone_and_the_rest_goes_on() {
    let w = world().await;
    w.hires(4).await;
    w.seats_left(3);
    let plan = w.dry_run().await;
    assert_eq!(plan.seats.map(Seats::missing), Some(1));
    let report = w.run().await;
    assert_eq!(report.done.get("create"), Some(&3), "{report:?}");
    let dead = w.dead().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].contains("no seat left"), "{dead:?}");
}
