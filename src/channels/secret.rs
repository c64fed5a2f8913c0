//! Secrets: named in the configuration, read from the environment or from a file, shown nowhere.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use ionveil_actors::error::Invalid;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Largest file that a secret is read from, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is: `{ env = "NAME" }` or `{ file = "PATH" }`. It never stands in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A variable of the environment.
    Env(String),
    /// A file, of which one newline at the end does not count.
    File(PathBuf),
}

/// A value that may be secret, but need not be.
#[derive(Clone, PartialEq, Eq)]
pub enum Setting {
    /// As it stands.
    Plain(String),
    /// From elsewhere.
    Secret(Secret),
}

/// Not the text: not everybody who keeps a token in it says so.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Plain(_) => f.write_str("Plain(***)"),
            Setting::Secret(secret) => secret.fmt(f),
        }
    }
}

/// A secret that was read. It can be used, not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Revealed(String);

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Revealed {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// Where variables come from: the process, or a test.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

const FORMS: &str = "{ env = \"NAME\" } or { file = \"PATH\" }";

impl Secret {
    /// Reads it; `field` is how it is called in errors, which never show what was read.
    pub(super) fn read(&self, field: &str, environment: Environment<'_>) -> Result<Revealed, Invalid> {
        let (text, key, name) = match self {
            Secret::Env(name) => {
                let missing = || Invalid::new(format!("{field}.env"), name, "a variable that is set, in UTF-8");
                (environment(name).ok_or_else(missing)?, "env", name.clone())
            }
            Secret::File(path) => {
                let name = path.display().to_string();
                let mut text = String::new();
                File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)).map_err(
                    |error| {
                        Invalid::new(
                            format!("{field}.file"),
                            format_args!("{name} ({error})"),
                            "a file that can be read",
                        )
                    },
                )?;
                let end = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(&text).len();
                text.truncate(end);
                (text, "file", name)
            }
        };
        let allowed = "the name of a secret of 1 to 65536 bytes without control characters";
        // A line break in a header would begin another one.
        if text.is_empty() || text.len() as u64 > SECRET_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(Invalid::new(format!("{field}.{key}"), name, allowed));
        }
        Ok(Revealed(text))
    }
}

impl Setting {
    pub(super) fn read(&self, field: &str, environment: Environment<'_>) -> Result<Revealed, Invalid> {
        match self {
            Setting::Plain(text) => Ok(Revealed(text.clone())),
            Setting::Secret(secret) => secret.read(field, environment),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_str<E: de::Error>(self, _: &str) -> Result<Secret, E> {
                // Not the text: whoever writes a secret here should not find it in the log as well.
                Err(E::custom(format_args!("a text, expected {FORMS}")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
                source(map)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text, {FORMS}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting::Plain(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Setting, A::Error> {
                source(map).map(Setting::Secret)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

fn source<'de, A: MapAccess<'de>>(mut map: A) -> Result<Secret, A::Error> {
    let mut found = None;
    while let Some(key) = map.next_key::<String>()? {
        let secret = match key.as_str() {
            "env" => Secret::Env(map.next_value()?),
            "file" => Secret::File(map.next_value()?),
            other => return Err(de::Error::unknown_field(other, &["env", "file"])),
        };
        if found.replace(secret).is_some() {
            return Err(de::Error::custom(format_args!("both env and file, expected {FORMS}")));
        }
    }
    found.ok_or_else(|| de::Error::custom(format_args!("neither env nor file, expected {FORMS}")))
}
