package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.keycloak.events.admin.AdminEvent;

/** Which admin events concern a directory, and what of them is sent. */
final class AdminEvents {

    /** Paths below these are always sent, whatever resource type Keycloak gives them. */
    private static final Set<String> ROOTS = Set.of(
            "users", "groups", "default-groups", "roles", "roles-by-id", "organizations", "user-storage",
            "Users", "Groups");

    private static final Set<String> TYPES = Set.of("USER", "GROUP", "GROUP_MEMBERSHIP", "COMPONENT");

    private static final Set<String> TYPE_PREFIXES =
            Set.of("REALM_ROLE", "CLIENT_ROLE", "ORGANIZATION", "USER_FEDERATION");

    private AdminEvents() {
    }

    /** The event to send, or nothing if no user, group or role is concerned. */
    static Optional<ChangeEvent> read(AdminEvent event) {
        ResourcePath path = new ResourcePath(event.getResourcePath());
        String type = event.getResourceTypeAsString();
        if (!ROOTS.contains(path.root()) && !isWanted(type)) {
            return Optional.empty();
        }
        ChangeEvent change = ChangeEvent.admin(event.getId(), event.getTime())
                .with(Field.REALM_ID, event.getRealmId())
                .with(Field.REALM_NAME, event.getRealmName())
                .with(Field.OPERATION_TYPE, event.getOperationType() == null ? null : event.getOperationType().name())
                .with(Field.RESOURCE_TYPE, type)
                .with(Field.RESOURCE_PATH, path.toString());
        if (!"USER_PROFILE".equals(type)) {
            path.copyIdsTo(change);
        }
        copyFromContent(event, path, change);
        return Optional.of(change);
    }

    private static boolean isWanted(String type) {
        return type != null && (TYPES.contains(type) || TYPE_PREFIXES.stream().anyMatch(type::startsWith));
    }

    private static Map<String, String> details(AdminEvent event) {
        try {
            return event.getDetails() == null ? Map.of() : event.getDetails();
        } catch (NoSuchMethodError e) {
            // The first releases of 26.0 have no details.
            return Map.of();
        }
    }

    private static void copyFromContent(AdminEvent event, ResourcePath path, ChangeEvent change) {
        change.with(Field.USERNAME, details(event).get("username"));
        boolean member = "ORGANIZATION_MEMBERSHIP".equals(event.getResourceTypeAsString());
        if (path.isUser()) {
            change.with(Field.USERNAME, Representation.of(event.getRepresentation()).username());
        } else if (path.hidesGroup()) {
            change.with(Field.RESOURCE_ID, Representation.of(event.getRepresentation()).id());
        } else if (member && change.get(Field.USER_ID) == null) {
            Representation content = Representation.of(event.getRepresentation());
            // The content is the organisation's, whose id this must not be taken for, unless it has a login name.
            if (content.username() != null) {
                change.with(Field.USER_ID, content.id()).with(Field.USERNAME, content.username());
            }
        }
    }
}
