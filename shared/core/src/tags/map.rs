//! Tags by key, of which an inventory holds hundreds of thousands: what is the same in many is there once.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// A key and its value, in the order of the keys.
type Tag = (String, String);

/// A user's tags, or an EC2 resource's: key to value, in order. A `BTreeMap<String, String>` to whoever uses it, in a
/// tenth of the space; clones share their texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<Arc<Tag>>);

impl Tags {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|tag| tag.0.as_str().cmp(key))
    }

    fn put(&mut self, tag: Arc<Tag>) -> Option<Arc<Tag>> {
        match self.find(&tag.0) {
            Ok(at) => self.0.get_mut(at).map(|old| std::mem::replace(old, tag)),
            Err(at) => {
                self.0.insert(at, tag);
                None
            }
        }
    }

    /// The value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&String> {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|tag| &tag.1)
    }

    /// Whether there is one with the key.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets one, and gives the value that it had.
    pub fn insert(&mut self, key: String, value: String) -> Option<String> {
        self.put(Arc::new((key, value))).map(|old| Arc::unwrap_or_clone(old).1)
    }

    /// Takes one away, and gives its value.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        let at = self.find(key).ok()?;
        Some(Arc::unwrap_or_clone(self.0.remove(at)).1)
    }

    /// Takes away what is not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|tag| wanted(&tag.0, &tag.1));
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().map(|tag| (&tag.0, &tag.1))
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.0.iter().map(|tag| &tag.0)
    }

    /// Those whose key is wanted, `room` at the most, with their texts shared.
    #[must_use]
    pub fn some(&self, room: usize, wanted: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|tag| wanted(&tag.0)).take(room).cloned().collect())
    }

    /// Sets all of `others`, with their texts shared.
    pub fn add(&mut self, others: &Self) {
        for tag in &others.0 {
            self.put(Arc::clone(tag));
        }
    }
}

/// For tests; the program itself asks with [`Tags::get`].
impl Index<&str> for Tags {
    type Output = String;

    #[expect(clippy::expect_used, reason = "as any map has it")]
    fn index(&self, key: &str) -> &String {
        self.get(key).expect("a tag with that key")
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<const N: usize> From<[Tag; N]> for Tags {
    fn from(tags: [Tag; N]) -> Self {
        tags.into_iter().collect()
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        let mut all = Self::new();
        all.extend(tags);
        all.0.shrink_to_fit();
        all
    }
}

impl Extend<Tag> for Tags {
    fn extend<I: IntoIterator<Item = Tag>>(&mut self, tags: I) {
        for tag in tags {
            self.put(Arc::new(tag));
        }
    }
}

impl IntoIterator for Tags {
    type Item = Tag;
    type IntoIter = std::iter::Map<std::vec::IntoIter<Arc<Tag>>, fn(Arc<Tag>) -> Tag>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(Arc::unwrap_or_clone)
    }
}

impl<'a> IntoIterator for &'a Tags {
    type Item = (&'a String, &'a String);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Arc<Tag>>, fn(&'a Arc<Tag>) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|tag| (&tag.0, &tag.1))
    }
}

/// What was read so far, so that the same text is there once. It lives as long as the reading.
#[derive(Debug, Default)]
pub struct Pool {
    tags: BTreeSet<Arc<Tag>>,
    texts: BTreeSet<Arc<str>>,
}

impl Pool {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tags of one resource.
    pub fn tags(&mut self, tags: impl IntoIterator<Item = (String, String)>) -> Tags {
        let mut all = Tags::new();
        for tag in tags {
            let known = self.tags.get(&tag).cloned();
            all.put(known.unwrap_or_else(|| {
                let tag = Arc::new(tag);
                self.tags.insert(Arc::clone(&tag));
                tag
            }));
        }
        all.0.shrink_to_fit();
        all
    }

    /// The same tags, with the texts that are here already.
    #[must_use]
    pub fn share(&mut self, tags: &Tags) -> Tags {
        let tags = tags.0.iter();
        let shared = tags.map(|tag| {
            if let Some(known) = self.tags.get(tag) {
                return Arc::clone(known);
            }
            self.tags.insert(Arc::clone(tag));
            Arc::clone(tag)
        });
        Tags(shared.collect())
    }

    /// Such as the ARN of a key.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        let known = self.texts.get(text).cloned();
        known.unwrap_or_else(|| {
            let text = Arc::from(text);
            self.texts.insert(Arc::clone(&text));
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against the map that it stands in for.
        #[test]
        fn tags_are_a_map(
            steps in proptest::collection::vec(("[a-d]{1,2}", "[x-z]", 0_u8..4), 0..40),
        ) {
            let mut map: BTreeMap<String, String> = BTreeMap::new();
            let mut tags = Tags::new();
            for (key, value, step) in steps {
                match step {
                    0 => {
                        prop_assert_eq!(tags.remove(&key), map.remove(&key));
                    }
                    1 => {
                        map.retain(|_, it| *it != value);
                        tags.retain(|_, it| it != value);
                    }
                    _ => {
                        let old = map.insert(key.clone(), value.clone());
                        prop_assert_eq!(tags.insert(key.clone(), value), old);
                    }
                }
                prop_assert_eq!(tags.get(&key), map.get(&key));
                prop_assert_eq!(tags.contains_key(&key), map.contains_key(&key));
            }
            prop_assert!(tags.iter().eq(map.iter()));
            prop_assert!((&tags).into_iter().eq(map.iter()));
            prop_assert!(tags.keys().eq(map.keys()));
            prop_assert_eq!((tags.len(), tags.is_empty()), (map.len(), map.is_empty()));
            prop_assert_eq!(format!("{tags:?}"), format!("{map:?}"));
            let backwards: Tags = map.clone().into_iter().rev().collect();
            prop_assert_eq!(&Pool::new().tags(map.clone()), &tags);
            prop_assert_eq!(&backwards, &tags);
            prop_assert!(tags.into_iter().eq(map));
        }
    }

    #[test]
    fn a_pool_holds_the_same_text_once() {
        let mut pool = Pool::new();
        let mut read = |name: &str| {
            let tags = [("Name", name), ("Owner", "me"), ("Name", name)];
            pool.tags(tags.map(|(key, value)| (key.to_owned(), value.to_owned())))
        };
        let (one, other) = (read("a"), read("b"));
        assert_eq!((one.len(), other.len()), (2, 2), "{one:?}");
        assert!(std::ptr::eq(one.get("Owner").unwrap(), other.get("Owner").unwrap()));
        assert_eq!(
            (one.get("Name").unwrap().as_str(), other.get("Name").unwrap().as_str()),
            ("a", "b")
        );
        let mine = Tags::from([("Owner".to_owned(), "me".to_owned())]);
        let shared = pool.share(&mine);
        assert_eq!(shared, mine);
        assert!(std::ptr::eq(one.get("Owner").unwrap(), shared.get("Owner").unwrap()));
        assert!(Arc::ptr_eq(&pool.text("arn"), &pool.text("arn")));
    }
}
