package io.usersync.keycloak;

import io.usersync.keycloak.Answer.Verdict;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import org.jboss.logging.Logger;

/**
 * What waits for one destination, and how that destination fares. Only the sender's thread touches it.
 *
 * <p>At most one batch is on its way. While it is, and for a moment after it was posted, further events gather; so a
 * slow receiver gets larger batches, not more requests, and a rush does not lead to one request per event. An event
 * that comes alone is sent at once. A batch that is refused is halved until the event that is to blame stands alone;
 * each batch that is taken doubles the size again.
 */
final class Outbox {

    /** How many events a batch has at most. */
    static final int MOST_EVENTS = 200;
    /** How many bytes the events of a batch have at most; the receiver's limit is no lower than 256 KiB. */
    static final int MOST_BYTES = 255 * 1024;
    /** How long events gather after a batch of a few was posted. */
    static final Duration GATHERS = Duration.ofMillis(20);
    /** The same after a larger one: in a rush, many requests would slow Keycloak down by several percent. */
    static final Duration GATHERS_IN_A_RUSH = Duration.ofMillis(200);
    /** More events than this in one batch are a rush. */
    static final int A_FEW = 5;
    /** How long a destination that answered 410 is left alone. */
    static final Duration GONE_FOR = Duration.ofMinutes(10);

    private static final Logger LOG = Logger.getLogger(Outbox.class);
    private static final Duration BETWEEN_LINES = Duration.ofMinutes(1);

    private final Destination destination;
    private final Means means;
    private final Deque<Queued> waiting = new ArrayDeque<>();
    private final CompletableFuture<Void> closed = new CompletableFuture<>();
    private Batch batch;
    private boolean onItsWay;
    private boolean paused;
    private boolean gathering;
    private boolean closing;
    private int mostEvents = MOST_EVENTS;
    private int failures;
    private Instant nextLine = Instant.MIN;
    private boolean troubleTold;

    Outbox(Destination destination, Means means) {
        this.destination = destination;
        this.means = means;
    }

    void add(List<Queued> events) {
        waiting.addAll(events);
        send();
    }

    /** Sends what is there without waiting for better times; completes when it is sent or given up. */
    CompletableFuture<Void> close() {
        closing = true;
        paused = false;
        send();
        return closed;
    }

    /**
     * Sends the next batch if its time has come. Whatever fails in it, an Error too, ends this attempt only: an outbox
     * that believed a batch to be on its way for ever would never send again.
     */
    private void send() {
        if (onItsWay || paused || gathers()) {
            return;
        }
        try {
            dropOld();
            if (batch == null && !waiting.isEmpty()) {
                batch = nextBatch();
            }
            if (batch != null) {
                startGathering();
                post(batch);
            } else if (closing) {
                closed.complete(null);
            }
        } catch (Throwable failure) {
            onItsWay = false;
            later(failure);
        }
    }

    /** Whether what waits should wait for more; the step that {@link #startGathering} left will send it. */
    private boolean gathers() {
        return gathering
                && !closing
                && batch == null // a retry has waited long enough
                && mostEvents == MOST_EVENTS // else these are the parts of a batch that was refused
                && waiting.size() < MOST_EVENTS
                && waiting.stream().mapToLong(event -> event.json().length + 1).sum() < MOST_BYTES;
    }

    private void startGathering() {
        if (!gathering) {
            means.loop().after(batch.events().size() > A_FEW ? GATHERS_IN_A_RUSH : GATHERS, () -> {
                gathering = false;
                send();
            });
            gathering = true;
        }
    }

    private void post(Batch sent) {
        onItsWay = true;
        CompletionStage<Answer> posted = means.transport().post(destination, sent);
        posted.whenComplete((answer, failure) -> means.loop().execute(() -> settle(sent, answer, failure)));
    }

