package io.usersync.keycloak;

import java.time.Clock;
import java.time.Duration;

/**
 * What the outboxes of one sender share.
 *
 * @param transport takes a batch to its destination
 * @param loop the sender's thread
 * @param clock the time
 * @param backoff how long to wait after a failure
 * @param room how many events may wait
 * @param losses counts what is dropped
 * @param retryFor how old an event may get before it is dropped
 */
record Means(
        Transport transport, Loop loop, Clock clock, Backoff backoff, Room room, Losses losses, Duration retryFor) {
}
