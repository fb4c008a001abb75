package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.keycloak.events.Event;
import org.keycloak.events.EventType;
import org.keycloak.events.admin.AdminEvent;
import org.keycloak.events.admin.AuthDetails;
import org.keycloak.events.admin.OperationType;

class EventsTest {

    private static AdminEvent admin(String type, String operation, String path, String representation) {
        AuthDetails actor = new AuthDetails();
        actor.setIpAddress("192.0.2.7");
        actor.setUserId("the-administrator");
        AdminEvent event = new AdminEvent();
        event.setId("e1");
        event.setTime(1795447316160L);
        event.setRealmId("r1");
        event.setRealmName("acme");
        event.setAuthDetails(actor);
        event.setOperationType(OperationType.valueOf(operation));
        event.setResourceTypeAsString(type);
        event.setResourcePath(path);
        event.setRepresentation(representation);
        return event;
    }

    private static String json(Optional<ChangeEvent> event) {
        return event.map(change -> new String(change.toJson(), StandardCharsets.UTF_8)).orElse("nothing");
    }

    private static String ids(String type, String operation, String path, String representation) {
        String json = json(AdminEvents.read(admin(type, operation, path, representation)));
        int after = json.indexOf(path) + path.length() + 1;
        return json.substring(after).replaceAll("[,}]?\"|}$", "").replaceFirst("^,", "");
    }

    @Test
    void anAdminEventIsSentWithItsIdsAndLoginNameOnly() {
        AdminEvent event = admin("USER", "CREATE", "users/u1", "{\"email\":\"hidden@example.org\","
                + "\"attributes\":{\"username\":[\"x\"],\"id\":\"y\"},\"username\":\"alice\",\"firstName\":\"Hidden\"}");
        assertEquals("{\"kind\":\"admin\",\"id\":\"e1\",\"time\":1795447316160,\"realmId\":\"r1\","
                + "\"realmName\":\"acme\",\"operationType\":\"CREATE\",\"resourceType\":\"USER\","
                + "\"resourcePath\":\"users/u1\",\"userId\":\"u1\",\"username\":\"alice\"}",
                json(AdminEvents.read(event)));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            GROUP                   | CREATE | groups/g1                      | groupId:g1
            GROUP                   | CREATE | groups/g1/children             | resourceId:c1groupId:g1
            GROUP                   | UPDATE | groups/g1/children             | resourceId:c1groupId:g1
            GROUP                   | UPDATE | groups                         | resourceId:c1
            GROUP                   | CREATE | default-groups/g1              | groupId:g1
            GROUP_MEMBERSHIP        | CREATE | users/u1/groups/g1             | userId:u1groupId:g1
            USER                    | DELETE | users/u1/federated-identity/gh | userId:u1
            REALM_ROLE_MAPPING      | DELETE | groups/g1/role-mappings/realm  | groupId:g1
            REALM_ROLE              | UPDATE | roles-by-id/x1                 | roleId:x1
            REALM_ROLE              | DELETE | roles/jira                     | ''
            ORGANIZATION_MEMBERSHIP | CREATE | organizations/o1/members       | organizationId:o1
            ORGANIZATION_MEMBERSHIP | DELETE | organizations/o1/members/u1    | userId:u1organizationId:o1
            REALM                   | ACTION | user-storage/s1/sync           | ''
            USER                    | CREATE | scim/v2/Users/u1               | userId:u1
            GROUP                   | UPDATE | scim/v2/Groups/g1              | groupId:g1
            USER                    | UPDATE | users/f:c:sl/ash               | userId:f:c:sl/ash
            GROUP_MEMBERSHIP        | CREATE | users/f:c:a b/c/groups/g1      | userId:f:c:a b/cgroupId:g1
            USER                    | ACTION | users/f:c:u005/reset-password  | userId:f:c:u005
            ORGANIZATION_MEMBERSHIP | DELETE | organizations/o1/members/f:c:x/y | userId:f:c:x/yorganizationId:o1
            GROUP                   | UPDATE | groups/f:c:x/children          | resourceId:c1groupId:f:c:x
            USER_PROFILE            | UPDATE | users/profile                  | ''
            """)
    void theIdsAreReadFromThePathAndForHiddenGroupsFromTheContent(
            String type, String operation, String path, String ids) {
        assertEquals(ids, ids(type, operation, path, "{\"id\":\"c1\",\"name\":\"hidden\"}"));
    }

    @Test
    void theMemberOfAnOrganizationIsTakenFromDetailsOrContent() {
        AdminEvent event = admin("ORGANIZATION_MEMBERSHIP", "CREATE", "organizations/o1/members", "{\"id\":\"o1\"}");
        event.setDetails(Map.of("username", "alice", "email", "hidden@example.org"));
        assertTrue(json(AdminEvents.read(event)).endsWith("\"organizationId\":\"o1\",\"username\":\"alice\"}"));
        event = admin("ORGANIZATION_MEMBERSHIP", "CREATE", "organizations/o1/members",
                "{\"id\":\"u1\",\"username\":\"alice\"}");
        assertTrue(json(AdminEvents.read(event))
                .endsWith("\"userId\":\"u1\",\"organizationId\":\"o1\",\"username\":\"alice\"}"));
    }

    @ParameterizedTest
    @CsvSource(nullValues = "none", textBlock = """
            USER, users/u1
            none, users/u1
            none, groups/g1
            SOMETHING_NEW, users/u1/new-thing
            USER_LOGIN_FAILURE, users/u1
            USER_SESSION, groups/g1/anything
            REALM, users/u1
            REALM, groups/g1
            REALM, roles/r1
            REALM, user-storage/s1/sync
            COMPONENT, components/c1
            USER_FEDERATION_MAPPER, any
            CLIENT_ROLE, clients/c1/roles/x
            CLIENT_ROLE_MAPPING, users/u1/role-mappings/clients/c1
            ORGANIZATION_GROUP_MEMBERSHIP, organizations/o1/groups/g1/members/u1
            """)
    void whatConcernsTheDirectoryIsSent(String type, String path) {
        assertTrue(AdminEvents.read(admin(type, "UPDATE", path, null)).isPresent());
    }

    @ParameterizedTest
    @CsvSource(nullValues = "none", textBlock = """
            AUTH_FLOW, authentication/flows/x
            CLIENT, clients/c1
            REALM, events/config
            REALM, none
            IDENTITY_PROVIDER, identity-provider/instances/gh
            CLIENT_SCOPE, client-scopes/s1
            none, none
            """)
    void noiseIsNotSent(String type, String path) {
        assertTrue(AdminEvents.read(admin(type, "UPDATE", path, null)).isEmpty());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            {"id":               | unfinished
            ["id","c1"]          | no object
            {"id":7}             | no text
            {"a":{"id":"x"}}     | not at the top
            """)
    void contentThatIsNoneIsLeftAlone(String content, String why) {
        assertEquals("groupId:g1", ids("GROUP", "CREATE", "groups/g1/children", content), why);
    }

