//! Links of users to accounts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, FromRow, Row, SqliteConnection, sqlite::SqliteRow};

use super::{codec, codec::millis, error::damaged, numbers::PairNo, tx::Tx};
use crate::{
    model::{AccountId, ConnectorName, Federated, Link, MatchedBy, Packed, Pair, TargetGroupId, UserId, Written},
    store::{LinkedFederation, StoreError, StoreResult},
};

/// The columns of [`LinkRow`].
macro_rules! link_columns {
    () => {
        "k.user, k.account, k.name, k.federation, k.seen_alive, k.written, k.deactivated, k.taken, \
         k.adopted, k.matched_by, k.given, k.missing_since, k.leaving_since"
    };
}

/// Minimum interval between two records that a user was seen at the source: an hourly run sees every user. In
/// milliseconds.
const SEEN_EVERY_MS: i64 = 3_600_000;

/// A link with its memberships still in packed form.
struct LinkRow {
    link: Link,
    given: Vec<u8>,
}

impl FromRow<'_, SqliteRow> for LinkRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let undone = |error: StoreError| sqlx::Error::Decode(Box::new(error));
        let link = Link {
            user: row.try_get::<String, _>("user")?.into(),
            account: row.try_get::<String, _>("account")?.into(),
            name: row.try_get("name")?,
            federated: federated(row.try_get("federation")?).map_err(undone)?,
            seen_alive: codec::some_time(row.try_get("seen_alive")?).map_err(undone)?,
            written: codec::from_json(row.try_get("written")?).map_err(undone)?,
            deactivated_by_us: row.try_get("deactivated")?,
            taken: taken(row.try_get("taken")?).map_err(undone)?,
            given: BTreeSet::new(),
            adopted: row.try_get("adopted")?,
            matched_by: matched_by(row.try_get("matched_by")?).map_err(undone)?,
            missing_since: codec::some_time(row.try_get("missing_since")?).map_err(undone)?,
            leaving_since: codec::some_time(row.try_get("leaving_since")?).map_err(undone)?,
        };
        Ok(Self { link, given: row.try_get("given")? })
    }
}

/// What is stored before a link is put.
#[derive(Default)]
pub(super) struct LinkRows {
    /// Whether the account is linked to another user.
    pub of_another: bool,
    /// The groups of the user's link.
    pub given: BTreeSet<i64>,
}

/// The columns of a link that is put, as an element of a JSON list.
#[derive(Serialize)]
struct PutRow<'l>(
    i64,
    i64,
    &'l str,
    &'l str,
    &'l str,
    String,
    Option<String>,
    Option<i64>,
    String,
    bool,
    Option<String>,
    bool,
    String,
    usize,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

impl<'l> PutRow<'l> {
    /// Creates the row; `given` are the numbers of the link's groups.
    fn new(no: PairNo, link: &'l Link, given: &BTreeSet<i64>) -> StoreResult<Self> {
        Ok(Self(
            no.pair,
            no.target,
            link.user.as_str(),
            link.account.as_str(),
            link.name.as_str(),
            codec::fold(&link.name),
            link.federated.as_ref().map(codec::to_json).transpose()?,
            link.seen_alive.map(millis),
            codec::to_json(&link.written)?,
            link.deactivated_by_us,
            (!link.taken.is_empty()).then(|| codec::to_json(&link.taken)).transpose()?,
            link.adopted,
            hex::encode(codec::pack(given)),
            given.len(),
            link.missing_since.map(millis),
            link.leaving_since.map(millis),
            link.matched_by.as_ref().map(codec::to_json).transpose()?,
        ))
    }
}

/// A link as an element of a JSON list, with its columns in the order of [`all`].
#[derive(Deserialize)]
struct Listed(
    String,
    String,
    String,
    Option<Federated>,
    Option<i64>,
    Written,
    u8,
    BTreeSet<String>,
    u8,
    Option<MatchedBy>,
    String,
    Option<i64>,
    Option<i64>,
);

impl TryFrom<Listed> for LinkRow {
    type Error = StoreError;

    fn try_from(listed: Listed) -> StoreResult<Self> {
        let Listed(
            user,
            account,
            name,
            federated,
            seen_alive,
            written,
            deactivated,
            taken,
            adopted,
            matched_by,
            given,
            missing,
            leaving,
        ) = listed;
        let link = Link {
            user: user.into(),
            account: account.into(),
            name,
            federated,
            seen_alive: codec::some_time(seen_alive)?,
            written,
            deactivated_by_us: deactivated != 0,
            taken,
            given: BTreeSet::new(),
            adopted: adopted != 0,
            matched_by,
            missing_since: codec::some_time(missing)?,
            leaving_since: codec::some_time(leaving)?,
        };
        Ok(Self { link, given: hex::decode(given).map_err(damaged)? })
    }
}

