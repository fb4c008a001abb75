//! Derives the values by which a user without a link is matched.

use super::account::{email, fault};
use crate::{
    capabilities::Capabilities,
    model::{AccountRules, MatchKey, MatchRules, MatchedBy, Template, UserState},
};

/// A value by which accounts are searched for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// The key that gives the value.
    pub by: MatchedBy,
    /// The value; empty for the login, whose holder is known otherwise.
    pub value: String,
    /// Whether the value is, or is made from, an e-mail address that the user may have entered without being asked to
    /// prove it.
    pub unverified: bool,
}

/// Returns what is searched for a user, in the order of the keys. A key without a value for this user is left out.
///
/// # Errors
/// A key cannot be rendered for this user, or the target cannot search by it. The text says why and what to do.
pub fn searches(user: &UserState, capabilities: &Capabilities, rules: AccountRules<'_>) -> Result<Vec<Search>, String> {
    let matching = rules.matching;
    let mut searches = Vec::with_capacity(matching.by.len());
    for key in matching.by {
        let (value, unverified) = match key {
            MatchKey::Login => (String::new(), false),
            MatchKey::Email => {
                if !capabilities.finds_by_email {
                    return Err(cannot_search(user, "e-mail address", "\"email\""));
                }
                let Some(value) = email(user, rules, true)? else { continue };
                let unverified = is_unverified(user, &value, matching);
                (fold_value(&value), unverified)
            }
            MatchKey::OtherLogin(template) => {
                let rendered =
                    template.render(user).map_err(|why| fault(user, "the login to match", &why.to_string()))?;
                (capabilities.login_case.written(&rendered), is_of_unverified(user, template, matching))
            }
            MatchKey::Attribute { attribute, equals } => {
                if !capabilities.finds_by_attribute {
                    return Err(cannot_search(user, &format!("attribute {attribute}"), "this key"));
                }
                let what = format!("the value of {attribute} to match");
                let rendered = equals.render(user).map_err(|why| fault(user, &what, &why.to_string()))?;
                (rendered, is_of_unverified(user, equals, matching))
            }
        };
        if *key != MatchKey::Login && value.is_empty() {
            continue;
        }
        searches.push(Search { by: key.matched_by(), value, unverified });
    }
    Ok(searches)
}

fn cannot_search(user: &UserState, what: &str, key: &str) -> String {
    format!(
        "{}: the target cannot search accounts by {what}, so the user cannot be matched. Set by without {key} in \
         [connector.policy.targets.TARGET.matching]",
        user.username
    )
}

