package io.usersync.keycloak;

import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.keycloak.Config;

/** Options as Keycloak hands them over, from a map. */
final class Options implements Config.Scope {

    private final Map<String, String> values = new HashMap<>();

    Options set(String key, String value) {
        values.put(key, value);
        return this;
    }

    @Override
    public String get(String key) {
        return values.get(key);
    }

    @Override
    public String get(String key, String preset) {
        return values.getOrDefault(key, preset);
    }

    @Override
    public String[] getArray(String key) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Integer getInt(String key) {
        return getInt(key, null);
    }

    @Override
    public Integer getInt(String key, Integer preset) {
        return values.containsKey(key) ? Integer.valueOf(values.get(key)) : preset;
    }

    @Override
    public Long getLong(String key) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Long getLong(String key, Long preset) {
        throw new UnsupportedOperationException();
    }

    @Override
    public Boolean getBoolean(String key) {
        return getBoolean(key, null);
    }

    @Override
    public Boolean getBoolean(String key, Boolean preset) {
        return values.containsKey(key) ? Boolean.valueOf(values.get(key)) : preset;
    }

    @Override
    public Config.Scope scope(String... scope) {
        throw new UnsupportedOperationException();
    }

    @Override
    @Deprecated
    public Set<String> getPropertyNames() {
        return values.keySet();
    }
}
