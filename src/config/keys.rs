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
pub(super) const REPEATED: [&str; 2] = ["target", "connector"];

const fn key(path: &'static str, kind: &'static str, fallback: Fallback, meaning: &'static str) -> Key {
    Key { path, kind, fallback, meaning }
}

use Fallback::{Absent, Required, Value, Words};

pub(super) const KEYS: &[Key] = &[
    key(
        "server.listen",
        "address and port",
        Value(r#""127.0.0.1:8475""#),
        "Where it listens. Anything but this machine needs `[server.tls]` or `behind_proxy`.",
    ),
    key("server.behind_proxy", "true or false", Value("false"), "A proxy in front speaks TLS."),
    key("server.body_limit", "size", Value(r#""1 MiB""#), "The largest request body that the listener takes."),
    key(
        "server.body_budget",
        "size",
        Value(r#""64 MiB""#),
        "The memory for all request bodies together, at least five times `body_limit`. Bodies whose signature is not verified yet get a quarter.",
    ),
    key("server.drain", "duration", Value(r#""20s""#), "How long a stop waits for what is under way."),
    key("server.tls.cert_file", "path", Required, "The certificate chain, PEM."),
    key("server.tls.key_file", "path", Required, "Its private key, PEM."),
    key(
        "store.path",
        "path",
        Value(r#""usersync.db""#),
        "The database file. Paths in the file start at the file's own folder.",
    ),
    key(
        "store.retention",
        "duration",
        Value(r#""30d""#),
        "How long finished events, changes and runs are kept; at least a day.",
    ),
    key("log.format", "`text` or `json`", Value(r#""text""#), "How log lines are written, to standard error."),
    key(
        "log.level",
        "`error`, `warn`, `info`, `debug` or `trace`",
        Value(r#""info""#),
        "Which of them. The variable `USERSYNC_LOG` takes a finer filter, as `info,usersync::keycloak=debug`.",
    ),
    key(
        "log.personal_data",
        "true or false",
        Value("false"),
        "Whether lines may hold logins and what other servers answer. Without it they hold ids; `usersync explain ID` \
         tells more.",
    ),
    key("target.name", "name", Required, "Its name in commands, logs and metrics."),
    key(
        "target.kind",
        "`jira`, `confluence`, `bitbucket`, `crowd` or `scim`",
        Required,
        "What it is; `crowd` also for a Jira by its user server.",
    ),
    key(
        "target.url",
        "URL",
        Required,
        "Its base URL, with the context path if it has one; of SCIM all that stands before `/Users`.",
    ),
    key(
        "target.token",
        "secret",
        Absent,
        "A personal access token. Or `user` and `password`; kinds bitbucket and crowd take no token.",
    ),
    key("target.token_file", "path", Absent, "The file that holds the token."),
    key("target.token_env", "variable", Absent, "The environment variable that holds the token."),
    key(
        "target.user",
        "text",
        Absent,
        "The login to work with, where there is no token. Crowd: the application's name.",
    ),
    key("target.password", "secret", Absent, "That login's password."),
    key("target.password_file", "path", Absent, "The file that holds the password."),
    key("target.password_env", "variable", Absent, "The environment variable that holds the password."),
    key(
        "target.token_url",
        "URL",
        Absent,
        "SCIM, Bitbucket, Crowd: where access tokens are given (OAuth 2.0 client credentials), instead of a token or password.",
    ),
    key("target.client_id", "text", Absent, "The client that asks for them."),
    key("target.client_secret", "secret", Absent, "That client's secret."),
    key("target.client_secret_file", "path", Absent, "The file that holds the client's secret."),
    key("target.client_secret_env", "variable", Absent, "The environment variable that holds the client's secret."),
    key(
        "target.client_auth",
        "`basic` or `form`",
        Value(r#""basic""#),
        "How the client shows who it is: by Basic authentication, or by `client_id` and `client_secret` in the form.",
    ),
    key("target.scope", "text", Absent, "The scope that is asked for with the token, where the server wants one."),
    key("target.audience", "text", Absent, "The parameter `audience` of the request for a token."),
    key("target.resource", "text", Absent, "The parameter `resource` of the request for a token (RFC 8707)."),
    key(
        "target.token_parameters.NAME",
        "text",
        Absent,
        "A further parameter of the request for a token, under its own name.",
    ),
    key(
        "target.profile",
        "`generic`, `keycloak`, `atlassian-cloud`, `aws`, `github`, `gitlab`, `slack` or `snowflake`",
        Words("detected from the URL and the answers"),
        "SCIM: known deviations of the server from its own description.",
    ),
    key("target.ca_file", "path", Absent, "Certificates to trust besides the system's, PEM."),
    key(
        "target.client_cert_file",
        "path",
        Absent,
        "The certificate (PEM, with its chain) that usersync presents where the server demands one; with `client_key_file`.",
    ),
    key("target.client_key_file", "path", Absent, "Its private key, PEM, without a passphrase."),
    key("target.proxy", "URL", Words("none"), "The HTTP proxy on the way to it; none is taken from the environment."),
    key("target.proxy_user", "text", Absent, "The user that the proxy demands (Basic)."),
    key("target.proxy_password", "secret", Absent, "That user's password."),
    key("target.proxy_password_file", "path", Absent, "The file that holds the proxy's password."),
    key("target.proxy_password_env", "variable", Absent, "The environment variable that holds the proxy's password."),
    key(
        "target.applications",
        "list of texts",
        Value(r#"["jira-software"]"#),
        "Jira: the applications that new accounts get access to.",
    ),
    key(
        "target.default_group",
        "true or false",
        Value("true"),
        "Bitbucket: whether new accounts are put into its default group, which lets them sign in.",
    ),
    key(
        "target.protected_groups",
        "list of texts",
        Value("[]"),
        "Groups that are not created, renamed or adopted, and whose members are neither added nor removed. The users in \
         them are changed like all others.",
    ),
    key(
        "target.frozen_groups",
        "list of texts",
        Value("[]"),
        "Groups that are never changed, nor the users in them, like the administrators' groups.",
    ),
    key(
        "target.managed_access_groups",
        "list of texts",
        Value("[]"),
        "Groups that give access to the product, from which linked users are removed even if usersync did not add them.",
    ),
    key(
        "target.protected_users",
        "list of texts",
        Value("[]"),
        "Logins that are never changed, besides the administrators'.",
    ),
    key("target.parallel", "1 to 64", Value("8"), "Requests at the same time, at most."),
    key("target.per_second", "1 to 10000", Words("no limit"), "Requests in a second."),
    key("target.timeout", "duration", Value(r#""30s""#), "How long one request may take."),
    key(
        "target.habits.patch",
        "true or false",
        Words("as the server says"),
        "SCIM: whether PATCH works. `[target.habits]` says what the server does otherwise than its profile.",
    ),
    key(
        "target.habits.member_removal",
        "`filter`, `value` or `find_out`",
        Words("as the profile says"),
        "SCIM: how one member is removed from a group.",
    ),
    key(
        "target.habits.on_request",
        "true or false",
        Words("as the profile says"),
        "SCIM: whether `groups` of users and `members` of groups come only when they are asked for by name.",
    ),
    key(
        "target.habits.names",
        "`whole`, `split` or `both`",
        Words("as the profile says"),
        "SCIM: whether the name shown to people is kept in `displayName`, in given and family name, or in both.",
    ),
    key(
        "target.habits.login_case",
        "`lower`, `insensitive` or `sensitive`",
        Words("as the profile says"),
        "SCIM: how logins are kept and compared.",
    ),
    key(
        "target.habits.group_case",
        "`lower`, `insensitive` or `sensitive`",
        Words("as the profile says"),
        "SCIM: the same for the names of groups.",
    ),
    key(
        "target.habits.rename",
        "true or false",
        Words("as the profile and the schemas say"),
        "SCIM: whether logins can be changed.",
    ),
    key(
        "target.habits.rename_group",
        "true or false",
        Words("as the profile and the schemas say"),
        "SCIM: whether groups can be renamed and keep their members.",
    ),
    key(
        "target.habits.email_required",
        "true or false",
        Words("as the profile and the schemas say"),
        "SCIM: whether an account needs an e-mail address.",
    ),
    key(
        "target.habits.email_unique",
        "true or false",
        Words("as the profile says"),
        "SCIM: whether two accounts cannot have one address.",
    ),
    key(
        "target.habits.members_at_once",
        "number from 1",
        Words("100, or as the profile says"),
        "SCIM: accounts that one write adds to a group, at most.",
    ),
    key(
        "target.habits.group_external_id",
        "true or false",
        Words("as the profile says"),
        "SCIM: whether groups are created with an `externalId`.",
    ),
    key(
        "target.habits.headers",
        "table of texts",
        Absent,
        "SCIM: further headers of every call, as `{ \"User-Agent\" = \"usersync\" }`; no secrets.",
    ),
    key(
        "target.habits.query",
        "table of texts",
        Absent,
        "SCIM: further query parameters of every call, as `{ \"api-version\" = \"2\" }`; no secrets.",
    ),
    key(
        "connector.name",
        "name",
        Required,
        "Its name in commands, logs and metrics; its hook's address is `/hooks/NAME`.",
    ),
    key("connector.enabled", "true or false", Value("true"), "Whether this connector is active."),
    key("connector.url", "URL", Required, "Keycloak's address, with or without `/auth`."),
    key("connector.realm", "text", Required, "The realm whose users and groups are read."),
    key("connector.client_realm", "text", Words("the same as `realm`"), "The realm that the client signs in to."),
    key("connector.client_id", "text", Value(r#""usersync""#), "The client with the service account."),
    key("connector.client_secret", "secret", Absent, "Its secret; one of the three forms is needed."),
    key("connector.client_secret_file", "path", Absent, "The file that holds the client's secret."),
    key("connector.client_secret_env", "variable", Absent, "The environment variable that holds the client's secret."),
    key(
        "connector.hook_secret",
        "secret",
        Absent,
        "What the listener in Keycloak signs events with: `whsec_` and base64 of at least 24 bytes; `usersync keycloak setup` makes one. Without one no pushed event is taken.",
    ),
    key("connector.hook_secret_file", "path", Absent, "The file that holds the hook's secret."),
    key("connector.hook_secret_env", "variable", Absent, "The environment variable that holds the hook's secret."),
    key(
        "connector.hook_secret_previous",
        "secret",
        Absent,
        "The secret before that one, still accepted, for rotation without a gap.",
    ),
    key("connector.hook_secret_previous_file", "path", Absent, "The file that holds the previous secret."),
    key(
        "connector.hook_secret_previous_env",
        "variable",
        Absent,
        "The environment variable that holds the previous secret.",
    ),
    key(
        "connector.accept_p2",
        "true or false",
        Value("false"),
        "Take events signed in the form of the p2-inc listener too. It has no timestamp, so anyone who saw a request can send it again.",
    ),
    key("connector.p2_secret", "secret", Absent, "What that listener signs with: any text of at least 24 bytes."),
    key("connector.p2_secret_file", "path", Absent, "The file that holds the p2 secret."),
    key("connector.p2_secret_env", "variable", Absent, "The environment variable that holds the p2 secret."),
    key("connector.targets", "list of names", Required, "The targets that it writes to."),
    key(
        "connector.schedule",
        "cron expression or `off`",
        Value(r#""0 0 * * * ?""#),
        "When the full reconcile is due: Quartz form (seconds first, Sunday is 1) or the Unix form of five fields.",
    ),
    key("connector.time_zone", "time zone", Value(r#""UTC""#), "The time zone of the schedule, as `Europe/Berlin`."),
    key("connector.ca_file", "path", Absent, "Certificates to trust besides the system's, PEM."),
    key(
        "connector.client_cert_file",
        "path",
        Absent,
        "The certificate (PEM, with its chain) that usersync presents where Keycloak demands one; with `client_key_file`.",
    ),
    key("connector.client_key_file", "path", Absent, "Its private key, PEM, without a passphrase."),
    key(
        "connector.proxy",
        "URL",
        Words("none"),
        "The HTTP proxy on the way to Keycloak; none is taken from the environment.",
    ),
    key("connector.proxy_user", "text", Absent, "The user that the proxy demands (Basic)."),
    key("connector.proxy_password", "secret", Absent, "That user's password."),
    key("connector.proxy_password_file", "path", Absent, "The file that holds the proxy's password."),
    key(
        "connector.proxy_password_env",
        "variable",
        Absent,
        "The environment variable that holds the proxy's password.",
    ),
    key("connector.parallel", "1 to 64", Value("8"), "Requests at the same time, at most."),
    key("connector.per_second", "1 to 10000", Words("no limit"), "Requests in a second."),
    key(
        "connector.page_size",
        "1 to 10000",
        Value("500"),
        "Entries in one page of a listing. Users are read ten pages at a time.",
    ),
    key("connector.timeout", "duration", Value(r#""30s""#), "How long one request may take."),
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
        "Until when accounts and groups that existed before usersync are adopted without approval.",
    ),
    key(
        "connector.policy.same_person_within",
        "duration",
        Value(r#""24h""#),
        "How long after it was last seen alive an id's link moves by itself to a new id with the same login.",
    ),
    key(
        "connector.policy.safety.count",
        "number",
        Value("20"),
        "So many operations of a kind that can hurt are allowed in an hour; but never more than half of what there is, or 5 where half is less.",
    ),
    key(
        "connector.policy.safety.percent",
        "0 to 50",
        Value("5.0"),
        "Or so many percent of the active linked accounts, whichever is larger. Capped like `count`. In a first run, the accounts that it creates and adopts count too.",
    ),
    key(
        "connector.policy.safety.remove_members_percent",
        "0 to 50",
        Value("10.0"),
        "The same for removed memberships, as a share of those that usersync added.",
    ),
    key(
        "connector.policy.targets.TARGET.attributes.ATTRIBUTE",
        "template, or `{ template, when, empty }`",
        Absent,
        "What an attribute of accounts in this target is made of, as `\"{{ attributes.title }}\"`; `when` is `always` or `create`, `empty` is `keep` or `clear`. Kinds scim and crowd; see `docs/targets/scim.md`.",
    ),
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

/// One row of the key reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The section as written in the file: `[server]`, `[[target]]`.
    pub section: String,
    /// The key's name.
    pub key: &'static str,
    /// The type of the value.
    pub kind: &'static str,
    /// The default; empty if there is none.
    pub default: String,
    /// What the key does.
    pub meaning: &'static str,
    /// The environment variable that overrides it.
    pub variable: Option<String>,
}

/// Returns all keys in the order of the file.
pub fn reference() -> Vec<Row> {
    let row = |key: &Key| Row {
        section: heading(key.section()),
        key: key.name(),
        kind: key.kind,
        default: match key.fallback {
            Required => "required".to_owned(),
            Absent => String::new(),
            Value(toml) => format!("`{toml}`"),
            Words(words) => words.to_owned(),
        },
        meaning: key.meaning,
        variable: key.variable(),
    };
    KEYS.iter().map(row).collect()
}

/// Returns the key reference as Markdown, for `docs/configuration.md`.
pub fn reference_markdown() -> String {
    let mut lines = Vec::new();
    let mut section = String::new();
    for row in reference() {
        if row.section != section {
            lines.push(format!("\n### `{}`\n", row.section));
            lines.push("| key | value | default | meaning |\n| --- | --- | --- | --- |".to_owned());
            section.clone_from(&row.section);
        }
        let variable = row.variable.map(|name| format!(" Variable: `{name}`.")).unwrap_or_default();
        lines.push(format!("| `{}` | {} | {} | {}{variable} |", row.key, row.kind, row.default, row.meaning));
    }
    lines.join("\n").trim_start().to_owned() + "\n"
}

/// Returns the heading of a section as written in the file.
pub(super) fn heading(section: &str) -> String {
    if REPEATED.contains(&section) { format!("[[{section}]]") } else { format!("[{section}]") }
}
