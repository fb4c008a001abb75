package io.usersync.keycloak;

import java.util.ArrayList;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** The log lines of one class, without a console. */
final class LogLines extends Handler {

    private final List<String> lines = new ArrayList<>();

    static LogLines of(Class<?> type) {
        LogLines lines = new LogLines();
        Logger logger = Logger.getLogger(type.getName());
        logger.setUseParentHandlers(false);
        logger.addHandler(lines);
        return lines;
    }

    @Override
    public void publish(LogRecord line) {
        lines.add(line.getMessage());
    }

    int size() {
        return lines.size();
    }

    String last() {
        return lines.get(lines.size() - 1);
    }

    @Override
    public void flush() {
    }

    @Override
    public void close() {
    }
}
