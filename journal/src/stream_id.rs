//! The address of a stream: `kind/id`.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;

/// The name of a sort of streams, such as `dispatch`. Never renamed once released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKind(&'static str);

impl StreamKind {
    /// Longest name, in bytes.
    pub const LEN_MAX: usize = 32;

    /// A kind of that name.
    ///
    /// # Panics
    /// At compile time when used in a constant, unless the name is 1–32 of `a`–`z` and `-`.
    pub const fn new(name: &'static str) -> Self {
        assert!(kind_is_valid(name.as_bytes()), "a stream kind is 1 to 32 of a-z and '-'");
        StreamKind(name)
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

const fn kind_is_valid(name: &[u8]) -> bool {
    let mut index = 0;
    while index < name.len() {
        if !(name[index].is_ascii_lowercase() || name[index] == b'-') {
            return false;
        }
        index += 1;
    }
    !name.is_empty() && name.len() <= StreamKind::LEN_MAX
}

/// One stream: a kind and an id, written `kind/id`. Cheap to clone.
///
/// ```
/// use ionveil_journal::StreamId;
/// let stream: StreamId = "dispatch/sffd".parse()?;
/// assert_eq!((stream.kind(), stream.id()), ("dispatch", "sffd"));
/// assert!("dispatch".parse::<StreamId>().is_err());
/// # Ok::<(), ionveil_journal::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Longest id, in characters.
    pub const ID_CHARS_MAX: usize = 128;

    /// The stream of that kind and id.
    ///
    /// # Errors
    /// When the id is not 1–128 characters, or has a control character or a `/`.
    pub fn new(kind: StreamKind, id: &str) -> Result<Self, Error> {
        format!("{}/{id}", kind.0).parse()
    }

    /// What sort of stream it is: the part before the `/`.
    pub fn kind(&self) -> &str {
        self.split().0
    }

    /// Which one of its kind: the part after the `/`.
    pub fn id(&self) -> &str {
        self.split().1
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').expect("every constructor checks for the slash")
    }
}

impl FromStr for StreamId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let well_formed = text.split_once('/').is_some_and(|(kind, id)| {
            kind_is_valid(kind.as_bytes())
                && !id.is_empty()
                && id.chars().count() <= Self::ID_CHARS_MAX
                && id.chars().all(|c| c != '/' && !c.is_control())
        });
        if well_formed {
            Ok(StreamId(text.into()))
        } else {
            Err(Error::Invalid {
                field: "stream",
                value: text.chars().take(200).collect::<String>().escape_debug().to_string(),
                allowed: "kind/id, the kind 1 to 32 of a-z and '-', the id 1 to 128 characters without '/' and control characters".into(),
            })
        }
    }
}

/// So that a map from streams can be asked with the text of an address.
impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_kind_and_an_id() {
        let long = format!("dispatch/{}", "é".repeat(128));
        for good in ["dispatch/org1", "rules/all", "a-b/x y", long.as_str()] {
            let stream: StreamId = good.parse().expect(good);
            assert_eq!(stream.as_str(), good);
            assert_eq!(format!("{}/{}", stream.kind(), stream.id()), good);
        }
        let too_long = format!("dispatch/{}", "é".repeat(129));
        for bad in ["", "/", "dispatch/", "/org", "Dispatch/org", "dispatch/a/b", "dispatch/a\n", too_long.as_str()] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad:?}");
        }
        let stream = StreamId::new(StreamKind::new("dispatch"), "org10").expect("valid");
        assert_eq!(stream, "dispatch/org10".parse().expect("valid"));
    }
}
