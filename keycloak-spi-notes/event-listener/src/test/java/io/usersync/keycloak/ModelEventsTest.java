package io.usersync.keycloak;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.usersync.keycloak.ChangeEvent.Field;
import java.lang.reflect.Proxy;
import java.time.Clock;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.OrganizationModel;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleContainerModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.provider.ProviderEvent;

/** Model events from Keycloak's storage to the sender, and the transaction between them. */
class ModelEventsTest {

    private final ManualLoop loop = new ManualLoop();
    private final RecordingTransport transport = new RecordingTransport();
    private final Dispatch dispatch = new Dispatch(
            new Router(List.of(Fakes.key("acme", "acme", "https://usersync.example.org/hooks/acme"))),
            loop.sender(transport, 100));
    private final ModelEvents events = new ModelEvents(Clock.systemUTC());
    private final ModelEventListener listener = new ModelEventListener(events, "usersync", dispatch);
    private final Fakes.Session session = new Fakes.Session();
    private final RealmModel realm = Fakes.realm("acme");

    private <T extends ProviderEvent> T event(Class<T> type) {
        return event(type, realm);
    }

    private <T extends ProviderEvent> T event(Class<T> type, RealmModel in) {
        KeycloakSession model = session.model();
        Map<String, Object> answers = new HashMap<>();
        answers.put("getRealm", in);
        answers.put("getKeycloakSession", model);
        answers.put("getSession", model);
        answers.put("getGroup", Fakes.group("g1"));
        answers.put("getUser", Fakes.user("u1", "alice"));
        answers.put("getOrganization", Fakes.of(OrganizationModel.class, Map.of("getId", "o1")));
        answers.put("getRole", role(in));
        return Fakes.of(type, answers);
    }

    /** A role whose container is a realm, as Keycloak's own are. */
    private static RoleModel role(RealmModel container) {
        return Fakes.of(RoleModel.class, Map.of("getId", "x1", "isClientRole", false, "getContainer", container));
    }

    private String seen(ProviderEvent event) {
        ChangeEvent change = events.read(event).orElseThrow().change();
        return change.get(Field.TYPE) + " " + change.get(Field.RESOURCE_TYPE) + " "
                + change.get(Field.OPERATION_TYPE) + " " + change.get(Field.RESOURCE_PATH);
    }

    @Test
    void eachIsWrittenLikeAnAdminEvent() {
        assertEquals("GROUP_CREATED GROUP CREATE groups/g1", seen(event(GroupModel.GroupCreatedEvent.class)));
        assertEquals("GROUP_UPDATED GROUP UPDATE groups/g1", seen(event(GroupModel.GroupUpdatedEvent.class)));
        assertEquals("GROUP_PATH_CHANGE GROUP UPDATE groups/g1", seen(event(GroupModel.GroupPathChangeEvent.class)));
        assertEquals("GROUP_REMOVED GROUP DELETE groups/g1", seen(event(GroupModel.GroupRemovedEvent.class)));
        assertEquals("USER_REMOVED USER DELETE users/u1", seen(event(UserModel.UserRemovedEvent.class)));
        assertEquals("USER_REMOVED USER DELETE users/u1", seen(event(UserModel.UserPreRemovedEvent.class)));
        assertEquals("ORGANIZATION_MEMBER_JOIN ORGANIZATION_MEMBERSHIP CREATE organizations/o1/members/u1",
                seen(event(OrganizationModel.OrganizationMemberJoinEvent.class)));
        assertEquals("ORGANIZATION_MEMBER_LEAVE ORGANIZATION_MEMBERSHIP DELETE organizations/o1/members/u1",
                seen(event(OrganizationModel.OrganizationMemberLeaveEvent.class)));
        assertEquals("ROLE_REMOVED REALM_ROLE DELETE roles-by-id/x1",
                seen(event(RoleContainerModel.RoleRemovedEvent.class)));
    }

    @Test
    void whereKeycloakDoesNotSayWhoJoinedTheGroupIsNamed() {
        assertEquals("GROUP_MEMBER_JOIN GROUP_MEMBERSHIP CREATE groups/g1/members",
                seen(event(GroupModel.GroupMemberJoinEvent.class)));
        assertEquals("GROUP_MEMBER_LEAVE GROUP_MEMBERSHIP DELETE groups/g1/members",
                seen(event(GroupModel.GroupMemberLeaveEvent.class)));
    }

    /** As newer Keycloaks have it. */
    public interface JoinWithUser extends GroupModel.GroupMemberJoinEvent {
        UserModel getUser();
    }

    @Test
    void whereKeycloakSaysWhoJoinedTheUserIsNamed() {
        ChangeEvent change = events.read(event(JoinWithUser.class)).orElseThrow().change();
        assertEquals("users/u1/groups/g1", change.get(Field.RESOURCE_PATH));
        assertEquals("u1", change.get(Field.USER_ID));
        assertEquals("g1", change.get(Field.GROUP_ID));
        assertEquals("alice", change.get(Field.USERNAME));
    }

    @Test
    void otherEventsAreNone() {
        assertTrue(events.read(Fakes.of(ProviderEvent.class, Map.of())).isEmpty());
    }

