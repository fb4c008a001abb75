package io.usersync.keycloak;

import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import org.jboss.logging.Logger;
import org.keycloak.models.RealmModel;

/**
 * Finds the destination of a realm's events.
 *
 * <p>Realm attributes can be read in exports and set by the realm's own administrators. They therefore only choose
 * among what the server's configuration allows: a key by its name, an address within the key's addresses.
 */
final class Router {

    static final String ADDRESS = "usersync.address";
    static final String KEY = "usersync.key";

    private static final Logger LOG = Logger.getLogger(Router.class);

    private final List<SigningKey> keys;
    private final Map<String, String> told = new ConcurrentHashMap<>();

    Router(List<SigningKey> keys) {
        this.keys = List.copyOf(keys);
    }

    /** The destination, or nothing and, once for each reason, a line in the log that says what is missing. */
    Optional<Destination> destinationOf(RealmModel realm) {
        try {
            Destination destination = choose(realm.getName(), realm.getAttribute(KEY), realm.getAttribute(ADDRESS));
            told.remove(realm.getId());
            return Optional.of(destination);
        } catch (IllegalArgumentException missing) {
            String reason = missing.getMessage();
            if (!reason.equals(told.put(realm.getId(), reason))) {
                LOG.warnf("usersync: nothing is sent for realm %s: %s.", realm.getName(), reason);
            }
            return Optional.empty();
        }
    }

    private Destination choose(String realm, String keyName, String address) {
        SigningKey key = key(realm, keyName);
        if (address == null || address.isBlank()) {
            return new Destination(key.onlyAddress().orElseThrow(() -> new IllegalArgumentException(
                    "the realm attribute " + ADDRESS + " is not set and key " + key.name()
                            + " does not have exactly one full address")), key);
        }
        URI uri = AllowedAddress.parse(address.trim());
        if (!key.allows(uri)) {
            throw new IllegalArgumentException("its attribute " + ADDRESS + " names " + uri + ", which option key-"
                    + key.name() + "-addresses does not allow");
        }
        return new Destination(uri, key);
    }

    private SigningKey key(String realm, String wanted) {
        List<SigningKey> usable = keys.stream().filter(key -> key.isFor(realm)).toList();
        if (wanted != null && !wanted.isBlank()) {
            if (!Settings.isName(wanted.trim())) {
                // Not repeated: somebody may have put a secret there.
                throw new IllegalArgumentException("its attribute " + KEY + " is not the name of a key");
            }
            return usable.stream().filter(key -> key.name().equals(wanted.trim())).findFirst()
                    .orElseThrow(() -> new IllegalArgumentException("its attribute " + KEY + " names " + wanted
                            + ", and no usable key of that name has this realm in its option key-" + wanted
                            + "-realms"));
        }
        if (usable.size() != 1) {
            throw new IllegalArgumentException(usable.isEmpty()
                    ? "no usable key has this realm in its option key-NAME-realms"
                    : "it may use the keys " + usable.stream().map(SigningKey::name).collect(Collectors.joining(", "))
                            + ", and its attribute " + KEY + " does not say which");
        }
        return usable.get(0);
    }
}
