//! Simulations: the real engine and the real store between simulators of a source and a target, under thousands of
//! interleavings of workers, runs, changes, events, crashes, late requests and time. A seed determines one interleaving
//! completely; a failure prints its seed and every step.
//!
//! `USERSYNC_SIM_RUNS=1000` simulates each scenario that often. `USERSYNC_SIM_SEED=17` starts with that seed, and with
//! `USERSYNC_SIM_RUNS=1` repeats exactly the printed simulation.

mod checks;
mod driver;
mod gates;
mod rules;
mod scenario;
mod source;
mod store;
mod target;
mod world;

use std::{sync::Arc, time::Instant};

use driver::Simulation;
use scenario::{Budget, Kind::*, NOBODY, ONE, Scenario, THREE, TWO};
use store::Sabotage;
use usersync::store::sqlite::{OpenOptions, SqliteStore};

/// Report of a failed simulation.
struct Failure {
    seed: u64,
    wrong: Vec<String>,
    trace: Vec<String>,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Simulates `runs` interleavings, starting with seed `first`; stops at the first failure.
fn simulate(scenario: &Scenario, sabotage: Sabotage, first: u64, runs: u64) -> Option<Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open_temporary(OpenOptions::simulation(world::BEGIN)).await.expect("a store");
        let store = Arc::new(store);
        for seed in first..first + runs {
            let mut simulation = Simulation::new(scenario, sabotage, Arc::clone(&store), seed, seed);
            let wrong = simulation.run().await;
            if !wrong.is_empty() {
                let trace = simulation.shared.world().trace.clone();
                return Some(Failure { seed, wrong, trace });
            }
        }
        store.close().await;
        None
    })
}

/// Simulates a scenario; a failure prints everything needed to understand it.
fn holds(scenario: &Scenario, runs: u64) {
    let first = number("USERSYNC_SIM_SEED").unwrap_or(1);
    let runs = number("USERSYNC_SIM_RUNS").unwrap_or(runs);
    let began = Instant::now();
    if let Some(Failure { seed, wrong, trace }) = simulate(scenario, Sabotage::None, first, runs) {
        panic!(
            "scenario {} ({}), seed {seed}:\n{}\n\n{}\n\nOnce more: USERSYNC_SIM_SEED={seed} USERSYNC_SIM_RUNS=1",
            scenario.name,
            scenario.what,
            trace.join("\n"),
            wrong.join("\n"),
        );
    }
    println!("{}: {runs} interleavings from seed {first} on, {:.1?}", scenario.name, began.elapsed());
}

/// Each scenario is a separate test, so that they run in parallel.
macro_rules! scenarios {
    ($($name:ident: $runs:literal, $what:literal, $base:ident { $($field:ident: $value:expr),* $(,)? };)*) => {
        /// All scenarios, for the sabotages.
        mod all {
            use super::*;
            $(#[allow(non_upper_case_globals, reason = "named as its test")]
            pub const $name: Scenario =
                Scenario { name: stringify!($name), what: $what, $($field: $value,)* ..$base };)*
        }
        $(#[test]
        fn $name() {
            holds(&all::$name, $runs);
        })*
    };
}

/// Nothing goes wrong, and nothing more can happen.
const NONE: Budget = Budget {
    change: 0,
    early: 0,
    lose: 0,
    double: 0,
    crash: 0,
    timeout: 0,
    fault: 0,
    run: 0,
    drift: 0,
    store: 0,
    hide: 0,
    policy: 0,
};
/// Three users and one that is created later, in two groups; a call adds two members at once.
const WAVE: Scenario = Scenario {
    people: &[("u0", "x", &["g0"]), ("u1", "y", &[]), ("u2", "z", &["g0"])],
    logins: &["x", "y", "z", "w"],
    groups: &[("g0", "staff"), ("g1", "crew")],
    kinds: &[
        Members(&["u0", "u1", "u2", "u3"], "g0"),
        Members(&["u0", "u1", "u2", "u3"], "g1"),
        Member("u1", "g1"),
        Toggle("u0"),
        Toggle("u1"),
        Delete("u2"),
        Born("u3"),
    ],
    max_members_per_call: 2,
    ..THREE
};
/// Three users and one that is created later, in two groups and one below them, with a drawn policy.
const POLICIES: Scenario = Scenario {
    draws_policy: true,
    groups: &[("g0", "staff"), ("g1", "crew"), ("g1.a", "team")],
    group_names: &["staff", "crew", "guests"],
    kinds: &[
        Toggle("u0"),
        Toggle("u1"),
        Member("u0", "g0"),
        Member("u1", "g0"),
        Member("u1", "g1"),
        Member("u2", "g1"),
        Member("u1", "g1.a"),
        Member("u2", "g1.a"),
        Delete("u2"),
        Born("u3"),
        Member("u3", "g0"),
        Login("u1"),
        GroupName("g1"),
    ],
    logins: &["x", "y", "z", "w"],
    ..THREE
};
/// One crash of the process, one unanswered request, one failed read.
const FAULTS: Budget = Budget { crash: 1, timeout: 1, fault: 1, ..NONE };

