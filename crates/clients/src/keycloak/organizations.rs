//! Reads who is a member of organizations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    KeycloakSource, SourceError,
    fault::{self, Asked},
    pages::Paged,
    requests::Listing,
    roles::{SIMILAR, missing_right, unknown, unknown_in_run},
    source::{Holders, OrganizationMembers},
    wire::Listed,
};
use crate::model::{ErrorClass, OrganizationName, Packed, ReadEvidence, Unread, UserId, UserOrganizations};

/// What is read here.
const ORGANIZATIONS: &str = "organizations";

const ORGANIZATION_GONE: &str = "Organization not found.";

/// Maximum number of times that members are read while their number does not agree with Keycloak's count.
const TRIES: usize = 3;

/// The roles of which each shows all organizations; before Keycloak 26.7 only the last one exists.
const SHOWING: [&str; 3] = ["view-organizations", "manage-organizations", "manage-realm"];

/// An organization, in brief form.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Organization {
    id: String,
    name: String,
    #[serde(default)]
    alias: String,
}

impl Listed for Organization {
    const REQUIRED: &'static [&'static str] = &["id", "name"];

    fn id(&self) -> &str {
        &self.id
    }

    fn is_whole(&self) -> bool {
        !self.id.is_empty() && !self.name.is_empty()
    }
}

/// Returns the organization with this alias; else the one with this name. Keycloak keeps each of them unique.
fn find<'a>(listed: &'a [Organization], called: &OrganizationName) -> Option<&'a Organization> {
    let by_alias = listed.iter().find(|one| one.alias == called.as_str());
    by_alias.or_else(|| listed.iter().find(|one| one.name == called.as_str()))
}

/// Reports that an organization does not exist, and which one is similar.
fn absent(listed: &[Organization], called: &OrganizationName) -> Unread {
    let text = called.as_str().to_lowercase();
    let similarity = |one: &Organization| {
        let of = |known: &str| strsim::jaro_winkler(&text, &known.to_lowercase());
        of(&one.alias).max(of(&one.name))
    };
    let similar = listed
        .iter()
        .map(|one| (similarity(one), one))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, a), (other, b)| one.total_cmp(other).then_with(|| b.alias.cmp(&a.alias)));
    let hint = match similar {
        Some((_, near)) if near.alias == near.name => format!(" A similar organization is {}.", near.alias),
        Some((_, near)) => format!(" A similar organization is {} (alias {}).", near.name, near.alias),
        None if listed.is_empty() => " The realm has no organization.".to_owned(),
        None => String::new(),
    };
    Unread::Absent(format!(
        "Keycloak lists no organization {called}, which the policy requires, so users without it are neither added nor \
         removed.{hint} Correct required_organizations in the policy's scope, or create the organization."
    ))
}

