package io.usersync.keycloak;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.function.BiFunction;
import org.keycloak.util.JsonSerialization;

/** Keeps every attempt and answers as the test says. */
final class RecordingTransport implements Transport {

    /** One attempt: where to, under which id, which events. */
    record Attempt(Destination destination, String id, List<String> events, int status, int bytes) {
    }

    final List<Attempt> attempts = new ArrayList<>();
    BiFunction<Destination, List<String>, CompletionStage<Answer>> answers = (destination, events) -> status(202);

    static CompletionStage<Answer> status(int status) {
        return CompletableFuture.completedFuture(new Answer(status, Duration.ZERO));
    }

    @Override
    public CompletionStage<Answer> post(Destination destination, Batch batch) {
        List<String> events = new ArrayList<>();
        try {
            for (JsonNode event : JsonSerialization.mapper.readTree(batch.body()).get("events")) {
                events.add(event.get("id").asText());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        CompletionStage<Answer> answer = answers.apply(destination, events);
        CompletableFuture<Answer> known = answer.toCompletableFuture();
        int status = known.isDone() && !known.isCompletedExceptionally() ? known.join().status() : 0;
        attempts.add(new Attempt(destination, batch.id(), events, status, batch.body().length));
        return answer;
    }

    /** The events that were taken, in order. */
    List<String> events() {
        return attempts.stream().filter(a -> a.status() == 202).flatMap(a -> a.events().stream()).toList();
    }
}
