//! Simulations: the real engine and the real store between imitations of a source and a target, under thousands of
//! interleavings of workers, runs, changes, events, crashes, late requests and time. A seed decides all of one
//! interleaving; a failure tells its seed and every step in words.
//!
//! `USERSYNC_SIM_RUNS=1000` simulates each scenario that often; `USERSYNC_SIM_SEED=17` begins with that seed, and with
//! `USERSYNC_SIM_RUNS=1` repeats exactly what it told.

#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/driver.rs"]
mod driver;
#[path = "simulation/gates.rs"]
mod gates;
#[path = "simulation/scenario.rs"]
mod scenario;
#[path = "simulation/source.rs"]
mod source;
#[path = "simulation/store.rs"]
mod store;
#[path = "simulation/target.rs"]
mod target;
#[path = "simulation/world.rs"]
mod world;

use std::{sync::Arc, time::Instant};

use driver::Simulation;
use scenario::{Budget, Kind, ONE, Scenario};
use store::Sabotage;
use usersync::store::sqlite::{OpenOptions, SqliteStore};

/// What a simulation that failed tells.
struct Failure {
    seed: u64,
    wrong: Vec<String>,
    trace: Vec<String>,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// Simulates `runs` interleavings, beginning with seed `first`, up to the first that fails.
fn simulate(scenario: &Scenario, sabotage: Sabotage, first: u64, runs: u64) -> Option<Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open_temporary(OpenOptions::simulation(world::BEGIN)).await.expect("a store");
        let store = Arc::new(store);
        for seed in first..first + runs {
            let mut simulation = Simulation::new(scenario, sabotage, Arc::clone(&store), seed, seed).await;
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

/// Simulates a scenario and fails with all that a person needs to see why.
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

#[test]
fn toggle() {
    holds(
        &Scenario {
            name: "toggle",
            what: "one user off, on, in and out of the group; doubled event; two workers",
            kinds: &[Kind::Toggle("u0"), Kind::Member("u0", "g0")],
            budget: Budget { change: 3, double: 1, ..Budget::default() },
            ..ONE
        },
        100,
    );
}
