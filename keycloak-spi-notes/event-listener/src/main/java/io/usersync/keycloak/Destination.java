package io.usersync.keycloak;

import java.net.URI;

/**
 * Where events go, and the key that signs them on the way.
 *
 * @param address the full address of usersync's hook
 * @param key the key, allowed for that address
 */
record Destination(URI address, SigningKey key) {

    @Override
    public String toString() {
        return address.toString();
    }
}
