package io.usersync.keycloak;

import java.time.Duration;

/** One thread's list of things to do, one after the other. */
interface Loop {

    /** Does it as soon as everything before it is done. */
    void execute(Runnable step);

    /** Does it after a while. */
    void after(Duration wait, Runnable step);
}
