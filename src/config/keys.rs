//! The single list of all configuration keys. The parser, the example and the reference table take names and defaults
//! from it, so that they cannot diverge.

/// What applies if a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// The key is required.
    Required,
    /// No value; the key is optional.
    Absent,
    /// This default, as TOML.
    Value(&'static str),
    /// No value that can be written in the file; the text describes what happens.
    Words(&'static str),
}

/// A configuration key.
#[derive(Debug)]
pub(super) struct Key {
    /// The path including sections, such as `connector.policy.safety.count`.
    pub path: &'static str,
    /// The type of the value, as shown to operators.
    pub kind: &'static str,
    /// What applies if the key is not set.
    pub fallback: Fallback,
    /// What the key does.
    pub meaning: &'static str,
}

impl Key {
    /// Returns the environment variable that overrides the key; only the server's own settings have one.
    pub fn variable(&self) -> Option<String> {
        let own = OVERRIDABLE.iter().any(|section| self.path.starts_with(section));
        own.then(|| format!("USERSYNC_{}", self.path.replace('.', "_").to_uppercase()))
    }

    /// Returns the key's name without its sections.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Returns the key's section, such as `server.tls`.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// Sections with keys that environment variables can override.
pub(super) const OVERRIDABLE: [&str; 3] = ["server.", "store.", "log."];

/// Sections that are arrays of tables, `[[name]]`.
pub(super) const REPEATED: [&str; 7] = [
    "alert",
    "target",
    "connector",
    "connector.policy.groups.overrides",
    "connector.policy.groups.constant",
    "connector.group_test",
    "connector.user_test",
];

const fn key(path: &'static str, kind: &'static str, fallback: Fallback, meaning: &'static str) -> Key {
    Key { path, kind, fallback, meaning }
}

use Fallback::{Absent, Required, Value, Words};

pub(super) const KEYS: &[Key] = &[
    key(
        "server.listen",
        "address and port",
        Value(r#""127.0.0.1:8475""#),
        "Listen address. Any address other than loopback needs `[server.tls]` or `behind_proxy`.",
    ),
    key("server.behind_proxy", "true or false", Value("false"), "A proxy in front terminates TLS."),
    key(
        "server.body_limit",
        "size, 1 KiB to 1 GiB",
        Value(r#""1 MiB""#),
        "The largest request body that the listener accepts.",
    ),
    key(
        "server.body_budget",
        "size, 1 KiB to 1 GiB",
        Value(r#""64 MiB""#),
        "The memory for all request bodies together, at least five times `body_limit`. Bodies with an unverified \
         signature get a quarter.",
    ),
    key("server.drain", "duration, at most 1h", Value(r#""20s""#), "How long a shutdown waits for work in progress."),
    key("server.tls.cert_file", "path", Required, "The certificate chain, PEM."),
    key("server.tls.key_file", "path", Required, "The private key of the certificate, PEM."),
    key(
        "store.path",
        "path",
        Value(r#""usersync.db""#),
        "The database file. Relative paths in the configuration start at its own folder.",
    ),
    key(
        "store.retention",
        "duration, at least 1d",
        Value(r#""30d""#),
        "How long finished events, changes and runs are kept.",
    ),
    key("log.format", "`text` or `json`", Value(r#""text""#), "Format of the log, which is written to standard error."),
    key(
        "log.level",
        "`error`, `warn`, `info`, `debug` or `trace`",
        Value(r#""info""#),
        "Lowest level that is logged. The variable `USERSYNC_LOG` accepts a finer filter, such as \
         `info,usersync_clients::keycloak=debug`.",
    ),
    key(
        "log.personal_data",
        "true or false",
        Value("false"),
        "Whether log lines may contain logins and answers of other servers. Without it they contain ids; `usersync \
         explain ID` shows more.",
    ),
    key("target.name", "name", Required, "Its name in commands, logs and metrics."),
    key(
        "target.kind",
        "`jira`, `confluence`, `bitbucket`, `crowd` or `scim`",
        Required,
        "The kind of server; `crowd` also for a Jira by its user server.",
    ),
    key(
        "target.url",
        "URL",
        Required,
        "Its base URL, with the context path if it has one. SCIM: everything before `/Users`.",
    ),
    key(
        "target.token",
        "secret",
        Absent,
        "A personal access token. Alternatively `user` and `password`; kinds bitbucket and crowd do not accept tokens.",
    ),
    key("target.token_file", "path", Absent, "The file that contains the token."),
    key("target.token_env", "variable", Absent, "The environment variable that contains the token."),
    key(
        "target.user",
        "string",
        Absent,
        "The login that usersync signs in with if there is no token. Crowd: the application's name.",
    ),
    key("target.password", "secret", Absent, "The password of `user`."),
    key("target.password_file", "path", Absent, "The file that contains the password."),
    key("target.password_env", "variable", Absent, "The environment variable that contains the password."),
    key(
        "target.token_url",
        "URL",
        Absent,
        "SCIM, Bitbucket, Crowd: the token endpoint (OAuth 2.0 client credentials), instead of a token or password.",
    ),
    key("target.client_id", "string", Absent, "The client that requests access tokens."),
    key("target.client_secret", "secret", Absent, "The client's secret."),
    key("target.client_secret_file", "path", Absent, "The file that contains the client's secret."),
    key("target.client_secret_env", "variable", Absent, "The environment variable that contains the client's secret."),
    key(
        "target.client_auth",
        "`basic` or `form`",
        Value(r#""basic""#),
        "How the client authenticates: by Basic authentication, or by `client_id` and `client_secret` in the form.",
    ),
    key("target.scope", "string", Absent, "The scope of the token request, if the server requires one."),
    key("target.audience", "string", Absent, "The parameter `audience` of the token request."),
    key("target.resource", "string", Absent, "The parameter `resource` of the token request (RFC 8707)."),
    key(
        "target.profile",
        "`generic`, `keycloak`, `atlassian-cloud`, `aws`, `github`, `gitlab`, `slack`, `snowflake`, \
         `databricks` or `zendesk`",
        Words("detected from the URL and the answers"),
        "SCIM: known deviations of the server from its own description.",
    ),
    key("target.ca_file", "path", Absent, "Certificates to trust in addition to the system's, PEM."),
    key(
        "target.client_cert_file",
        "path",
        Absent,
        "The certificate (PEM, with its chain) that usersync presents if the server requires one; with \
         `client_key_file`.",
    ),
    key(
        "target.client_key_file",
        "path",
        Absent,
        "The private key of the client certificate, PEM, without a passphrase.",
    ),
    key(
        "target.proxy",
        "URL",
        Words("none"),
        "The HTTP proxy to the target; proxy variables of the environment are ignored.",
    ),
    key("target.proxy_user", "string", Absent, "The user for proxy authentication (Basic)."),
    key("target.proxy_password", "secret", Absent, "The password of `proxy_user`."),
    key("target.proxy_password_file", "path", Absent, "The file that contains the proxy's password."),
    key(
        "target.proxy_password_env",
        "variable",
        Absent,
        "The environment variable that contains the proxy's password.",
    ),
    key(
        "target.applications",
        "list of strings",
        Value(r#"["jira-software"]"#),
        "Jira: the applications that new accounts get access to.",
    ),
    key(
        "target.new_lead",
        "login",
        Absent,
        "Jira: the account that becomes the lead of the projects and components of a leaver whose account Jira refuses to \
         deactivate or delete because of them. Without it, the account stays active, and `usersync status` names what it \
         leads.",
    ),
    key(
        "target.default_group",
        "true or false",
        Value("true"),
        "Bitbucket: whether new accounts are added to its default group, which allows them to sign in.",
    ),
    key(
        "target.protected_groups",
        "list of strings",
        Value("[]"),
        "Groups that are not created, renamed or adopted, and whose members are neither added nor removed. The users in \
         them are changed like all others.",
    ),
    key(
        "target.frozen_groups",
        "list of strings",
        Value("[]"),
        "Groups that are never changed, like the administrators' groups. The users in them are not changed either.",
    ),
    key(
        "target.managed_access_groups",
        "list of strings",
        Value("[]"),
        "Groups that give access to the product, from which linked users are removed even if usersync did not add them.",
    ),
    key(
        "target.protected_users",
        "list of strings",
        Value("[]"),
        "Logins that are never changed, in addition to the administrators'.",
    ),
    key("target.parallel", "1 to 64", Value("8"), "Maximum number of concurrent requests."),
    key("target.per_second", "1 to 10000", Words("no limit"), "Maximum number of requests per second."),
    key("target.timeout", "duration, at most 1h", Value(r#""30s""#), "Timeout of one request."),
    key(
        "target.token_parameters.NAME",
        "string",
        Absent,
        "A further parameter of the token request, under its own name.",
    ),
    key(
        "target.habits.patch",
        "true or false",
        Words("as the server reports"),
        "SCIM: whether PATCH works. `[target.habits]` lists where the server deviates from its profile.",
    ),
    key(
        "target.habits.member_removal",
        "`filter`, `value` or `find_out`",
        Words("as in the profile"),
        "SCIM: how one member is removed from a group.",
    ),
    key(
        "target.habits.on_request",
        "true or false",
        Words("as in the profile"),
        "SCIM: whether `groups` of users and `members` of groups are returned only if requested by name.",
    ),
    key(
        "target.habits.names",
        "`whole`, `split` or `both`",
        Words("as in the profile"),
        "SCIM: whether the display name is stored in `displayName`, in given and family name, or in both.",
    ),
    key(
        "target.habits.login_case",
        "`lower`, `insensitive` or `sensitive`",
        Words("as in the profile"),
        "SCIM: how logins are stored and compared.",
    ),
    key(
        "target.habits.group_case",
        "`lower`, `insensitive` or `sensitive`",
        Words("as in the profile"),
        "SCIM: how group names are stored and compared.",
    ),
    key(
        "target.habits.rename",
        "true or false",
        Words("as in the profile and the schemas"),
        "SCIM: whether logins can be changed.",
    ),
    key(
        "target.habits.rename_group",
        "true or false",
        Words("as in the profile and the schemas"),
        "SCIM: whether groups can be renamed and keep their members.",
    ),
    key(
        "target.habits.email_required",
        "true or false",
        Words("as in the profile and the schemas"),
        "SCIM: whether an account needs an e-mail address.",
    ),
    key(
        "target.habits.email_unique",
        "true or false",
        Words("as in the profile"),
        "SCIM: whether two accounts cannot have the same address.",
    ),
    key(
        "target.habits.members_at_once",
        "number from 1",
        Words("100, or as in the profile"),
        "SCIM: maximum number of accounts that one write adds to a group.",
    ),
    key(
        "target.habits.group_external_id",
        "true or false",
        Words("as in the profile"),
        "SCIM: whether groups are created with an `externalId`.",
    ),
    key(
        "target.habits.headers",
        "table of strings",
        Absent,
        "SCIM: further headers of every call, such as `{ \"User-Agent\" = \"usersync\" }`; no secrets.",
    ),
    key(
        "target.habits.query",
        "table of strings",
        Absent,
        "SCIM: further query parameters of every call, such as `{ \"api-version\" = \"2\" }`; no secrets.",
    ),
    key(
        "connector.name",
        "name",
        Required,
        "Its name in commands, logs and metrics; its webhook path is `/hooks/NAME`.",
    ),
    key("connector.enabled", "true or false", Value("true"), "Whether this connector is active."),
    key("connector.url", "URL", Required, "Keycloak's URL, with or without `/auth`."),
    key("connector.realm", "string", Required, "The realm whose users and groups are read."),
    key("connector.client_realm", "string", Words("the same as `realm`"), "The realm that the client signs in to."),
    key("connector.client_id", "string", Value(r#""usersync""#), "The client with the service account."),
    key("connector.client_secret", "secret", Absent, "The client's secret; one of the three forms is required."),
    key("connector.client_secret_file", "path", Absent, "The file that contains the client's secret."),
    key(
        "connector.client_secret_env",
        "variable",
        Absent,
        "The environment variable that contains the client's secret.",
    ),
    key(
        "connector.hook_secret",
        "secret",
        Absent,
        "The secret with which the listener in Keycloak signs events: `whsec_` and base64 of at least 24 bytes; \
         `usersync keycloak setup` creates one. Without a secret, no pushed event is accepted.",
    ),
    key("connector.hook_secret_file", "path", Absent, "The file that contains the hook secret."),
    key("connector.hook_secret_env", "variable", Absent, "The environment variable that contains the hook secret."),
    key(
        "connector.hook_secret_previous",
        "secret",
        Absent,
        "The previous hook secret, still accepted, for rotation without a gap.",
    ),
    key("connector.hook_secret_previous_file", "path", Absent, "The file that contains the previous secret."),
    key(
        "connector.hook_secret_previous_env",
        "variable",
        Absent,
        "The environment variable that contains the previous secret.",
    ),
    key(
        "connector.accept_p2",
        "true or false",
        Value("false"),
        "Whether events signed in the form of the p2-inc listener are accepted too. It has no timestamp, so anyone \
         who captured a request can replay it.",
    ),
    key(
        "connector.p2_secret",
        "secret",
        Absent,
        "The secret with which the p2-inc listener signs: any string of at least 24 bytes.",
    ),
    key("connector.p2_secret_file", "path", Absent, "The file that contains the p2 secret."),
    key("connector.p2_secret_env", "variable", Absent, "The environment variable that contains the p2 secret."),
    key("connector.targets", "list of names", Required, "The targets that the connector writes."),
    key(
        "connector.schedule",
        "cron expression or `off`",
        Value(r#""0 0 * * * ?""#),
        "When the full reconcile is due: Quartz form (seconds first, Sunday is 1) or the Unix form of five fields.",
    ),
    key(
        "connector.time_zone",
        "time zone",
        Value(r#""UTC""#),
        "The time zone of the schedule, such as `Europe/Berlin`.",
    ),
    key(
        "connector.poll_events",
        "duration, 1s to 1h, or `off`",
        Value(r#""5s""#),
        "How often usersync reads the events that Keycloak stores. This finds changes without a listener, and the \
         changes that a listener did not deliver.",
    ),
    key(
        "connector.federation_check",
        "duration, 1s to 1h, or `off`",
        Value(r#""5m""#),
        "How often usersync checks users that come from a federation such as LDAP: whether the federation can be asked, \
         and who was deleted or disabled there. Such changes have no events. 100 users need one request; Keycloak asks \
         LDAP for each user that is not in its cache.",
    ),
    key("connector.ca_file", "path", Absent, "Certificates to trust in addition to the system's, PEM."),
    key(
        "connector.client_cert_file",
        "path",
        Absent,
        "The certificate (PEM, with its chain) that usersync presents if Keycloak requires one; with \
         `client_key_file`.",
    ),
    key(
        "connector.client_key_file",
        "path",
        Absent,
        "The private key of the client certificate, PEM, without a passphrase.",
    ),
    key(
        "connector.proxy",
        "URL",
        Words("none"),
        "The HTTP proxy to Keycloak; proxy variables of the environment are ignored.",
    ),
    key("connector.proxy_user", "string", Absent, "The user for proxy authentication (Basic)."),
    key("connector.proxy_password", "secret", Absent, "The password of `proxy_user`."),
    key("connector.proxy_password_file", "path", Absent, "The file that contains the proxy's password."),
    key(
        "connector.proxy_password_env",
        "variable",
        Absent,
        "The environment variable that contains the proxy's password.",
    ),
    key("connector.parallel", "1 to 64", Value("8"), "Maximum number of concurrent requests."),
    key("connector.per_second", "1 to 10000", Words("no limit"), "Maximum number of requests per second."),
    key(
        "connector.page_size",
        "1 to 10000",
        Value("500"),
        "Entries in one page of a listing. Users are read ten pages at a time.",
    ),
    key("connector.timeout", "duration, at most 1h", Value(r#""30s""#), "Timeout of one request."),
    key(
        "connector.policy.first_run",
        "`hold` or `apply`",
        Value(r#""hold""#),
        "Whether the first run on a target waits for approval.",
    ),
    key(
        "connector.policy.adopt",
        "`first_run` or `always`",
        Value(r#""first_run""#),
        "Whether accounts and groups that existed before usersync are adopted without approval in the first run only, or \
         always.",
    ),
    key(
        "connector.policy.drift",
        "`mend` or `report`",
        Value(r#""mend""#),
        "What happens to changes in a target that did not come from usersync: `mend` writes again what Keycloak says, \
         `report` leaves them and lists them (`usersync drift`). In both cases, access that Keycloak does not grant is revoked.",
    ),
    key(
        "connector.policy.same_person_within",
        "duration",
        Value(r#""24h""#),
        "For this long after an id was last confirmed, its link moves automatically to a new id with the same login.",
    ),
    key(
        "connector.policy.scope.required_groups",
        "list of path patterns",
        Value("[]"),
        "Groups that a user must be in, such as `[\"/staff\", \"/teams/*\"]`; empty: no requirement. `*` stands for \
         any text within a name, `**` also across `/`. A group that does not exist is an error, and nobody is removed \
         because of it.",
    ),
    key(
        "connector.policy.scope.required",
        "`any` or `all`",
        Value(r#""any""#),
        "`any`: one of `required_groups` is enough, one of `required_roles`, and one of `required_organizations`; `all`: each is \
         required. If several of them are set, a user needs a group, a role and an organization.",
    ),
    key(
        "connector.policy.scope.required_roles",
        "list of roles",
        Value("[]"),
        "Roles that a user must have, directly, by a composite role or by a group, such as `[\"staff\", \"jira/user\"]`; \
         empty: no requirement. A role of a client is written `CLIENT/ROLE`; in a name, `~/` stands for `/` and `~~` for \
         `~`. A role that does not exist is an error, and nobody is removed because of it. Needs the roles `view-realm` \
         and `view-clients`.",
    ),
    key(
        "connector.policy.scope.required_organizations",
        "list of organizations",
        Value("[]"),
        "Organizations of the realm that a user must be a member of, such as `[\"acme\"]`; empty: no requirement. Written by \
         alias, which Keycloak never changes, or by name; an organization with this alias comes first. An organization \
         that is disabled keeps its members. One that does not exist is an error, and nobody is removed because of it. \
         Needs the role `view-organizations`; before Keycloak 26.7, `manage-realm`.",
    ),
    key(
        "connector.policy.scope.excluded_roles",
        "list of roles",
        Value("[]"),
        "Roles whose holders are left out; written as in `required_roles`. If such a role does not exist, this is an error, and nobody is added or removed until the policy is corrected.",
    ),
    key(
        "connector.policy.scope.excluded_groups",
        "list of path patterns",
        Value("[]"),
        "Groups whose members are left out; with `subgroups` also the members of the groups below.",
    ),
    key(
        "connector.policy.scope.subgroups",
        "true or false",
        Value("true"),
        "Whether a member of a sub-group counts as a member of the groups above it.",
    ),
    key(
        "connector.policy.scope.logins",
        "list of patterns",
        Value("[]"),
        "Logins that are synced, such as `[\"*@example.org\"]`; empty: all.",
    ),
    key(
        "connector.policy.scope.excluded_logins",
        "list of patterns",
        Value("[]"),
        "Logins that are left out, such as `[\"svc-*\"]`.",
    ),
    key(
        "connector.policy.scope.origin",
        "`any`, `local` or `federated`",
        Value(r#""any""#),
        "Where the users come from: Keycloak itself, a federation such as LDAP, or either.",
    ),
    key(
        "connector.policy.scope.email_verified",
        "true or false",
        Value("false"),
        "Whether only users are synced whose e-mail address is verified in Keycloak.",
    ),
    key(
        "connector.policy.scope.condition",
        "template",
        Absent,
        "A template that renders `true` for users that are synced and `false` for others, such as \
         `\"{{ attributes.type != 'contractor' }}\"`.",
    ),
    key(
        "connector.policy.groups.only",
        "list of path patterns",
        Value("[]"),
        "The groups that are synced, such as `[\"/teams/**\"]`; empty: all. A pattern does not include the sub-groups of \
         a group unless it matches them, as `/teams/**` does; a pattern of `excluded` does.",
    ),
    key(
        "connector.policy.groups.excluded",
        "list of path patterns",
        Value("[]"),
        "Groups that are not synced, with all groups below them except those that `only` names by their exact paths. \
         Memberships that usersync added to them are removed.",
    ),
    key(
        "connector.policy.groups.condition",
        "template of groups",
        Absent,
        "A template that renders `true` for the selected groups to sync and `false` for the others, such as \
         `\"{{ attributes.sync == 'yes' }}\"` or `\"{{ path | matches('^/(eng|ops)/') }}\"`. If it fails for a group, that \
         group keeps its name. Nobody is added, and only users who leave it in Keycloak are removed. See \
         `docs/templates.md`.",
    ),
    key(
        "connector.policy.groups.merged",
        "list of name patterns",
        Value("[]"),
        "Names in the targets that several groups may have, such as `[\"admins\", \"team-*\"]`: they become one group there, \
         and a membership stays as long as one of them grants it. Without it, two groups of one name are a conflict.",
    ),
    key(
        "connector.policy.groups.members",
        "`direct` or `with_subgroups`",
        Value(r#""direct""#),
        "Who is a member of a group: its direct members, or also the members of all groups below it. These count even \
         if they are not synced themselves.",
    ),
    key(
        "connector.policy.groups.create",
        "true or false",
        Value("true"),
        "Whether groups that a target lacks are created. If not, they are reported, and synced once they exist there.",
    ),
    key(
        "connector.policy.groups.unmanaged_members",
        "`keep`, `report` or `remove`",
        Value(r#""keep""#),
        "What happens to members of managed groups whose accounts are not linked to a user of any connector. `keep`: they \
         stay. `report`: they stay, and each full reconcile lists them. `remove`: each full reconcile removes them from the \
         group, within the limit of removed memberships; the accounts stay. Removals from groups that existed before \
         usersync wait for an approval. Accounts that a user may get stay, such as those that wait for their adoption, and \
         so do administrators, usersync's own account, and members of protected groups, of groups that grant access to the \
         product, of constant groups, and of groups that another connector feeds too.",
    ),
    key(
        "connector.policy.groups.empty",
        "`create`, `skip` or `delete`",
        Value(r#""create""#),
        "What happens to groups without a member in scope, counted as `members` says. `create`: they are created like \
         others, and stay. `skip`: a group is created or adopted once it has a member; groups that exist stay. `delete`: \
         the same, and each full reconcile deletes such groups in the target if usersync created them and nobody is a \
         member there, within the limit of deletions of groups; permissions of a deleted group are lost. This also applies \
         to groups that are deleted in Keycloak. Groups that another connector feeds too, constant groups, protected \
         groups and groups that grant access to the product stay.",
    ),
    key(
        "connector.policy.groups.named_by",
        "`leaf` or `path`",
        Value(r#""leaf""#),
        "What names a group in the target: its own name, or its path joined by `separator`, as `eng-platform`.",
    ),
    key(
        "connector.policy.groups.name",
        "template of groups",
        Absent,
        "A template of the names of groups, in place of `named_by`, such as `\"{{ names | join('.') | lower }}\"`. If it \
         fails or is empty for a group, that group keeps its name. Nobody is added, and only users who leave it in \
         Keycloak are removed. See `docs/templates.md`.",
    ),
    key(
        "connector.policy.groups.separator",
        "string",
        Value(r#""-""#),
        "The separator between the segments of a path.",
    ),
    key(
        "connector.policy.groups.prefix",
        "string",
        Value(r#""""#),
        "The prefix of each name. Changing it, as any rule for names, renames groups or creates new ones.",
    ),
    key("connector.policy.groups.suffix", "string", Value(r#""""#), "The suffix of each name."),
    key(
        "connector.policy.groups.names.PATH",
        "string",
        Absent,
        "The name of a single group, by its path: `\"/eng/platform\" = \"Platform\"`. It has neither prefix nor suffix.",
    ),
    key(
        "connector.policy.groups.overrides.path",
        "path pattern",
        Required,
        "The groups that have the following settings in place of those above. For each setting, the first entry that has \
         it and matches counts.",
    ),
    key(
        "connector.policy.groups.overrides.members",
        "`direct` or `with_subgroups`",
        Absent,
        "`members` of these groups.",
    ),
    key("connector.policy.groups.overrides.create", "true or false", Absent, "`create` for these groups."),
    key(
        "connector.policy.groups.overrides.unmanaged_members",
        "`keep`, `report` or `remove`",
        Absent,
        "`unmanaged_members` of these groups. If several groups feed one group of the target, members are removed only if \
         each of them says so.",
    ),
    key(
        "connector.policy.groups.overrides.empty",
        "`create`, `skip` or `delete`",
        Absent,
        "`empty` of these groups. If several groups feed one group of the target, it is deleted only if each of them says \
         so.",
    ),
    key(
        "connector.policy.groups.constant.name",
        "string",
        Required,
        "The name of a group of the targets that users get from the policy, not from a group in Keycloak. usersync \
         removes only memberships that it added; without the entry they stay.",
    ),
    key(
        "connector.policy.groups.constant.for",
        "`all` or `new`",
        Value(r#""all""#),
        "Whether all users in scope get it, or only those whose account usersync creates; these keep it. An account that \
         is created again for a user who returns, because usersync deleted the former one or it is gone, is new; one that is \
         activated again is not.",
    ),
    key(
        "connector.policy.groups.constant.roles",
        "list of roles",
        Value("[]"),
        "Only users with one of these roles of Keycloak get the group, such as `[\"jira/admin\"]`; empty: no requirement. \
         Written as in `policy.scope.required_roles`. A user that loses the role loses the group.",
    ),
    key(
        "connector.policy.groups.constant.condition",
        "template",
        Absent,
        "A template that renders `true` for the users that get the group and `false` for the others.",
    ),
    key(
        "connector.policy.account.login",
        "template, or `{ template, when }`",
        Absent,
        "The template of the login of accounts in all targets; without it, the login is the username. Such as `\"{{ username | strip_domain }}\"`. With `when = \
         \"create\"` an existing account keeps its login. See `docs/templates.md`.",
    ),
    key(
        "connector.policy.account.display_name",
        "template, or `{ template, when }`",
        Absent,
        "The template of the display name; without it, the name is the first and last name. Such as `\"{{ last_name }}, {{ \
         first_name }}\"`.",
    ),
    key(
        "connector.policy.account.email",
        "template, or `{ template, when }`",
        Absent,
        "The template of the e-mail address; without it, the address is the one in Keycloak. If it is empty for a user, an existing account keeps its address.",
    ),
    key(
        "connector.policy.matching.by",
        "list of keys",
        Value(r#"["login"]"#),
        "How a user without a link is matched to an account that existed before usersync, in this order: `\"login\"` and \
         `\"email\"` (those that the policy gives), `{ login = \"{{ attributes.old_login }}\" }` (another login), `{ \
         attribute = \"externalId\", equals = \"{{ id }}\" }` (kind scim). The first key that finds an account decides. \
         Kind confluence has no `\"email\"`. See `docs/matching.md`.",
    ),
    key(
        "connector.policy.matching.unverified_email",
        "true or false",
        Value("false"),
        "Whether `\"email\"` also matches users whose address Keycloak has not verified. Only for realms in which users \
         cannot enter an address themselves: with another person's address, a user would take over that account.",
    ),
    key(
        "connector.policy.leavers.disabled",
        "`nothing`, `remove_groups`, `deactivate`, `delete` or `anonymize`",
        Value(r#""deactivate""#),
        "What happens to the account of a user that is disabled in Keycloak: nothing, its removal from all managed groups, \
         its deactivation, which keeps its groups, or its deactivation at once and its deletion after `grace`. `anonymize`, \
         for kind jira only, removes its personal data in place of the deletion, and cannot be undone. If two of these keys \
         apply to a user, the stricter action is taken.",
    ),
    key(
        "connector.policy.leavers.deleted",
        "`nothing`, `remove_groups`, `deactivate`, `delete` or `anonymize`",
        Value(r#""deactivate""#),
        "The same for a user that is deleted in Keycloak.",
    ),
    key(
        "connector.policy.leavers.out_of_scope",
        "`nothing`, `remove_groups`, `deactivate`, `delete` or `anonymize`",
        Value(r#""deactivate""#),
        "The same for a linked user that is no longer in scope.",
    ),
    key(
        "connector.policy.leavers.kept_groups",
        "list of patterns",
        Value("[]"),
        "Groups in the target from which `remove_groups` removes nobody, by name, such as `[\"alumni-*\"]`.",
    ),
    key(
        "connector.policy.leavers.grace",
        "duration",
        Value(r#""0s""#),
        "Time between the first read that shows that a user has left and the action, such as `\"7d\"`. If the user returns in \
         time, the action is cancelled. `delete` and `anonymize` require it: the account is deactivated at once, deleted or \
         anonymized this long after its deactivation, and activated again if the user returns earlier.",
    ),
    key(
        "connector.policy.safety.count",
        "number",
        Value("20"),
        "Number of harmful operations of one kind that are allowed in an hour; never more than half of the existing \
         items, or 5 if half is less.",
    ),
    key(
        "connector.policy.safety.percent",
        "0 to 50",
        Value("5.0"),
        "The same as a percentage of the active linked accounts, or of the managed groups for operations on groups; \
         the larger of the two applies. Capped like `count`. In a first run, the accounts that it creates and adopts count too.",
    ),
    key(
        "connector.policy.safety.remove_members_percent",
        "0 to 50",
        Value("10.0"),
        "The same for removed memberships, as a percentage of those that usersync added.",
    ),
    key(
        "connector.policy.targets.TARGET.groups",
        "table",
        Absent,
        "Rules for groups of this target, with the same keys as `[connector.policy.groups]`, all of which they replace; \
         keys that are not set have their defaults, not the connector's values. Such as `{ only = [\"/wiki/**\"], \
         named_by = \"path\" }`, or a section `[connector.policy.targets.TARGET.groups]`.",
    ),
    key(
        "connector.policy.targets.TARGET.drift",
        "`mend` or `report`",
        Absent,
        "The same for this target as `policy.drift`, which applies without it.",
    ),
    key(
        "connector.policy.targets.TARGET.account.login",
        "template, or `{ template, when }`",
        Absent,
        "The template of the login of accounts in this target; without it, `policy.account.login` applies.",
    ),
    key(
        "connector.policy.targets.TARGET.account.display_name",
        "template, or `{ template, when }`",
        Absent,
        "The template of the display name in this target; without it, `policy.account.display_name` applies.",
    ),
    key(
        "connector.policy.targets.TARGET.account.email",
        "template, or `{ template, when }`",
        Absent,
        "The template of the e-mail address in this target; without it, `policy.account.email` applies.",
    ),
    key(
        "connector.policy.targets.TARGET.matching.by",
        "list of keys",
        Absent,
        "The keys for this target; without them, those of `policy.matching.by` apply.",
    ),
    key(
        "connector.policy.targets.TARGET.matching.unverified_email",
        "true or false",
        Absent,
        "The same for this target as `policy.matching.unverified_email`, which applies without it.",
    ),
    key(
        "connector.policy.targets.TARGET.attributes.ATTRIBUTE",
        "template, or `{ template, when, empty }`",
        Absent,
        "The template of an attribute of accounts in this target, such as `\"{{ attributes.title }}\"`; `when` is \
         `always` or `create`, `empty` is `keep` or `clear`. Kinds scim and crowd; see `docs/targets/scim.md`.",
    ),
    key(
        "connector.group_test.path",
        "path",
        Required,
        "The path of a group. `usersync policy test` compares what the policy does with what the tests expect.",
    ),
    key(
        "connector.group_test.expect",
        "string or `false`",
        Required,
        "The group's name in the targets; `false`: it is not synced.",
    ),
    key(
        "connector.group_test.attributes",
        "table",
        Absent,
        "The group's attributes in Keycloak, lists of strings: `{ sync = [\"yes\"] }`.",
    ),
    key(
        "connector.group_test.target",
        "name",
        Words("all targets of the connector"),
        "The target for which this is expected.",
    ),
    key("connector.user_test.name", "string", Required, "The name of the test, for its result."),
    key(
        "connector.user_test.user",
        "table",
        Required,
        "A user as in Keycloak: `username`, and optionally `first_name`, `last_name`, `email`, `email_verified`, \
         `enabled`, `federation`, `groups` (a list of paths), `roles` and `organizations` \
         (lists, written as in the policy) and `attributes` (lists of strings).",
    ),
    key(
        "connector.user_test.target",
        "name",
        Words("all targets of the connector"),
        "The target for which this is expected.",
    ),
    key("connector.user_test.in_scope", "true or false", Absent, "Whether the user is in scope."),
    key(
        "connector.user_test.groups",
        "list of strings",
        Absent,
        "The names of all groups in the target that the user becomes a member of. A group has the attributes of its \
         `group_test`.",
    ),
    key(
        "connector.user_test.login",
        "string or `false`",
        Absent,
        "The login of the account; `false`: the user gets no account.",
    ),
    key("connector.user_test.display_name", "string or `false`", Absent, "The display name of the account."),
    key(
        "connector.user_test.email",
        "string or `false`",
        Absent,
        "The e-mail address of the account; `false`: it has none.",
    ),
    key(
        "connector.user_test.attributes",
        "table of strings or `false`",
        Absent,
        "Further attributes of a new account, by the target's names; `false`: not written.",
    ),
    key("alert.name", "name", Required, "Its name in commands, logs and metrics."),
    key("alert.webhook", "URL", Absent, "The address that alerts are posted to. Alternatively `smtp` or `command`."),
    key("alert.secret", "secret", Absent, "The secret that signs the webhook: `whsec_` and base64."),
    key("alert.secret_file", "path", Absent, "The file that contains the signing secret."),
    key("alert.secret_env", "variable", Absent, "The environment variable that contains the signing secret."),
    key(
        "alert.ca_file",
        "path",
        Absent,
        "Certificates to trust in addition to the system's, PEM; of the webhook or the mail server.",
    ),
    key("alert.proxy", "URL", Words("none"), "The HTTP proxy to the webhook."),
    key("alert.smtp", "name and port", Absent, "The mail server that alerts are sent to by e-mail."),
    key(
        "alert.tls",
        "`starttls`, `implicit` or `none`",
        Value(r#""starttls""#),
        "Encryption to the mail server. `starttls`: required before anything is sent; `implicit`: from the beginning; \
         `none`: none, and a password only to this machine.",
    ),
    key("alert.user", "string", Absent, "The user that logs in to the mail server."),
    key("alert.password", "secret", Absent, "The user's password."),
    key("alert.password_file", "path", Absent, "The file that contains the password."),
    key("alert.password_env", "variable", Absent, "The environment variable that contains the password."),
    key("alert.from", "e-mail address", Absent, "The sender, as `usersync@example.org` or `usersync <…>`."),
    key("alert.to", "list of e-mail addresses", Absent, "The recipients."),
    key(
        "alert.command",
        "list of strings",
        Absent,
        "A program (absolute path) and its arguments, run without a shell. It reads the alert as JSON from standard input.",
    ),
    key("alert.timeout", "duration, at most 1h", Value(r#""10s""#), "Timeout of one delivery."),
    key(
        "alert.after",
        "duration, at most 1h",
        Value(r#""1m""#),
        "How long a change has to last before it is announced.",
    ),
    key(
        "alert.problems",
        "list of `stopped`, `degraded`, `approval`, `failed_tasks`, `out_of_sync`",
        Words("all"),
        "The problems that are announced.",
    ),
    key("alert.connectors", "list of names", Value("[]"), "The connectors whose problems are announced; empty: all."),
    key(
        "alert.digest",
        "time of day",
        Words("none"),
        "When a summary of the connectors is sent each day, such as `08:00`.",
    ),
    key("alert.time_zone", "time zone", Value(r#""UTC""#), "The time zone of `digest`, such as `Europe/Berlin`."),
];

/// Returns the key at this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Returns the names that are valid in a section: its keys and its subsections.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = KEYS
        .iter()
        .filter_map(|key| match section {
            "" => Some(key.path),
            _ => key.path.strip_prefix(section)?.strip_prefix('.'),
        })
        .filter_map(|rest| rest.split('.').next())
        .collect();
    names.dedup();
    names
}

/// Returns the heading of a section as written in the file.
pub(super) fn heading(section: &str) -> String {
    if REPEATED.contains(&section) { format!("[[{section}]]") } else { format!("[{section}]") }
}