/// Decodes the federation provider of a user.
fn federated(object: Option<String>) -> StoreResult<Option<Federated>> {
    object.map(|object| codec::from_json(&object)).transpose()
}

/// Decodes a set that is stored as a list or as NULL.
fn taken(list: Option<String>) -> StoreResult<BTreeSet<String>> {
    list.map_or_else(|| Ok(BTreeSet::new()), |list| codec::from_json(&list))
}

/// Decodes how an account was found.
fn matched_by(stored: Option<String>) -> StoreResult<Option<MatchedBy>> {
    stored.map(|stored| codec::from_json(&stored)).transpose()
}

impl Tx {
    async fn filled(&mut self, row: LinkRow) -> StoreResult<Link> {
        Ok(Link { given: self.group_ids(&row.given).await?, ..row.link })
    }

    /// Returns a user's link.
    pub(super) async fn link(&mut self, no: PairNo, user: &UserId) -> StoreResult<Option<Link>> {
        let row: Option<LinkRow> =
            sqlx::query_as(concat!("SELECT ", link_columns!(), " FROM link k WHERE k.user = ?1 AND k.pair = ?2"))
                .bind(user.as_str())
                .bind(no.pair)
                .fetch_optional(&mut self.conn)
                .await?;
        match row {
            Some(row) => Ok(Some(self.filled(row).await?)),
            None => Ok(None),
        }
    }

