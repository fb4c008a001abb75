package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.Headers;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.Authenticator;
import java.net.ConnectException;
import java.net.CookieHandler;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandler;
import java.net.http.HttpResponse.PushPromiseHandler;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
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

    /** A client that fails at once, as one whose inner thread has died does. */
    private static HttpClient broken(Throwable trouble, boolean atOnce) {
        return new HttpClient() {
            @Override
            public <T> CompletableFuture<HttpResponse<T>> sendAsync(HttpRequest request, BodyHandler<T> handler) {
                if (atOnce && trouble instanceof Error error) {
                    throw error;
                }
                return CompletableFuture.failedFuture(trouble);
            }

            @Override
            public <T> CompletableFuture<HttpResponse<T>> sendAsync(
                    HttpRequest request, BodyHandler<T> handler, PushPromiseHandler<T> pushes) {
                return sendAsync(request, handler);
            }

            @Override
            public <T> HttpResponse<T> send(HttpRequest request, BodyHandler<T> handler) {
                throw new UnsupportedOperationException();
            }

            @Override
            public Optional<CookieHandler> cookieHandler() {
                return Optional.empty();
            }

            @Override
            public Optional<Duration> connectTimeout() {
                return Optional.empty();
            }

            @Override
            public Redirect followRedirects() {
                return Redirect.NEVER;
            }

            @Override
            public Optional<ProxySelector> proxy() {
                return Optional.empty();
            }

            @Override
            public SSLContext sslContext() {
                return null;
            }

            @Override
            public SSLParameters sslParameters() {
                return new SSLParameters();
            }

            @Override
            public Optional<Authenticator> authenticator() {
                return Optional.empty();
            }

            @Override
            public Version version() {
                return Version.HTTP_1_1;
            }

            @Override
            public Optional<Executor> executor() {
                return Optional.empty();
            }
        };
    }

    @Test
    void aClientThatBrokeIsReplacedAndOneWhoseReceiverIsAwayIsKept() {
        for (boolean atOnce : new boolean[] {true, false}) {
            Deque<HttpClient> clients = new ArrayDeque<>(List.of(
                    broken(new OutOfMemoryError("a test"), atOnce),
                    broken(new IOException("selector manager closed"), false),
                    HttpClient.newHttpClient()));
            HttpTransport transport = new HttpTransport(clients::remove, Duration.ofMinutes(1), Clock.systemUTC());
            for (int attempt = 0; attempt < 2; attempt++) {
                assertThrows(Throwable.class, () -> post(transport, "/hooks/acme"));
            }
            assertEquals(202, post(transport, "/hooks/acme").status());
        }
        AtomicInteger made = new AtomicInteger();
        HttpTransport transport = new HttpTransport(() -> {
            made.incrementAndGet();
            return broken(new ConnectException(), false);
        }, Duration.ofMinutes(1), Clock.systemUTC());
        for (int attempt = 0; attempt < 3; attempt++) {
            assertThrows(CompletionException.class, () -> post(transport, "/hooks/acme"));
        }
        assertEquals(1, made.get());
    }
}
