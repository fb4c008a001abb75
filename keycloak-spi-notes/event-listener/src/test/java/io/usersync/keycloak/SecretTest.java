package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class SecretTest {

    private static final String OFFICIAL = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    private static final String ID = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    private static final long SECOND = 1649367553;
    private static final byte[] BODY =
            "{\"email\":\"test@example.com\",\"username\":\"test_user\"}".getBytes(StandardCharsets.UTF_8);

    @Test
    void signsTheOfficialVectorOfStandardWebhooks() {
        assertEquals("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
                Secret.parse(OFFICIAL).sign(ID, SECOND, BODY));
    }

    @Test
    void twoSecretsGiveTwoSignatures() {
        SigningKey key = new SigningKey("acme", Set.of("acme"), List.of(), List.of(
                Secret.parse(OFFICIAL), Secret.parse("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")));
        String[] signatures = key.sign(ID, SECOND, BODY).split(" ");
        assertEquals(2, signatures.length);
        assertEquals("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", signatures[0]);
        assertTrue(signatures[1].startsWith("v1,"));
        assertFalse(signatures[1].equals(signatures[0]));
    }

    @Test
    void refusesWhatIsTooShortOrNoSecret() {
        assertRefused("whsec_c2hvcnQ=", "a secret has 5 bytes, at least 24 are needed");
        assertRefused("C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "a secret must start with whsec_");
        assertRefused("whsec_not base64", "what follows whsec_ in a secret must be base64");
    }

    @Test
    void neverShowsItself() {
        assertEquals("(secret)", Secret.parse(OFFICIAL).toString());
    }

    private static void assertRefused(String text, String why) {
        assertEquals(why, assertThrows(IllegalArgumentException.class, () -> Secret.parse(text)).getMessage());
    }
}