    /// Returns the link of this account, with its connector.
    pub(super) async fn linked(
        &mut self,
        target: i64,
        account: &AccountId,
    ) -> StoreResult<Option<(ConnectorName, Link)>> {
        let row = sqlx::query(concat!(
            "SELECT c.name AS connector, ",
            link_columns!(),
            " FROM link k JOIN pair p ON p.no = k.pair JOIN connector c ON c.no = p.connector \
             WHERE k.target = ?1 AND k.account = ?2"
        ))
        .bind(target)
        .bind(account.as_str())
        .fetch_optional(&mut self.conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let connector: String = row.try_get("connector")?;
        Ok(Some((connector.into(), self.filled(LinkRow::from_row(&row)?).await?)))
    }

    /// Reads what is stored of the user's link and of the account's.
    pub(super) async fn link_rows(&mut self, no: PairNo, link: &Link) -> StoreResult<LinkRows> {
        Ok(self.link_rows_of(&[(no, link)]).await?.pop().unwrap_or_default())
    }

    /// Reads the same for many links, in their order.
    pub(super) async fn link_rows_of(&mut self, links: &[(PairNo, &Link)]) -> StoreResult<Vec<LinkRows>> {
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<_> =
            links.iter().map(|(no, link)| (no.target, link.account.as_str(), link.user.as_str(), no.pair)).collect();
        let rows: Vec<(i64, i64, String, Vec<u8>)> = sqlx::query_as(
            "SELECT j.key, k.pair, k.user, k.given FROM json_each(?1) j CROSS JOIN link k \
             ON (k.target = j.value ->> 0 AND k.account = j.value ->> 1) \
             OR (k.user = j.value ->> 2 AND k.pair = j.value ->> 3)",
        )
        .bind(codec::to_json(&wanted)?)
        .fetch_all(&mut self.conn)
        .await?;
        let mut known: Vec<LinkRows> = Vec::new();
        known.resize_with(links.len(), LinkRows::default);
        for (key, pair, user, given) in rows {
            let Some(place) = usize::try_from(key).ok().filter(|place| *place < links.len()) else { continue };
            let (no, link) = links[place];
            if pair == no.pair && user == link.user.as_str() {
                known[place].given = codec::unpack(&given)?;
            } else {
                known[place].of_another = true;
            }
        }
        Ok(known)
    }

    /// Writes a link as given.
    pub(super) async fn put_link(&mut self, no: PairNo, link: &Link) -> StoreResult<()> {
        let before = self.packed(no, &link.user).await?;
        self.put_link_after(no, link, &before.map(|(_, given)| given).unwrap_or_default()).await
    }

    /// Writes a link as given, where its groups so far are known.
    pub(super) async fn put_link_after(&mut self, no: PairNo, link: &Link, before: &BTreeSet<i64>) -> StoreResult<()> {
        self.put_links(&[(no, link, before)]).await
    }

    /// Writes links of different users as given. With each comes the set of its groups so far.
    pub(super) async fn put_links(&mut self, links: &[(PairNo, &Link, &BTreeSet<i64>)]) -> StoreResult<()> {
        if links.is_empty() {
            return Ok(());
        }
        let (mut rows, mut groups) = (Vec::with_capacity(links.len()), HashMap::new());
        for (no, link, before) in links {
            let given = self.group_numbers(no.target, &link.given).await?;
            rows.push(PutRow::new(*no, link, &given)?);
            groups.insert((no.pair, link.user.as_str()), (*before, given));
        }
        let written: Vec<(i64, i64, String)> = sqlx::query_as(
            "INSERT INTO link (pair, target, user, account, name, folded, federation, seen_alive, written, deactivated, \
             taken, adopted, given, given_count, missing_since, leaving_since, matched_by) \
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, \
             value ->> 8, value ->> 9, value ->> 10, value ->> 11, unhex(value ->> 12), value ->> 13, value ->> 14, \
             value ->> 15, value ->> 16 FROM json_each(?1) WHERE true \
             ON CONFLICT (user, pair) DO UPDATE SET account = excluded.account, name = excluded.name, \
             folded = excluded.folded, federation = excluded.federation, seen_alive = excluded.seen_alive, \
             written = excluded.written, deactivated = excluded.deactivated, taken = excluded.taken, adopted = excluded.adopted, \
             given = excluded.given, given_count = excluded.given_count, missing_since = excluded.missing_since, \
             leaving_since = excluded.leaving_since, matched_by = excluded.matched_by RETURNING id, pair, user",
        )
        .bind(codec::to_json(&rows)?)
        .fetch_all(&mut self.conn)
        .await?;
        let (mut more, mut less) = (Vec::new(), Vec::new());
        for (id, pair, user) in &written {
            let Some((before, now)) = groups.get(&(*pair, user.as_str())) else { continue };
            more.extend(now.difference(before).map(|group| (*group, *id)));
            less.extend(before.difference(now).map(|group| (*group, *id)));
        }
        self.index_memberships(&more, &less).await
    }

    /// Returns the number of a user's link and the numbers of the granted groups.
    async fn packed(&mut self, no: PairNo, user: &UserId) -> StoreResult<Option<(i64, BTreeSet<i64>)>> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as("SELECT id, given FROM link WHERE user = ?1 AND pair = ?2")
            .bind(user.as_str())
            .bind(no.pair)
            .fetch_optional(&mut self.conn)
            .await?;
        row.map(|(id, packed)| Ok((id, codec::unpack(&packed)?))).transpose()
    }

    /// Updates the index of memberships: pairs of a group's number and a link's to add and to remove.
    async fn index_memberships(&mut self, more: &[(i64, i64)], less: &[(i64, i64)]) -> StoreResult<()> {
        for (sql, memberships) in [
            ("INSERT OR IGNORE INTO membership (grp, link) SELECT value ->> 0, value ->> 1 FROM json_each(?1)", more),
            ("DELETE FROM membership WHERE (grp, link) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))", less),
        ] {
            if !memberships.is_empty() {
                sqlx::query(sql).bind(codec::to_json(&memberships)?).execute(&mut self.conn).await?;
            }
        }
        Ok(())
    }

