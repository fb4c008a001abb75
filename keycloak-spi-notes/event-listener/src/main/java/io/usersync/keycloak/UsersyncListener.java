package io.usersync.keycloak;

import org.keycloak.events.Event;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;

/** Hears the user and admin events of one Keycloak session. */
final class UsersyncListener implements EventListenerProvider {

    private final KeycloakSession session;
    private final UserEvents userEvents;
    private final Dispatch dispatch;

    UsersyncListener(KeycloakSession session, UserEvents userEvents, Dispatch dispatch) {
        this.session = session;
        this.userEvents = userEvents;
        this.dispatch = dispatch;
    }

    @Override
    public void onEvent(Event event) {
        userEvents.read(event).ifPresent(change -> add(event.getRealmId(), change));
    }

    @Override
    public void onEvent(AdminEvent event, boolean includeRepresentation) {
        AdminEvents.read(event).ifPresent(change -> add(event.getRealmId(), change));
    }

    private void add(String realmId, ChangeEvent change) {
        RealmModel realm = session.realms().getRealm(realmId);
        if (realm != null) {
            SessionEvents.add(session, dispatch, realm, change);
        }
    }

    @Override
    public void close() {
        // What was heard belongs to the transaction, which outlives this object.
    }
}