scenarios! {
    toggle: 60, "one user off, on, in and out of the group; an event comes twice",
        ONE { kinds: &[Toggle("u0"), Member("u0", "g0")], budget: Budget { change: 3, double: 1, ..NONE } };
    toggle_fault: 100, "the same with faults",
        ONE { kinds: &[Toggle("u0"), Member("u0", "g0")], budget: Budget { change: 3, double: 1, ..FAULTS } };
    early: 60, "events that come before the change that they tell of",
        ONE {
            kinds: &[Toggle("u0"), Member("u0", "g0"), Delete("u0")],
            budget: Budget { change: 2, early: 2, double: 1, ..NONE },
        };
    recreate: 60, "a user is deleted and created again with the same login",
        ONE {
            logins: &["x"],
            kinds: &[Delete("u0"), Born("u1"), Toggle("u1"), Member("u1", "g0")],
            budget: Budget { change: 4, double: 1, ..NONE },
        };
    recreate_fault: 100, "the same with faults",
        ONE {
            logins: &["x"],
            kinds: &[Toggle("u0"), Delete("u0"), Born("u1"), Member("u1", "g0")],
            budget: Budget { change: 3, ..FAULTS },
        };
    create: 80, "a new user is renamed before he is made; faults",
        NOBODY { kinds: &[Born("u0"), Login("u0"), Toggle("u0")], budget: Budget { change: 3, ..FAULTS } };
    create_two: 80, "a new user is renamed, another one takes his first login; faults",
        NOBODY { kinds: &[Born("u0"), Login("u0"), Born("u1"), Login("u1")], budget: Budget { change: 4, ..FAULTS } };
    swap: 60, "two users swap their logins, twice",
        TWO { kinds: &[Swap("u0", "u1")], budget: Budget { change: 2, ..NONE } };
    swap_fault: 100, "the same with faults, and one is switched off and on; the target is addressed by login",
        TWO {
            by_name: true,
            kinds: &[Swap("u0", "u1"), Toggle("u0")],
            budget: Budget { change: 3, timeout: 2, ..FAULTS },
        };
    freed: 60, "a login is freed by a deletion and taken by another user; a crash",
        TWO { kinds: &[Delete("u0"), Login("u1")], budget: Budget { change: 3, crash: 1, ..NONE } };
    ring: 60, "three logins go round; faults",
        THREE { kinds: &[Ring("u0", "u1", "u2")], budget: Budget { change: 2, ..FAULTS } };
    mix: 80, "two users and a new one: deleted, renamed, born",
        TWO {
            logins: &["x", "y", "z"],
            kinds: &[Delete("u0"), Login("u0"), Login("u1"), Born("u2")],
            budget: Budget { change: 4, ..NONE },
        };
    mix_fault: 100, "the same with faults; the target is addressed by login",
        TWO {
            by_name: true,
            logins: &["x", "y", "z"],
            kinds: &[Delete("u0"), Login("u0"), Login("u1"), Born("u2"), Toggle("u1")],
            budget: Budget { change: 4, timeout: 2, ..FAULTS },
        };
    run: 80, "one user and a full reconcile; an event is lost",
        ONE { kinds: &[Toggle("u0"), Member("u0", "g0")], budget: Budget { change: 3, lose: 1, run: 1, ..NONE } };
    run_verdict: 60, "a change and its undoing, of which one event is lost, with a full reconcile",
        ONE { workers: 1, kinds: &[Toggle("u0")], budget: Budget { change: 2, lose: 1, run: 1, ..NONE } };
    run_observation: 60, "a new user is switched off, with a full reconcile",
        NOBODY { workers: 1, kinds: &[Born("u0"), Toggle("u0")], budget: Budget { change: 2, run: 1, ..NONE } };
    run_login: 80, "a new user is renamed, with a full reconcile; events are lost",
        NOBODY {
            logins: &["x", "y", "z"],
            kinds: &[Born("u0"), Login("u0")],
            budget: Budget { change: 3, lose: 2, run: 1, ..NONE },
        };
    run_fault: 100, "one user and two full reconciles; an event is lost; faults",
        ONE { kinds: &[Toggle("u0"), Member("u0", "g0")], budget: Budget { change: 3, lose: 1, run: 2, ..FAULTS } };
    run_recreate: 100, "deleted and created again, with a full reconcile; an event is lost; faults",
        ONE {
            logins: &["x"],
            kinds: &[Delete("u0"), Born("u1"), Member("u0", "g0"), Member("u1", "g0")],
            budget: Budget { change: 3, lose: 1, run: 1, ..FAULTS },
        };
    run_login_2: 100, "a new user is renamed twice, with two full reconciles; an event is lost; faults",
        NOBODY {
            logins: &["x", "y", "z"],
            kinds: &[Born("u0"), Login("u0")],
            budget: Budget { change: 3, lose: 1, run: 2, ..FAULTS },
        };
    run_swap: 80, "logins are swapped, with a full reconcile; an event is lost",
        TWO { kinds: &[Swap("u0", "u1")], budget: Budget { change: 2, lose: 1, run: 1, ..NONE } };
    run_mix: 100, "anything, with two full reconciles; events are lost; faults",
        TWO {
            logins: &["x", "y", "z"],
            kinds: &[
                Delete("u0"), Login("u0"), Login("u1"), Born("u2"), Toggle("u1"), Swap("u0", "u1"), Member("u1", "g0"),
            ],
            budget: Budget { change: 5, lose: 2, double: 1, run: 2, timeout: 2, ..FAULTS },
        };
    run_drift: 60, "somebody changes the target, with a full reconcile",
        ONE { kinds: &[Toggle("u0")], budget: Budget { change: 2, drift: 2, run: 1, ..NONE } };
    run_two: 80, "one user, two workers, a full reconcile; an event is lost; a crash",
        ONE { kinds: &[Toggle("u0")], budget: Budget { change: 2, lose: 1, run: 1, crash: 1, ..NONE } };
    groups: 80, "a group is made, renamed, deleted while users join and leave",
        TWO {
            group_names: &["staff", "crew"],
            kinds: &[
                GroupName("g0"), GroupDelete("g0"), GroupBorn("g1"), Member("u0", "g0"), Member("u1", "g1"), Toggle("u0"),
            ],
            budget: Budget { change: 4, ..NONE },
        };
    groups_fault: 100, "the same with a full reconcile and faults",
        TWO {
            group_names: &["staff", "crew"],
            kinds: &[
                GroupName("g0"), GroupDelete("g0"), GroupBorn("g1"), Member("u0", "g0"), Member("u1", "g1"), Toggle("u0"),
            ],
            budget: Budget { change: 4, lose: 1, run: 1, ..FAULTS },
        };
    groups_renamed: 80, "the same where the target can rename groups: members stay, ids too",
        groups { renames_groups: true };
    groups_renamed_fault: 100, "the same with a full reconcile and faults",
        groups_fault { renames_groups: true };
    namesakes_renamed_fault: 80, "two groups change their names, swap them, come to have one, and part again; faults",
        TWO {
            renames_groups: true,
            groups: &[("g0", "staff"), ("g1", "crew")],
            group_names: &["staff", "crew", "guests"],
            kinds: &[GroupName("g0"), GroupName("g1"), GroupDelete("g0"), Member("u1", "g1"), Member("u0", "g0")],
            budget: Budget { change: 4, run: 1, ..FAULTS },
        };
    two_realms_renamed_fault: 80, "two connectors fill one group, and each gives its own another name; runs; faults",
        ONE {
            renames_groups: true,
            people: &[("u0", "x", &["g0"]), ("v0", "y", &["h0"])],
            groups: &[("g0", "staff"), ("h0", "crew")],
            group_names: &["staff", "crew", "guests"],
            logins: &["x", "z"],
            kinds: &[GroupName("g0"), GroupName("h0"), Member("u0", "g0"), Member("v0", "h0"), GroupDelete("h0")],
            budget: Budget { change: 4, run: 2, ..FAULTS },
        };
    joins_fault: 80, "one user comes into several groups, one by one, with faults",
        ONE {
            people: &[("u0", "x", &[])],
            groups: &[("g0", "staff"), ("g1", "crew"), ("g2", "guests")],
            kinds: &[Member("u0", "g0"), Member("u0", "g1"), Member("u0", "g2"), Toggle("u0")],
            budget: Budget { change: 4, ..FAULTS },
        };
    joins_together_fault: 80, "the same by one call, of which a part is refused",
        ONE {
            people: &[("u0", "x", &[])],
            groups: &[("g0", "staff"), ("g1", "crew"), ("g2", "guests")],
            kinds: &[Member("u0", "g0"), Member("u0", "g1"), Member("u0", "g2"), Delete("u0"), Born("u1")],
            groups_at_once: 3,
            budget: Budget { change: 4, ..FAULTS },
        };
    waves: 60, "full reconciles add users to groups by calls for many, and events of the same users come; somebody changes the target",
        WAVE { budget: Budget { change: 8, lose: 1, double: 1, run: 3, drift: 2, ..NONE } };
    waves_fault: 80, "the same with faults",
        WAVE { budget: Budget { change: 8, lose: 1, run: 3, drift: 2, timeout: 2, ..FAULTS } };
    waves_store_fault: 80, "the same, and the store fails for a while",
        WAVE { budget: Budget { change: 8, lose: 1, run: 3, drift: 2, store: 2, ..FAULTS } };
    namesakes: 80, "two groups come to have one name, and part again",
        TWO {
            groups: &[("g0", "staff"), ("g1", "crew")],
            group_names: &["staff", "crew"],
            kinds: &[
                GroupName("g0"), GroupName("g1"), GroupDelete("g0"), GroupDelete("g1"), Member("u1", "g1"),
            ],
            budget: Budget { change: 4, ..NONE },
        };
    namesakes_fault: 80, "the same with a full reconcile and faults",
        TWO {
            groups: &[("g0", "staff"), ("g1", "crew")],
            group_names: &["staff", "crew"],
            kinds: &[GroupName("g0"), GroupName("g1"), GroupDelete("g0"), Member("u1", "g1"), Member("u0", "g0")],
            budget: Budget { change: 4, run: 1, ..FAULTS },
        };
    spelling: 40, "a group's name changes its case",
        ONE {
            group_names: &["staff", "Staff"],
            kinds: &[GroupName("g0"), Member("u0", "g0"), Toggle("u0")],
            budget: Budget { change: 3, run: 1, crash: 1, ..NONE },
        };
    two_realms: 80, "two connectors fill one target, and one group of it; a full reconcile; faults",
        ONE {
            people: &[("u0", "x", &["g0"]), ("v0", "y", &["h0"])],
            groups: &[("g0", "staff"), ("h0", "staff")],
            logins: &["x", "z"],
            kinds: &[
                Toggle("u0"), Member("u0", "g0"), Toggle("v0"), Member("v0", "h0"), GroupDelete("h0"), Login("u0"),
            ],
            budget: Budget { change: 4, run: 1, ..FAULTS },
        };
    store: 150, "the store fails for a while, three times, under workers and a full reconcile",
        ONE {
            kinds: &[Toggle("u0"), Member("u0", "g0"), Born("u1"), Login("u1")],
            budget: Budget { change: 4, store: 3, run: 1, ..NONE },
        };
    store_fault: 150, "the same with other faults, groups, and logins that are swapped",
        TWO {
            group_names: &["staff", "crew"],
            kinds: &[Swap("u0", "u1"), Toggle("u0"), Member("u1", "g0"), GroupName("g0"), GroupBorn("g1"), Delete("u0")],
            budget: Budget { change: 4, store: 3, run: 1, ..FAULTS },
        };
    hidden: 150, "the target does not find an account for a while; its user is switched off and on, deleted, renamed; runs",
        TWO {
            kinds: &[Toggle("u0"), Delete("u0"), Login("u0"), Member("u0", "g0"), Toggle("u1")],
            budget: Budget { change: 4, hide: 2, run: 2, ..NONE },
        };
    hidden_fault: 150, "the same with faults",
        TWO {
            kinds: &[Toggle("u0"), Delete("u0"), Login("u0"), Member("u0", "g0"), Toggle("u1")],
            budget: Budget { change: 4, hide: 2, run: 2, store: 1, ..FAULTS },
        };
    policies: 100, "users with a drawn policy; each takes effect by events and by full reconciles",
        POLICIES { budget: Budget { change: 5, double: 1, ..NONE } };
    policies_changed: 100, "the policy changes; events are lost; full reconciles",
        POLICIES { budget: Budget { change: 4, lose: 1, run: 1, policy: 2, ..NONE } };
    policies_changed_fault: 100, "the same with faults; the target can rename groups",
        POLICIES { renames_groups: true, budget: Budget { change: 4, lose: 1, run: 1, policy: 2, timeout: 1, ..FAULTS } };
    gate: 60, "more leave than the safety limit allows in an hour; full reconciles; faults",
        ONE {
            people: &[("u0", "x", &[]), ("u1", "y", &[]), ("u2", "z", &[]), ("u3", "w", &[]), ("u4", "v", &[])],
            safety: Some(2),
            kinds: &[Toggle("u0"), Toggle("u1"), Toggle("u2"), Delete("u3"), Delete("u4")],
            budget: Budget { change: 6, run: 2, timeout: 2, ..FAULTS },
        };
}

