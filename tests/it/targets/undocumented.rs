//! A success answer that the vendor does not document does not count as done.

use usersync::targets::Applied;
use usersync_simulators::Fault;

use super::places::{self, Place, delete, join, leave};

/// Returns the result of a removal if a proxy answers DELETE and POST itself.
async fn by_a_proxy(place: &Place, removal: &usersync::model::Operation) -> Applied {
    let methods = ["DELETE", "POST"].map(|method| place.faults.add(Fault::status(200, "").method(method)));
    let answer = place.apply(removal).await;
    for fault in methods {
        place.faults.remove(fault);
    }
    answer.expect("a success")
}

#[tokio::test]
async fn a_membership_whose_removal_is_answered_with_another_success_is_read_back() {
    for place in [places::confluence().await, places::crowd().await] {
        let (made, group) = (place.user("alice").await, place.group("readers").await);
        place.join(&made, &group).await;
        assert_eq!(by_a_proxy(&place, &leave(&made, &group)).await, Applied::Undocumented, "{}", place.target.kind());
        assert_eq!(place.apply(&leave(&made, &group)).await, Ok(Applied::Done), "{}", place.target.kind());
        assert_eq!(place.apply(&join(&made, &group)).await, Ok(Applied::Done), "{}", place.target.kind());
    }
}

#[tokio::test]
async fn an_account_whose_deletion_is_answered_with_another_success_is_read_back() {
    for place in [places::jira().await, places::crowd().await, places::bitbucket().await] {
        let made = place.user("alice").await;
        assert_eq!(by_a_proxy(&place, &delete(&made)).await, Applied::Undocumented, "{}", place.target.kind());
        assert_eq!(place.apply(&delete(&made)).await, Ok(Applied::Done), "{}", place.target.kind());
    }
}
