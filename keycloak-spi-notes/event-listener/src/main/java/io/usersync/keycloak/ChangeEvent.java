package io.usersync.keycloak;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import org.keycloak.util.JsonSerialization;

/**
 * One event as usersync receives it: where to look, and nothing of what is to be found there.
 *
 * <p>Only the {@link Field}s below can be set, so that no representation, e-mail address, IP address or
 * session id can ever leave Keycloak through the listener, whatever a future version puts into its events.
 */
final class ChangeEvent {

    /** Everything that may be sent, in the order in which it is written. */
    enum Field {
        KIND("kind"),
        ID("id"),
        TIME("time"),
        REALM_ID("realmId"),
        REALM_NAME("realmName"),
        TYPE("type"),
        OPERATION_TYPE("operationType"),
        RESOURCE_TYPE("resourceType"),
        RESOURCE_PATH("resourcePath"),
        RESOURCE_ID("resourceId"),
        USER_ID("userId"),
        GROUP_ID("groupId"),
        ROLE_ID("roleId"),
        ORGANIZATION_ID("organizationId"),
        USERNAME("username");

        private final String json;

        Field(String json) {
            this.json = json;
        }
    }

    /** Where Keycloak told of the change. */
    enum Kind {
        /** An event of Keycloak's admin event log, under the same id. */
        ADMIN("admin"),
        /** An event of Keycloak's user event log, under the same id. */
        USER("user"),
        /** A change that Keycloak keeps no record of; its id is minted here. */
        MODEL("model");

        private final String json;

        Kind(String json) {
            this.json = json;
        }
    }

    private final Kind kind;
    private final Map<Field, Object> fields = new EnumMap<>(Field.class);

    private ChangeEvent(Kind kind, String id, long time) {
        this.kind = kind;
        fields.put(Field.KIND, kind.json);
        fields.put(Field.ID, id);
        fields.put(Field.TIME, time);
    }

    static ChangeEvent admin(String id, long time) {
        return new ChangeEvent(Kind.ADMIN, id, time);
    }

    static ChangeEvent user(String id, long time) {
        return new ChangeEvent(Kind.USER, id, time);
    }

    static ChangeEvent model(long time) {
        return new ChangeEvent(Kind.MODEL, UUID.randomUUID().toString(), time);
    }

    /** Sets a field; a value that is not at hand ({@code null} or empty) leaves it out. */
    ChangeEvent with(Field field, String value) {
        if (value != null && !value.isEmpty()) {
            fields.put(field, value);
        }
        return this;
    }

    Kind kind() {
        return kind;
    }

    String get(Field field) {
        Object value = fields.get(field);
        return value == null ? null : value.toString();
    }

    byte[] toJson() {
        Map<String, Object> named = new LinkedHashMap<>();
        fields.forEach((field, value) -> named.put(field.json, value));
        try {
            return JsonSerialization.writeValueAsBytes(named);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
