package io.usersync.keycloak;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** A Standard Webhooks secret: {@code whsec_} and the key in base64. It never shows in any text. */
final class Secret {

    private static final String PREFIX = "whsec_";
    private static final int LEAST_BYTES = 24;
    private static final String ALGORITHM = "HmacSHA256";

    private final SecretKeySpec key;

    private Secret(byte[] key) {
        this.key = new SecretKeySpec(key, ALGORITHM);
    }

    /**
     * Reads a secret.
     *
     * @throws IllegalArgumentException if it is not one, or is too short; the message does not hold it
     */
    static Secret parse(String text) {
        if (!text.startsWith(PREFIX)) {
            throw new IllegalArgumentException("a secret must start with " + PREFIX);
        }
        byte[] key;
        try {
            key = Base64.getDecoder().decode(text.substring(PREFIX.length()));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("what follows " + PREFIX + " in a secret must be base64");
        }
        if (key.length < LEAST_BYTES) {
            throw new IllegalArgumentException(
                    "a secret has " + key.length + " bytes, at least " + LEAST_BYTES + " are needed");
        }
        return new Secret(key);
    }

    /** One signature over a message's id, the second of the attempt and the body, as it stands in the header. */
    String sign(String id, long second, byte[] body) {
        try {
            Mac mac = Mac.getInstance(ALGORITHM);
            mac.init(key);
            mac.update((id + "." + second + ".").getBytes(StandardCharsets.UTF_8));
            return "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("This Java has no " + ALGORITHM, e);
        }
    }

    @Override
    public String toString() {
        return "(secret)";
    }
}
