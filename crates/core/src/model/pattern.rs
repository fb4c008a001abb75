//! Patterns of group paths, logins and names: globs, where `*` stands for any text and `?` for one character.

use std::{fmt, sync::Arc};

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

/// The characters with a meaning in a pattern.
const WILDCARDS: [char; 5] = ['*', '?', '[', '{', '\\'];

/// A pattern of group paths, such as `/staff`, `/staff/*` or `/staff/**`. `*` does not match `/`, `**` does.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct PathPattern(Glob);

/// A pattern of logins, such as `svc-*`. Upper and lower case are the same.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct LoginPattern(Glob);

/// A pattern of names of groups in a target, such as `alumni-*`. Upper and lower case are the same.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct NamePattern(Glob);

#[derive(Clone)]
struct Glob {
    text: Arc<str>,
    matcher: GlobMatcher,
}

/// Why a pattern is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{prefix}: {0}", prefix = Self::PREFIX)]
pub struct PatternError(String);

impl PatternError {
    /// Start of the message where a pattern is part of a larger input.
    pub const PREFIX: &str = "this pattern is invalid";
}

impl Glob {
    fn new(text: &str, is_path: bool) -> Result<Self, PatternError> {
        let glob = GlobBuilder::new(text).literal_separator(is_path).case_insensitive(!is_path).build();
        let glob = glob.map_err(|error| PatternError(format!("{text}: {}", error.kind())))?;
        Ok(Self { text: text.into(), matcher: glob.compile_matcher() })
    }

    /// Returns the text before the first wildcard.
    fn start(&self) -> &str {
        &self.text[..self.text.find(WILDCARDS).unwrap_or(self.text.len())]
    }
}

impl PathPattern {
    /// Returns whether a group has such a path.
    pub fn matches(&self, path: &str) -> bool {
        self.0.matcher.is_match(path)
    }

    /// Returns whether a group or one of the groups above it has such a path.
    pub fn matches_within(&self, path: &str) -> bool {
        // Most groups differ from the beginning, which is cheaper to see than to match.
        path.starts_with(self.0.start())
            && (self.matches(path) || parent_paths(path).any(|parent| self.matches(parent)))
    }

    /// Returns the path if the pattern stands for just one.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.text.contains(WILDCARDS)).then_some(&self.0.text)
    }
}

/// Returns the paths of the groups above this one, the nearest first.
pub fn parent_paths(path: &str) -> impl Iterator<Item = &str> {
    // In a path, Keycloak writes `~/` for a slash within a group's name.
    let is_separator = |at: &usize| *at > 0 && !path[..*at].ends_with('~');
    path.rmatch_indices('/').map(|(at, _)| at).filter(is_separator).map(|at| &path[..at])
}

/// Returns the names of the groups in a path, from the top down.
pub fn path_names(path: &str) -> impl Iterator<Item = String> {
    let starts = parent_paths(path).map(str::len).collect::<Vec<_>>();
    let mut ends: Vec<usize> = starts.into_iter().rev().collect();
    ends.push(path.len());
    let mut from = 0;
    ends.into_iter().map(move |to| {
        let name = path[from..to].trim_start_matches('/').replace("~/", "/");
        from = to;
        name
    })
}

impl LoginPattern {
    /// Returns whether a login is of this form.
    pub fn matches(&self, login: &str) -> bool {
        let start = self.0.start();
        let begins = login.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
        (begins || !start.is_ascii()) && self.0.matcher.is_match(login)
    }
}

impl NamePattern {
    /// Returns whether a group has such a name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.matcher.is_match(name)
    }
}

impl TryFrom<String> for PathPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        if !text.starts_with('/') || text.len() == 1 {
            return Err(PatternError(format!("{text:?} is not a group's path; write it as /staff or /staff/**")));
        }
        Glob::new(&text, true).map(Self)
    }
}

impl TryFrom<String> for LoginPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        if text.trim().is_empty() {
            return Err(PatternError("an empty pattern matches no login".to_owned()));
        }
        Glob::new(&text, false).map(Self)
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        if text.trim().is_empty() {
            return Err(PatternError("an empty pattern matches no name".to_owned()));
        }
        Glob::new(&text, false).map(Self)
    }
}

