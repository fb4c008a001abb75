//! Compact storage for the values that a full reconcile holds by the million: kept as bytes, and unpacked one at a
//! time.

use std::{borrow::Cow, collections::HashMap, fmt, hash::BuildHasher as _, marker::PhantomData, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UserId;

/// Number of rows in one block. One allocation for all rows would be copied each time it grows.
const BLOCK: usize = 256;

/// A value that can be kept as bytes.
pub trait Packable: Sized {
    /// Returns the key that distinguishes the value from others.
    fn key(&self) -> &str;

    /// Writes everything but the key. A text that many values share is stored in `names`.
    fn pack(&self, names: &mut Names, out: &mut Vec<u8>);

    /// Restores the packed value.
    fn unpack(key: &str, bytes: &[u8], names: &Names) -> Self;
}

/// Texts that many values share, each kept once and identified by a number.
#[derive(Clone, Default)]
pub struct Names {
    numbers: HashMap<Arc<str>, u32, RandomState>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// Returns the number of a text, which is added if it is new.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let (new, name) = (number(self.names.len()), Arc::<str>::from(name));
        self.numbers.insert(Arc::clone(&name), new);
        self.names.push(name);
        new
    }

    /// Returns the text of a number.
    pub fn name(&self, number: u32) -> Arc<str> {
        Arc::clone(&self.names[number as usize])
    }
}

/// Appends a value to the output.
///
/// # Panics
/// If the type's serialization fails; that of the types in use does not.
pub fn write<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    let bytes = postcard::to_extend(value, std::mem::take(out));
    *out = bytes.expect("values of these types can be written to memory");
}

/// Reads a value that [`write()`] wrote.
///
/// # Panics
/// If the bytes were written as another type.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> T {
    postcard::from_bytes(bytes).expect("it was written as this type")
}

/// Reads the first of the values that [`write()`] wrote one after the other, and moves past it.
///
/// # Panics
/// If the bytes were written as another type.
pub fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> T {
    let (value, after) = postcard::take_from_bytes(bytes).expect("it was written as this type");
    *bytes = after;
    value
}

/// An id or another text; a UUID takes 17 bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compact<'a> {
    /// A UUID in its usual form.
    Uuid([u8; 16]),
    /// Any other text.
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl<'a> From<&'a str> for Compact<'a> {
    fn from(text: &'a str) -> Self {
        let uuid = Uuid::try_parse(text).ok().filter(|uuid| {
            let mut buffer = Uuid::encode_buffer();
            *uuid.hyphenated().encode_lower(&mut buffer) == *text
        });
        uuid.map_or(Self::Text(Cow::Borrowed(text)), |uuid| Self::Uuid(uuid.into_bytes()))
    }
}

impl From<Compact<'_>> for String {
    fn from(compact: Compact<'_>) -> Self {
        match compact {
            Compact::Uuid(bytes) => {
                let mut buffer = Uuid::encode_buffer();
                Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut buffer).to_owned()
            }
            Compact::Text(text) => text.into_owned(),
        }
    }
}

/// Values in insertion order, with unique keys. A value is identified by its index.
#[derive(Clone)]
pub struct Packed<T> {
    /// Blocks of rows. A row consists of its key and the rest.
    blocks: Vec<Box<[u8]>>,
    /// The block being filled.
    open: Vec<u8>,
    /// Where each row starts in its block.
    starts: Vec<u32>,
    /// Indexes, by key.
    places: HashTable<u32>,
    hasher: RandomState,
    names: Names,
    kind: PhantomData<fn() -> T>,
}

/// Converts an index or a length to four bytes.
///
/// # Panics
/// From four billion on, which is more than a realm has.
pub fn number(place: usize) -> u32 {
    u32::try_from(place).expect("fewer than four billion of a kind")
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            open: Vec::new(),
            starts: Vec::new(),
            places: HashTable::new(),
            hasher: RandomState::default(),
            names: Names::default(),
            kind: PhantomData,
        }
    }
}

