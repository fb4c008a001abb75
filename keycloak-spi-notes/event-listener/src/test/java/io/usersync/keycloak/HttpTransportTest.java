package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class HttpTransportTest {

    private static final Instant NOW = Instant.parse("2026-11-23T10:00:00Z");

    private final HttpTransport patient = transport(Duration.ofMinutes(1));
    private final HttpTransport impatient = transport(Duration.ofMillis(50));
    private final Batch batch = new Batch(List.of(
            new Queued("{\"id\":\"e1\"}".getBytes(StandardCharsets.UTF_8), NOW),
            new Queued("{\"id\":\"e2\"}".getBytes(StandardCharsets.UTF_8), NOW)));
    private final CountDownLatch never = new CountDownLatch(1);
    private HttpServer server;
    private Headers headers;
    private String body;

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            headers = exchange.getRequestHeaders();
            body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
            String path = exchange.getRequestURI().getPath();
            if (path.equals("/silent")) {
                await();
            }
            if (path.equals("/endless")) {
                exchange.sendResponseHeaders(202, 0);
                exchange.getResponseBody().write(1);
                exchange.getResponseBody().flush();
                await();
            }
            exchange.getResponseHeaders().add("Retry-After", "7");
            exchange.getResponseHeaders().add("Location", "/elsewhere");
            exchange.sendResponseHeaders(path.equals("/moved") ? 307 : 202, -1);
            exchange.close();
        });
        server.start();
    }

    private void await() {
        try {
            never.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @AfterEach
    void stop() {
        never.countDown();
        server.stop(0);
    }

    private static HttpTransport transport(Duration timeout) {
        return new HttpTransport(Duration.ofMinutes(1), timeout, Clock.fixed(NOW, ZoneOffset.UTC));
    }

    private Answer post(HttpTransport transport, String path) {
        Destination destination = new Destination(
                URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path), Fakes.key("acme", "acme"));
        return transport.post(destination, batch).toCompletableFuture().join();
    }

    @Test
    void postsASignedBatch() {
        Answer answer = post(patient, "/hooks/acme");
        assertEquals(new Answer(202, Duration.ofSeconds(7)), answer);
        assertEquals("{\"events\":[{\"id\":\"e1\"},{\"id\":\"e2\"}]}", body);
        assertEquals("application/json", headers.getFirst("Content-Type"));
        assertEquals(batch.id(), headers.getFirst("webhook-id"));
        assertTrue(batch.id().matches("msg_[0-9a-f]{32}"));
        assertEquals(Long.toString(NOW.getEpochSecond()), headers.getFirst("webhook-timestamp"));
        assertEquals(Fakes.SECRET.sign(batch.id(), NOW.getEpochSecond(), body.getBytes(StandardCharsets.UTF_8)),
                headers.getFirst("webhook-signature"));
    }

    @Test
    void doesNotFollowRedirects() {
        assertEquals(307, post(patient, "/moved").status());
    }

    @Test
    void doesNotWaitForAReceiverThatNeverAnswers() {
        assertThrows(CompletionException.class, () -> post(impatient, "/silent"));
    }

    @Test
    void doesNotWaitForAnAnswerThatNeverEnds() {
        assertThrows(CompletionException.class, () -> post(impatient, "/endless"));
    }
}
