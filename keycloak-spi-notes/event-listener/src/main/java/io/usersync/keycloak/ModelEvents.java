package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import java.time.Clock;
import java.util.Optional;
import org.keycloak.models.ClientModel;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleContainerModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.provider.ProviderEvent;

/**
 * Reads the events that Keycloak's own storage fires, whatever caused the change: an import, a default group, an
 * identity provider's mapper, an LDAP group mapper. Most of these leave no admin event at all.
 *
 * <p>They are written in the style of admin events, so that a receiver decodes both in one way.
 *
 * <p>{@code StoreSyncEvent} is left out: it is not fired by a synchronisation but whenever a realm is made, saved or
 * removed, it comes while the transaction is already being completed, and the federation provider's own change leaves
 * a COMPONENT admin event.
 */
final class ModelEvents {

    /**
     * A change, and the session and realm in which it happened.
     *
     * @param session the session whose transaction decides whether the change comes true
     * @param realm the realm that was changed
     * @param change what to send
     */
    record Observed(KeycloakSession session, RealmModel realm, ChangeEvent change) {
    }

    /** The type of the event of a removed user. */
    static final String USER_REMOVED = "USER_REMOVED";

    private final Clock clock;

    ModelEvents(Clock clock) {
        this.clock = clock;
    }

    /** What happened, or nothing if the event concerns no user, group or role. */
    Optional<Observed> read(ProviderEvent event) {
        if (event instanceof GroupModel.GroupEvent e) {
            return Optional.ofNullable(group(e)).map(c -> new Observed(e.getKeycloakSession(), e.getRealm(), c));
        }
        // Both are heard: a member that an organization manages leaves only the first, a user whom LDAP no longer has
        // only the second. Where both come in one transaction, one of them is sent.
        if (event instanceof UserModel.UserPreRemovedEvent e) {
            return observed(e.getKeycloakSession(), e.getRealm(), userRemoved(e.getUser()));
        }
        if (event instanceof UserModel.UserRemovedEvent e) {
            return observed(e.getKeycloakSession(), e.getRealm(), userRemoved(e.getUser()));
        }
        if (VersionedEvents.ORGANIZATION_MEMBER_JOIN.is(event)) {
            return organizationMember(event, "ORGANIZATION_MEMBER_JOIN", "CREATE");
        }
        if (VersionedEvents.ORGANIZATION_MEMBER_LEAVE.is(event)) {
            return organizationMember(event, "ORGANIZATION_MEMBER_LEAVE", "DELETE");
        }
        if (VersionedEvents.ROLE_GRANTED.is(event)) {
            return role(event, "ROLE_GRANTED", "CREATE");
        }
        if (VersionedEvents.ROLE_REVOKED.is(event)) {
            return role(event, "ROLE_REVOKED", "DELETE");
        }
        if (event instanceof RoleContainerModel.RoleRemovedEvent e) {
            return observed(e.getKeycloakSession(), realmOf(e.getRole()), roleRemoved(e.getRole()));
        }
        if (VersionedEvents.PARTIAL_IMPORT.is(event)) {
            return observed(VersionedEvents.session(event), VersionedEvents.realm(event),
                    change("PARTIAL_IMPORT", "ACTION", "REALM", "partialImport"));
        }
        return Optional.empty();
    }

    private static Optional<Observed> observed(KeycloakSession session, RealmModel realm, ChangeEvent change) {
        return Optional.of(new Observed(session, realm, change));
    }

    private ChangeEvent group(GroupModel.GroupEvent event) {
        String path = "groups/" + event.getGroup().getId();
        if (event instanceof GroupModel.GroupMemberJoinEvent) {
            return member(event, "GROUP_MEMBER_JOIN", "CREATE");
        }
        if (event instanceof GroupModel.GroupMemberLeaveEvent) {
            return member(event, "GROUP_MEMBER_LEAVE", "DELETE");
        }
        if (event instanceof GroupModel.GroupCreatedEvent) {
            return change("GROUP_CREATED", "CREATE", "GROUP", path);
        }
        if (event instanceof GroupModel.GroupUpdatedEvent) {
            return change("GROUP_UPDATED", "UPDATE", "GROUP", path);
        }
        if (event instanceof GroupModel.GroupPathChangeEvent) {
            return change("GROUP_PATH_CHANGE", "UPDATE", "GROUP", path);
        }
        if (event instanceof GroupModel.GroupRemovedEvent) {
            return change("GROUP_REMOVED", "DELETE", "GROUP", path);
        }
        return null;
    }

    /** Keycloak 26.0 does not say who joined or left: then the group itself is what to look at. */
    private ChangeEvent member(GroupModel.GroupEvent event, String type, String operation) {
        UserModel user = VersionedEvents.user(event);
        String group = event.getGroup().getId();
        if (user == null) {
            return change(type, operation, "GROUP_MEMBERSHIP", "groups/" + group + "/members");
        }
        return change(type, operation, "GROUP_MEMBERSHIP", "users/" + user.getId() + "/groups/" + group)
                .with(Field.USERNAME, user.getUsername());
    }

    private ChangeEvent userRemoved(UserModel user) {
        return change(USER_REMOVED, "DELETE", "USER", "users/" + user.getId())
                .with(Field.USERNAME, user.getUsername());
    }

    private Optional<Observed> organizationMember(ProviderEvent event, String type, String operation) {
        UserModel user = VersionedEvents.user(event);
        KeycloakSession session = VersionedEvents.session(event);
        ChangeEvent change = change(type, operation, "ORGANIZATION_MEMBERSHIP",
                "organizations/" + VersionedEvents.organization(event).getId() + "/members/" + user.getId())
                .with(Field.USERNAME, user.getUsername());
        return observed(session, session.getContext().getRealm(), change);
    }

    private Optional<Observed> role(ProviderEvent event, String type, String operation) {
        UserModel user = VersionedEvents.user(event);
        RoleModel role = VersionedEvents.role(event);
        String mappings = "users/" + user.getId() + "/role-mappings/";
        ChangeEvent change = role.isClientRole()
                ? change(type, operation, "CLIENT_ROLE_MAPPING", mappings + "clients/" + role.getContainerId())
                : change(type, operation, "REALM_ROLE_MAPPING", mappings + "realm");
        change.with(Field.ROLE_ID, role.getId()).with(Field.USERNAME, user.getUsername());
        return observed(VersionedEvents.session(event), VersionedEvents.realm(event), change);
    }

    private ChangeEvent roleRemoved(RoleModel role) {
        String resource = role.isClientRole() ? "CLIENT_ROLE" : "REALM_ROLE";
        return change("ROLE_REMOVED", "DELETE", resource, "roles-by-id/" + role.getId());
    }

    private static RealmModel realmOf(RoleModel role) {
        RoleContainerModel container = role.getContainer();
        return container instanceof ClientModel client ? client.getRealm() : (RealmModel) container;
    }

    private ChangeEvent change(String type, String operation, String resource, String path) {
        ChangeEvent change = ChangeEvent.model(clock.millis())
                .with(Field.TYPE, type)
                .with(Field.OPERATION_TYPE, operation)
                .with(Field.RESOURCE_TYPE, resource)
                .with(Field.RESOURCE_PATH, path);
        new ResourcePath(path).copyIdsTo(change);
        return change;
    }
}
