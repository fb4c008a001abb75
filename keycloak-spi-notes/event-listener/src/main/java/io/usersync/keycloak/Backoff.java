package io.usersync.keycloak;

import java.time.Duration;
import java.util.function.DoubleSupplier;

/** How long to wait after a failure: one second, doubled each time, at most five minutes, a fifth more or less. */
final class Backoff {

    private static final Duration FIRST = Duration.ofSeconds(1);
    private static final Duration LONGEST = Duration.ofMinutes(5);
    private static final Duration LONGEST_ASKED_FOR = Duration.ofHours(1);
    private static final int DOUBLINGS = 9;

    private final DoubleSupplier random;

    /**
     * Makes a backoff.
     *
     * @param random numbers from 0 to 1, so that many servers do not come back in the same instant
     */
    Backoff(DoubleSupplier random) {
        this.random = random;
    }

    /** The wait after this many failures in a row, or what the receiver asked for if that is longer. */
    Duration after(int failures, Duration askedFor) {
        long doubled = FIRST.toMillis() << Math.min(failures - 1, DOUBLINGS);
        long bounded = Math.min(doubled, LONGEST.toMillis());
        Duration own = Duration.ofMillis(Math.round(bounded * (0.8 + 0.4 * random.getAsDouble())));
        Duration asked = askedFor.compareTo(LONGEST_ASKED_FOR) > 0 ? LONGEST_ASKED_FOR : askedFor;
        return own.compareTo(asked) > 0 ? own : asked;
    }
}
