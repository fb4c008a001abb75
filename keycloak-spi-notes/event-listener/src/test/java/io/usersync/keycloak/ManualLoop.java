package io.usersync.keycloak;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.PriorityQueue;
import java.util.Queue;

/** A loop and its clock, driven by the test. */
final class ManualLoop extends Clock implements Loop {

    private record Later(Instant at, Runnable step) {
    }

    private final Queue<Runnable> steps = new ArrayDeque<>();
    private final PriorityQueue<Later> later = new PriorityQueue<>(Comparator.comparing(Later::at));
    private Instant now = Instant.parse("2026-11-23T10:00:00Z");

    /** A sender with a backoff without chance, whose events are kept for an hour. */
    Sender sender(Transport transport, int capacity) {
        return new Sender(new Means(transport, this, this, new Backoff(() -> 0.5), new Room(capacity),
                new Losses(this, this), Duration.ofHours(1)));
    }

    /** Does all that is due. */
    void run() {
        pass(Duration.ZERO);
    }

    /** Lets time pass, doing what falls due when it does. */
    void pass(Duration time) {
        Instant end = now.plus(time);
        while (true) {
            while (!steps.isEmpty()) {
                steps.remove().run();
            }
            if (later.isEmpty() || later.peek().at().isAfter(end)) {
                break;
            }
            Later next = later.remove();
            now = next.at().isAfter(now) ? next.at() : now;
            next.step().run();
        }
        now = end;
    }

    @Override
    public void execute(Runnable step) {
        steps.add(step);
    }

    @Override
    public void after(Duration wait, Runnable step) {
        later.add(new Later(now.plus(wait), step));
    }

    @Override
    public Instant instant() {
        return now;
    }

    @Override
    public ZoneId getZone() {
        return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
        return this;
    }
}
