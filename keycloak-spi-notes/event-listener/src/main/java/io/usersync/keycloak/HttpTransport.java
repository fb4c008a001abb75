package io.usersync.keycloak;

import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Clock;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/**
 * Posts batches, signed by Standard Webhooks.
 *
 * <p>Redirects are not followed: a signed message goes to the address that was allowed and nowhere else.
 */
final class HttpTransport implements Transport {

    private final HttpClient client;
    private final Duration timeout;
    private final Clock clock;

    HttpTransport(Duration connectTimeout, Duration timeout, Clock clock) {
        this.client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(connectTimeout)
                .build();
        this.timeout = timeout;
        this.clock = clock;
    }

    @Override
    public CompletionStage<Answer> post(Destination destination, Batch batch) {
        long second = clock.instant().getEpochSecond();
        HttpRequest request = HttpRequest.newBuilder(destination.address())
                .timeout(timeout)
                .header("Content-Type", "application/json")
                .header("User-Agent", "usersync-event-listener")
                .header("webhook-id", batch.id())
                .header("webhook-timestamp", Long.toString(second))
                .header("webhook-signature", destination.key().sign(batch.id(), second, batch.body()))
                .POST(BodyPublishers.ofByteArray(batch.body()))
                .build();
        CompletableFuture<HttpResponse<Void>> exchange = client.sendAsync(request, BodyHandlers.discarding());
        // The request's own time-out ends with the headers; this one also ends an answer whose body never does.
        return exchange.copy().orTimeout(timeout.toMillis(), TimeUnit.MILLISECONDS)
                .whenComplete((response, failure) -> exchange.cancel(true))
                .thenApply(this::answer);
    }

    private Answer answer(HttpResponse<Void> response) {
        Duration wait = response.headers().firstValue("Retry-After")
                .map(header -> RetryAfter.parse(header, clock.instant()))
                .orElse(Duration.ZERO);
        return new Answer(response.statusCode(), wait);
    }
}