impl KeycloakSource {
    /// Returns which of these organizations a user is a member of.
    pub(super) async fn organizations_of_user(
        &self,
        id: &UserId,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<UserOrganizations, SourceError> {
        let below = ["organizations", "members", id.as_str(), "organizations"];
        let own: Result<Vec<Organization>, _> = self.must(Asked::Organizations, &below, &[]).await;
        let own = match own {
            Ok(own) => own,
            Err(error) => {
                let why = unknown(ORGANIZATIONS, error)?;
                let unread = organizations.iter().map(|name| (name.clone(), why.clone())).collect();
                return Ok(UserOrganizations { held: Vec::new(), unread: Some(Arc::new(unread)) });
            }
        };
        let (mut held, mut unread) = (Vec::new(), BTreeMap::new());
        for name in organizations {
            if own.iter().any(|one| one.alias == name.as_str()) {
                held.push(name.clone().into());
                continue;
            }
            // Without the right to see it, an organization is missing in the user's list too.
            match self.organization_called(name).await {
                Ok(Ok(id)) if own.iter().any(|one| one.id == id) => held.push(name.clone().into()),
                Ok(Ok(_)) => {}
                Ok(Err(absent)) => drop(unread.insert(name.clone(), absent)),
                Err(error) => drop(unread.insert(name.clone(), unknown(ORGANIZATIONS, error)?)),
            }
        }
        Ok(UserOrganizations { held, unread: (!unread.is_empty()).then(|| unread.into()) })
    }

    /// Returns the id of an organization that Keycloak shows to usersync, or why it is not known.
    async fn organization_called(&self, called: &OrganizationName) -> Result<Result<String, Unread>, SourceError> {
        let known = self.organizations.lock().get(called).cloned();
        if let Some(id) = known {
            let within = self.settings.connection.time_outs.call;
            let below = ["organizations", id.as_str()];
            let read: Option<Organization> =
                self.ask(Asked::Organizations, &below, &[], within, Some(ORGANIZATION_GONE)).await?;
            if read.is_some_and(|one| one.alias == called.as_str()) {
                return Ok(Ok(id));
            }
        }
        let listed = self.listed_organizations().await?;
        let found = find(&listed, called);
        let mut known = self.organizations.lock();
        match found {
            // An alias never changes; a name has to be looked up again.
            Some(one) if one.alias == called.as_str() => drop(known.insert(called.clone(), one.id.clone())),
            _ => drop(known.remove(called)),
        }
        Ok(found.map(|one| one.id.clone()).ok_or_else(|| absent(&listed, called)))
    }

    /// Lists all organizations of the realm.
    async fn listed_organizations(&self) -> Result<Vec<Organization>, SourceError> {
        let listed: Vec<Organization> =
            self.all(Asked::Organizations, &["organizations"], None).await?.unwrap_or_default();
        // With `query-organizations` alone, the list is empty.
        if listed.is_empty() && !self.sees_organizations().await? {
            let (realm, base) = (&self.settings.realm, self.base().await?);
            let grant = self.names.grant(Asked::Organizations, SHOWING[0]);
            let text = format!("realm {realm} at {base}: Keycloak lists no organization. {grant}");
            return Err(fault::error(ErrorClass::Forbidden, text));
        }
        Ok(listed)
    }

    async fn sees_organizations(&self) -> Result<bool, SourceError> {
        let claims = self.token(None).await?.claims;
        Ok(SHOWING.iter().any(|role| claims.has(&self.names.rights_client, role)))
    }

    /// Reads who is a member of these organizations.
    pub(super) async fn members_of_organizations(
        &self,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<OrganizationMembers, SourceError> {
        let mut found = OrganizationMembers::default();
        let listed = match self.listed_organizations().await {
            Ok(listed) => listed,
            Err(error) => {
                found.lacks = missing_right(&error);
                let why = unknown_in_run(ORGANIZATIONS, error)?;
                found.unread = organizations.iter().map(|name| (name.clone(), why.clone())).collect();
                return Ok(found);
            }
        };
        for name in organizations {
            let Some(organization) = find(&listed, name) else {
                found.unread.insert(name.clone(), absent(&listed, name));
                continue;
            };
            match self.members_of_organization(organization).await {
                Ok((mut members, evidence)) => {
                    found.evidence.add(&evidence);
                    if let Some(why) = members.incomplete.take() {
                        let why = format!("the members of the organization {name} were not read completely: {why}");
                        found.unread.insert(name.clone(), Unread::Unknown(why));
                    }
                    found.held.insert(name.clone(), members);
                }
                Err(error) => {
                    found.lacks = found.lacks.take().or_else(|| missing_right(&error));
                    found.unread.insert(name.clone(), unknown_in_run(ORGANIZATIONS, error)?);
                }
            }
        }
        Ok(found)
    }

    /// Reads the members of an organization, which are all only if Keycloak counts as many before and afterwards.
    async fn members_of_organization(
        &self,
        organization: &Organization,
    ) -> Result<(Holders, ReadEvidence), SourceError> {
        let (mut members, mut evidence) = self.members_once(organization).await?;
        for _ in 1..TRIES {
            if members.incomplete.is_none() {
                break;
            }
            let earlier = evidence;
            (members, evidence) = self.members_once(organization).await?;
            evidence.add_earlier(&earlier);
        }
        Ok((members, evidence))
    }

    async fn members_once(&self, organization: &Organization) -> Result<(Holders, ReadEvidence), SourceError> {
        let before = self.count_members(organization).await?;
        let below = ["organizations", &organization.id, "members"];
        let listing = Listing {
            asked: Asked::Organizations,
            below: &below,
            query: &[("briefRepresentation", "true")],
            from: 0,
            max: self.settings.page.max(1),
            gone: Some(ORGANIZATION_GONE),
        };
        let paged: Option<Paged<Packed<UserId>>> = self.pages(listing, &|_| {}).await?;
        let Some(paged) = paged else {
            let (realm, name) = (&self.settings.realm, &organization.name);
            return Err(fault::transient(format!(
                "realm {realm}: the organization {name} was deleted during the read; usersync reads it again"
            )));
        };
        let after = self.count_members(organization).await?;
        let evidence = ReadEvidence { count_before: before, count_after: after, ..paged.evidence() };
        let odd = paged.unreadable.first().map(|(_, odd)| odd.failure());
        let read = paged.items.len();
        let differs = [before, after].into_iter().find(|count| *count != Some(read)).map(|count| match count {
            Some(count) => format!("{read} members were read, but Keycloak counts {count}"),
            None => "Keycloak's count of the members is not a number".to_owned(),
        });
        let incomplete = paged.incomplete.or(odd).or(differs);
        Ok((Holders { users: paged.items, groups: Vec::new(), incomplete }, evidence))
    }

    async fn count_members(&self, organization: &Organization) -> Result<Option<usize>, SourceError> {
        self.count(Asked::Organizations, &["organizations", &organization.id, "members", "count"], &[]).await
    }

    /// Returns why those of these organizations that cannot be read are unknown.
    pub(super) async fn unreadable_organizations(
        &self,
        organizations: &BTreeSet<OrganizationName>,
    ) -> Result<Vec<String>, SourceError> {
        let listed = self.listed_organizations().await?;
        let mut why = Vec::new();
        for name in organizations {
            match find(&listed, name) {
                Some(organization) => drop(self.count_members(organization).await?),
                None => why.push(absent(&listed, name).why().to_owned()),
            }
        }
        Ok(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn organization(alias: &str, name: &str) -> Organization {
        Organization { id: format!("id of {alias}"), name: name.to_owned(), alias: alias.to_owned() }
    }

    fn called(text: &str) -> OrganizationName {
        text.to_owned().try_into().unwrap()
    }

    #[test]
    fn an_organization_is_found_by_its_alias_and_then_by_its_name() {
        let listed = [organization("globex", "acme"), organization("acme", "Acme Inc")];
        for (text, alias) in [("acme", Some("acme")), ("globex", Some("globex")), ("Acme Inc", Some("acme"))] {
            assert_eq!(find(&listed, &called(text)).map(|one| one.alias.as_str()), alias, "{text}");
        }
        assert!(find(&listed, &called("ACME")).is_none());
    }

    #[test]
    fn an_absent_organization_is_reported_with_a_similar_one() {
        let listed = [organization("acme", "acme"), organization("globex", "Globex Inc")];
        let hint = |text: &str, listed: &[Organization]| {
            let why = absent(listed, &called(text)).why().to_owned();
            let start =
                format!("Keycloak lists no organization {text}, which the policy requires, so users without it");
            assert!(why.starts_with(&start), "{why}");
            let hint = why.split("removed.").nth(1).and_then(|rest| rest.split(" Correct").next());
            hint.map(|hint| hint.trim().to_owned())
        };
        assert_eq!(hint("acne", &listed).as_deref(), Some("A similar organization is acme."));
        assert_eq!(
            hint("Globex Ink", &listed).as_deref(),
            Some("A similar organization is Globex Inc (alias globex).")
        );
        assert_eq!(hint("umbrella", &listed).as_deref(), Some(""));
        assert_eq!(hint("umbrella", &[]).as_deref(), Some("The realm has no organization."));
    }
}
