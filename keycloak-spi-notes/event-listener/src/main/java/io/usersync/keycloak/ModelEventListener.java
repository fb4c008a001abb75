package io.usersync.keycloak;

import io.usersync.keycloak.ChangeEvent.Field;
import io.usersync.keycloak.ModelEvents.Observed;
import org.jboss.logging.Logger;
import org.keycloak.models.ClientModel;
import org.keycloak.models.RealmModel;
import org.keycloak.provider.ProviderEvent;
import org.keycloak.provider.ProviderEventListener;

/**
 * Hears the events of Keycloak's storage, for all realms at once, and keeps those of realms that listen.
 *
 * <p>Keycloak calls this in the middle of the change itself, so nothing may be thrown from here.
 */
final class ModelEventListener implements ProviderEventListener {

    private static final Logger LOG = Logger.getLogger(ModelEventListener.class);

    private final ModelEvents events;
    private final String ownClientId;
    private final Dispatch dispatch;

    ModelEventListener(ModelEvents events, String ownClientId, Dispatch dispatch) {
        this.events = events;
        this.ownClientId = ownClientId;
        this.dispatch = dispatch;
    }

    @Override
    public void onEvent(ProviderEvent event) {
        try {
            events.read(event).filter(this::isWanted).ifPresent(this::collect);
        } catch (RuntimeException | LinkageError e) {
            dispatch.sender().losses().add(Loss.UNREADABLE, 1);
            LOG.debugf(e, "usersync: a %s could not be read and is not sent.", event.getClass().getName());
        }
    }

    private boolean isWanted(Observed observed) {
        RealmModel realm = observed.realm();
        return realm != null
                && realm.getEventsListenersStream().anyMatch(UsersyncListenerFactory.ID::equals)
                && !isOwnReading(observed);
    }

    /**
     * A listing by usersync makes Keycloak import LDAP users that it had not seen; that is no news to usersync. It also
     * makes Keycloak remove users that LDAP no longer has; that is news.
     */
    private boolean isOwnReading(Observed observed) {
        if (ModelEvents.USER_REMOVED.equals(observed.change().get(Field.TYPE))) {
            return false;
        }
        ClientModel caller = observed.session().getContext().getClient();
        return caller != null && ownClientId.equals(caller.getClientId());
    }

    private void collect(Observed observed) {
        RealmModel realm = observed.realm();
        ChangeEvent change = observed.change()
                .with(Field.REALM_ID, realm.getId())
                .with(Field.REALM_NAME, realm.getName());
        SessionEvents.add(observed.session(), dispatch, realm, change);
    }
}
