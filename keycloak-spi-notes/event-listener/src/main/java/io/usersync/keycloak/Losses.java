package io.usersync.keycloak;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.EnumMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.jboss.logging.Logger;

/** Counts what was dropped, and says so in at most one line a minute. */
final class Losses {

    private static final Logger LOG = Logger.getLogger(Losses.class);
    private static final Duration BETWEEN_LINES = Duration.ofMinutes(1);

    private final Clock clock;
    private final Loop loop;
    private final Map<Loss, Long> sinceLastLine = new EnumMap<>(Loss.class);
    private Instant nextLine = Instant.MIN;
    private boolean lineIsDue;
    private long total;

    Losses(Clock clock, Loop loop) {
        this.clock = clock;
        this.loop = loop;
    }

    synchronized void add(Loss reason, int events) {
        if (events == 0) {
            return;
        }
        total += events;
        sinceLastLine.merge(reason, (long) events, Long::sum);
        if (!lineIsDue) {
            lineIsDue = true;
            Duration wait = Duration.between(clock.instant(), nextLine);
            loop.after(wait.isNegative() ? Duration.ZERO : wait, this::report);
        }
    }

    synchronized long total() {
        return total;
    }

    /** Writes the line now, if there is anything to say. */
    synchronized void report() {
        lineIsDue = false;
        if (sinceLastLine.isEmpty()) {
            return;
        }
        nextLine = clock.instant().plus(BETWEEN_LINES);
        LOG.warnf("usersync: dropped %d events (%s), %d since Keycloak started."
                        + " Polling and the next full reconcile of usersync find these changes.",
                sinceLastLine.values().stream().mapToLong(Long::longValue).sum(),
                sinceLastLine.entrySet().stream()
                        .map(loss -> loss.getValue() + " because " + loss.getKey())
                        .collect(Collectors.joining(", ")),
                total);
        sinceLastLine.clear();
    }
}