    private static Event user(EventType type, Map<String, String> details) {
        Event event = new Event();
        event.setId("e2");
        event.setTime(1795449456955L);
        event.setType(type);
        event.setRealmId("r1");
        event.setRealmName("acme");
        event.setClientId("account-console");
        event.setUserId("u1");
        event.setSessionId("hidden");
        event.setIpAddress("192.0.2.7");
        event.setDetails(details);
        return event;
    }

    @Test
    void aUserEventIsSentWithItsIdsAndLoginNameOnly() {
        Event event = user(EventType.REGISTER, Map.of("username", "selma", "email", "hidden@example.org"));
        assertEquals("{\"kind\":\"user\",\"id\":\"e2\",\"time\":1795449456955,\"realmId\":\"r1\","
                + "\"realmName\":\"acme\",\"type\":\"REGISTER\",\"userId\":\"u1\",\"username\":\"selma\"}",
                json(new UserEvents(false).read(event)));
    }

    @Test
    void aLoginNameIsSentOnlyWhereKeycloakWroteIt() {
        Event renamed = user(EventType.UPDATE_PROFILE, Map.of("previous_username", "old", "updated_username", "new"));
        assertTrue(json(new UserEvents(false).read(renamed)).endsWith("\"username\":\"new\"}"));
        Event typed = user(EventType.LOGIN, Map.of("username", "hidden@example.org"));
        assertFalse(json(new UserEvents(true).read(typed)).contains("hidden"));
        assertTrue(new UserEvents(false).read(user(EventType.UPDATE_PROFILE, null)).isPresent());
    }

    @Test
    void onlyUserEventsThatMayChangeAUserAreSent() {
        UserEvents events = new UserEvents(false);
        assertTrue(events.read(user(EventType.DELETE_ACCOUNT, null)).isPresent());
        assertTrue(events.read(user(EventType.USER_DISABLED_BY_PERMANENT_LOCKOUT, null)).isPresent());
        assertTrue(events.read(user(EventType.LOGIN, null)).isEmpty());
        assertTrue(events.read(user(EventType.REGISTER_ERROR, null)).isEmpty());
        assertTrue(events.read(user(EventType.CLIENT_LOGIN, null)).isEmpty());
        assertTrue(events.read(user(null, null)).isEmpty());
        assertTrue(new UserEvents(true).read(user(EventType.LOGIN, null)).isPresent());
    }

    @Test
    void aSignInThroughAnIdentityProviderIsSent() {
        Event event = user(EventType.LOGIN, Map.of("identity_provider", "github", "username", "hidden@example.org"));
        assertEquals("{\"kind\":\"user\",\"id\":\"e2\",\"time\":1795449456955,\"realmId\":\"r1\","
                + "\"realmName\":\"acme\",\"type\":\"LOGIN\",\"userId\":\"u1\"}",
                json(new UserEvents(false).read(event)));
        assertTrue(new UserEvents(false).read(user(EventType.LOGIN, Map.of("auth_method", "x"))).isEmpty());
        assertTrue(new UserEvents(false)
                .read(user(EventType.LOGIN_ERROR, Map.of("identity_provider", "github"))).isEmpty());
    }
}
