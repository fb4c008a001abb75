//! Lists and searches, read page by page by position or by cursor, and checks that they are complete.

use jiff::Timestamp;
use reqwest::StatusCode;

use super::{
    ScimTarget,
    errors::Refusal,
    wire::{List, Resource, equals},
};
use crate::{
    model::ErrorClass,
    targets::{
        TargetError,
        http::Answer,
        rest::{Ask, invalid_position, joined, not_done, page_read_before, unconfirmed},
    },
};

/// One page of a list.
pub(super) struct Slice {
    pub items: Vec<Resource>,
    pub next: Option<String>,
    pub incomplete: Option<String>,
    /// Whether the server counts no more than were returned so far. Some servers count a page and not the list, so a
    /// full listing continues anyway. For a search that costs too much.
    pub whole: bool,
}

/// Result of a search by the value of an attribute.
enum Filtered {
    Found(Vec<Resource>),
    /// The server does not filter by this attribute.
    Unfiltered,
}

/// Position in a list: the number of resources read, the first total of the server, and the mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    seen: usize,
    total: Option<usize>,
    /// By position: the id of the last resource, which is requested once more to detect that the list moved. By cursor:
    /// the cursor.
    mark: Option<String>,
}

impl Place {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let seen = parts.next()?.parse().ok()?;
        let total = parts.next()?;
        let total = if total.is_empty() { None } else { Some(total.parse().ok()?) };
        let mark = parts.next().filter(|mark| !mark.is_empty()).map(str::to_owned);
        Some(Self { seen, total, mark })
    }

    fn write(&self) -> String {
        let total = self.total.map(|total| total.to_string()).unwrap_or_default();
        format!("{}:{total}:{}", self.seen, self.mark.as_deref().unwrap_or_default())
    }
}