/// Checks that one of these scenarios detects a sabotage of the store.
fn is_noticed(sabotage: Sabotage, scenarios: &[Scenario]) {
    let first = number("USERSYNC_SIM_SEED").unwrap_or(1);
    let noticed = scenarios.iter().find_map(|scenario| {
        let failure = simulate(scenario, sabotage, first, 2_000)?;
        Some((scenario.name, failure.seed, failure.wrong))
    });
    let (name, seed, wrong) = noticed.unwrap_or_else(|| panic!("nobody notices {sabotage:?}"));
    println!("{sabotage:?} is noticed by {name}, seed {seed}: {}", wrong[0]);
}

#[test]
fn sabotage_a_claim_that_does_not_wait_for_old_requests_is_noticed() {
    is_noticed(Sabotage::ClaimsDoNotWait, &[all::toggle_fault, all::swap_fault]);
}

#[test]
fn sabotage_an_absence_without_confirmation_is_noticed() {
    is_noticed(Sabotage::VerdictsStand, &[all::run_verdict]);
}

#[test]
fn sabotage_an_old_observation_that_wins_is_noticed() {
    is_noticed(Sabotage::OldObservationsWin, &[all::run_observation]);
}

#[test]
fn sabotage_no_recheck_after_an_early_event_is_noticed() {
    is_noticed(Sabotage::NoRecheck, &[all::early]);
}

