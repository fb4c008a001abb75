//! Tests on a real Keycloak, some with a real LDAP server. `scripts/test` starts a Keycloak, names it in
//! `USERSYNC_TEST_KEYCLOAK_URL`, and runs one module at a time, as `end_to_end` measures latencies. Without it, the tests
//! that need it print `NOT RUN`, and the others run on the simulated Keycloak and on recorded events.

mod contract_keycloak;
mod end_to_end;
mod federation;
mod keycloak_captures;
mod keycloak_real;
mod scim;
mod support;
