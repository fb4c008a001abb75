package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class ThreadLoopTest {

    @Test
    void aStepThatThrowsAnErrorIsLoggedAndTheNextOneRuns() throws Exception {
        LogLines lines = LogLines.of(ThreadLoop.class);
        try (ThreadLoop loop = new ThreadLoop()) {
            for (Error trouble : new Error[] {new OutOfMemoryError("a test"), new StackOverflowError(), new AssertionError()}) {
                int before = lines.size();
                loop.execute(() -> {
                    throw trouble;
                });
                loop.after(Duration.ZERO, () -> {
                    throw trouble;
                });
                CompletableFuture<Boolean> next = new CompletableFuture<>();
                loop.after(Duration.ofMillis(1), () -> next.complete(true));
                assertTrue(next.get(10, TimeUnit.SECONDS));
                assertEquals(before + 2, lines.size());
            }
        }
    }
}