    /// Removes a link.
    pub(super) async fn remove_link(&mut self, no: PairNo, user: &UserId) -> StoreResult<()> {
        let Some((id, given)) = self.packed(no, user).await? else { return Ok(()) };
        let less: Vec<_> = given.into_iter().map(|group| (group, id)).collect();
        self.index_memberships(&[], &less).await?;
        sqlx::query("DELETE FROM link WHERE id = ?1").bind(id).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Records users that were seen at the source.
    pub(super) async fn record_seen(
        &mut self,
        pair: &Pair,
        seen: &[(UserId, Option<Federated>)],
        now: Timestamp,
    ) -> StoreResult<()> {
        let no = self.pair(pair).await?;
        sqlx::query(
            "UPDATE link SET seen_alive = ?3, federation = s.federation FROM ( \
                 SELECT k.id AS id, j.value ->> 1 AS federation FROM json_each(?2) j \
                 CROSS JOIN link k ON k.user = j.value ->> 0 AND k.pair = ?1 \
                 WHERE k.seen_alive IS NULL OR k.seen_alive <= ?4 OR k.federation IS NOT j.value ->> 1 \
             ) s WHERE link.id = s.id",
        )
        .bind(no.pair)
        .bind(codec::to_json(&seen)?)
        .bind(millis(now))
        .bind(millis(now) - SEEN_EVERY_MS)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }
}

/// Ids of a target's groups by number, as far as they were read.
type GroupIds = HashMap<i64, TargetGroupId>;

/// Adds the memberships to rows of one target.
async fn fill(conn: &mut SqliteConnection, rows: Vec<LinkRow>, ids: &mut GroupIds) -> StoreResult<Vec<Link>> {
    let mut sets = Vec::with_capacity(rows.len());
    let mut unknown = BTreeSet::new();
    for row in &rows {
        let set = codec::unpack(&row.given)?;
        unknown.extend(set.iter().copied().filter(|number| !ids.contains_key(number)));
        sets.push(set);
    }
    if !unknown.is_empty() {
        let found: Vec<(i64, String)> =
            sqlx::query_as("SELECT no, id FROM target_group WHERE no IN (SELECT value FROM json_each(?1))")
                .bind(codec::to_json(&unknown)?)
                .fetch_all(conn)
                .await?;
        ids.extend(found.into_iter().map(|(no, id)| (no, id.into())));
    }
    let given = |set: BTreeSet<i64>| set.iter().filter_map(|no| ids.get(no).cloned()).collect();
    Ok(rows.into_iter().zip(sets).map(|(row, set)| Link { given: given(set), ..row.link }).collect())
}

/// Returns a user's link.
pub(super) async fn one(conn: &mut SqliteConnection, pair: i64, user: &UserId) -> StoreResult<Option<Link>> {
    let rows = sqlx::query_as(concat!("SELECT ", link_columns!(), " FROM link k WHERE k.user = ?1 AND k.pair = ?2"))
        .bind(user.as_str())
        .bind(pair)
        .fetch_all(&mut *conn)
        .await?;
    Ok(fill(conn, rows, &mut GroupIds::new()).await?.pop())
}

/// Returns all links of a pair. Each row crosses a thread boundary, which costs more than everything else that a run
/// reads of it. Therefore 500 links arrive as one row.
pub(super) async fn all(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Packed<Link>> {
    let mut tx = conn.begin().await?;
    let (mut links, mut ids, mut last) = (Packed::default(), GroupIds::new(), 0);
    loop {
        let (list, end): (String, Option<i64>) = sqlx::query_as(
            "SELECT json_group_array(json_array(user, account, name, json(federation), seen_alive, json(written), \
             deactivated, json(coalesce(taken, '[]')), adopted, json(matched_by), hex(given), missing_since, leaving_since)), max(id) \
             FROM (SELECT * FROM link WHERE id > ?2 AND +pair = ?1 ORDER BY id LIMIT 500)",
        )
        .bind(pair)
        .bind(last)
        .fetch_one(&mut *tx)
        .await?;
        let Some(end) = end else { return Ok(links) };
        let listed: Vec<Listed> = codec::from_json(&list)?;
        let rows = listed.into_iter().map(TryInto::try_into).collect::<StoreResult<Vec<LinkRow>>>()?;
        links.extend(fill(&mut tx, rows, &mut ids).await?);
        last = end;
    }
}

/// Returns accounts of the pair's target that other pairs link, each with its connector. The pair itself may be
/// unknown.
pub(super) async fn elsewhere(
    conn: &mut SqliteConnection,
    pair: &Pair,
) -> StoreResult<BTreeMap<AccountId, ConnectorName>> {
    let accounts: Vec<(String, String)> = sqlx::query_as(
        "SELECT k.account, c.name FROM target g CROSS JOIN link k ON k.target = g.no JOIN pair p ON p.no = k.pair \
         JOIN connector c ON c.no = p.connector WHERE g.name = ?1 AND c.name <> ?2",
    )
    .bind(pair.target.as_str())
    .bind(pair.connector.as_str())
    .fetch_all(conn)
    .await?;
    Ok(accounts.into_iter().map(|(account, connector)| (account.into(), connector.into())).collect())
}

/// Returns links of all pairs with this login or user id.
pub(super) async fn named(conn: &mut SqliteConnection, name_or_id: &str) -> StoreResult<Vec<(Pair, Link)>> {
    let rows = sqlx::query(concat!(
        "SELECT c.name AS connector, g.name AS target_name, ",
        link_columns!(),
        " FROM link k JOIN pair p ON p.no = k.pair JOIN connector c ON c.no = p.connector \
         JOIN target g ON g.no = p.target WHERE k.user = ?1 OR k.folded = ?2 ORDER BY c.name, g.name, k.user"
    ))
    .bind(name_or_id)
    .bind(codec::fold(name_or_id))
    .fetch_all(&mut *conn)
    .await?;
    let mut pairs = Vec::with_capacity(rows.len());
    let mut links = Vec::with_capacity(rows.len());
    for row in &rows {
        pairs.push(Pair::new(row.try_get::<String, _>("connector")?, row.try_get::<String, _>("target_name")?));
        links.push(LinkRow::from_row(row)?);
    }
    Ok(pairs.into_iter().zip(fill(conn, links, &mut GroupIds::new()).await?).collect())
}

/// Returns users that were recently seen at the source, newest first. Users of a federation come last: a read may delete
/// them in Keycloak.
pub(super) async fn seen_alive(
    conn: &mut SqliteConnection,
    pair: i64,
    except: &UserId,
    limit: i64,
) -> StoreResult<Vec<UserId>> {
    let users: Vec<String> = sqlx::query_scalar(
        "SELECT user FROM link WHERE pair = ?1 AND seen_alive IS NOT NULL AND user <> ?2 \
         ORDER BY federation IS NOT NULL, seen_alive DESC LIMIT ?3",
    )
    .bind(pair)
    .bind(except.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(users.into_iter().map(UserId::from).collect())
}

/// Returns the federation providers that linked users come from, but for those whose accounts usersync deactivated.
pub(super) async fn federations(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<LinkedFederation>> {
    let rows: Vec<(String, i64, bool)> = sqlx::query_as(
        "SELECT federation ->> 'component' AS component, count(*), max(user NOT GLOB 'f:*') FROM link \
         WHERE pair = ?1 AND federation IS NOT NULL AND NOT deactivated GROUP BY component ORDER BY component",
    )
    .bind(pair)
    .fetch_all(conn)
    .await?;
    let linked = |(component, users, imported)| LinkedFederation {
        component,
        users: usize::try_from(users).unwrap_or_default(),
        imported,
    };
    Ok(rows.into_iter().map(linked).collect())
}

/// Returns the users of all federation providers whose accounts usersync did not deactivate.
pub(super) async fn active_federated(conn: &mut SqliteConnection, pair: i64) -> StoreResult<Vec<UserId>> {
    let users: Vec<String> =
        sqlx::query_scalar("SELECT user FROM link WHERE pair = ?1 AND federation IS NOT NULL AND NOT deactivated")
            .bind(pair)
            .fetch_all(conn)
            .await?;
    Ok(users.into_iter().map(UserId::from).collect())
}

/// Returns users of a federation provider in a random order, those first that were seen lately.
pub(super) async fn federated_users(
    conn: &mut SqliteConnection,
    pair: i64,
    component: &str,
    limit: i64,
) -> StoreResult<Vec<(UserId, String)>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT user, federation ->> 'login' FROM link \
         WHERE pair = ?1 AND federation ->> 'component' = ?2 AND federation ->> 'login' IS NOT NULL \
         AND NOT deactivated \
         ORDER BY seen_alive / 86400000 DESC, random() LIMIT ?3",
    )
    .bind(pair)
    .bind(component)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(user, login)| (user.into(), login)).collect())
}

/// Returns users with a membership of this group that usersync granted.
pub(super) async fn given(conn: &mut SqliteConnection, pair: i64, group: &TargetGroupId) -> StoreResult<Vec<UserId>> {
    let no: Option<i64> = sqlx::query_scalar(
        "SELECT t.no FROM target_group t JOIN pair p ON p.target = t.target WHERE p.no = ?1 AND t.id = ?2",
    )
    .bind(pair)
    .bind(group.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(no) = no else { return Ok(Vec::new()) };
    let users: Vec<String> = sqlx::query_scalar(
        "SELECT k.user FROM membership m CROSS JOIN link k ON k.id = m.link WHERE m.grp = ?2 AND k.pair = ?1 \
         ORDER BY k.user",
    )
    .bind(pair)
    .bind(no)
    .fetch_all(conn)
    .await?;
    Ok(users.into_iter().map(UserId::from).collect())
}
