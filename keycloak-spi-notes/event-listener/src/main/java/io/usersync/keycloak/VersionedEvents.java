package io.usersync.keycloak;

import java.lang.reflect.Modifier;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.OrganizationModel;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.provider.ProviderEvent;

/**
 * Events that not every Keycloak has. 26.0 does not tell who joined or left a group, nor who was given or lost a role;
 * its first releases know no members of organisations; the event of a partial import is announced to go.
 *
 * <p>Types and getters are looked up by name, so that one jar loads on every 26.x.
 */
enum VersionedEvents {
    ROLE_GRANTED("org.keycloak.models.RoleModel$RoleGrantedEvent"),
    ROLE_REVOKED("org.keycloak.models.RoleModel$RoleRevokedEvent"),
    ORGANIZATION_MEMBER_JOIN("org.keycloak.models.OrganizationModel$OrganizationMemberJoinEvent"),
    ORGANIZATION_MEMBER_LEAVE("org.keycloak.models.OrganizationModel$OrganizationMemberLeaveEvent"),
    PARTIAL_IMPORT("org.keycloak.storage.PartialImportRealmFromRepresentationEvent");

    private final Class<?> type;

    VersionedEvents(String type) {
        this.type = find(type);
    }

    boolean is(ProviderEvent event) {
        return type != null && type.isInstance(event);
    }

    /** Who joined, left, was given or lost; {@code null} where this Keycloak does not say. */
    static UserModel user(ProviderEvent event) {
        return get(event, "getUser", UserModel.class);
    }

    static RoleModel role(ProviderEvent event) {
        return get(event, "getRole", RoleModel.class);
    }

    static OrganizationModel organization(ProviderEvent event) {
        return get(event, "getOrganization", OrganizationModel.class);
    }

    static RealmModel realm(ProviderEvent event) {
        return get(event, "getRealm", RealmModel.class);
    }

    static KeycloakSession session(ProviderEvent event) {
        KeycloakSession session = get(event, "getKeycloakSession", KeycloakSession.class);
        return session == null ? get(event, "getSession", KeycloakSession.class) : session;
    }

    private static Class<?> find(String name) {
        try {
            return Class.forName(name, false, ProviderEvent.class.getClassLoader());
        } catch (ClassNotFoundException e) {
            return null;
        }
    }

    /** Calls through a public type, because the classes of most events are not public themselves. */
    private static <T> T get(ProviderEvent event, String getter, Class<T> type) {
        Class<?> own = event.getClass();
        Class<?> shown = Modifier.isPublic(own.getModifiers()) ? own : own.getInterfaces()[0];
        try {
            return type.cast(shown.getMethod(getter).invoke(event));
        } catch (NoSuchMethodException e) {
            return null;
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(getter + " of " + shown.getName() + " failed", e);
        }
    }
}
