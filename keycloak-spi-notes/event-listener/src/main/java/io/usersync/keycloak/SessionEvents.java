package io.usersync.keycloak;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jboss.logging.Logger;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakTransaction;
import org.keycloak.models.KeycloakTransactionManager;
import org.keycloak.models.RealmModel;

/**
 * What happened in one transaction of a Keycloak session: held back until it is committed, forgotten if it is rolled
 * back.
 */
final class SessionEvents implements KeycloakTransaction {

    private static final Logger LOG = Logger.getLogger(SessionEvents.class);
    private static final String ATTRIBUTE = SessionEvents.class.getName();

    private final KeycloakSession session;
    private final Dispatch dispatch;
    private final Map<Destination, Changes> changes = new LinkedHashMap<>();
    private boolean active;

    private SessionEvents(KeycloakSession session, Dispatch dispatch) {
        this.session = session;
        this.dispatch = dispatch;
    }

    /** Keeps an event for after the commit; where there is no commit to come, it is sent at once. */
    static void add(KeycloakSession session, Dispatch dispatch, RealmModel realm, ChangeEvent change) {
        dispatch.router().destinationOf(realm).ifPresent(destination -> {
            SessionEvents present = session.getAttribute(ATTRIBUTE, SessionEvents.class);
            boolean waits = present != null;
            if (present == null) {
                present = new SessionEvents(session, dispatch);
                waits = present.enlist();
            }
            present.keep(destination, change);
            if (!waits) {
                present.commit();
            }
        });
    }

    private boolean enlist() {
        KeycloakTransactionManager transactions = session.getTransactionManager();
        if (!transactions.isActive()) {
            return false;
        }
        try {
            transactions.enlistAfterCompletion(this);
        } catch (IllegalStateException e) {
            // Newer Keycloaks refuse this once the commit is under way; what is told then is already true.
            return false;
        }
        session.setAttribute(ATTRIBUTE, this);
        return true;
    }

    private void keep(Destination destination, ChangeEvent change) {
        Changes kept = changes.computeIfAbsent(destination, d -> new Changes());
        if (kept.size() < dispatch.sender().capacity()) {
            kept.add(change);
        } else {
            dispatch.sender().losses().add(Loss.QUEUE_FULL, 1);
        }
    }

    /** Hands the events over. What is thrown here would reach the caller of a request that has already succeeded. */
    @Override
    public void commit() {
        try {
            changes.forEach((destination, kept) -> dispatch.sender().offer(destination, kept.toList()));
        } catch (RuntimeException | LinkageError e) {
            LOG.warn("usersync: the events of a transaction could not be queued and are not sent.", e);
        } finally {
            end();
        }
    }

    @Override
    public void rollback() {
        end();
    }

    /** A session may begin another transaction; its events start afresh. */
    private void end() {
        changes.clear();
        session.removeAttribute(ATTRIBUTE);
        active = false;
    }

    @Override
    public void begin() {
        active = true;
    }

    @Override
    public void setRollbackOnly() {
        // Whether the transaction stands is for those who change data to say.
    }

    @Override
    public boolean getRollbackOnly() {
        return false;
    }

    @Override
    public boolean isActive() {
        return active;
    }
}
