//! Derives the values of an account from the user at the source.

use std::collections::BTreeMap;

use crate::{
    capabilities::Capabilities,
    model::{AccountRules, AttributeRule, AttributeRules, Empty, UserState, When},
};

/// The desired state of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredUser {
    /// The login, in the target's spelling; `None`: the account keeps its login.
    pub login: Option<String>,
    /// The display name; `None`: the account keeps its own.
    pub display_name: Option<String>,
    /// The e-mail address; `None`: the user has none, or the account keeps its own.
    pub email: Option<String>,
    /// Further attributes by the target's own names, for a new or an existing account; an empty text clears the
    /// attribute.
    pub attributes: BTreeMap<String, String>,
    /// What could not be rendered of login, display name and e-mail address, with the reason. A new account is not
    /// created without them.
    pub faults: Vec<String>,
    /// Further attributes that could not be rendered, with the reason.
    pub attribute_faults: Vec<String>,
}

/// Returns the login that the user's account should have, in the target's spelling; `new`: the account is to be
/// created. `None`: the account keeps its login.
///
/// # Errors
/// Its template cannot be rendered for this user; the text says why and what to do.
pub fn login(
    user: &UserState,
    capabilities: &Capabilities,
    rules: AccountRules<'_>,
    new: bool,
) -> Result<Option<String>, String> {
    let login = rendered(user, rules.login, "the login", new, || Some(user.username.clone()))?;
    Ok(login.map(|login| capabilities.login_case.written(&login)))
}

/// Returns the desired state of the user's account; `new`: the account is to be created.
pub fn desired_user(user: &UserState, capabilities: &Capabilities, rules: AccountRules<'_>, new: bool) -> DesiredUser {
    let mut faults = Vec::new();
    let mut kept = |made: Result<Option<String>, String>| {
        made.unwrap_or_else(|fault| {
            faults.push(fault);
            None
        })
    };
    let login = kept(login(user, capabilities, rules, new));
    let display_name = kept(rendered(user, rules.display_name, "the display name", new, || Some(full_name(user))));
    let email = kept(email(user, rules, new));
    let (attributes, attribute_faults) =
        if capabilities.attributes { attributes(user, rules.attributes, new) } else { Default::default() };
    DesiredUser { login, display_name, email, attributes, faults, attribute_faults }
}

/// Returns the e-mail address that the user's account should have; `new`: the account is to be created. `None`: the user
/// has none, or the account keeps its own.
///
/// # Errors
/// As of [`login`].
pub(super) fn email(user: &UserState, rules: AccountRules<'_>, new: bool) -> Result<Option<String>, String> {
    match rules.email {
        None => Ok(own_email(user)),
        Some(rule) if rule.when == When::Create && !new => Ok(None),
        // A rendered address may be empty: the user has none.
        Some(rule) => render(user, rule, "the e-mail address").map(|email| Some(email).filter(|it| !it.is_empty())),
    }
}

/// Returns the value of a rule, or without a rule the user's `own`; `None`: the account keeps its value.
fn rendered(
    user: &UserState,
    rule: Option<&AttributeRule>,
    what: &str,
    new: bool,
    own: impl FnOnce() -> Option<String>,
) -> Result<Option<String>, String> {
    match rule {
        None => Ok(own()),
        Some(rule) if rule.when == When::Create && !new => Ok(None),
        Some(rule) => match render(user, rule, what)? {
            empty if empty.is_empty() => Err(fault(user, what, "it is empty for this user")),
            value => Ok(Some(value)),
        },
    }
}

fn render(user: &UserState, rule: &AttributeRule, what: &str) -> Result<String, String> {
    rule.template.render(user).map_err(|why| fault(user, what, &why.to_string()))
}

pub(super) fn fault(user: &UserState, what: &str, why: &str) -> String {
    format!(
        "{}: cannot render {what} ({why}). Correct the template in the policy, or the user in Keycloak",
        user.username
    )
}

