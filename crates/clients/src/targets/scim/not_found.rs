//! Nonstandard 404 answers, from a server that answers so for every unknown id.
//!
//! # Guarantees
//! A nonstandard 404 counts as "not there" only under two conditions. An id that does not exist gets the same answer,
//! and a complete list shows other resources but not this one. A 404 from a proxy fails one of the two. It does not
//! unlink an account by itself: the engine reads a missing account again before it confirms the absence.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{ScimTarget, discovery::path_of};
use crate::targets::{TargetError, http::Answer, rest::Ask};

/// An id that no resource has.
const INVENTED: &str = "usersync-0f7c1d52-no-such-id";
/// Maximum length compared of each body, in bytes.
const COMPARED: usize = 64 * 1024;

impl ScimTarget {
    /// Like `is_gone`, for the resource at this path.
    pub(super) async fn is_gone_at(
        &self,
        path: &str,
        answer: &Answer,
        deadline: Option<Timestamp>,
    ) -> Result<bool, TargetError> {
        let Some((kind, id)) = path.rsplit_once('/') else { return Ok(false) };
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
        self.is_gone(kind, &id, answer, deadline).await
    }

    /// Whether a nonstandard 404 means that the resource with this id, below `kind`, does not exist.
    pub(super) async fn is_gone(
        &self,
        kind: &str,
        id: &str,
        answer: &Answer,
        deadline: Option<Timestamp>,
    ) -> Result<bool, TargetError> {
        if answer.status != StatusCode::NOT_FOUND || id == INVENTED {
            return Ok(false);
        }
        let what = format!("checking whether {id} exists");
        let other = self.rest.ask(&Ask::get(path_of(kind, INVENTED, &what)?, &what).deadline(deadline)).await?;
        if form(answer, id) != form(&other, INVENTED) {
            return Ok(false);
        }
        let mut cursor = None::<String>;
        let mut others = false;
        loop {
            let query = [("excludedAttributes", "members")];
            let slice = self.slice(kind, &what, &query, cursor.as_deref(), deadline).await?;
            if slice.incomplete.is_some() || slice.items.iter().any(|one| one.id().is_none_or(|found| found == id)) {
                return Ok(false);
            }
            others |= !slice.items.is_empty();
            cursor = slice.next;
            if cursor.is_none() {
                return Ok(others);
            }
        }
    }
}

/// Returns the form of an answer without the id and without numbers, such as request ids and times.
fn form(answer: &Answer, id: &str) -> (StatusCode, Option<String>, String) {
    let kind = answer.header("content-type").map(str::to_ascii_lowercase);
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(COMPARED)]);
    let text = text.replace(id, "ID");
    let mut form = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c != '0' || !form.ends_with('0') {
            form.push(c);
        }
    }
    (answer.status, kind, form)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
            took: Duration::ZERO,
        }
    }

    #[test]
    fn answers_for_two_ids_have_one_form() {
        let one = answer(404, "<h1>User a-1 not found</h1> request 4711");
        assert_eq!(form(&one, "a-1"), form(&answer(404, "<h1>User b not found</h1> request 9"), "b"));
        assert_ne!(form(&one, "a-1"), form(&answer(404, "nginx"), "b"));
        assert_ne!(form(&one, "a-1"), form(&answer(403, "<h1>User b not found</h1> request 9"), "b"));
    }
}
