package io.usersync.keycloak;

import java.lang.reflect.Method;
import org.keycloak.models.GroupModel;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.provider.ProviderEvent;

/**
 * What newer Keycloaks tell and 26.0 does not: who joined or left a group, and who was given or lost a role.
 *
 * <p>These types are looked up by name, so that one jar loads on every 26.x.
 */
final class NewerEvents {

    private static final Class<?> GRANTED = find("org.keycloak.models.RoleModel$RoleGrantedEvent");
    private static final Class<?> REVOKED = find("org.keycloak.models.RoleModel$RoleRevokedEvent");
    private static final Method GRANTED_TO = getter(GRANTED, "getUser");
    private static final Method REVOKED_FROM = getter(REVOKED, "getUser");
    private static final Method GRANTED_ROLE = getter(GRANTED, "getRole");
    private static final Method REVOKED_ROLE = getter(REVOKED, "getRole");
    private static final Method GRANTED_IN = getter(GRANTED, "getRealm");
    private static final Method REVOKED_IN = getter(REVOKED, "getRealm");
    private static final Method JOINED = getter(GroupModel.GroupMemberJoinEvent.class, "getUser");
    private static final Method LEFT = getter(GroupModel.GroupMemberLeaveEvent.class, "getUser");

    private NewerEvents() {
    }
}
