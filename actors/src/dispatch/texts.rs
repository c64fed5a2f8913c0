//! Many short texts one behind the other: none is an allocation of its own.

/// Room that is unused is given back from here on.
const UNUSED_BYTES_MIN: usize = 4 << 10;

/// Texts that are added and removed in any order. Room of removed ones is not used again; whoever holds the texts copies the
/// rest when most of it is.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: String,
    unused: usize,
}

/// Where a text lies: its start and, in the lower bits, its length in bytes. The default is the empty text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Text(u64);

/// More than an event that the journal takes, and with what is left a terabyte of texts.
const LEN_BITS: u32 = 24;

impl Texts {
    pub(super) fn add(&mut self, text: &str) -> Text {
        let (start, len) = (self.all.len() as u64, text.len() as u64);
        assert!(start >> (u64::BITS - LEN_BITS) == 0 && len >> LEN_BITS == 0, "memory ends before a terabyte of texts");
        self.all.push_str(text);
        Text(start << LEN_BITS | len)
    }

    pub(super) fn get(&self, text: Text) -> &str {
        let (start, len) = ((text.0 >> LEN_BITS) as usize, text.len());
        &self.all[start..start + len]
    }

    /// Its place must not be asked for any more.
    pub(super) fn remove(&mut self, text: Text) {
        self.unused += text.len();
    }

    /// Whether to copy the rest. So many `holders` are asked for it then; less than a byte for each is not worth it.
    pub(super) fn are_mostly_unused(&self, holders: usize) -> bool {
        self.unused >= UNUSED_BYTES_MIN.max(holders) && self.unused > self.all.len() / 2
    }

    /// Of all that were added and not given back.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.all.len()
    }
}

impl Text {
    fn len(self) -> usize {
        (self.0 & ((1 << LEN_BITS) - 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_they_were_put() {
        let mut texts = Texts::default();
        let long = "é".repeat(10_000);
        let places = ["north", "", "zürich", &long, "end"].map(|text| (text, texts.add(text)));
        for (text, place) in places {
            assert_eq!(texts.get(place), text);
        }
        assert_eq!(texts.get(Text::default()), "");
    }

    #[test]
    fn room_counts_as_unused_once_most_of_it_is() {
        let mut texts = Texts::default();
        let places =
            [texts.add(&"a".repeat(UNUSED_BYTES_MIN)), texts.add(&"b".repeat(UNUSED_BYTES_MIN)), texts.add("c")];
        texts.remove(places[0]);
        assert!(!texts.are_mostly_unused(3));
        texts.remove(places[1]);
        assert!(texts.are_mostly_unused(3));
        assert!(texts.are_mostly_unused(2 * UNUSED_BYTES_MIN));
        assert!(
            !texts.are_mostly_unused(2 * UNUSED_BYTES_MIN + 1),
            "to ask all holders takes longer than it was filled"
        );
        assert_eq!(texts.get(places[2]), "c");
    }
}
