package io.usersync.keycloak;

import java.util.HashMap;
import java.util.Map;

/**
 * How many events may wait, in all and for each destination.
 *
 * <p>The queue is one for all destinations, so that its bound holds however many there are. One destination may hold at
 * most four times what is still free: alone it gets four fifths of the queue, and there is always room for another.
 */
final class Room {

    private static final int SHARE = 4;

    private final int capacity;
    private final Map<Destination, Integer> taken = new HashMap<>();
    private int total;

    Room(int capacity) {
        this.capacity = capacity;
    }

    int capacity() {
        return capacity;
    }

    /** Takes room for as many of these events as there is; returns how many that are. */
    synchronized int take(Destination destination, int wanted) {
        int mine = taken.getOrDefault(destination, 0);
        int granted = 0;
        while (granted < wanted && mine + granted < SHARE * (capacity - total - granted)) {
            granted++;
        }
        if (granted > 0) {
            taken.put(destination, mine + granted);
            total += granted;
        }
        return granted;
    }

    synchronized void release(Destination destination, int events) {
        total -= events;
        taken.computeIfPresent(destination, (d, mine) -> mine == events ? null : mine - events);
    }

    synchronized int total() {
        return total;
    }
}
