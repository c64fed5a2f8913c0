//! Members of one JSON object, read with errors that name the member.

use serde_json::{Map, Value};

use crate::error::Invalid;

/// Reads a JSON object that a user wrote: every refusal names member, value and what is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    /// The members of `value`, which errors call `name`.
    ///
    /// # Errors
    /// When it is no object.
    pub fn of(name: &str, value: &'a Value) -> Result<Self, Invalid> {
        value.as_object().map(Members).ok_or_else(|| Invalid::new(name, value, "an object"))
    }

    /// Refuses members of any other name.
    ///
    /// # Errors
    /// Names the first that is not in `names`.
    pub fn only(&self, names: &[&str]) -> Result<(), Invalid> {
        match self.0.keys().find(|key| !names.contains(&key.as_str())) {
            Some(key) => Err(Invalid::new(key.as_str(), "an unknown key", names.join(", "))),
            None => Ok(()),
        }
    }

    /// What `read` makes of the member; `None` when it is missing or null.
    ///
    /// # Errors
    /// When `read` makes nothing of it.
    pub fn optional<T>(
        &self,
        name: &str,
        allowed: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Invalid> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| Invalid::new(name, value, allowed)),
        }
    }

    /// As [`Members::optional`], of a member that has to be there.
    ///
    /// # Errors
    /// When it is missing, or `read` makes nothing of it.
    pub fn required<T>(&self, name: &str, allowed: &str, read: impl Fn(&'a Value) -> Option<T>) -> Result<T, Invalid> {
        self.optional(name, allowed, read)?.ok_or_else(|| Invalid::new(name, "missing", allowed))
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// When it is missing or no text.
    pub fn text(&self, name: &str) -> Result<&'a str, Invalid> {
        self.required(name, "a text", Value::as_str)
    }

    /// A whole number within a range; one that is written `15.0` is whole, too.
    ///
    /// # Errors
    /// When it is outside.
    pub fn whole(&self, name: &str, min: u32, max: u32) -> Result<Option<u32>, Invalid> {
        let allowed = format!("a whole number, {min} to {max}");
        self.optional(name, &allowed, |value| whole(value).filter(|number| (min..=max).contains(number)))
    }
}

fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_refusal_names_the_member() {
        let value = json!({"a": 3.0, "b": "x", "c": null, "d": 1.5, "e": -1});
        let members = Members::of("thing", &value).expect("an object");
        assert_eq!(members.whole("a", 1, 3), Ok(Some(3)));
        assert_eq!((members.whole("c", 1, 3), members.whole("z", 1, 3)), (Ok(None), Ok(None)));
        for name in ["b", "d", "e"] {
            assert_eq!(members.whole(name, 0, 9).expect_err("no whole number").field, name);
        }
        assert_eq!(members.whole("a", 4, 9).expect_err("too small").allowed, "a whole number, 4 to 9");
        assert_eq!(members.text("b"), Ok("x"));
        assert_eq!(members.text("z").expect_err("missing").value, "missing");
        assert_eq!(members.only(&["a", "b", "c", "d"]).expect_err("e is unknown").field, "e");
        assert_eq!(Members::of("thing", &json!([1])).expect_err("no object").field, "thing");
    }
}
