package io.usersync.keycloak;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;

/** Some events on their way, under an id that stays the same however often they are tried. */
final class Batch {

    private static final byte[] HEAD = "{\"events\":[".getBytes(StandardCharsets.UTF_8);
    private static final byte[] TAIL = "]}".getBytes(StandardCharsets.UTF_8);

    private final String id = "msg_" + UUID.randomUUID().toString().replace("-", "");
    private final List<Queued> events;
    private final byte[] body;

    Batch(List<Queued> events) {
        this.events = List.copyOf(events);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(HEAD);
        for (int i = 0; i < events.size(); i++) {
            if (i > 0) {
                out.write(',');
            }
            out.writeBytes(events.get(i).json());
        }
        out.writeBytes(TAIL);
        this.body = out.toByteArray();
    }

    String id() {
        return id;
    }

    List<Queued> events() {
        return events;
    }

    byte[] body() {
        return body;
    }
}
