package io.usersync.keycloak;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Sends events from one thread of its own, so that no Keycloak request ever waits for usersync.
 *
 * <p>Each destination has an {@link Outbox}; posting does not block the thread, so a destination that is slow or dead
 * holds up no other.
 */
final class Sender {

    private final Means means;
    private final Map<Destination, Outbox> outboxes = new HashMap<>();

    Sender(Means means) {
        this.means = means;
    }

    /** How many events may wait at most. */
    int capacity() {
        return means.room().capacity();
    }

    /** How many events wait now. */
    int waiting() {
        return means.room().total();
    }

    Losses losses() {
        return means.losses();
    }

    /** Queues as many of these events as there is room for, counts the others, and returns at once. */
    void offer(Destination destination, List<ChangeEvent> events) {
        int granted = means.room().take(destination, events.size());
        losses().add(Loss.QUEUE_FULL, events.size() - granted);
        if (granted > 0) {
            Instant now = means.clock().instant();
            means.loop().execute(() -> queue(destination, events.subList(0, granted), now));
        }
    }

    /** Whatever fails here, an Error too, what it took with it is counted and gives its room back. */
    private void queue(Destination destination, List<ChangeEvent> events, Instant now) {
        List<Queued> queued = new ArrayList<>();
        try {
            for (ChangeEvent event : events) {
                queued.add(new Queued(event.toJson(), now));
            }
        } finally {
            int lost = events.size() - queued.size();
            means.room().release(destination, lost);
            losses().add(Loss.FAILED, lost);
            outboxOf(destination).add(queued);
        }
    }

    /** Sends what waits, each destination being tried once more; what could not be sent in time is counted. */
    void close(Duration patience) {
        try {
            drain().get(patience.toMillis(), TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (ExecutionException e) {
            throw new IllegalStateException(e);
        } catch (TimeoutException e) {
            losses().add(Loss.SHUTDOWN, waiting());
        }
        losses().report();
    }

    /** The part of {@link #close} that does not wait. */
    CompletableFuture<Void> drain() {
        CompletableFuture<Void> drained = new CompletableFuture<>();
        means.loop().execute(() -> CompletableFuture
                .allOf(outboxes.values().stream().map(Outbox::close).toArray(CompletableFuture<?>[]::new))
                .thenRun(() -> drained.complete(null)));
        return drained;
    }

    private Outbox outboxOf(Destination destination) {
        return outboxes.computeIfAbsent(destination, d -> new Outbox(d, means));
    }
}
