package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;

class BackoffTest {

    private final Backoff middle = new Backoff(() -> 0.5);

    @Test
    void doublesFromOneSecondToFiveMinutes() {
        assertEquals(Duration.ofSeconds(1), middle.after(1, Duration.ZERO));
        assertEquals(Duration.ofSeconds(2), middle.after(2, Duration.ZERO));
        assertEquals(Duration.ofSeconds(256), middle.after(9, Duration.ZERO));
        assertEquals(Duration.ofSeconds(300), middle.after(10, Duration.ZERO));
        assertEquals(Duration.ofSeconds(300), middle.after(1_000_000, Duration.ZERO));
    }

    @Test
    void variesByAFifth() {
        assertEquals(Duration.ofMillis(800), new Backoff(() -> 0).after(1, Duration.ZERO));
        assertEquals(Duration.ofMillis(1200), new Backoff(() -> 1).after(1, Duration.ZERO));
    }

    @Test
    void waitsAsLongAsAskedForUpToAnHour() {
        assertEquals(Duration.ofSeconds(40), middle.after(1, Duration.ofSeconds(40)));
        assertEquals(Duration.ofHours(1), middle.after(1, Duration.ofDays(9)));
        assertEquals(Duration.ofSeconds(4), middle.after(3, Duration.ofSeconds(2)));
    }

    @Test
    void readsRetryAfterInBothForms() {
        Instant now = Instant.parse("2026-11-23T10:00:00Z");
        assertEquals(Duration.ofSeconds(120), RetryAfter.parse(" 120 ", now));
        assertEquals(Duration.ofSeconds(90), RetryAfter.parse("Mon, 23 Nov 2026 10:01:30 GMT", now));
        assertEquals(Duration.ZERO, RetryAfter.parse("Mon, 23 Nov 2026 09:00:00 GMT", now));
        assertEquals(Duration.ZERO, RetryAfter.parse("soon", now));
        assertEquals(Duration.ZERO, RetryAfter.parse("-5", now));
    }
}
