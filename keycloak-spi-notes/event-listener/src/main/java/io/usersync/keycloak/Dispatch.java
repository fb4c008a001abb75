package io.usersync.keycloak;

/**
 * The way out of Keycloak, shared by all sessions.
 *
 * @param router knows where a realm's events go
 * @param sender takes them there
 */
record Dispatch(Router router, Sender sender) {
}