macro_rules! shown_as_text {
    ($($pattern:ident),*) => {$(
        impl PartialEq for $pattern {
            fn eq(&self, other: &Self) -> bool {
                self.0.text == other.0.text
            }
        }

        impl Eq for $pattern {}

        impl fmt::Debug for $pattern {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0.text, f)
            }
        }

        impl fmt::Display for $pattern {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text)
            }
        }

        impl Serialize for $pattern {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0.text)
            }
        }
    )*};
}
shown_as_text!(PathPattern, LoginPattern, NamePattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> PathPattern {
        PathPattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_login_pattern_ignores_case_in_any_alphabet() {
        let matches = |pattern: &str, login| LoginPattern::try_from(pattern.to_owned()).unwrap().matches(login);
        assert!(matches("Ext-*", "ext-1") && !matches("Ext-*", "int-1"));
        assert!(matches("äb*", "äB1") && !matches("äb*", "ab1"));
    }

    #[test]
    fn a_path_pattern_matches_by_segments() {
        for (pattern, matched, others) in [
            ("/staff", ["/staff", "/staff"], ["/staff/eng", "/Staff"]),
            ("/staff/*", ["/staff/eng", "/staff/ops"], ["/staff", "/staff/eng/core"]),
            ("/staff/**", ["/staff/eng", "/staff/eng/core"], ["/staff", "/other"]),
            ("/*/admins", ["/eng/admins", "/ops/admins"], ["/admins", "/a/b/admins"]),
            ("/team-?", ["/team-1", "/team-x"], ["/team-", "/team-10"]),
        ] {
            for one in matched {
                assert!(path(pattern).matches(one), "{pattern} {one}");
            }
            for one in others {
                assert!(!path(pattern).matches(one), "{pattern} {one}");
            }
        }
    }

    #[test]
    fn a_sub_group_is_within_the_groups_above_it() {
        assert!(path("/staff").matches_within("/staff/eng/core"));
        assert!(path("/staff/*").matches_within("/staff/eng/core"));
        assert!(!path("/staff").matches_within("/staffing"));
        assert!(!path("/a~").matches_within("/a~/b"), "one group whose name has a slash");
        assert_eq!(parent_paths("/a/b~/c/d").collect::<Vec<_>>(), ["/a/b~/c", "/a"]);
    }

    #[test]
    fn a_path_consists_of_the_names_of_its_groups() {
        for (path, names) in
            [("/a", &["a"] as &[&str]), ("/a/b/c", &["a", "b", "c"]), ("/a/b~/c", &["a", "b/c"]), ("/a-b", &["a-b"])]
        {
            assert_eq!(path_names(path).collect::<Vec<_>>(), names, "{path}");
        }
    }

    #[test]
    fn only_a_pattern_without_wildcards_is_one_path() {
        assert_eq!(path("/staff").literal(), Some("/staff"));
        for wild in ["/staff/*", "/staf?", "/[ab]", "/{a,b}"] {
            assert_eq!(path(wild).literal(), None, "{wild}");
        }
    }

    #[test]
    fn logins_match_in_any_case() {
        let pattern = LoginPattern::try_from("SVC-*".to_owned()).unwrap();
        assert!(pattern.matches("svc-backup") && pattern.matches("Svc-"));
        assert!(!pattern.matches("a-svc-backup"));
    }

    #[test]
    fn invalid_patterns_are_refused_with_what_to_write() {
        for (text, why) in [
            ("staff", "this pattern is invalid: \"staff\" is not a group's path; write it as /staff or /staff/**"),
            ("/", "this pattern is invalid: \"/\" is not a group's path; write it as /staff or /staff/**"),
            ("/a[", "this pattern is invalid: /a[: unclosed character class; missing ']'"),
        ] {
            assert_eq!(PathPattern::try_from(text.to_owned()).unwrap_err().to_string(), why);
        }
        assert!(LoginPattern::try_from(" ".to_owned()).is_err());
    }

    #[test]
    fn patterns_are_written_as_they_were_read() {
        let read: PathPattern = serde_json::from_str("\"/staff/**\"").unwrap();
        assert_eq!(
            (read.to_string(), serde_json::to_string(&read).unwrap()),
            ("/staff/**".into(), "\"/staff/**\"".into())
        );
        assert_eq!(format!("{read:?}"), "\"/staff/**\"");
        assert_eq!(read, path("/staff/**"));
        assert_ne!(read, path("/staff/*"));
    }
}
