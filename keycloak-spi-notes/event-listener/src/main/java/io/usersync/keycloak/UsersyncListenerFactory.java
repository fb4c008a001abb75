package io.usersync.keycloak;

import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.jboss.logging.Logger;
import org.keycloak.Config;
import org.keycloak.events.EventListenerProvider;
import org.keycloak.events.EventListenerProviderFactory;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.provider.ProviderConfigProperty;
import org.keycloak.provider.ServerInfoAwareProviderFactory;

/**
 * The event listener {@code usersync}: tells usersync of every change to users, groups and roles, after its commit.
 *
 * <p>One sender, with one thread, serves all sessions of the server.
 */
public final class UsersyncListenerFactory implements EventListenerProviderFactory, ServerInfoAwareProviderFactory {

    /** The name under which a realm enables the listener. */
    public static final String ID = "usersync";

    private static final Logger LOG = Logger.getLogger(UsersyncListenerFactory.class);
    private static final Duration PATIENCE_AT_SHUTDOWN = Duration.ofSeconds(5);

    private Settings settings;
    private UserEvents userEvents;
    private ThreadLoop loop;
    private Dispatch dispatch;

    /** Keycloak makes the factory. */
    public UsersyncListenerFactory() {
    }

    @Override
    public String getId() {
        return ID;
    }

    @Override
    public void init(Config.Scope options) {
        settings = Settings.read(options);
        settings.keys().forEach(key -> LOG.infof("usersync: %s.", key));
        settings.problems().forEach(problem -> LOG.errorf("usersync: %s", problem));
    }

    @Override
    public void postInit(KeycloakSessionFactory factory) {
        Clock clock = Clock.systemUTC();
        loop = new ThreadLoop();
        userEvents = new UserEvents(settings.loginEvents());
        dispatch = new Dispatch(new Router(settings.keys()), new Sender(new Means(
                new HttpTransport(settings.connectTimeout(), settings.requestTimeout(), clock),
                loop,
                clock,
                new Backoff(() -> ThreadLocalRandom.current().nextDouble()),
                new Room(settings.queueSize()),
                new Losses(clock, loop),
                settings.retryFor())));
        factory.register(new ModelEventListener(new ModelEvents(clock), settings.clientId(), dispatch));
    }

    @Override
    public EventListenerProvider create(KeycloakSession session) {
        return new UsersyncListener(session, userEvents, dispatch);
    }

    @Override
    public void close() {
        if (dispatch != null) {
            dispatch.sender().close(PATIENCE_AT_SHUTDOWN);
            loop.close();
        }
    }

    @Override
    public List<ProviderConfigProperty> getConfigMetadata() {
        return Settings.describe();
    }

    /** Shown by the admin console under the server's providers. */
    @Override
    public Map<String, String> getOperationalInfo() {
        return Map.of(
                "waiting", Integer.toString(dispatch.sender().waiting()),
                "dropped", Long.toString(dispatch.sender().losses().total()));
    }
}
