package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

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

    /** What Keycloak's addresses have below a user. They end an id that may hold slashes itself. */
    private static final Set<String> BELOW_A_USER = Set.of(
            "configured-user-storage-credential-types", "consents", "credentials", "disable-credential-types",
            "execute-actions-email", "federated-identity", "groups", "impersonation", "logout", "offline-sessions",
            "reset-password", "reset-password-email", "role-mappings", "send-verify-email", "sessions",
            "unmanagedAttributes");

    private final String path;
    private final List<String> segments;

    ResourcePath(String path) {
        this.path = path == null ? "" : path;
        this.segments = split(this.path.startsWith(SCIM) ? this.path.substring(SCIM.length()) : this.path);
    }

    /** The segments; the id of a federated user, {@code f:COMPONENT:NAME}, stands as it is and is one with its slashes. */
    private static List<String> split(String path) {
        List<String> segments = new ArrayList<>();
        for (String segment : path.split("/")) {
            int last = segments.size() - 1;
            boolean inId = last > 0
                    && segments.get(last).startsWith("f:")
                    && IDS.get(segments.get(last - 1)) == Field.USER_ID
                    && !BELOW_A_USER.contains(segment);
            if (inId) {
                segments.set(last, segments.get(last) + "/" + segment);
            } else {
                segments.add(segment);
            }
        }
        return List.copyOf(segments);
    }

    @Override
    public String toString() {
        return path;
    }

    /** The collection that the path starts with, as {@code users} or {@code groups}. */
    String root() {
        return segments.isEmpty() ? "" : segments.get(0);
    }

    /** Whether this is a user's own path, {@code users/{id}}, and not something below it. */
    boolean isUser() {
        return segments.size() == 2 && root().equals("users");
    }

    /**
     * Whether the group that is meant is not in the path: a sub-group is made and moved under its parent's path
     * {@code groups/{parent}/children}, a group moved to the top shows as the bare {@code groups}.
     */
    boolean hidesGroup() {
        String last = segments.isEmpty() ? "" : segments.get(segments.size() - 1);
        return last.equals("children") || last.equals("groups");
    }

    /** Copies every id that the path names. */
    void copyIdsTo(ChangeEvent event) {
        for (int i = 0; i + 1 < segments.size(); i += 2) {
            Field field = IDS.get(segments.get(i));
            if (field != null) {
                event.with(field, segments.get(i + 1));
            }
        }
    }
}
