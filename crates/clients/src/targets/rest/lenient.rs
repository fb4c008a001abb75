//! Tolerant JSON parsing. A field that is missing, null or of another type counts as absent. An unreadable entry of a
//! list affects only itself.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// Parses a field that may be absent; for `#[serde(default, deserialize_with = "maybe")]`.
pub fn maybe<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Returns a nonempty text. An account with an empty login, or a group with an empty name, does not count.
pub fn some(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// A list; an entry of another type becomes an empty entry.
#[derive(Debug)]
pub struct Entries<T> {
    /// Whether the value was a list; `false`: the content is unknown, which differs from an empty list.
    pub reported: bool,
    items: Vec<T>,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self { reported: false, items: Vec::new() }
    }
}

impl<T> From<Vec<T>> for Entries<T> {
    fn from(items: Vec<T>) -> Self {
        Self { reported: true, items }
    }
}

impl<'de, T: DeserializeOwned + Default> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Array(items) => {
                let entry = |value| serde_json::from_value(value).unwrap_or_default();
                items.into_iter().map(entry).collect::<Vec<_>>().into()
            }
            _ => Self::default(),
        })
    }
}

impl<T> Deref for Entries<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.items
    }
}

impl<T> DerefMut for Entries<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.items
    }
}

impl<T> IntoIterator for Entries<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    struct Entry {
        #[serde(default, deserialize_with = "maybe")]
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    struct Page {
        #[serde(default)]
        values: Entries<Entry>,
    }

    fn read(text: &str) -> (bool, Vec<Option<String>>) {
        let page: Page = serde_json::from_str(text).expect("readable");
        (page.values.reported, page.values.into_iter().map(|entry| entry.name).collect())
    }

    #[test]
    fn missing_null_and_another_type_are_absence() {
        for text in ["{}", r#"{"values": null}"#, r#"{"values": ""}"#, r#"{"values": {"name": "a"}}"#] {
            assert_eq!(read(text), (false, Vec::new()), "{text}");
        }
        assert_eq!(read(r#"{"values": []}"#), (true, Vec::new()));
        let text = r#"{"values": [{"name": "a"}, {"name": null}, {}, {"name": 7}, null, "b", [1]]}"#;
        let (reported, names) = read(text);
        assert!(reported);
        assert_eq!(names, [Some("a".to_owned()), None, None, None, None, None, None]);
    }
}
