package io.usersync.keycloak;

import java.time.Instant;

/**
 * An event that waits to be sent.
 *
 * @param json the event as it is sent
 * @param since when it was queued
 */
record Queued(byte[] json, Instant since) {
}
