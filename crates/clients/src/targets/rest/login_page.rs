//! Sign-in pages in the place of an answer. A proxy or single sign-on sends them, temporarily or permanently.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::header::LOCATION;
use url::Url;

use crate::targets::http::Answer;

/// Number of sign-in pages in a row that count as refused credentials.
const IN_A_ROW: u32 = 3;
/// Maximum part of a page that is searched for a form, in bytes.
const SEARCHED: usize = 64 << 10;
/// Path segments, without their extensions, that lead to a sign-in page. Host names are not considered:
/// `login.example.org` may be the product itself.
const SEGMENTS: [&str; 15] = [
    "login",
    "logon",
    "dologin",
    "signin",
    "sign-in",
    "sign_in",
    "sso",
    "samlsso",
    "saml",
    "saml2",
    "oauth",
    "oauth2",
    "openid-connect",
    "authorize",
    "auth",
];

/// Calls that are counted together. A proxy may let reads pass and redirect every write to a sign-in page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    Read,
    Write,
}

/// Counts of consecutive sign-in pages, by kind of call. A page counts only if its call was sent after the page before
/// had arrived.
#[derive(Debug, Default)]
pub struct SignInPages {
    reads: AtomicU32,
    writes: AtomicU32,
}

impl SignInPages {
    fn of(&self, kind: CallKind) -> &AtomicU32 {
        match kind {
            CallKind::Read => &self.reads,
            CallKind::Write => &self.writes,
        }
    }

    /// Returns the number of consecutive pages so far; to be read before a call is sent.
    pub fn so_far(&self, kind: CallKind) -> u32 {
        self.of(kind).load(Ordering::Relaxed)
    }

    /// Resets the count after another answer.
    pub fn over(&self, kind: CallKind) {
        self.of(kind).store(0, Ordering::Relaxed);
    }

    /// Records a sign-in page for a call sent after `so_far` pages. Returns whether the credentials count as refused.
    pub fn came(&self, kind: CallKind, so_far: u32) -> bool {
        // Concurrent calls meet the same page and count once.
        let next = so_far.saturating_add(1);
        let _ = self.of(kind).compare_exchange(so_far, next, Ordering::Relaxed, Ordering::Relaxed);
        self.so_far(kind) >= IN_A_ROW
    }
}

/// Whether an answer is a sign-in page or a redirect to one.
pub fn is_sign_in(url: &Url, answer: &Answer) -> bool {
    if answer.status.is_redirection() {
        let to = answer.header(LOCATION.as_str()).unwrap_or_default();
        return url.join(to).is_ok_and(|to| leads_to_sign_in(to.path()));
    }
    answer.status.is_success() && answer.is_html() && asks_for_password(&answer.body)
}

fn leads_to_sign_in(path: &str) -> bool {
    path.split('/').any(|segment| {
        let name = segment.split(['.', ';']).next().unwrap_or_default().to_ascii_lowercase();
        SEGMENTS.contains(&name.as_str())
    })
}

fn asks_for_password(page: &[u8]) -> bool {
    let page = String::from_utf8_lossy(&page[..page.len().min(SEARCHED)]).to_ascii_lowercase();
    let page: String = page.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'')).collect();
    page.contains("<form") && page.contains("type=password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_a_sign_in_page_by_its_segments_alone() {
        for path in [
            "/login.jsp",
            "/jira/login",
            "/login.action;jsessionid=1",
            "/realms/acme/protocol/openid-connect/auth",
            "/plugins/servlet/samlsso",
            "/OAuth2/Authorize",
        ] {
            assert!(leads_to_sign_in(path), "{path}");
        }
        for path in ["/", "/maintenance", "/author/1", "/catalogin", "/authentication-works/rest/api/2/user"] {
            assert!(!leads_to_sign_in(path), "{path}");
        }
    }

    #[test]
    fn a_page_with_a_password_field_is_a_sign_in_page_and_others_are_not() {
        assert!(asks_for_password(b"<html><FORM action=x><input name=p TYPE = 'password'></form></html>"));
        assert!(!asks_for_password(b"<html><h1>Down for maintenance</h1><p>Your password is safe.</p></html>"));
    }

    #[test]
    fn pages_count_only_in_a_row_and_once_for_calls_that_were_under_way_together() {
        let pages = SignInPages::default();
        let next = |kind| pages.came(kind, pages.so_far(kind));
        for _ in 0..10 {
            assert!(!pages.came(CallKind::Read, 0), "ten at once are one");
        }
        assert!(!next(CallKind::Read));
        pages.over(CallKind::Read);
        assert!(!next(CallKind::Read));
        assert!(!next(CallKind::Read));
        assert!(next(CallKind::Read));
    }

    #[test]
    fn answers_to_reads_do_not_end_a_row_of_pages_to_writes() {
        let pages = SignInPages::default();
        let write = || {
            let came = pages.came(CallKind::Write, pages.so_far(CallKind::Write));
            pages.over(CallKind::Read);
            came
        };
        assert_eq!([write(), write(), write()], [false, false, true]);
        pages.over(CallKind::Write);
        assert!(!write());
    }
}
