package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.usersync.keycloak.ChangeEvent.Field;
import java.net.ConnectException;
import java.time.Clock;
import java.time.Duration;
import java.time.ZoneOffset;
import java.util.AbstractList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class SenderTest {

    private final ManualLoop loop = new ManualLoop();
    private final RecordingTransport transport = new RecordingTransport();
    private final Sender sender = loop.sender(transport, 10_000);
    private final Destination acme = Fakes.destination("https://usersync.example.org/hooks/acme");
    private final Destination beta = Fakes.destination("https://usersync.example.org/hooks/beta");

    private static List<ChangeEvent> events(int from, int count) {
        return IntStream.range(from, from + count).mapToObj(n -> ChangeEvent.admin("e" + n, n)).toList();
    }

    private static List<String> ids(int from, int count) {
        return IntStream.range(from, from + count).mapToObj(n -> "e" + n).toList();
    }

    private void answer(int status) {
        transport.answers = (destination, events) -> RecordingTransport.status(status);
    }

    @Test
    void sendsInOrderInBatchesOfAtMostTwoHundred() {
        sender.offer(acme, events(0, 450));
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(ids(0, 450), transport.events());
        assertEquals(List.of(200, 200, 50), transport.attempts.stream().map(a -> a.events().size()).toList());
        assertEquals(0, sender.waiting());
    }

    @Test
    void aBatchIsSmallerThan256Kibibytes() {
        String path = "x".repeat(10_000);
        sender.offer(acme, events(0, 60).stream().map(e -> e.with(Field.RESOURCE_PATH, path)).toList());
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(60, transport.events().size());
        assertTrue(transport.attempts.stream().allMatch(a -> a.bytes() < 256 * 1024));
        assertEquals(3, transport.attempts.size());
    }

    @Test
    void anEventThatIsTooLargeForAnyBatchIsTriedAlone() {
        sender.offer(acme, List.of(ChangeEvent.admin("e0", 0).with(Field.RESOURCE_PATH, "x".repeat(300_000))));
        loop.run();
        assertEquals(ids(0, 1), transport.events());
    }

    @Test
    void oneBatchIsOnItsWayAtATimeAndOthersGatherMeanwhile() {
        CompletableFuture<Answer> slow = new CompletableFuture<>();
        transport.answers = (destination, events) -> slow;
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 1));
        sender.offer(acme, events(2, 1));
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(1, transport.attempts.size());
        answer(202);
        slow.complete(new Answer(202, Duration.ZERO));
        loop.run();
        assertEquals(ids(1, 2), transport.attempts.get(1).events());
    }

    @Test
    void anEventThatComesAloneIsSentAtOnce() {
        sender.offer(acme, events(0, 1));
        loop.run();
        assertEquals(ids(0, 1), transport.events());
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        sender.offer(acme, events(1, 1));
        loop.run();
        assertEquals(ids(0, 2), transport.events());
    }

    @Test
    void whatComesSoonAfterABatchGoesOutTogether() {
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 1));
        loop.pass(Duration.ofMillis(10));
        sender.offer(acme, events(2, 2));
        loop.pass(Outbox.GATHERS.minusMillis(11));
        assertEquals(ids(0, 1), transport.events());
        loop.pass(Duration.ofMillis(1));
        assertEquals(ids(1, 3), transport.attempts.get(1).events());
        sender.offer(acme, events(4, 1));
        loop.pass(Outbox.GATHERS.minusMillis(1));
        assertEquals(2, transport.attempts.size());
        loop.pass(Duration.ofMillis(1));
        assertEquals(ids(0, 5), transport.events());
        assertEquals(0, sender.waiting());
    }

    @Test
    void aRushLeadsToFewRequests() {
        for (int n = 0; n < 1_000; n++) {
            sender.offer(acme, events(n, 1));
            loop.pass(Duration.ofMillis(1));
        }
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(ids(0, 1_000), transport.events());
        assertTrue(transport.attempts.size() <= 20, () -> transport.attempts.size() + " requests");
    }

    @Test
    void oneDestinationsRushDoesNotHoldUpAnother() {
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 1));
        sender.offer(beta, events(2, 1));
        loop.run();
        assertEquals(List.of("e0", "e2"), transport.events());
    }

    @Test
    void aFullBatchDoesNotWait() {
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 199));
        loop.run();
        assertEquals(ids(0, 1), transport.events());
        sender.offer(acme, events(200, 1));
        loop.run();
        assertEquals(ids(0, 201), transport.events());
        String path = "x".repeat(Outbox.MOST_BYTES / 2);
        sender.offer(acme, List.of(ChangeEvent.admin("e201", 201).with(Field.RESOURCE_PATH, path)));
        loop.run();
        assertEquals(ids(0, 201), transport.events());
        sender.offer(acme, List.of(ChangeEvent.admin("e202", 202).with(Field.RESOURCE_PATH, path)));
        loop.run();
        assertEquals(ids(0, 202), transport.events());
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(ids(0, 203), transport.events());
    }

    @Test
    void thePartsOfARefusedBatchDoNotWait() {
        transport.answers = (destination, events) -> RecordingTransport.status(events.size() > 1 ? 413 : 202);
        sender.offer(acme, events(0, 5));
        loop.run();
        assertEquals(ids(0, 5), transport.events());
    }

    @Test
    void whatGathersIsSentAtOnceAtShutdown() {
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 3));
        loop.run();
        assertEquals(ids(0, 1), transport.events());
        CompletableFuture<Void> drained = sender.drain();
        loop.run();
        assertTrue(drained.isDone());
        assertEquals(ids(1, 3), transport.attempts.get(1).events());
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(2, transport.attempts.size());
        assertEquals(0, sender.losses().total());
    }

    @Test
    void aClockThatStandsStillHoldsNothingUp() {
        Sender one = new Sender(new Means(transport, loop, Clock.fixed(loop.instant(), ZoneOffset.UTC),
                new Backoff(() -> 0.5), new Room(10), new Losses(loop, loop), Duration.ofHours(1)));
        answer(503);
        one.offer(acme, events(0, 1));
        loop.run();
        answer(202);
        one.offer(acme, events(1, 1));
        loop.pass(Duration.ofSeconds(1).plus(Outbox.GATHERS_IN_A_RUSH));
        assertEquals(ids(0, 2), transport.events());
    }

    @Test
    void retriesWithGrowingWaitsUnderTheSameId() {
        answer(503);
        sender.offer(acme, events(0, 2));
        loop.pass(Duration.ofSeconds(8));
        assertEquals(4, transport.attempts.size(), "at once, after 1, 3 and 7 seconds");
        answer(202);
        loop.pass(Duration.ofSeconds(8));
        assertEquals(ids(0, 2), transport.events());
        assertEquals(1, transport.attempts.stream().map(a -> a.id()).distinct().count());
    }

    @Test
    void retriesWhenThereIsNoAnswerAtAll() {
        transport.answers = (destination, events) -> CompletableFuture.failedFuture(new ConnectException());
        sender.offer(acme, events(0, 1));
        loop.run();
        transport.answers = (destination, events) -> {
            throw new IllegalStateException("no route");
        };
        loop.pass(Duration.ofSeconds(1));
        answer(202);
        loop.pass(Duration.ofSeconds(2));
        assertEquals(ids(0, 1), transport.events());
    }

    /** What a virtual machine in trouble throws in the middle of anything. */
    private static List<Throwable> troubles() {
        return List.of(new OutOfMemoryError("a test"), new NoClassDefFoundError("a test"), new StackOverflowError(),
                new AssertionError("a test"), new IllegalStateException("a test"));
    }

    private static <T> T fail(Throwable trouble) {
        if (trouble instanceof Error error) {
            throw error;
        }
        throw (RuntimeException) trouble;
    }

    @Test
    void anErrorInSendingEndsTheAttemptAndNotTheDestination() {
        List<Function<Throwable, CompletionStage<Answer>>> ways = List.of(
                SenderTest::fail,
                CompletableFuture::failedFuture,
                trouble -> null,
                trouble -> CompletableFuture.completedFuture(null),
                trouble -> CompletableFuture.completedFuture("x").thenApply(x -> fail(trouble)));
        for (Throwable trouble : troubles()) {
            for (var way : ways) {
                RecordingTransport receiver = new RecordingTransport();
                Sender one = loop.sender((destination, batch) ->
                        receiver.attempts.isEmpty() && receiver.post(destination, batch) != null
                                ? way.apply(trouble) : receiver.post(destination, batch), 10);
                one.offer(acme, events(0, 2));
                loop.run();
                assertEquals(1, receiver.attempts.size());
                loop.pass(Duration.ofSeconds(1));
                assertEquals(2, receiver.attempts.size(), () -> "tried again after " + trouble);
                assertEquals(0, one.waiting());
                assertEquals(0, one.losses().total());
            }
        }
    }

    @Test
    void anErrorOfTheTimerEndsTheAttemptAndNotTheDestination() {
        for (Throwable trouble : troubles()) {
            Loop timer = new Loop() {
                private int asked;

                @Override
                public void execute(Runnable step) {
                    loop.execute(step);
                }

                @Override
                public void after(Duration wait, Runnable step) {
                    if (asked++ == 0) {
                        fail(trouble);
                    }
                    loop.after(wait, step);
                }
            };
            RecordingTransport receiver = new RecordingTransport();
            Sender one = new Sender(new Means(receiver, timer, loop, new Backoff(() -> 0.5), new Room(10),
                    new Losses(loop, loop), Duration.ofHours(1)));
            one.offer(acme, events(0, 1));
            loop.pass(Duration.ofSeconds(1));
            assertEquals(ids(0, 1), receiver.events());
            one.offer(acme, events(1, 1));
            loop.pass(Duration.ofSeconds(1));
            assertEquals(ids(0, 2), receiver.events());
        }
    }

    @Test
    void anAnswerToAnAttemptThatWasGivenUpIsNotTakenForTheNext() {
        CompletableFuture<Answer> late = new CompletableFuture<>();
        transport.answers = (destination, events) -> new CompletableFuture<>() {
            @Override
            public CompletableFuture<Answer> whenComplete(BiConsumer<? super Answer, ? super Throwable> then) {
                late.whenComplete(then);
                throw new OutOfMemoryError("a test");
            }
        };
        sender.offer(acme, events(0, 1));
        loop.run();
        answer(202);
        loop.pass(Duration.ofSeconds(1));
        late.complete(new Answer(202, Duration.ZERO));
        loop.pass(Duration.ofSeconds(1));
        assertEquals(ids(0, 1), transport.events());
        assertEquals(0, sender.waiting());
    }

    @Test
    void anErrorInQueueingIsCountedAndGivesItsRoomBack() {
        List<ChangeEvent> events = new AbstractList<>() {
            @Override
            public ChangeEvent get(int at) {
                return at == 0 ? ChangeEvent.admin("e0", 0) : fail(new OutOfMemoryError("a test"));
            }

            @Override
            public int size() {
                return 2;
            }
        };
        sender.offer(acme, events);
        assertThrows(OutOfMemoryError.class, loop::run);
        loop.run();
        assertEquals(ids(0, 1), transport.events());
        assertEquals(0, sender.waiting());
        assertEquals(1, sender.losses().total());
    }

    @Test
    void newEventsDoNotCutTheWaitShort() {
        answer(503);
        sender.offer(acme, events(0, 1));
        loop.run();
        sender.offer(acme, events(1, 1));
        loop.run();
        assertEquals(1, transport.attempts.size());
    }

    @Test
    void honoursRetryAfter() {
        transport.answers = (destination, events) ->
                CompletableFuture.completedFuture(new Answer(429, Duration.ofSeconds(30)));
        sender.offer(acme, events(0, 1));
        loop.pass(Duration.ofSeconds(29));
        assertEquals(1, transport.attempts.size());
        loop.pass(Duration.ofSeconds(1));
        assertEquals(2, transport.attempts.size());
    }

    @Test
    void afterA410ADestinationIsTriedEveryTenMinutes() {
        answer(410);
        sender.offer(acme, events(0, 1));
        loop.pass(Duration.ofSeconds(599));
        sender.offer(acme, events(1, 1));
        loop.run();
        assertEquals(1, transport.attempts.size());
        loop.pass(Duration.ofSeconds(1));
        assertEquals(2, transport.attempts.size());
        answer(202);
        loop.pass(Duration.ofMinutes(10));
        assertEquals(ids(0, 1), transport.events());
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(ids(0, 2), transport.events());
    }

    @Test
    void aBatchThatIsTooLargeIsHalvedAndLaterGrowsAgain() {
        transport.answers = (destination, events) -> RecordingTransport.status(events.size() > 30 ? 413 : 202);
        sender.offer(acme, events(0, 100));
        loop.run();
        assertEquals(ids(0, 100), transport.events());
        assertEquals(List.of(100, 50, 25), transport.attempts.stream().limit(3).map(a -> a.events().size()).toList());
        answer(202);
        sender.offer(acme, events(100, 400));
        loop.pass(Outbox.GATHERS_IN_A_RUSH);
        assertEquals(ids(0, 500), transport.events());
        assertTrue(transport.attempts.stream().anyMatch(a -> a.events().size() == 200));
        assertEquals(0, sender.losses().total());
    }

    @Test
    void oneEventThatIsRefusedIsDroppedAndTheOthersArrive() {
        for (int status : new int[] {400, 413, 422}) {
            RecordingTransport receiver = new RecordingTransport();
            receiver.answers = (destination, events) ->
                    RecordingTransport.status(events.contains("e37") ? status : 202);
            Sender one = loop.sender(receiver, 10_000);
            one.offer(acme, events(0, 100));
            loop.run();
            List<String> wanted = ids(0, 100).stream().filter(id -> !id.equals("e37")).toList();
            assertEquals(wanted, receiver.events());
            assertEquals(1, one.losses().total());
            assertEquals(0, one.waiting());
        }
    }

    @Test
    void aWrongKeyOrAddressIsWaitedForAsPeopleMendIt() {
        for (int status : new int[] {301, 401, 403, 404, 405, 500}) {
            assertEquals(Answer.Verdict.LATER, new Answer(status, Duration.ZERO).verdict());
        }
    }

    @Test
    void aDeadDestinationDoesNotHoldUpAnother() {
        transport.answers = (destination, events) ->
                destination.equals(acme) ? new CompletableFuture<>() : RecordingTransport.status(202);
        sender.offer(acme, events(0, 10));
        sender.offer(beta, events(10, 10));
        loop.run();
        assertEquals(ids(10, 10), transport.events());
    }

    @Test
    void aDeadDestinationLeavesRoomForOthersAndTheQueueIsBounded() {
        answer(503);
        for (int n = 0; n < 300; n++) {
            sender.offer(acme, events(n * 100, 100));
        }
        loop.run();
        assertEquals(8_000, sender.waiting());
        assertEquals(22_000, sender.losses().total());
        sender.offer(beta, events(0, 1_000));
        loop.run();
        assertEquals(9_000, sender.waiting());
        for (int n = 0; n < 300; n++) {
            sender.offer(beta, events(n * 100, 100));
        }
        assertTrue(sender.waiting() < 10_000);
    }

    @Test
    void whatIsTooOldIsDropped() {
        answer(503);
        sender.offer(acme, events(0, 3));
        loop.pass(Duration.ofMinutes(50));
        sender.offer(acme, events(3, 2));
        loop.pass(Duration.ofMinutes(20));
        assertEquals(3, sender.losses().total());
        answer(202);
        loop.pass(Duration.ofMinutes(6));
        assertEquals(ids(3, 2), transport.events());
        assertEquals(0, sender.waiting());
    }

    @Test
    void atShutdownWhatWaitsIsTriedOnceMoreWithoutWaiting() {
        answer(503);
        sender.offer(acme, events(0, 2));
        sender.offer(beta, events(2, 1));
        loop.pass(Duration.ofSeconds(2));
        transport.answers = (destination, events) -> RecordingTransport.status(destination.equals(acme) ? 202 : 503);
        CompletableFuture<Void> drained = sender.drain();
        assertFalse(drained.isDone());
        loop.run();
        assertTrue(drained.isDone());
        assertEquals(ids(0, 2), transport.events());
        assertEquals(1, sender.losses().total());
        assertEquals(0, sender.waiting());
    }

    @Test
    void shutdownDoesNotWaitForever() {
        transport.answers = (destination, events) -> new CompletableFuture<>();
        sender.offer(acme, events(0, 2));
        loop.run();
        sender.close(Duration.ofMillis(1));
        assertEquals(2, sender.losses().total());
    }

    @Test
    void everyEventHasItsOwnPlaceInOneBatchOnly() {
        transport.answers = (destination, events) -> RecordingTransport.status(events.size() > 7 ? 413 : 202);
        sender.offer(acme, events(0, 500));
        loop.run();
        Set<String> once = transport.events().stream().collect(Collectors.toSet());
        assertEquals(500, once.size());
        assertEquals(500, transport.events().size());
    }

    @Test
    void lossesAreWrittenOnceAMinuteAtMost() {
        Losses losses = new Losses(loop, loop);
        LogLines lines = LogLines.of(Losses.class);
        losses.add(Loss.QUEUE_FULL, 3);
        loop.run();
        losses.add(Loss.QUEUE_FULL, 1);
        losses.add(Loss.TOO_LARGE, 1);
        loop.pass(Duration.ofSeconds(59));
        assertEquals(1, lines.size());
        loop.pass(Duration.ofSeconds(1));
        assertEquals(2, lines.size());
        assertTrue(lines.last().contains("dropped 2 events (1 because the queue was full, 1 because the receiver found"
                + " even one event too large), 5 since Keycloak started"), lines::last);
        loop.pass(Duration.ofHours(1));
        assertEquals(2, lines.size());
    }
}
