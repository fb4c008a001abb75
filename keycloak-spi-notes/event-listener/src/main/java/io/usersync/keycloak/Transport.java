package io.usersync.keycloak;

import java.util.concurrent.CompletionStage;

/** Takes a batch to its destination without blocking the caller. */
interface Transport {

    /** One attempt; fails with an exception if there was no answer. */
    CompletionStage<Answer> post(Destination destination, Batch batch);
}
