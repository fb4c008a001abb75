package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SettingsTest {

    private static final String SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz";

    private static Options acme() {
        return new Options()
                .set("keys", "acme")
                .set("key-acme-secret", SECRET)
                .set("key-acme-realms", "acme, globex")
                .set("key-acme-addresses", "https://usersync.example.org/hooks/acme");
    }

    @Test
    void hasDefaults() {
        Settings settings = Settings.read(acme());
        assertEquals("usersync", settings.clientId());
        assertEquals(10_000, settings.queueSize());
        assertFalse(settings.loginEvents());
        assertEquals(Duration.ofSeconds(5), settings.connectTimeout());
        assertEquals(Duration.ofSeconds(15), settings.requestTimeout());
        assertEquals(Duration.ofDays(1), settings.retryFor());
        assertEquals(List.of(), settings.problems());
    }

    @Test
    void readsEveryOption() {
        Settings settings = Settings.read(acme().set("client-id", "sync").set("queue-size", "0")
                .set("login-events", "true").set("connect-timeout-seconds", "1")
                .set("request-timeout-seconds", "2").set("retry-for-seconds", "3"));
        assertEquals("sync", settings.clientId());
        assertEquals(1, settings.queueSize());
        assertTrue(settings.loginEvents());
        assertEquals(Duration.ofSeconds(1), settings.connectTimeout());
        assertEquals(Duration.ofSeconds(2), settings.requestTimeout());
        assertEquals(Duration.ofSeconds(3), settings.retryFor());
    }

    @Test
    void readsKeysAndNeverShowsTheirSecrets() {
        Settings settings = Settings.read(acme());
        SigningKey key = settings.keys().get(0);
        assertTrue(key.isFor("acme"));
        assertTrue(key.isFor("globex"));
        assertFalse(key.isFor("other"));
        assertFalse(settings.toString().contains("MDEy"));
    }

    @Test
    void readsTwoSecretsFromAFile(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("secret"), SECRET + "\n" + SECRET + "\n");
        Settings settings = Settings.read(acme().set("key-acme-secret", null)
                .set("key-acme-secret-file", file.toString()));
        assertEquals(2, settings.keys().get(0).sign("a", 1, new byte[0]).split(" ").length);
    }

    @Test
    void saysWhatIsWrongAndGoesOnWithTheOthers() {
        Options options = acme().set("keys", "acme,short,Upper,lost,bare,two")
                .set("key-short-secret", "whsec_c2hvcnQ=").set("key-short-realms", "a")
                .set("key-short-addresses", "https://a.example/")
                .set("key-lost-secret-file", "no-such-file").set("key-lost-realms", "a")
                .set("key-lost-addresses", "https://a.example/")
                .set("key-two-secret", SECRET).set("key-two-secret-file", "x").set("key-two-realms", "a")
                .set("key-two-addresses", "https://a.example/");
        Settings settings = Settings.read(options);
        assertEquals(1, settings.keys().size());
        assertEquals(List.of(
                "Key short is not used: a secret has 5 bytes, at least 24 are needed.",
                "Key Upper is not used: a name has lower-case letters, digits and single hyphens only.",
                "Key lost is not used: file no-such-file can't be read (NoSuchFileException).",
                "Key bare is not used: option key-bare-realms names no realm.",
                "Key two is not used: exactly one of the options key-two-secret and key-two-secret-file must be set."),
                settings.problems());
    }

    @Test
    void saysThatThereIsNoKey() {
        assertEquals(List.of("Option keys is not set, so there is nothing to sign with and nothing is sent."),
                Settings.read(new Options()).problems());
    }

    @Test
    void describesItsOptions() {
        List<String> names = Settings.describe().stream().map(option -> option.getName()).toList();
        assertTrue(names.containsAll(List.of("keys", "key-NAME-secret-file", "client-id", "queue-size")), () -> "" + names);
    }
}