#[test]
fn sabotage_a_ring_that_is_not_found_is_noticed() {
    is_noticed(Sabotage::NoRings, &[all::ring]);
}

#[test]
fn sabotage_a_claim_that_stays_when_its_ending_cannot_be_written_is_noticed() {
    is_noticed(Sabotage::ClaimsStay, &[all::store]);
}

/// Returns the steps of a simulation.
fn story(scenario: &Scenario, seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open_temporary(OpenOptions::simulation(world::BEGIN)).await.expect("a store");
        let mut simulation = Simulation::new(scenario, Sabotage::None, Arc::new(store), 1, seed);
        simulation.run().await;
        simulation.shared.world().trace.clone()
    })
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mix = Scenario { budget: Budget { change: 2, ..all::run_mix.budget }, ..all::run_mix };
    for scenario in [mix, all::waves_fault, all::policies_changed] {
        for seed in 1..=20 {
            let (one, other) = (story(&scenario, seed), story(&scenario, seed));
            let differs = one.iter().zip(&other).position(|(one, other)| one != other);
            let from = |story: &[String]| differs.map(|first| story[first.saturating_sub(5)..][..6].join("\n"));
            assert_eq!(from(&one), from(&other), "{}, seed {seed}", scenario.name);
            assert_eq!(one.len(), other.len());
        }
        assert_ne!(story(&scenario, 1), story(&scenario, 2));
    }
}

#[test]
fn the_simulated_waves_send_batches_and_are_interrupted_for_events() {
    let stories: Vec<String> = (1..=40).flat_map(|seed| story(&all::waves, seed)).collect();
    let many = stories.iter().filter(|line| line.contains("sends additions: ") && line.contains('+')).count();
    let left = stories.iter().filter(|line| line.starts_with("run ") && line.ends_with("puts it off")).count();
    assert!(many >= 5 && left >= 2, "{many} calls for many, {left} claims given back");
}
