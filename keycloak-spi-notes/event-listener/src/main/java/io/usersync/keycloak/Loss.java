package io.usersync.keycloak;

/** Why an event was dropped; usersync's other nets catch the change. */
enum Loss {
    QUEUE_FULL("the queue was full"),
    TOO_OLD("the receiver did not take them in time"),
    TOO_LARGE("the receiver found even one event too large"),
    REFUSED("the receiver refused them as wrong"),
    UNREADABLE("this Keycloak's storage told of them in an unknown way"),
    FAILED("an error in Keycloak kept them from being queued"),
    SHUTDOWN("Keycloak was stopped");

    private final String text;

    Loss(String text) {
        this.text = text;
    }

    @Override
    public String toString() {
        return text;
    }
}
