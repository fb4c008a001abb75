package io.usersync.keycloak;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.keycloak.Config;
import org.keycloak.provider.ProviderConfigProperty;
import org.keycloak.provider.ProviderConfigurationBuilder;

/**
 * The listener's options, {@code --spi-events-listener--usersync--...}.
 *
 * @param clientId the client by which usersync reads
 * @param queueSize how many events may wait
 * @param loginEvents whether every sign-in is sent, not only those through an identity provider
 * @param connectTimeout how long a connection may take
 * @param requestTimeout how long an answer may take
 * @param retryFor how long an event is kept while its receiver does not take it
 * @param keys the keys that can be used
 * @param problems what is wrong with the others, a sentence each
 */
record Settings(
        String clientId,
        int queueSize,
        boolean loginEvents,
        Duration connectTimeout,
        Duration requestTimeout,
        Duration retryFor,
        List<SigningKey> keys,
        List<String> problems) {

    private static final String NAME = "[a-z0-9]+(-[a-z0-9]+)*";

    static Settings read(Config.Scope options) {
        List<SigningKey> keys = new ArrayList<>();
        List<String> problems = new ArrayList<>();
        List<String> names = list(options.get("keys"));
        if (names.isEmpty()) {
            problems.add("Option keys is not set, so there is nothing to sign with and nothing is sent.");
        }
        for (String name : names) {
            try {
                keys.add(key(options, name));
            } catch (IllegalArgumentException e) {
                problems.add("Key " + name + " is not used: " + e.getMessage() + ".");
            }
        }
        return new Settings(
                options.get("client-id", "usersync"),
                atLeastOne(options, "queue-size", 10_000),
                options.getBoolean("login-events", false),
                Duration.ofSeconds(atLeastOne(options, "connect-timeout-seconds", 5)),
                Duration.ofSeconds(atLeastOne(options, "request-timeout-seconds", 15)),
                Duration.ofSeconds(atLeastOne(options, "retry-for-seconds", 86_400)),
                List.copyOf(keys),
                List.copyOf(problems));
    }

    /** The same options for Keycloak's own listing of what can be configured. */
    static List<ProviderConfigProperty> describe() {
        ProviderConfigurationBuilder options = ProviderConfigurationBuilder.create();
        describe(options, "keys", "Names of the keys, separated by commas: lower-case letters, digits, hyphens.", null);
        describe(options, "key-NAME-secret",
                "One secret, or two while rotating, separated by a space: whsec_ and base64. Better given by file.",
                null);
        describe(options, "key-NAME-secret-file", "Path of a file that holds the secret, or two.", null);
        describe(options, "key-NAME-realms", "Names of the realms that may use the key, separated by commas.", null);
        describe(options, "key-NAME-addresses",
                "Addresses to which the key may sign, separated by commas; with a slash at its end, all below it.",
                null);
        describe(options, "client-id", "The client by which usersync reads; what its reading causes is not sent.",
                "usersync");
        describe(options, "queue-size", "How many events may wait.", 10_000);
        describe(options, "login-events", "Whether every sign-in is sent, not only those through an identity provider.", false);
        describe(options, "connect-timeout-seconds", "How long a connection may take.", 5);
        describe(options, "request-timeout-seconds", "How long an answer may take.", 15);
        describe(options, "retry-for-seconds", "How long an event is kept while its receiver does not take it.",
                86_400);
        return options.build();
    }

    private static void describe(
            ProviderConfigurationBuilder options, String name, String help, Object preset) {
        options.property().name(name).type(ProviderConfigProperty.STRING_TYPE).helpText(help).defaultValue(preset)
                .add();
    }

    static boolean isName(String text) {
        return text.matches(NAME);
    }

    private static SigningKey key(Config.Scope options, String name) {
        if (!isName(name)) {
            throw new IllegalArgumentException("a name has lower-case letters, digits and single hyphens only");
        }
        String option = "key-" + name + "-";
        List<String> realms = list(options.get(option + "realms"));
        if (realms.isEmpty()) {
            throw new IllegalArgumentException("option " + option + "realms names no realm");
        }
        List<String> addresses = list(options.get(option + "addresses"));
        if (addresses.isEmpty()) {
            throw new IllegalArgumentException("option " + option + "addresses names no address");
        }
        List<Secret> secrets = secrets(options, option).stream().map(Secret::parse).toList();
        return new SigningKey(name, Set.copyOf(realms), addresses.stream().map(AllowedAddress::new).toList(), secrets);
    }

    private static List<String> secrets(Config.Scope options, String option) {
        String direct = options.get(option + "secret");
        String file = options.get(option + "secret-file");
        if ((direct == null) == (file == null)) {
            throw new IllegalArgumentException(
                    "exactly one of the options " + option + "secret and " + option + "secret-file must be set");
        }
        List<String> secrets = Arrays.stream((direct == null ? content(file) : direct).trim().split("[\\s,]+"))
                .filter(secret -> !secret.isEmpty())
                .toList();
        if (secrets.isEmpty() || secrets.size() > 2) {
            throw new IllegalArgumentException("it has " + secrets.size() + " secrets, one or two are needed");
        }
        return secrets;
    }

    private static String content(String file) {
        try {
            return Files.readString(Path.of(file));
        } catch (IOException | InvalidPathException e) {
            throw new IllegalArgumentException(
                    "file " + file + " can't be read (" + e.getClass().getSimpleName() + ")");
        }
    }

    private static int atLeastOne(Config.Scope options, String name, int preset) {
        return Math.max(1, options.getInt(name, preset));
    }

    private static List<String> list(String value) {
        return value == null ? List.of()
                : Arrays.stream(value.split(",")).map(String::trim).filter(item -> !item.isEmpty()).distinct().toList();
    }
}
