package io.usersync.keycloak;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import org.keycloak.util.JsonSerialization;

/**
 * The id and the login name at the top of an admin event's representation; the rest of it is skipped unread and
 * never leaves Keycloak.
 *
 * @param id the {@code id}, or {@code null}
 * @param username the {@code username}, or {@code null}
 */
record Representation(String id, String username) {

    private static final Representation NOTHING = new Representation(null, null);

    static Representation of(String json) {
        if (json == null || !json.startsWith("{")) {
            return NOTHING;
        }
        String id = null;
        String username = null;
        try (JsonParser parser = JsonSerialization.mapper.getFactory().createParser(json)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken value = parser.nextToken();
                if (value == JsonToken.VALUE_STRING && name.equals("id")) {
                    id = parser.getText();
                } else if (value == JsonToken.VALUE_STRING && name.equals("username")) {
                    username = parser.getText();
                } else {
                    parser.skipChildren();
                }
            }
        } catch (IOException e) {
            return NOTHING;
        }
        return new Representation(id, username);
    }
}
