package io.usersync.keycloak;

import java.net.URI;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * A named key of the server's configuration: its secrets, the realms that may use it and the addresses to which it may
 * sign. Two keys are the same only if they are the same object, as names are unique.
 */
final class SigningKey {

    private final String name;
    private final Set<String> realms;
    private final List<AllowedAddress> addresses;
    private final List<Secret> secrets;

    SigningKey(String name, Set<String> realms, List<AllowedAddress> addresses, List<Secret> secrets) {
        this.name = name;
        this.realms = Set.copyOf(realms);
        this.addresses = List.copyOf(addresses);
        this.secrets = List.copyOf(secrets);
    }

    String name() {
        return name;
    }

    boolean isFor(String realm) {
        return realms.contains(realm);
    }

    boolean allows(URI address) {
        return addresses.stream().anyMatch(allowed -> allowed.covers(address));
    }

    /** The address to use when a realm names none: the only one, if it is a full one. */
    Optional<URI> onlyAddress() {
        return addresses.size() == 1 ? addresses.get(0).exact() : Optional.empty();
    }

    /** The value of {@code webhook-signature}: one signature for each secret, so that the receiver may hold either. */
    String sign(String id, long second, byte[] body) {
        return secrets.stream().map(secret -> secret.sign(id, second, body)).collect(Collectors.joining(" "));
    }

    @Override
    public String toString() {
        return "key " + name + ": realms " + realms + ", addresses " + addresses + ", " + secrets.size()
                + (secrets.size() == 1 ? " secret" : " secrets, both sign");
    }
}
