package io.usersync.keycloak;

import java.time.Duration;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.jboss.logging.Logger;

/** The sender's one daemon thread. It starts with the first step, so an unused listener has none. */
final class ThreadLoop implements Loop, AutoCloseable {

    private static final Logger LOG = Logger.getLogger(ThreadLoop.class);

    private final ScheduledThreadPoolExecutor thread = new ScheduledThreadPoolExecutor(1, task -> {
        Thread created = new Thread(task, "usersync-sender");
        created.setDaemon(true);
        return created;
    }, new ScheduledThreadPoolExecutor.DiscardPolicy());

    @Override
    public void execute(Runnable step) {
        thread.execute(guarded(step));
    }

    @Override
    public void after(Duration wait, Runnable step) {
        thread.schedule(guarded(step), wait.toMillis(), TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() {
        thread.shutdownNow();
    }

    /** A step that fails must be seen, and must not keep the next one from running. */
    private static Runnable guarded(Runnable step) {
        return () -> {
            try {
                step.run();
            } catch (Throwable e) { // An Error would vanish without a line.
                LOG.error("usersync: the sender failed in one step and goes on.", e);
            }
        };
    }
}
