//! A real LDAP server, started by `scripts/slapd`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The suffix of all entries.
pub const SUFFIX: &str = "dc=example,dc=org";

/// A running server; dropping it stops it and deletes its files.
pub struct Slapd {
    pub url: String,
    folder: TempDir,
}

impl Slapd {
    /// Starts a server with empty branches for people and groups, on a free port.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let server = Self { url: format!("ldap://127.0.0.1:{port}"), folder };
        server.script("start", &[&port.to_string()]);
        server
    }

    fn script(&self, action: &str, more: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slapd");
        let mut command = Command::new(script);
        // The server keeps the standard outputs that it is started with.
        command.arg(action).arg(self.folder.path()).args(more).stdout(Stdio::null());
        let status = command.status().expect("scripts/slapd runs");
        assert!(status.success(), "scripts/slapd {action} failed; install slapd and ldap-utils");
    }

    /// Stops the server: connections are refused.
    pub fn halt(&self) {
        self.script("halt", &[]);
    }

    /// Starts the server again.
    pub fn again(&self) {
        self.script("again", &[]);
    }

    /// Suspends the server: it takes connections and does not answer.
    pub fn freeze(&self) {
        self.script("freeze", &[]);
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.script("thaw", &[]);
    }

    /// Adds entries, given in LDIF.
    pub fn add(&self, ldif: &str) {
        self.client("ldapadd", ldif, &[]);
    }

    /// Changes entries, given in LDIF.
    pub fn modify(&self, ldif: &str) {
        self.client("ldapmodify", ldif, &[]);
    }

    /// Deletes an entry.
    pub fn delete(&self, dn: &str) {
        self.client("ldapdelete", "", &[dn]);
    }

    fn client(&self, program: &str, input: &str, more: &[&str]) {
        let admin = format!("cn=admin,{SUFFIX}");
        let mut child = Command::new(program)
            .args(["-x", "-H", &self.url, "-D", &admin, "-w", "admin"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; install ldap-utils"));
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        assert!(child.wait().expect("it ends").success(), "{program} failed: {input}");
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.script("stop", &[]);
    }
}