/// Returns the form in which e-mail addresses are compared.
pub fn fold_value(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Returns whether Keycloak has not verified an address that the policy gives the user. What it verifies is the user's
/// own address only.
fn is_unverified(user: &UserState, email: &str, matching: MatchRules<'_>) -> bool {
    let is_own = user.email.as_deref().is_some_and(|own| fold_value(own) == fold_value(email));
    let verified = is_own && user.email_verified == Some(true);
    !(matching.unverified_email || verified)
}

/// Returns whether a template makes its value from an address that Keycloak has not verified.
fn is_of_unverified(user: &UserState, template: &Template, matching: MatchRules<'_>) -> bool {
    let verified = user.email_verified == Some(true);
    template.uses().contains(&"email") && !(matching.unverified_email || verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AccountTemplates, AttributeRules, Matching},
        plan::fixtures::{capabilities, user},
    };

    static NONE: AttributeRules = AttributeRules::new();

    fn found(
        user: &UserState,
        capabilities: &Capabilities,
        matching: &str,
        account: &str,
    ) -> Result<Vec<Search>, String> {
        let matching: Matching = serde_json::from_str(matching).unwrap();
        let account: AccountTemplates = serde_json::from_str(account).unwrap();
        let rules = AccountRules {
            matching: MatchRules::new(&matching, None),
            email: account.email.as_ref(),
            ..AccountRules::of_attributes(&NONE)
        };
        searches(user, capabilities, rules)
    }

    fn search(by: MatchedBy, value: &str, unverified: bool) -> Search {
        Search { by, value: value.to_owned(), unverified }
    }

    #[test]
    fn the_keys_give_values_in_their_order() {
        let caps = Capabilities { finds_by_email: true, finds_by_attribute: true, ..capabilities() };
        let mut alice = UserState { email_verified: Some(true), ..user() };
        let by = r#"{"by": ["email", {"login": "{{ attributes.old }}"}, "login",
                     {"attribute": "externalId", "equals": "{{ attributes.number }}"}]}"#;
        let (email, login) =
            (search(MatchedBy::Email, "alice@example.org", false), search(MatchedBy::Login, "", false));
        assert_eq!(found(&alice, &caps, by, "{}"), Ok(vec![email.clone(), login.clone()]));
        alice.attributes.insert("old".into(), vec!["OLD".into()]);
        alice.attributes.insert("number".into(), vec!["N7".into()]);
        let other = search(MatchedBy::OtherLogin, "old", false);
        let attribute = search(MatchedBy::Attribute("externalId".into()), "N7", false);
        assert_eq!(found(&alice, &caps, by, "{}"), Ok(vec![email, other, login, attribute]));
    }

    #[test]
    fn an_address_counts_as_verified_only_if_keycloak_verified_it() {
        let caps = Capabilities { finds_by_email: true, ..capabilities() };
        let by = r#"{"by": ["email"]}"#;
        let lax = r#"{"by": ["email"], "unverified_email": true}"#;
        let other = r#"{"email": "{{ attributes.mail }}"}"#;
        let own = r#"{"email": "{{ email | upper }}"}"#;
        for (verified, matching, account, value, unverified) in [
            (Some(true), by, "{}", "alice@example.org", false),
            (Some(false), by, "{}", "alice@example.org", true),
            (None, by, "{}", "alice@example.org", true),
            (None, lax, "{}", "alice@example.org", false),
            (Some(true), by, other, "a@example.org", true),
            (Some(true), lax, other, "a@example.org", false),
            (Some(true), by, own, "alice@example.org", false),
        ] {
            let mut alice = UserState { email_verified: verified, ..user() };
            alice.attributes.insert("mail".into(), vec!["A@Example.org".into()]);
            let expected = search(MatchedBy::Email, value, unverified);
            assert_eq!(
                found(&alice, &caps, matching, account),
                Ok(vec![expected]),
                "{verified:?} {matching} {account}"
            );
        }
        let none = UserState { email: None, ..user() };
        assert_eq!(found(&none, &caps, by, "{}"), Ok(Vec::new()));
    }

    #[test]
    fn a_template_with_an_unverified_address_gives_an_unverified_value() {
        let caps = Capabilities { finds_by_attribute: true, ..capabilities() };
        let by = r#"{"by": [{"login": "{{ email | lower }}"}, {"attribute": "externalId", "equals": "{{ email }}"},
                            {"login": "{{ username }}"}]"#;
        for (verified, lax, unverified) in
            [(Some(true), false, false), (Some(false), false, true), (None, false, true), (Some(false), true, false)]
        {
            let alice = UserState { email_verified: verified, ..user() };
            let by = format!("{by}, \"unverified_email\": {lax}}}");
            let found = found(&alice, &caps, &by, "{}").unwrap();
            let flags: Vec<bool> = found.iter().map(|search| search.unverified).collect();
            assert_eq!(flags, [unverified, unverified, false], "{verified:?} {lax}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_an_error_of_the_user() {
        let alice = user();
        let caps = capabilities();
        for (by, text) in [
            (
                r#"{"by": ["email"]}"#,
                "alice: the target cannot search accounts by e-mail address, so the user cannot be matched. Set by \
                 without \"email\" in [connector.policy.targets.TARGET.matching]",
            ),
            (
                r#"{"by": [{"attribute": "title", "equals": "x"}]}"#,
                "alice: the target cannot search accounts by attribute title, so the user cannot be matched. Set by without \
                 this key in [connector.policy.targets.TARGET.matching]",
            ),
        ] {
            assert_eq!(found(&alice, &caps, by, "{}"), Err(text.to_owned()));
        }
        let fails =
            r#"{"by": [{"login": "{% if username == 'alice' %}{{ username | regex_replace('(', '') }}{% endif %}"}]}"#;
        let error = found(&alice, &caps, fails, "{}").unwrap_err();
        assert!(error.starts_with("alice: cannot render the login to match (invalid operation: "), "{error}");
    }
}
