//! The values of one dimension, each kept once and known by a number while any event bears it.

use std::sync::Arc;

use hashbrown::HashMap;

/// The value that counts for all beyond the limit.
pub const OTHER: &str = "__other__";

/// Names with numbers. A number is stable as long as an event bears its name, and then given to another.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    /// By number.
    entries: Vec<Entry>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    /// How many events bear the name; 0 when the number is free.
    events: u64,
}

impl Names {
    /// Another event bears `name`. Gives the number to know it by, that of [`OTHER`] when the name is new and there are
    /// `names_max` already.
    pub(super) fn take(&mut self, name: &str, names_max: u32) -> u32 {
        if let Some(number) = self.take_known(name) {
            return number;
        }
        self.take_as_it_is(if name != OTHER && self.distinct() >= names_max as usize { OTHER } else { name })
    }

    /// As [`Names::take`], whatever the limit.
    pub(super) fn take_as_it_is(&mut self, name: &str) -> u32 {
        if let Some(number) = self.take_known(name) {
            return number;
        }
        let name: Arc<str> = name.into();
        let entry = Entry { name: Arc::clone(&name), events: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[number as usize] = entry;
                number
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("memory ends before four billion names")
            }
        };
        self.numbers.insert(name, number);
        number
    }

    fn take_known(&mut self, name: &str) -> Option<u32> {
        let number = *self.numbers.get(name)?;
        self.entries[number as usize].events += 1;
        Some(number)
    }

    /// An event that bore the name is forgotten; the last one takes the name with it.
    pub(super) fn release(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        entry.events -= 1;
        if entry.events == 0 {
            self.numbers.remove(&entry.name);
            self.free.push(number);
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number that an event bears.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.entries[number as usize].name
    }

    /// How many names there are, not counting [`OTHER`].
    pub(super) fn distinct(&self) -> usize {
        self.numbers.len() - usize::from(self.numbers.contains_key(OTHER))
    }

    /// How many events bear [`OTHER`].
    pub(super) fn others(&self) -> u64 {
        self.find(OTHER).map_or(0, |number| self.entries[number as usize].events)
    }

    /// Above every number in use.
    pub(super) fn numbers_end(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_as_long_as_an_event_bears_it_and_its_number_is_used_again() {
        let mut names = Names::default();
        let (north, south) = (names.take("north", 9), names.take("south", 9));
        assert_eq!((names.take("north", 9), names.find("north"), names.name(south)), (north, Some(north), "south"));
        names.release(north);
        assert_eq!(names.find("north"), Some(north));
        names.release(north);
        assert_eq!((names.find("north"), names.distinct()), (None, 1));
        assert_eq!(names.take("west", 9), north);
        assert_eq!((names.name(north), names.name(south), names.numbers_end()), ("west", "south", 2));
    }

    #[test]
    fn beyond_the_limit_new_names_are_other_and_known_ones_stay() {
        let mut names = Names::default();
        let (a, b) = (names.take("a", 2), names.take("b", 2));
        let other = names.take("c", 2);
        assert_eq!([names.take("d", 2), names.take("a", 2), names.take("b", 2)], [other, a, b]);
        assert_eq!(names.name(other), OTHER);
        assert_eq!((names.distinct(), names.others(), names.find("c")), (2, 2, None));
        // Who says so itself is no name more.
        assert_eq!(names.take(OTHER, 2), other);
        // When a name is forgotten there is room for another.
        names.release(a);
        names.release(a);
        assert_eq!(names.name(names.find("b").expect("known")), "b");
        let c = names.take("c", 2);
        assert_eq!((names.name(c), names.distinct(), names.others()), ("c", 2, 3));
    }
}
