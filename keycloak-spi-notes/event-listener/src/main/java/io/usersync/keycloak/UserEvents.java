package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.keycloak.events.Event;

/**
 * Which user events concern a directory, and what of them is sent.
 *
 * <p>Types are compared by name, because each Keycloak knows others.
 */
final class UserEvents {

    private static final Set<String> TYPES = Set.of(
            "REGISTER",
            "UPDATE_PROFILE",
            "UPDATE_EMAIL",
            "VERIFY_EMAIL",
            "VERIFY_PROFILE",
            "DELETE_ACCOUNT",
            "USER_DISABLED_BY_PERMANENT_LOCKOUT",
            "FEDERATED_IDENTITY_LINK",
            "REMOVE_FEDERATED_IDENTITY",
            "IDENTITY_PROVIDER_FIRST_LOGIN",
            "IDENTITY_PROVIDER_POST_LOGIN",
            "INVITE_ORG");

    private static final String LOGIN = "LOGIN";

    private final boolean withLogins;

    UserEvents(boolean withLogins) {
        this.withLogins = withLogins;
    }

    /** The event to send, or nothing if it cannot have changed a user. */
    Optional<ChangeEvent> read(Event event) {
        if (event.getType() == null || !isWanted(event)) {
            return Optional.empty();
        }
        return Optional.of(ChangeEvent.user(event.getId(), event.getTime())
                .with(Field.REALM_ID, event.getRealmId())
                .with(Field.REALM_NAME, event.getRealmName())
                .with(Field.TYPE, event.getType().name())
                .with(Field.USER_ID, event.getUserId())
                .with(Field.USERNAME, loginName(event)));
    }

    /** An identity provider's mappers change the user at a sign-in, which leaves no event but this one. */
    private boolean isWanted(Event event) {
        String type = event.getType().name();
        boolean brokered = event.getDetails() != null && event.getDetails().get("identity_provider") != null;
        return TYPES.contains(type) || type.equals(LOGIN) && (withLogins || brokered);
    }

    /**
     * The login name where Keycloak itself wrote it. In other events {@code username} is what somebody typed to sign
     * in, which may be an e-mail address.
     */
    private static String loginName(Event event) {
        Map<String, String> details = event.getDetails();
        if (details == null) {
            return null;
        }
        return event.getType().name().equals("REGISTER") ? details.get("username") : details.get("updated_username");
    }
}
