//! Encoding of stored values: times, words, JSON, ids, sets of group numbers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::error::damaged;
use crate::store::StoreResult;

/// Encodes a time as milliseconds.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// Decodes a stored time.
pub(super) fn time(millis: i64) -> StoreResult<Timestamp> {
    Timestamp::from_millisecond(millis).map_err(damaged)
}

/// Decodes an optional stored time.
pub(super) fn some_time(millis: Option<i64>) -> StoreResult<Option<Timestamp>> {
    millis.map(time).transpose()
}

/// Encodes a value as JSON.
pub(super) fn to_json(value: &impl Serialize) -> StoreResult<String> {
    serde_json::to_string(value).map_err(damaged)
}

/// Decodes a value stored as JSON.
pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> StoreResult<T> {
    serde_json::from_str(text).map_err(damaged)
}

/// Encodes a value that is a single word, without JSON's quotes.
pub(super) fn to_word(value: &impl Serialize) -> StoreResult<String> {
    match serde_json::to_value(value).map_err(damaged)? {
        serde_json::Value::String(word) => Ok(word),
        other => Err(damaged(format!("unknown stored word {other}"))),
    }
}

/// Decodes a value stored as a single word.
pub(super) fn from_word<T: DeserializeOwned>(word: String) -> StoreResult<T> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(damaged)
}

/// Parses a stored subject, id or other text with its own type.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> StoreResult<T> {
    text.parse().map_err(damaged)
}

/// Returns a login or group name in lower case, for case-insensitive comparison.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Returns the 16 bytes of an id that is a UUID in its usual form: a third of the size in table and index.
pub(super) fn uuid_bytes(id: &str) -> Option<[u8; 16]> {
    let uuid = Uuid::try_parse(id).ok()?;
    let mut buffer = Uuid::encode_buffer();
    (uuid.hyphenated().encode_lower(&mut buffer) == id).then(|| *uuid.as_bytes())
}

/// Returns the UUID of these 16 bytes as text.
pub(super) fn uuid_text(bytes: &[u8]) -> StoreResult<String> {
    Ok(Uuid::from_slice(bytes).map_err(damaged)?.hyphenated().to_string())
}

/// Encodes a set of numbers, each as its distance to the previous one, seven bits a byte.
pub(super) fn pack(numbers: &BTreeSet<i64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * 2);
    let mut last = 0_i64;
    for &number in numbers {
        // The set is sorted, so the distance is not negative.
        let mut rest = number.wrapping_sub(last).cast_unsigned();
        last = number;
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                bytes.push(low);
                break;
            }
            bytes.push(low | 0x80);
        }
    }
    bytes
}

/// Decodes a packed set of numbers.
pub(super) fn unpack(bytes: &[u8]) -> StoreResult<BTreeSet<i64>> {
    let mut numbers = BTreeSet::new();
    let (mut last, mut value, mut shift) = (0_i64, 0_u64, 0_u32);
    for &byte in bytes {
        if shift > 63 {
            return Err(damaged("a stored set of memberships cannot be decoded"));
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.wrapping_add(value.cast_signed());
            numbers.insert(last);
            (value, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(numbers) } else { Err(damaged("a stored set of memberships cannot be decoded")) }
}

/// Maximum number of rows in one INSERT.
const MOST_ROWS: usize = 256;
/// Granularity of INSERT sizes: rows beyond a multiple of this go into a separate INSERT.
const STEP: usize = 16;

/// Returns the number of rows for the next INSERT; `None`: no rows are left. Few statements, because each costs a
/// thread switch there and back; few sizes, so that all their texts stay prepared.
pub(super) fn chunk(left: usize) -> Option<usize> {
    match left {
        0 => None,
        few if few < STEP => Some(few),
        many => Some((many - many % STEP).min(MOST_ROWS)),
    }
}

/// Returns a limit in SQL form: -1 (unlimited) for 0.
pub(super) fn limit(limit: usize) -> i64 {
    if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(-1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_come_back_as_they_were(numbers in proptest::collection::btree_set(0_i64..=i64::MAX, 0..200)) {
            prop_assert_eq!(unpack(&pack(&numbers)).unwrap(), numbers);
        }

        #[test]
        fn dense_sets_take_one_byte_a_number(first in 0_i64..100, len in 0_i64..500) {
            let numbers: BTreeSet<i64> = (first..first + len).collect();
            prop_assert!(pack(&numbers).len() <= numbers.len());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&bytes);
        }

        #[test]
        fn a_uuid_comes_back_as_it_was_written(bytes: [u8; 16]) {
            let text = uuid_text(&bytes).unwrap();
            prop_assert_eq!(uuid_bytes(&text), Some(bytes));
            prop_assert_eq!(uuid_bytes(&text.to_uppercase()).is_some(), text.to_uppercase() == text);
        }
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        assert!(unpack(&[0x80]).is_err());
        assert!(unpack(&[0xff; 12]).is_err());
    }
}
