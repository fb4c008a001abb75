package io.usersync.keycloak;

import java.lang.reflect.Proxy;
import java.net.URI;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.keycloak.models.ClientModel;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakContext;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakTransaction;
import org.keycloak.models.KeycloakTransactionManager;
import org.keycloak.models.RealmModel;
import org.keycloak.models.UserModel;

/** Just enough of Keycloak's objects for the tests: each answers what its map says, and {@code null} else. */
final class Fakes {

    static final Secret SECRET = Secret.parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz");

    private Fakes() {
    }

    static <T> T of(Class<T> type, Map<String, Object> answers) {
        return type.cast(Proxy.newProxyInstance(Fakes.class.getClassLoader(), new Class<?>[] {type},
                (self, method, arguments) -> switch (method.getName()) {
                    case "equals" -> self == arguments[0];
                    case "hashCode" -> System.identityHashCode(self);
                    case "toString" -> type.getSimpleName() + answers;
                    default -> answers.get(method.getName());
                }));
    }

    static UserModel user(String id, String username) {
        return of(UserModel.class, Map.of("getId", id, "getUsername", username, "getEmail", "hidden@example.org"));
    }

    static GroupModel group(String id) {
        return of(GroupModel.class, Map.of("getId", id, "getName", "hidden"));
    }

    /** A realm with the listener enabled and these attributes, as name, value, name, value. */
    static RealmModel realm(String name, String... attributes) {
        Map<String, String> values = new HashMap<>();
        for (int i = 0; i < attributes.length; i += 2) {
            values.put(attributes[i], attributes[i + 1]);
        }
        return (RealmModel) Proxy.newProxyInstance(Fakes.class.getClassLoader(), new Class<?>[] {RealmModel.class},
                (self, method, arguments) -> switch (method.getName()) {
                    case "getId" -> "id-of-" + name;
                    case "getName" -> name;
                    case "getAttribute" -> values.get(arguments[0]);
                    case "getEventsListenersStream" -> Stream.of("jboss-logging", values.getOrDefault("listener", "usersync"));
                    default -> null;
                });
    }

    static SigningKey key(String name, String realm, String... addresses) {
        return new SigningKey(name, Set.of(realm), Stream.of(addresses).map(AllowedAddress::new).toList(),
                List.of(SECRET));
    }

    static Destination destination(String address) {
        return new Destination(URI.create(address), key("acme", "acme", address));
    }

    /** A session with attributes, a transaction and a calling client. */
    static final class Session {

        final Map<String, Object> attributes = new HashMap<>();
        KeycloakTransaction enlisted;
        boolean active = true;
        boolean completing;
        String client = "admin-cli";

        KeycloakSession model() {
            KeycloakTransactionManager transactions = (KeycloakTransactionManager) Proxy.newProxyInstance(
                    Fakes.class.getClassLoader(), new Class<?>[] {KeycloakTransactionManager.class},
                    (self, method, arguments) -> switch (method.getName()) {
                        case "isActive" -> active;
                        case "enlistAfterCompletion" -> {
                            if (completing) {
                                throw new IllegalStateException("Transaction already completed");
                            }
                            enlisted = (KeycloakTransaction) arguments[0];
                            yield null;
                        }
                        default -> null;
                    });
            return (KeycloakSession) Proxy.newProxyInstance(
                    Fakes.class.getClassLoader(), new Class<?>[] {KeycloakSession.class},
                    (self, method, arguments) -> switch (method.getName()) {
                        case "getAttribute" -> attributes.get(arguments[0]);
                        case "setAttribute" -> attributes.put((String) arguments[0], arguments[1]);
                        case "removeAttribute" -> attributes.remove(arguments[0]);
                        case "getTransactionManager" -> transactions;
                        case "getContext" -> of(KeycloakContext.class,
                                Map.of("getClient", of(ClientModel.class, Map.of("getClientId", client))));
                        default -> null;
                    });
        }
    }
}
