//! The states of a pair.

use usersync::{model::*, store::*};

use super::world::*;

pub async fn a_pair_begins_as_new_and_keeps_its_state(store: World) {
    assert_eq!(store.pair_state(&pair()).await.unwrap(), PairState::New);
    let made = store.ensure_pairs(&[pair()], at(1)).await.unwrap();
    assert_eq!(made, [PairRecord { pair: pair(), state: PairState::New, since: at(1) }]);
    store.set_pair_state(&pair(), PairState::InService, at(2)).await.unwrap();
    let other = Pair::new("corp", "wiki");
    let again = store.ensure_pairs(&[other.clone(), pair()], at(3)).await.unwrap();
    assert_eq!(again[0], PairRecord { pair: other, state: PairState::New, since: at(3) });
    assert_eq!(again[1], PairRecord { pair: pair(), state: PairState::InService, since: at(2) });
    for state in [PairState::Held, PairState::Approved, PairState::Stopped] {
        store.set_pair_state(&pair(), state, at(4)).await.unwrap();
        assert_eq!(store.pair_state(&pair()).await.unwrap(), state);
    }
}

pub async fn a_pair_stopped_for_its_target_resumes_its_previous_state(store: World) {
    let jira = server("A", "https://jira.example.org");
    store.pin_target(&target(), &jira).await.unwrap();
    let confirm = async |at| store.confirm_same_server(&target(), &jira, "eve", at).await.unwrap().remove(0).state;
    for state in [PairState::New, PairState::NoUsers, PairState::Held, PairState::Approved, PairState::InService] {
        store.set_pair_state(&pair(), state, at(1)).await.unwrap();
        store.stop_for_target(&pair(), at(2)).await.unwrap();
        store.stop_for_target(&pair(), at(3)).await.unwrap();
        store.crash(at(4)).await;
        assert_eq!(confirm(at(5)).await, state);
    }
    // It does not confirm another realm, whichever was found first.
    store.set_pair_state(&pair(), PairState::Stopped, at(6)).await.unwrap();
    store.stop_for_target(&pair(), at(7)).await.unwrap();
    assert_eq!(confirm(at(8)).await, PairState::Stopped);
    store.set_pair_state(&pair(), PairState::InService, at(9)).await.unwrap();
    store.stop_for_target(&pair(), at(10)).await.unwrap();
    store.set_pair_state(&pair(), PairState::Stopped, at(11)).await.unwrap();
    assert_eq!(confirm(at(12)).await, PairState::Stopped);
    store.confirm_identity(Some(&connector()), None, "eve", at(13)).await.unwrap();
    assert_eq!(confirm(at(14)).await, PairState::New);

    // A first run that is approved meanwhile continues as approved.
    let set = store.hold_first_run(&pair(), serde_json::json!({}), at(15)).await.unwrap();
    store.stop_for_target(&pair(), at(16)).await.unwrap();
    let decision = Decision { set, items: Vec::new(), approve: true, by: "ann".into(), note: None };
    store.decide(&decision, at(17)).await.unwrap();
    assert_eq!(confirm(at(18)).await, PairState::Approved);
}

pub async fn a_pause_stays(store: World) {
    assert!(store.paused().await.unwrap().is_empty());
    store.set_paused(&connector(), true, "eve", at(1)).await.unwrap();
    store.set_paused(&"other".into(), true, "eve", at(1)).await.unwrap();
    store.set_paused(&"other".into(), false, "eve", at(2)).await.unwrap();
    store.crash(at(3)).await;
    assert_eq!(store.paused().await.unwrap(), [connector()].into());
}
