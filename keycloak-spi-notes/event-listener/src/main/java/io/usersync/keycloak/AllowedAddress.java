package io.usersync.keycloak;

import java.net.URI;
import java.net.URISyntaxException;
import java.util.Locale;
import java.util.Optional;

/**
 * An address of the server's configuration: with a slash at its end everything below it, without one only itself.
 *
 * <p>A realm's administrator may choose the address, so the comparison leaves no room for another host or a way up.
 */
final class AllowedAddress {

    private final URI address;

    AllowedAddress(String text) {
        this.address = parse(text);
    }

    /**
     * Reads an address.
     *
     * @throws IllegalArgumentException with a text to be shown if it can't be one
     */
    static URI parse(String text) {
        URI uri;
        try {
            uri = new URI(text);
        } catch (URISyntaxException e) {
            throw new IllegalArgumentException("\"" + text + "\" is not an address");
        }
        boolean web = "https".equalsIgnoreCase(uri.getScheme()) || "http".equalsIgnoreCase(uri.getScheme());
        if (!web || uri.getHost() == null) {
            throw new IllegalArgumentException("\"" + text + "\" does not start with https:// or http:// and a host");
        }
        if (uri.getUserInfo() != null || uri.getRawQuery() != null || uri.getRawFragment() != null) {
            throw new IllegalArgumentException("an address must have no user, no query and no fragment");
        }
        String path = uri.getRawPath();
        if (path.contains("%") || path.contains("//") || !uri.normalize().getRawPath().equals(path)) {
            throw new IllegalArgumentException("the path of \"" + text + "\" must be plain, without %, // or ..");
        }
        return uri;
    }

    boolean covers(URI other) {
        return address.getScheme().equalsIgnoreCase(other.getScheme())
                && address.getHost().toLowerCase(Locale.ROOT).equals(other.getHost().toLowerCase(Locale.ROOT))
                && port(address) == port(other)
                && (isPrefix() ? other.getRawPath().startsWith(address.getRawPath())
                        : other.getRawPath().equals(address.getRawPath()));
    }

    /** The address itself, if it is a full one. */
    Optional<URI> exact() {
        return isPrefix() ? Optional.empty() : Optional.of(address);
    }

    private boolean isPrefix() {
        return address.getRawPath().endsWith("/");
    }

    private static int port(URI uri) {
        if (uri.getPort() != -1) {
            return uri.getPort();
        }
        return uri.getScheme().equalsIgnoreCase("https") ? 443 : 80;
    }

    @Override
    public String toString() {
        return address.toString();
    }
}
