package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import java.util.Map;

/**
 * The path of an admin event, relative to the realm, and the ids that it names.
 *
 * <p>Keycloak's resource types are not to be relied on (a partial import reports users as REALM, the removal of a
 * client role from a group as a realm role), so what an event is about is always read from its path.
 */
final class ResourcePath {

    private static final String SCIM = "scim/v2/";

    private static final Map<String, Field> IDS = Map.of(
            "users", Field.USER_ID,
            "Users", Field.USER_ID,
            "members", Field.USER_ID,
            "groups", Field.GROUP_ID,
            "Groups", Field.GROUP_ID,
            "default-groups", Field.GROUP_ID,
            "roles-by-id", Field.ROLE_ID,
            "organizations", Field.ORGANIZATION_ID);

    private final String path;
    private final String[] segments;

    ResourcePath(String path) {
        this.path = path == null ? "" : path;
        this.segments = (this.path.startsWith(SCIM) ? this.path.substring(SCIM.length()) : this.path).split("/");
    }

    @Override
    public String toString() {
        return path;
    }

    /** The collection that the path starts with, as {@code users} or {@code groups}. */
    String root() {
        return segments[0];
    }

    /** Whether this is a user's own path, {@code users/{id}}, and not something below it. */
    boolean isUser() {
        return segments.length == 2 && root().equals("users");
    }

    /**
     * Whether the group that is meant is not in the path: a sub-group is made and moved under its parent's path
     * {@code groups/{parent}/children}, a group moved to the top shows as the bare {@code groups}.
     */
    boolean hidesGroup() {
        String last = segments[segments.length - 1];
        return last.equals("children") || last.equals("groups");
    }

    /** Copies every id that the path names. */
    void copyIdsTo(ChangeEvent event) {
        for (int i = 0; i + 1 < segments.length; i += 2) {
            Field field = IDS.get(segments[i]);
            if (field != null) {
                event.with(field, segments[i + 1]);
            }
        }
    }
}
