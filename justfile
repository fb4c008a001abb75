# The ten things one does here; CONTRIBUTING.md says how long each takes.

_default:
    @just --list

# Formatting, lints and dependencies
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --no-default-features -- -D warnings
    cargo deny check bans licenses sources

# All tests that need no server
test *ARGS:
    cargo test --workspace {{ARGS}}

# Policy and plan only
test-core:
    cargo test -p usersync-core

# Everything, with real Keycloaks: what has to pass before a change lands
test-real *MODE:
    scripts/test {{MODE}}

# One seeded interleaving of the simulations
sim SEED *NAME:
    USERSYNC_SIM_SEED={{SEED}} USERSYNC_SIM_RUNS=1 cargo test --test simulation -- --nocapture {{NAME}}

# The whole product on simulated servers
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# One benchmark, as `just bench scim_first_run`
bench NAME:
    cargo bench --bench {{NAME}}

# The documentation of all crates
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# A real Keycloak with the listener on a port
keycloak VERSION PORT FOLDER:
    scripts/keycloak start {{VERSION}} {{PORT}} {{FOLDER}}

# What an operator downloads, in dist/
release:
    scripts/release
