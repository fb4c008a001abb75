//! In-memory imitations of Keycloak and Jira over HTTP, for `usersync demo` and for tests.
