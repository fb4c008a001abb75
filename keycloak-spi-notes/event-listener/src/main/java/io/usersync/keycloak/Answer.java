package io.usersync.keycloak;

import java.time.Duration;

/**
 * What a receiver said to a batch.
 *
 * @param status the HTTP status
 * @param retryAfter the wait that it asked for, or zero
 */
record Answer(int status, Duration retryAfter) {

    /** What follows from an answer. */
    enum Verdict {
        /** The batch is theirs now. */
        TAKEN,
        /** Something in the batch is not acceptable: send less at once, and drop what is refused alone. */
        REFUSED,
        /** Nobody wants events there at present. */
        GONE,
        /** Try the same batch again later. This includes wrong keys and addresses, which people mend. */
        LATER
    }

    Verdict verdict() {
        if (status >= 200 && status < 300) {
            return Verdict.TAKEN;
        }
        return switch (status) {
            case 400, 413, 422 -> Verdict.REFUSED;
            case 410 -> Verdict.GONE;
            default -> Verdict.LATER;
        };
    }
}