    @Test
    void nothingIsSentBeforeTheCommitAndAllAfterIt() {
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class));
        listener.onEvent(event(UserModel.UserRemovedEvent.class));
        loop.run();
        assertEquals(0, transport.events().size());
        session.enlisted.commit();
        loop.run();
        assertEquals(2, transport.events().size());
    }

    @Test
    void nothingIsSentForATransactionThatIsRolledBack() {
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class));
        session.enlisted.rollback();
        loop.run();
        assertEquals(0, transport.events().size());
        assertTrue(session.attributes.isEmpty());
    }

    @Test
    void aSecondTransactionOfTheSessionStartsAfresh() {
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class));
        var first = session.enlisted;
        first.rollback();
        listener.onEvent(event(UserModel.UserRemovedEvent.class));
        first.commit();
        session.enlisted.commit();
        loop.run();
        assertEquals(1, transport.events().size());
    }

    @Test
    void withoutATransactionOrAfterItsCommitAnEventIsSentAtOnce() {
        session.active = false;
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class));
        loop.run();
        assertEquals(1, transport.events().size());
        loop.pass(Outbox.GATHERS);
        session.active = true;
        session.completing = true;
        listener.onEvent(event(GroupModel.GroupRemovedEvent.class));
        loop.run();
        assertEquals(2, transport.events().size());
    }

    @Test
    void whatUsersyncItselfCausesByReadingIsNotSent() {
        session.client = "usersync";
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class));
        assertEquals(null, session.enlisted);
    }

    @Test
    void aUserThatKeycloakRemovesWhileUsersyncReadsIsSent() {
        session.client = "usersync";
        listener.onEvent(event(UserModel.UserRemovedEvent.class));
        session.enlisted.commit();
        loop.run();
        assertEquals(1, transport.events().size());
    }

    @Test
    void bothEventsOfARemovedUserAreHeardAndOneIsSent() {
        for (var heard : List.of(List.of(UserModel.UserPreRemovedEvent.class), List.of(UserModel.UserRemovedEvent.class),
                List.of(UserModel.UserPreRemovedEvent.class, UserModel.UserRemovedEvent.class))) {
            int before = transport.events().size();
            heard.forEach(type -> listener.onEvent(event(type)));
            session.enlisted.commit();
            loop.pass(Outbox.GATHERS);
            assertEquals(before + 1, transport.events().size(), heard::toString);
        }
    }

    @Test
    void realmsThatDoNotListenAreLeftAlone() {
        listener.onEvent(event(GroupModel.GroupCreatedEvent.class, Fakes.realm("acme", "listener", "email")));
        assertEquals(null, session.enlisted);
    }

    @Test
    void whatCannotBeReadHarmsNobody() {
        KeycloakSession broken = (KeycloakSession) Proxy.newProxyInstance(getClass().getClassLoader(),
                new Class<?>[] {KeycloakSession.class}, (self, method, arguments) -> {
                    throw new IllegalStateException("closed");
                });
        listener.onEvent(Fakes.of(GroupModel.GroupCreatedEvent.class, Map.of(
                "getRealm", realm, "getGroup", Fakes.group("g1"), "getKeycloakSession", broken)));
        loop.run();
        assertEquals(0, transport.events().size());
        assertEquals(1, dispatch.sender().losses().total());
    }

    @Test
    void anEndlessTransactionIsBounded() {
        KeycloakSession model = session.model();
        for (int i = 0; i < 150; i++) {
            SessionEvents.add(model, dispatch, realm, ChangeEvent.admin("e" + i, i)
                    .with(Field.REALM_ID, "r").with(Field.RESOURCE_PATH, "users/" + i));
        }
        session.enlisted.commit();
        loop.run();
        assertEquals(80, transport.events().size());
        assertEquals(70, dispatch.sender().losses().total());
    }

    @Test
    void anAdminEventStandsForTheModelEventOfTheSameChange() {
        Changes changes = new Changes();
        changes.add(change("model", "GROUP_MEMBERSHIP", "CREATE", "users/u1/groups/g1"));
        changes.add(change("model", "GROUP_MEMBERSHIP", "CREATE", "users/u1/groups/g1"));
        changes.add(change("model", "GROUP_MEMBERSHIP", "CREATE", "users/u1/groups/g2"));
        changes.add(change("model", "GROUP_MEMBERSHIP", "DELETE", "users/u1/groups/g1"));
        changes.add(change("admin", "GROUP_MEMBERSHIP", "CREATE", "users/u1/groups/g1"));
        List<String> left = changes.toList().stream()
                .map(c -> c.get(Field.KIND) + " " + c.get(Field.OPERATION_TYPE) + " " + c.get(Field.RESOURCE_PATH))
                .toList();
        assertEquals(List.of("model CREATE users/u1/groups/g2", "model DELETE users/u1/groups/g1",
                "admin CREATE users/u1/groups/g1"), left);
    }

    @Test
    void anAdminEventStandsForTheModelEventThatNamesNoUser() {
        Changes changes = new Changes();
        changes.add(change("model", "GROUP_MEMBERSHIP", "CREATE", "groups/g1/members"));
        changes.add(change("model", "GROUP_MEMBERSHIP", "CREATE", "groups/g2/members"));
        changes.add(change("admin", "GROUP_MEMBERSHIP", "CREATE", "users/u1/groups/g1").with(Field.GROUP_ID, "g1"));
        assertEquals(2, changes.toList().size());
        assertFalse(changes.toList().stream().anyMatch(c -> c.get(Field.RESOURCE_PATH).equals("groups/g1/members")));
    }

    @Test
    void twoAdminEventsOfOneTransactionAreBothSent() {
        Changes changes = new Changes();
        changes.add(change("admin", "USER", "UPDATE", "users/u1"));
        changes.add(change("admin", "USER", "UPDATE", "users/u1"));
        assertEquals(2, changes.toList().size());
    }

    private static ChangeEvent change(String kind, String type, String operation, String path) {
        ChangeEvent change = kind.equals("admin") ? ChangeEvent.admin("e", 1) : ChangeEvent.model(1);
        return change.with(Field.REALM_ID, "r").with(Field.RESOURCE_TYPE, type)
                .with(Field.OPERATION_TYPE, operation).with(Field.RESOURCE_PATH, path);
    }
}