    private void settle(Batch sent, Answer answer, Throwable failure) {
        if (!onItsWay || sent != batch) {
            return; // This attempt was given up before its answer came.
        }
        onItsWay = false;
        if (failure != null) {
            later(failure);
            return;
        }
        try {
            switch (answer.verdict()) {
                case TAKEN -> taken();
                case REFUSED -> refused(answer.status());
                case GONE -> pause(GONE_FOR, "answers 410, which means that it wants no events");
                case LATER -> pause(means.backoff().after(++failures, answer.retryAfter()), "answers " + answer.status());
            }
        } catch (Throwable broken) {
            later(broken);
        }
    }

    private void later(Throwable failure) {
        Throwable cause = failure instanceof CompletionException && failure.getCause() != null
                ? failure.getCause() : failure;
        String why = cause instanceof Error ? "gets nothing because of an error in Keycloak: " : "does not answer: ";
        pause(means.backoff().after(++failures, Duration.ZERO), why + text(cause));
    }

    private void taken() {
        means.room().release(destination, batch.events().size());
        batch = null;
        failures = 0;
        mostEvents = Math.min(MOST_EVENTS, mostEvents * 2);
        if (troubleTold) {
            troubleTold = false;
            LOG.infof("usersync: %s takes events again; %d wait.", destination, waiting.size());
        }
        send();
    }

    private void refused(int status) {
        int size = batch.events().size();
        if (size == 1) {
            lose(status == 413 ? Loss.TOO_LARGE : Loss.REFUSED, 1);
            batch = null;
        } else {
            mostEvents = size / 2;
            takeBatchBack();
        }
        send();
    }

    private void pause(Duration wait, String why) {
        if (closing) {
            if (batch != null) {
                takeBatchBack();
            }
            lose(Loss.SHUTDOWN, waiting.size());
            waiting.clear();
            closed.complete(null);
            return;
        }
        // Not by the clock: if it is set back, or runs slower than the loop's timer, nothing would send again.
        means.loop().after(wait, () -> {
            paused = false;
            send();
        });
        paused = true;
        tell(wait, why);
    }

    private void tell(Duration wait, String why) {
        Instant now = means.clock().instant();
        if (now.isBefore(nextLine)) {
            return;
        }
        nextLine = now.plus(BETWEEN_LINES);
        troubleTold = true;
        LOG.warnf("usersync: %s %s. %d events wait, next attempt in %d s.",
                destination, why, (batch == null ? 0 : batch.events().size()) + waiting.size(),
                Math.max(1, wait.toSeconds()));
    }

    private void dropOld() {
        Instant oldest = means.clock().instant().minus(means.retryFor());
        if (batch != null && batch.events().get(0).since().isBefore(oldest)) {
            takeBatchBack();
        }
        int dropped = 0;
        while (batch == null && !waiting.isEmpty() && waiting.peek().since().isBefore(oldest)) {
            waiting.remove();
            dropped++;
        }
        lose(Loss.TOO_OLD, dropped);
    }

    private void lose(Loss reason, int events) {
        means.room().release(destination, events);
        means.losses().add(reason, events);
    }

    private Batch nextBatch() {
        List<Queued> events = new ArrayList<>();
        int bytes = 0;
        for (Queued event : waiting) {
            bytes += event.json().length + 1;
            if (events.size() == mostEvents || bytes > MOST_BYTES && !events.isEmpty()) {
                break;
            }
            events.add(event);
        }
        Batch next = new Batch(events);
        // Only now: without memory for the batch, its events still wait.
        events.forEach(event -> waiting.remove());
        return next;
    }

    private void takeBatchBack() {
        List<Queued> events = batch.events();
        for (int i = events.size() - 1; i >= 0; i--) {
            waiting.addFirst(events.get(i));
        }
        batch = null;
    }

    private static String text(Throwable cause) {
        String kind = cause.getClass().getSimpleName();
        return cause.getMessage() == null ? kind : kind + ", " + cause.getMessage();
    }
}
