package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import io.usersync.keycloak.ChangeEvent.Kind;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The events of one transaction for one destination, each change once.
 *
 * <p>Where an admin event and a model event tell of the same change, the admin event stays, because its id is the one
 * in Keycloak's own store, by which usersync knows it again.
 */
final class Changes {

    private final List<ChangeEvent> events = new ArrayList<>();
    private final Set<String> seen = new HashSet<>();
    private final Set<String> toldByAdminEvents = new HashSet<>();

    void add(ChangeEvent change) {
        if (change.kind() == Kind.MODEL && !seen.add(identity(change, change.get(Field.RESOURCE_PATH)))) {
            return;
        }
        if (change.kind() == Kind.ADMIN) {
            toldByAdminEvents.add(identity(change, change.get(Field.RESOURCE_PATH)));
            // Where the model event names no user (Keycloak 26.0), the admin event of the same membership does.
            toldByAdminEvents.add(identity(change, "groups/" + change.get(Field.GROUP_ID) + "/members"));
        }
        events.add(change);
    }

    int size() {
        return events.size();
    }

    List<ChangeEvent> toList() {
        return events.stream().filter(this::isNews).toList();
    }

    private boolean isNews(ChangeEvent change) {
        return change.kind() != Kind.MODEL
                || !toldByAdminEvents.contains(identity(change, change.get(Field.RESOURCE_PATH)));
    }

    private static String identity(ChangeEvent change, String path) {
        return String.join(" ", change.get(Field.REALM_ID), change.get(Field.RESOURCE_TYPE),
                change.get(Field.OPERATION_TYPE), path);
    }
}
