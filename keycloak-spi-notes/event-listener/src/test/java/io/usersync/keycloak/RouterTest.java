package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.net.URI;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RouterTest {

    private static final String HOOKS = "https://usersync.example.org/hooks/";

    private static Optional<String> route(Router router, String... attributes) {
        return router.destinationOf(Fakes.realm("acme", attributes)).map(Destination::toString);
    }

    @Test
    void usesTheOnlyFullAddressOfTheOnlyKey() {
        assertEquals(Optional.of(HOOKS + "acme"), route(new Router(List.of(Fakes.key("a", "acme", HOOKS + "acme")))));
    }

    @Test
    void sendsNothingWithoutAFullAddress() {
        assertEquals(Optional.empty(), route(new Router(List.of(Fakes.key("a", "acme", HOOKS)))));
        assertEquals(Optional.empty(),
                route(new Router(List.of(Fakes.key("a", "acme", HOOKS + "one", HOOKS + "two")))));
    }

    @Test
    void theRealmChoosesAmongWhatIsAllowed() {
        Router router = new Router(List.of(Fakes.key("a", "acme", HOOKS), Fakes.key("b", "acme", HOOKS + "b")));
        assertEquals(Optional.empty(), route(router));
        assertEquals(Optional.of(HOOKS + "b"), route(router, Router.KEY, "b"));
        assertEquals(Optional.of(HOOKS + "x"), route(router, Router.KEY, "a", Router.ADDRESS, HOOKS + "x"));
        assertEquals(Optional.empty(), route(router, Router.KEY, "b", Router.ADDRESS, HOOKS + "x"));
        assertEquals(Optional.empty(), route(router, Router.KEY, "unknown"));
        assertEquals(Optional.empty(), route(router, Router.KEY, "whsec_bm90IGEgbmFtZSBidXQgYSBzZWNyZXQ="));
    }

    @Test
    void aKeyIsOnlyForItsRealms() {
        Router router = new Router(List.of(Fakes.key("a", "globex", HOOKS + "globex")));
        assertEquals(Optional.empty(), route(router, Router.KEY, "a", Router.ADDRESS, HOOKS + "globex"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "https://usersync.example.org/hooks/acme", "https://USERSYNC.example.org:443/hooks/a/b",
        "HTTPS://usersync.example.org/hooks/"})
    void coversWhatIsBelow(String address) {
        assertEquals(true, new AllowedAddress(HOOKS).covers(AllowedAddress.parse(address)));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "http://usersync.example.org/hooks/acme", "https://usersync.example.org:8443/hooks/acme",
        "https://usersync.example.org.evil.test/hooks/acme", "https://usersync.example.org/hooksacme",
        "https://usersync.example.org/", "https://usersync.example.org"})
    void coversNothingElse(String address) {
        assertEquals(false, new AllowedAddress(HOOKS).covers(AllowedAddress.parse(address)));
    }

    @Test
    void aFullAddressCoversOnlyItself() {
        AllowedAddress address = new AllowedAddress(HOOKS + "acme");
        assertEquals(true, address.covers(URI.create(HOOKS + "acme")));
        assertEquals(false, address.covers(URI.create(HOOKS + "acme/more")));
    }

    @ParameterizedTest
    @CsvSource({
        "https://usersync.example.org/hooks/../admin", "https://usersync.example.org/hooks/%2e%2e/admin",
        "https://user@usersync.example.org/hooks/", "https://usersync.example.org/hooks//acme",
        "https://usersync.example.org/hooks/?to=x", "https://usersync.example.org/hooks/#x",
        "ftp://usersync.example.org/hooks/", "/hooks/acme", "https:///hooks/", "not an address",
        "https://usersync.example.org\\@evil.test/hooks/"})
    void refusesAddressesThatCouldLeadElsewhere(String address) {
        assertThrows(IllegalArgumentException.class, () -> AllowedAddress.parse(address));
    }
}