impl ScimTarget {
    /// Reads one page of a list.
    pub(super) async fn slice(
        &self,
        path: &str,
        what: &str,
        query: &[(&'static str, &str)],
        cursor: Option<&str>,
        deadline: Option<Timestamp>,
    ) -> Result<Slice, TargetError> {
        let place = match cursor {
            None => Place::default(),
            Some(text) => Place::read(text).ok_or_else(|| invalid_position(what, text))?,
        };
        let service = self.service(deadline).await?;
        let count = service.page.to_string();
        let mut ask = Ask::get(path, what).deadline(deadline);
        for (name, value) in query {
            ask = ask.query(name, value);
        }
        ask = ask.query("count", &count);
        if service.cursor {
            let at = place.mark.clone().unwrap_or_default();
            let list = self.list(&ask.query("cursor", &at), what).await?;
            return Ok(by_cursor(&place, list));
        }
        // Positions begin at 1.
        let start = if place.mark.is_some() { place.seen } else { place.seen + 1 };
        let start = start.to_string();
        let ask = ask.query("startIndex", &start);
        let answer = self.rest.ask(&ask).await?;
        if place.seen > 0 && place.total == Some(place.seen) && answer.status.is_client_error() {
            // All counted resources were read; this page only showed whether the list moved.
            return Ok(Slice { items: Vec::new(), next: None, whole: true, incomplete: None });
        }
        Ok(by_position(&place, self.list_in(&ask, &answer, what)?))
    }

    async fn list(&self, ask: &Ask<'_>, what: &str) -> Result<List, TargetError> {
        let answer = self.rest.ask(ask).await?;
        self.list_in(ask, &answer, what)
    }

    fn list_in(&self, ask: &Ask<'_>, answer: &Answer, what: &str) -> Result<List, TargetError> {
        if answer.status.is_success() {
            let body: Resource = self.rest.parse(ask, answer)?;
            return List::read(body).ok_or_else(|| self.rest.unreadable(ask, "it is not a list"));
        }
        let kind = Refusal::read(answer).and_then(|refusal| refusal.scim_type).unwrap_or_default();
        if ["expiredCursor", "invalidCursor"].iter().any(|lost| kind.eq_ignore_ascii_case(lost)) {
            let text =
                format!("{what}: the SCIM server no longer knows the list position. usersync starts the list again.");
            return Err(not_done(ErrorClass::Transient, text));
        }
        Err(self.rest.unexpected(ask, answer))
    }

    /// Finds all resources that have this value, compared with `fold`, by a filter or else by searching the whole list.
    pub(super) async fn find_by(
        &self,
        path: &str,
        what: &str,
        (attribute, wanted): (&'static str, &str),
        fold: impl Fn(&str) -> String,
        query: &[(&'static str, &str)],
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Resource>, TargetError> {
        let has = |resource: &Resource| resource.text(attribute).map(|name| fold(&name) == fold(wanted));
        self.find_with(path, what, (attribute, wanted), has, query, deadline).await
    }

    /// Finds all resources with a value, by a filter or else by searching the whole list. `has` compares the value of a
    /// resource; `None`: the resource shows none.
    pub(super) async fn find_with(
        &self,
        path: &str,
        what: &str,
        (attribute, wanted): (&str, &str),
        has: impl Fn(&Resource) -> Option<bool>,
        query: &[(&'static str, &str)],
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Resource>, TargetError> {
        let service = self.service(deadline).await?;
        if service.filter {
            let filter = equals(attribute, wanted);
            let mut filtered = query.to_vec();
            filtered.push(("filter", filter.as_str()));
            if let Filtered::Found(found) = self.filtered(path, what, attribute, &filtered, &has, deadline).await? {
                return Ok(found);
            }
        }
        self.look_through(path, what, |resource| has(resource) == Some(true), query, deadline).await
    }

    /// Returns whether the server's filter finds the resource that is known to have this value.
    pub(super) async fn filter_finds(
        &self,
        path: &str,
        what: &str,
        (attribute, known): (&str, &str),
        value: impl Fn(&Resource) -> Option<String> + Send + Sync,
    ) -> Result<bool, TargetError> {
        let filter = equals(attribute, known);
        let has = |resource: &Resource| Some(value(resource).as_deref() == Some(known));
        let filtered = self.filtered(path, what, attribute, &[("filter", filter.as_str())], has, None).await?;
        Ok(matches!(filtered, Filtered::Found(found) if !found.is_empty()))
    }

    /// Returns the groups of a name, compared with `fold`, without their members.
    pub(super) async fn groups_named(
        &self,
        name: &str,
        fold: impl Fn(&str) -> String,
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Resource>, TargetError> {
        let what = format!("reading group {name}");
        let service = self.service(deadline).await?;
        let Some(groups) = &service.groups else { return Ok(Vec::new()) };
        let query = [("excludedAttributes", "members")];
        self.find_by(groups, &what, ("displayName", name), fold, &query, deadline).await
    }

    async fn filtered(
        &self,
        path: &str,
        what: &str,
        attribute: &str,
        query: &[(&'static str, &str)],
        has: impl Fn(&Resource) -> Option<bool>,
        deadline: Option<Timestamp>,
    ) -> Result<Filtered, TargetError> {
        let mut ask = Ask::get(path, what).deadline(deadline);
        for (name, value) in query {
            ask = ask.query(name, value);
        }
        let answer = self.rest.ask(&ask).await?;
        // Not every server uses the standard error for an unsupported filter.
        if matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED) {
            return Ok(Filtered::Unfiltered);
        }
        if !answer.status.is_success() {
            return Err(self.rest.unexpected(&ask, &answer));
        }
        let body: Resource = self.rest.parse(&ask, &answer)?;
        let list = List::read(body).ok_or_else(|| self.rest.unreadable(&ask, "it is not a list"))?;
        let came = list.items.len();
        let nameless = list.items.iter().any(|item| has(item).is_none());
        let found: Vec<_> = list.items.into_iter().filter(|item| has(item) == Some(true)).collect();
        if found.is_empty() && nameless && list.total.is_none_or(|total| total <= 1) {
            return Err(unconfirmed(format!(
                "{what}: the SCIM server found one, but does not return its {attribute}. Check it there."
            )));
        }
        if came == 0 && list.total.is_some_and(|total| total > 0) {
            // A resource that is counted but not shown exists; insufficient rights look like this.
            return Err(unconfirmed(format!(
                "{what}: the SCIM server counts {} but returns none. Check that usersync may read users and groups \
                 there.",
                list.total.unwrap_or_default()
            )));
        }
        // Resources that do not match show that the filter was ignored.
        Ok(if found.is_empty() && came > 0 { Filtered::Unfiltered } else { Filtered::Found(found) })
    }

    /// Returns the matching resources of a whole list.
    pub(super) async fn look_through(
        &self,
        path: &str,
        what: &str,
        fits: impl Fn(&Resource) -> bool,
        query: &[(&'static str, &str)],
        deadline: Option<Timestamp>,
    ) -> Result<Vec<Resource>, TargetError> {
        let (mut found, mut incomplete, mut cursor) = (Vec::new(), None, None::<String>);
        loop {
            let slice = self.slice(path, what, query, cursor.as_deref(), deadline).await?;
            found.extend(slice.items.into_iter().filter(&fits));
            incomplete = incomplete.or(slice.incomplete);
            cursor = slice.next;
            if cursor.is_none() {
                break;
            }
        }
        match incomplete {
            // A resource that was found exists, even if the list is incomplete.
            Some(why) if found.is_empty() => Err(unconfirmed(format!("{what}: {why}, so nothing counts as absent."))),
            _ => Ok(found),
        }
    }
}

/// Builds the slice of a page read by position.
fn by_position(place: &Place, list: List) -> Slice {
    let mut items = list.items;
    let mut unconfirmed = Vec::new();
    let mut moved = false;
    if let (Some(was), Some(now)) = (place.total, list.total)
        && was != now
    {
        unconfirmed.push(format!("the server counted {was} at first and {now} later"));
    }
    if let Some(last) = &place.mark {
        if items.first().and_then(Resource::id).as_ref() == Some(last) {
            items.remove(0);
        } else {
            moved = true;
            unconfirmed.push("the list changed during the read".to_owned());
        }
    }
    let seen = place.seen + items.len();
    let total = place.total.or(list.total);
    // A server that returns one resource per page returns only the known one.
    let one_by_one = items.is_empty() && place.mark.is_some() && !moved && list.total.is_some_and(|total| seen < total);
    // A server that skips positions would return the same page forever.
    let endless = moved && list.total.is_none_or(|total| seen > total);
    // After the first page, a total that is just reached is the list's; on the first it may be the page's own.
    let met = place.seen > 0 && list.total == Some(seen);
    let next = if one_by_one {
        Some(Place { seen, total, mark: None })
    } else if items.is_empty() || endless || met {
        None
    } else {
        Some(Place { seen, total, mark: items.last().and_then(Resource::id) })
    };
    if next.is_none() {
        unconfirmed.extend(missing(seen, list.total));
    }
    let whole = list.total == Some(seen) && unconfirmed.is_empty();
    Slice { items, next: next.map(|next| next.write()), whole, incomplete: joined(&unconfirmed) }
}

/// Builds the slice of a page read by cursor.
fn by_cursor(place: &Place, list: List) -> Slice {
    let mut unconfirmed = Vec::new();
    if let (Some(was), Some(now)) = (place.total, list.total)
        && was != now
    {
        unconfirmed.push(format!("the server counted {was} at first and {now} later"));
    }
    let seen = place.seen + list.items.len();
    let same = list.next_cursor.is_some() && list.next_cursor == place.mark;
    if same {
        unconfirmed.push(page_read_before("the SCIM server"));
    }
    let mark = list.next_cursor.filter(|_| !same);
    let next = mark.map(|mark| Place { seen, total: place.total.or(list.total), mark: Some(mark) });
    if next.is_none() {
        unconfirmed.extend(missing(seen, list.total));
    }
    Slice {
        whole: next.is_none() && unconfirmed.is_empty(),
        items: list.items,
        next: next.map(|next| next.write()),
        incomplete: joined(&unconfirmed),
    }
}

fn missing(seen: usize, total: Option<usize>) -> Option<String> {
    total.filter(|total| *total != seen).map(|total| format!("{seen} of {total} were returned"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(ids: &[&str], total: Option<usize>) -> List {
        let item = |id: &&str| serde_json::from_value(json!({"id": id})).expect("an object");
        List { total, next_cursor: None, items: ids.iter().map(item).collect() }
    }

    #[test]
    fn a_place_comes_back_as_it_was() {
        for place in [
            Place::default(),
            Place { seen: 7, total: Some(9), mark: Some("a:b".into()) },
            Place { seen: 7, total: None, mark: None },
        ] {
            assert_eq!(Place::read(&place.write()), Some(place));
        }
        assert_eq!(Place::read("x"), None);
    }

    #[test]
    fn a_list_is_followed_until_nothing_new_comes() {
        let first = by_position(&Place::default(), list(&["a", "b"], Some(3)));
        assert_eq!(first.incomplete, None);
        let place = Place::read(first.next.as_deref().expect("more")).expect("a place");
        let second = by_position(&place, list(&["b", "c"], Some(3)));
        assert_eq!((second.items.len(), &second.incomplete), (1, &None));
        assert_eq!(second.next, None, "all that are counted came");
        let alone = by_position(&Place::default(), list(&["a", "b"], Some(2)));
        let place = Place::read(alone.next.as_deref().expect("a second look")).expect("a place");
        let last = by_position(&place, list(&["b"], Some(2)));
        assert_eq!((last.items.len(), last.next, last.incomplete), (0, None, None));
    }

    #[test]
    fn what_cannot_be_whole_is_doubted() {
        let place = Place { seen: 2, total: Some(3), mark: Some("b".into()) };
        assert!(by_position(&place, list(&["x", "c"], Some(3))).incomplete.expect("a doubt").contains("changed"));
        assert!(by_position(&place, list(&["b", "c"], Some(4))).incomplete.expect("a doubt").contains("3 at first"));
        let short = by_position(&Place { seen: 2, total: Some(3), mark: None }, list(&[], Some(3)));
        assert_eq!((short.next, short.incomplete.as_deref()), (None, Some("2 of 3 were returned")));
        let one = by_position(&place, list(&["b"], Some(3)));
        assert!(one.next.is_some() && one.incomplete.is_none(), "one at a time goes on");
        let again = by_position(&Place { seen: 4, total: None, mark: Some("b".into()) }, list(&["a", "b"], None));
        assert_eq!(again.next, None, "positions that are passed over end");
        let mut same = list(&["a"], None);
        same.next_cursor = Some("n".into());
        assert!(by_cursor(&Place { seen: 0, total: None, mark: Some("n".into()) }, same).next.is_none());
    }
}