/// Splits a row after its key.
fn split(row: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = row;
    let _: Compact<'_> = take(&mut rest);
    row.split_at(row.len() - rest.len())
}

impl<T> Packed<T> {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn row(&self, place: usize) -> &[u8] {
        let block = self.blocks.get(place / BLOCK).map_or(self.open.as_slice(), |block| block);
        let is_last = (place + 1).is_multiple_of(BLOCK);
        let end = self.starts.get(place + 1).filter(|_| !is_last).map_or(block.len(), |end| *end as usize);
        &block[self.starts[place] as usize..end]
    }

    fn place_of(&self, key: &[u8]) -> Option<usize> {
        // No key is the beginning of another one, because it contains its length.
        let is_it = |place: &u32| self.row(*place as usize).starts_with(key);
        self.places.find(self.hasher.hash_one(key), is_it).map(|place| *place as usize)
    }

    /// Returns the index of the value with this key.
    pub fn place(&self, key: &str) -> Option<usize> {
        let mut bytes = Vec::with_capacity(key.len() + 2);
        write(&Compact::from(key), &mut bytes);
        self.place_of(&bytes)
    }

    /// Returns the indexes that the keys of these values have in another collection, without those that it lacks.
    pub fn places_in<U>(&self, other: &Packed<U>) -> impl Iterator<Item = usize> {
        (0..self.len()).filter_map(|place| other.place_of(split(self.row(place)).0))
    }

    /// Returns whether there is a value with this key.
    pub fn contains(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    /// Returns the key of the value at an index.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn key(&self, place: usize) -> String {
        take::<Compact<'_>>(&mut self.row(place)).into()
    }

    /// Returns what a function reads from the key and the rest of a row.
    pub(super) fn read<R>(&self, place: usize, read: impl Fn(&str, &[u8], &Names) -> R) -> R {
        let mut row = self.row(place);
        let key = String::from(take::<Compact<'_>>(&mut row));
        read(&key, row, &self.names)
    }
}

impl<T: Packable> Packed<T> {
    /// Adds a value. Returns `false`, and adds nothing, if the key exists.
    pub fn push(&mut self, value: &T) -> bool {
        let mut row = Vec::with_capacity(128);
        write(&Compact::from(value.key()), &mut row);
        if self.place_of(&row).is_some() {
            return false;
        }
        let (hash, at) = (self.hasher.hash_one(row.as_slice()), number(self.len()));
        value.pack(&mut self.names, &mut row);
        self.starts.push(number(self.open.len()));
        self.open.extend_from_slice(&row);
        if self.len().is_multiple_of(BLOCK) {
            self.blocks.push(self.open.as_slice().into());
            self.open.clear();
        }
        let mut places = std::mem::take(&mut self.places);
        places.insert_unique(hash, at, |place| self.hasher.hash_one(split(self.row(*place as usize)).0));
        self.places = places;
        true
    }

    /// Returns the value at an index.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn get(&self, place: usize) -> T {
        self.read(place, T::unpack)
    }

    /// Returns the value with this key.
    pub fn find(&self, key: &str) -> Option<T> {
        self.place(key).map(|place| self.get(place))
    }

    /// Returns all values in insertion order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        (0..self.len()).map(|place| self.get(place))
    }
}

impl<T: Packable> Extend<T> for Packed<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.push(&value);
        }
    }
}

impl<T: Packable> FromIterator<T> for Packed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut packed = Self::default();
        packed.extend(values);
        packed
    }
}

impl<T: Packable + fmt::Debug> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Packable + PartialEq> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Packable + Eq> Eq for Packed<T> {}

impl Packable for UserId {
    fn key(&self) -> &str {
        self.as_str()
    }

    fn pack(&self, _: &mut Names, _: &mut Vec<u8>) {}

