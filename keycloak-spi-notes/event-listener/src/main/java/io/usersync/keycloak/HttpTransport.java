package io.usersync.keycloak;

import java.net.ConnectException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.time.Clock;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;

/**
 * Posts batches, signed by Standard Webhooks.
 *
 * <p>Redirects are not followed: a signed message goes to the address that was allowed and nowhere else.
 */
final class HttpTransport implements Transport {

    private final Supplier<HttpClient> clients;
    private final Duration timeout;
    private final Clock clock;
    private final AtomicReference<HttpClient> current = new AtomicReference<>();

    HttpTransport(Duration connectTimeout, Duration timeout, Clock clock) {
        this(() -> HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(connectTimeout)
                .build(), timeout, clock);
    }

    HttpTransport(Supplier<HttpClient> clients, Duration timeout, Clock clock) {
        this.clients = clients;
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
        HttpClient client = current.updateAndGet(present -> present == null ? clients.get() : present);
        CompletableFuture<HttpResponse<Void>> exchange;
        try {
            exchange = client.sendAsync(request, BodyHandlers.discarding());
        } catch (Throwable broken) {
            current.compareAndSet(client, null);
            throw broken;
        }
        // The request's own time-out ends with the headers; this one also ends an answer whose body never does.
        return exchange.copy().orTimeout(timeout.toMillis(), TimeUnit.MILLISECONDS)
                .whenComplete((response, failure) -> {
                    exchange.cancel(true);
                    if (failure != null && !isOfTheReceiver(failure)) {
                        current.compareAndSet(client, null);
                    }
                })
                .thenApply(this::answer);
    }

    /**
     * Whether a failure says something of the receiver alone. After any other the next attempt has a client of its own:
     * one whose inner thread has died of an Error fails for ever, and says so in no other way.
     */
    private static boolean isOfTheReceiver(Throwable failure) {
        Throwable cause = failure instanceof CompletionException && failure.getCause() != null
                ? failure.getCause() : failure;
        return cause instanceof ConnectException || cause instanceof HttpTimeoutException;
    }

    private Answer answer(HttpResponse<Void> response) {
        Duration wait = response.headers().firstValue("Retry-After")
                .map(header -> RetryAfter.parse(header, clock.instant()))
                .orElse(Duration.ZERO);
        return new Answer(response.statusCode(), wait);
    }
}