/// Returns the user's names in Keycloak, or the username if it has none.
fn full_name(user: &UserState) -> String {
    let names = [user.first_name.as_deref(), user.last_name.as_deref()];
    let names = names.into_iter().flatten().map(str::trim).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    if names.is_empty() { user.username.clone() } else { names.join(" ") }
}

fn own_email(user: &UserState) -> Option<String> {
    user.email.as_deref().map(str::trim).filter(|email| !email.is_empty()).map(str::to_owned)
}

/// Returns the desired further attributes, and the errors of those that could not be rendered.
fn attributes(user: &UserState, rules: &AttributeRules, new: bool) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut made, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, rule) in rules {
        if rule.when == When::Create && !new {
            continue;
        }
        match render(user, rule, &format!("attribute {name}")) {
            // A new account has nothing to clear.
            Ok(value) if value.is_empty() && (new || rule.empty == Empty::Keep) => {}
            Ok(value) => {
                made.insert(name.clone(), value);
            }
            Err(fault) => faults.push(fault),
        }
    }
    (made, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::AccountTemplates,
        plan::fixtures::{self, capabilities},
        policy::unusable_user,
    };

    static NONE: AttributeRules = AttributeRules::new();

    fn wanted(user: &UserState, caps: &Capabilities) -> DesiredUser {
        desired_user(user, caps, AccountRules::of_attributes(&NONE), false)
    }

    fn templates(json: serde_json::Value) -> AccountTemplates {
        serde_json::from_value(json).expect("templates")
    }

    fn rules(templates: &AccountTemplates) -> AccountRules<'_> {
        let AccountTemplates { login, display_name, email } = templates;
        AccountRules {
            login: login.as_ref(),
            display_name: display_name.as_ref(),
            email: email.as_ref(),
            ..AccountRules::of_attributes(&NONE)
        }
    }

    fn user(username: &str) -> UserState {
        UserState { username: username.into(), first_name: None, last_name: None, email: None, ..fixtures::user() }
    }

    #[test]
    fn the_display_name_is_made_of_the_names_and_falls_back_to_the_login() {
        let caps = capabilities();
        let mut alice = user("alice");
        let name = |alice: &UserState| wanted(alice, &caps).display_name.expect("a name");
        assert_eq!(name(&alice), "alice");
        alice.last_name = Some(" Ng ".into());
        assert_eq!(name(&alice), "Ng");
        alice.first_name = Some("Alice".into());
        assert_eq!(name(&alice), "Alice Ng");
        alice.first_name = Some("  ".into());
        assert_eq!(name(&alice), "Ng");
    }

    #[test]
    fn an_empty_email_is_none_and_may_be_impossible() {
        let caps = capabilities();
        let mut alice = user("alice");
        alice.email = Some(" ".into());
        let desired = wanted(&alice, &caps);
        assert_eq!(desired.email, None);
        assert!(unusable_user(&desired, &caps).is_some_and(|why| why.contains("e-mail")));
        alice.email = Some("alice@example.org".into());
        assert_eq!(unusable_user(&wanted(&alice, &caps), &caps), None);
    }

    #[test]
    fn logins_are_written_by_the_targets_case_rule_and_checked_by_its_limits() {
        let caps = capabilities();
        let mut long = user(&"É".repeat(300));
        long.email = Some("e@example.org".into());
        let desired = wanted(&long, &caps);
        assert_eq!(desired.login, Some("é".repeat(300)));
        assert!(unusable_user(&desired, &caps).is_some_and(|why| why.contains("255")));
    }

    #[test]
    fn attributes_are_made_when_and_as_their_rules_say() {
        let caps = Capabilities { attributes: true, ..capabilities() };
        let rules: AttributeRules = serde_json::from_value(serde_json::json!({
            "title": "{{ attributes.title }}",
            "division": { "template": "{{ attributes.division }}", "empty": "clear" },
            "locale": { "template": "{{ attributes.locale | default('en', true) }}", "when": "create" },
            "odd": "{{ attributes.odd | int }}",
        }))
        .expect("rules");
        let mut alice = user("alice");
        alice.attributes.insert("odd".into(), vec!["x".into()]);
        let of = |alice: &UserState, new| {
            let desired = desired_user(alice, &caps, AccountRules::of_attributes(&rules), new);
            (
                desired.attributes.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
                desired.attribute_faults,
            )
        };
        let (made, faults) = of(&alice, true);
        assert_eq!(made, ["locale=en"]);
        assert!(faults.len() == 1 && faults[0].starts_with("alice: cannot render attribute odd ("), "{faults:?}");
        assert_eq!(of(&alice, false).0, ["division="]);
        alice.attributes.insert("title".into(), vec![" Countess ".into(), "Lady".into()]);
        assert_eq!(of(&alice, false).0, ["division=", "title=Countess"]);
        let none = desired_user(&alice, &capabilities(), AccountRules::of_attributes(&rules), false);
        assert!(none.attributes.is_empty() && none.attribute_faults.is_empty());
    }

    #[test]
    fn templates_make_the_login_the_display_name_and_the_address() {
        let caps = capabilities();
        let made = templates(serde_json::json!({
            "login": "{{ username | regex_replace('@.*$', '') }}",
            "display_name": "{{ last_name }}, {{ first_name }}",
            "email": "{{ attributes.mail }}",
        }));
        let alice = UserState {
            first_name: Some("Alice".into()),
            last_name: Some("Ng".into()),
            email: Some("private@example.org".into()),
            attributes: [("mail".to_owned(), vec!["alice@corp.example".to_owned()])].into(),
            ..user("Alice@corp.example")
        };
        for new in [true, false] {
            let desired = desired_user(&alice, &caps, rules(&made), new);
            assert_eq!(desired.login.as_deref(), Some("alice"), "in the spelling of the target");
            assert_eq!(desired.display_name.as_deref(), Some("Ng, Alice"));
            assert_eq!(desired.email.as_deref(), Some("alice@corp.example"));
            assert_eq!(desired.faults, [] as [String; 0]);
        }
        let without = UserState { attributes: BTreeMap::new(), ..alice };
        let desired = desired_user(&without, &caps, rules(&made), false);
        assert_eq!((desired.email, desired.faults), (None, Vec::new()), "an empty address is none");
    }

    #[test]
    fn what_is_written_on_create_only_stays_in_an_existing_account() {
        let caps = capabilities();
        let once = |template: &str| serde_json::json!({ "template": template, "when": "create" });
        let made = templates(serde_json::json!({
            "login": once("{{ username }}"), "display_name": once("{{ username }}"), "email": once("a@example.org"),
        }));
        let text = |text: &str| Some(text.to_owned());
        for (new, login, name, email) in
            [(true, text("alice"), text("alice"), text("a@example.org")), (false, None, None, None)]
        {
            let desired = desired_user(&user("alice"), &caps, rules(&made), new);
            assert_eq!((desired.login, desired.display_name, desired.email), (login, name, email), "{new}");
        }
    }

    #[test]
    fn a_template_that_fails_for_a_user_is_a_fault_of_that_value() {
        let caps = capabilities();
        let fails = "{% if username == 'alice' %}{{ username | regex_replace('(', '') }}{% endif %}";
        let made = templates(serde_json::json!({
            "login": "{{ attributes.uid }}", "display_name": fails, "email": fails,
        }));
        let desired = desired_user(&user("alice"), &caps, rules(&made), true);
        assert_eq!((desired.login, desired.display_name, desired.email), (None, None, None));
        assert_eq!(desired.faults.len(), 3);
        let login = "alice: cannot render the login (it is empty for this user). Correct the template in the policy, or the \
                     user in Keycloak";
        assert_eq!(desired.faults[0], login);
        for (fault, what) in desired.faults[1..].iter().zip(["the display name", "the e-mail address"]) {
            assert!(fault.starts_with(&format!("alice: cannot render {what} (invalid operation: ")), "{fault}");
        }
        assert_eq!(super::login(&user("alice"), &caps, rules(&made), true), Err(login.to_owned()));
    }
}