    fn unpack(key: &str, _: &[u8], _: &Names) -> Self {
        key.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Row {
        id: String,
        shared: String,
        text: Option<String>,
    }

    impl Packable for Row {
        fn key(&self) -> &str {
            &self.id
        }

        fn pack(&self, names: &mut Names, out: &mut Vec<u8>) {
            write(&(names.number(&self.shared), &self.text), out);
        }

        fn unpack(key: &str, bytes: &[u8], names: &Names) -> Self {
            let (shared, text): (u32, Option<String>) = read(bytes);
            Self { id: key.to_owned(), shared: names.name(shared).to_string(), text }
        }
    }

    fn id() -> impl Strategy<Value = String> {
        let uuid = any::<u128>().prop_map(|bits| Uuid::from_u128(bits).to_string());
        let odd = any::<u128>().prop_map(|bits| Uuid::from_u128(bits).simple().to_string());
        let upper = any::<u128>().prop_map(|bits| Uuid::from_u128(bits).to_string().to_uppercase());
        prop_oneof![uuid, odd, upper, "[a-c]{0,2}", ".{0,300}"]
    }

    fn row() -> impl Strategy<Value = Row> {
        (id(), "[a-c]", proptest::option::of(".{0,200}")).prop_map(|(id, shared, text)| Row { id, shared, text })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back_in_its_order_and_each_key_once(rows in proptest::collection::vec(row(), 0..100)) {
            let (mut packed, mut ids) = (Packed::default(), Packed::<UserId>::default());
            let mut expected: Vec<Row> = Vec::new();
            for row in &rows {
                let is_new = expected.iter().all(|known| known.id != row.id);
                prop_assert_eq!(packed.push(row), is_new);
                if is_new {
                    expected.push(row.clone());
                }
                if row.text.is_some() {
                    ids.push(&row.id.as_str().into());
                }
            }
            let places: Vec<usize> = ids.iter().filter_map(|id| packed.place(id.as_str())).collect();
            prop_assert_eq!(ids.places_in(&packed).collect::<Vec<_>>(), places);
            prop_assert_eq!(packed.places_in(&ids).count(), ids.len());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!((packed.len(), packed.is_empty()), (expected.len(), expected.is_empty()));
            for (place, row) in expected.iter().enumerate() {
                prop_assert_eq!((packed.place(&row.id), packed.key(place)), (Some(place), row.id.clone()));
                prop_assert_eq!(packed.find(&row.id), Some(row.clone()));
            }
            prop_assert_eq!(packed.find("not there at all"), None);
        }
    }

    #[test]
    fn a_uuid_takes_seventeen_bytes() {
        let mut bytes = Vec::new();
        write(&Compact::from("1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11"), &mut bytes);
        assert_eq!(bytes.len(), 17);
    }

    #[test]
    fn a_key_is_restored_exactly_as_it_was_written() {
        let keys = [
            "1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11",
            "1F0C7A52-5A3E-4C0E-9D37-0F1F4F1F2A11",
            "1f0c7a525a3e4c0e9d370f1f4f1f2a11",
            "{1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11}",
            "urn:uuid:1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11",
            "f:spi:Ädå Löve",
            "0",
            "",
        ];
        let ids: Packed<UserId> = keys.map(UserId::from).into_iter().collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), keys.map(UserId::from));
        for (place, key) in keys.into_iter().enumerate() {
            assert_eq!(String::from(Compact::from(key)), key);
            assert_eq!((ids.key(place).as_str(), ids.get(place).as_str()), (key, key));
            assert_eq!((ids.place(key), ids.contains(key)), (Some(place), true), "{key}");
        }
        assert!(!ids.contains("alice"));
        assert_eq!((ids.place("alice"), ids.find("alice")), (None, None));
    }

    #[test]
    fn only_a_uuid_in_its_usual_form_is_stored_as_a_uuid() {
        let text = "1f0c7a52-5a3e-4c0e-9d37-0f1f4f1f2a11";
        assert_eq!(Compact::from(text), Compact::Uuid(*Uuid::parse_str(text).unwrap().as_bytes()));
        for text in ["1F0C7A52-5A3E-4C0E-9D37-0F1F4F1F2A11", "1f0c7a525a3e4c0e9d370f1f4f1f2a11", "alice", ""] {
            assert_eq!(Compact::from(text), Compact::Text(text.into()));
        }
    }

    fn numbered(n: usize) -> Row {
        Row { id: format!("id-{n}"), shared: ["even", "odd"][n % 2].to_owned(), text: (n > 0).then(|| n.to_string()) }
    }

    #[test]
    fn a_value_is_found_by_key_and_by_index_in_every_block() {
        for len in [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 5] {
            let packed: Packed<Row> = (0..len).map(numbered).collect();
            assert_eq!((packed.len(), packed.is_empty()), (len, len == 0));
            assert_eq!(packed.iter().collect::<Vec<_>>(), (0..len).map(numbered).collect::<Vec<_>>());
            for place in 0..len {
                let row = numbered(place);
                assert_eq!((packed.place(&row.id), packed.get(place)), (Some(place), row.clone()), "{len}");
                assert_eq!(packed.find(&row.id), Some(row));
            }
            assert_eq!(packed.find(&numbered(len).id), None);
        }
    }

    #[test]
    fn the_first_value_with_a_key_stays() {
        let other = Row { text: Some("other".to_owned()), ..numbered(1) };
        let mut packed = Packed::default();
        assert!(packed.push(&numbered(1)));
        assert!(!packed.push(&other));
        packed.extend([other, numbered(2)]);
        assert_eq!(packed.iter().collect::<Vec<_>>(), [numbered(1), numbered(2)]);
    }

    #[test]
    fn two_collections_are_equal_if_they_hold_equal_values_in_the_same_order() {
        let of = |rows: &[usize]| rows.iter().copied().map(numbered).collect::<Packed<Row>>();
        let changed: Packed<Row> = [numbered(1), Row { text: None, ..numbered(2) }].into_iter().collect();
        assert_eq!(of(&[]), of(&[]));
        assert_eq!(of(&[1, 2]), of(&[1, 2, 1]));
        for other in [of(&[]), of(&[1]), of(&[2, 1]), of(&[1, 3]), of(&[1, 2, 3]), changed] {
            assert_ne!(of(&[1, 2]), other);
            assert_ne!(other, of(&[1, 2]));
        }
    }

    #[test]
    fn a_collection_is_debugged_as_the_list_of_its_values() {
        let ids: Packed<UserId> = ["alice", "bob"].map(UserId::from).into_iter().collect();
        assert_eq!(format!("{ids:?}"), r#"[UserId("alice"), UserId("bob")]"#);
    }

    #[test]
    fn a_shared_text_has_one_number() {
        let mut names = Names::default();
        assert_eq!(["ldap", "kerberos", "ldap", "", "kerberos"].map(|name| names.number(name)), [0, 1, 0, 2, 1]);
        assert_eq!([0, 1, 2].map(|number| names.name(number).to_string()), ["ldap", "kerberos", ""]);
    }

    #[test]
    fn values_are_read_in_the_order_in_which_they_were_written() {
        let mut bytes = Vec::new();
        write(&"alice".to_owned(), &mut bytes);
        write(&Some(7_u32), &mut bytes);
        write(&true, &mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(take::<String>(&mut rest), "alice");
        assert_eq!(take::<Option<u32>>(&mut rest), Some(7));
        assert!(read::<bool>(rest));
    }

    #[test]
    fn an_index_has_four_bytes() {
        assert_eq!([0, 1, 300, u32::MAX as usize].map(number), [0, 1, 300, u32::MAX]);
    }

    #[test]
    #[should_panic(expected = "fewer than four billion of a kind")]
    fn an_index_past_four_billion_is_refused() {
        number(u32::MAX as usize + 1);
    }
}
