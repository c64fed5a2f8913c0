//! Generators as text, there and back.

use std::fmt;
use std::str::FromStr;

use super::{Generator, Rule};
use crate::error::Invalid;

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Constant { rate, duration, events_per_second } => {
                write!(f, "constant:rate={rate},duration={duration},eps={events_per_second}")?;
            }
            Rule::Burst { size, interval, duration } => {
                write!(f, "burst:size={size},interval={interval},duration={duration}")?;
            }
            Rule::Cascading { initial, factor, recovery_after, duration } => {
                write!(f, "cascading:initial={initial},factor={factor},recovery={recovery_after},duration={duration}")?;
            }
            Rule::Hawkes { rate, branching, decay, duration, successes } => {
                write!(f, "hawkes:rate={rate},branching={branching},decay={decay},duration={duration}")?;
                write!(f, ",successes={successes}")?;
            }
            Rule::Gilbert { to_bad, to_good, good, bad, duration, events_per_second } => {
                write!(f, "gilbert:to_bad={to_bad},to_good={to_good},good={good},bad={bad},duration={duration}")?;
                write!(f, ",eps={events_per_second}")?;
            }
            Rule::Daily { rate, amplitude, peak, duration, successes } => {
                write!(f, "daily:rate={rate},amplitude={amplitude},peak={peak},duration={duration}")?;
                write!(f, ",successes={successes}")?;
            }
        }
        match self.seed {
            Some(seed) => write!(f, ",seed={seed}"),
            None => Ok(()),
        }
    }
}

/// The rules by name, with the keys of their parameters; those in brackets may be left out. `seed` goes with all of them.
pub const SYNTAX: [(&str, &str); 6] = [
    ("constant", "rate, duration, [eps]"),
    ("burst", "size, interval, duration"),
    ("cascading", "initial, factor, recovery, duration"),
    ("hawkes", "rate, branching, decay, duration, [successes]"),
    ("gilbert", "to_bad, to_good, good, bad, duration, [eps]"),
    ("daily", "rate, amplitude, peak, duration, [successes]"),
];

impl FromStr for Generator {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let Some((_, keys)) = SYNTAX.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = SYNTAX.iter().map(|(name, _)| *name).collect();
            return Err(Invalid::new("pattern", text, format!("a generator: {}", names.join(", "))));
        };
        let mut given = Parameters::of(parameters, keys)?;
        let rule = match name {
            "constant" => Rule::Constant {
                rate: given.number("rate", None)?,
                duration: given.whole("duration")?,
                events_per_second: given.number("eps", Some(1.0))?,
            },
            "burst" => Rule::Burst {
                size: given.whole("size")?,
                interval: given.whole("interval")?,
                duration: given.whole("duration")?,
            },
            "cascading" => Rule::Cascading {
                initial: given.number("initial", None)?,
                factor: given.number("factor", None)?,
                recovery_after: given.whole("recovery")?,
                duration: given.whole("duration")?,
            },
            "hawkes" => Rule::Hawkes {
                rate: given.number("rate", None)?,
                branching: given.number("branching", None)?,
                decay: given.number("decay", None)?,
                duration: given.whole("duration")?,
                successes: given.number("successes", Some(1.0))?,
            },
            "gilbert" => Rule::Gilbert {
                to_bad: given.number("to_bad", None)?,
                to_good: given.number("to_good", None)?,
                good: given.number("good", None)?,
                bad: given.number("bad", None)?,
                duration: given.whole("duration")?,
                events_per_second: given.number("eps", Some(1.0))?,
            },
            _ => Rule::Daily {
                rate: given.number("rate", None)?,
                amplitude: given.number("amplitude", None)?,
                peak: given.number("peak", None)?,
                duration: given.whole("duration")?,
                successes: given.number("successes", Some(1.0))?,
            },
        };
        let seed = given.seed()?;
        Generator::new(rule, seed)
    }
}

/// `key=value` pairs as they were given.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn of(text: &'a str, keys: &str) -> Result<Self, Invalid> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let allowed = || format!("{keys}, seed, each once, as key=value");
            let Some((key, value)) = part.split_once('=') else {
                return Err(Invalid::new("pattern", part, allowed()));
            };
            let known = keys.split(", ").map(|key| key.trim_matches(['[', ']'])).chain(["seed"]);
            if !known.into_iter().any(|known| known == key) || pairs.iter().any(|(earlier, _)| *earlier == key) {
                return Err(Invalid::new(key, value, allowed()));
            }
            pairs.push((key, value));
        }
        Ok(Parameters(pairs))
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let index = self.0.iter().position(|(given, _)| *given == key)?;
        Some(self.0.swap_remove(index).1)
    }

    fn number(&mut self, key: &str, default: Option<f64>) -> Result<f64, Invalid> {
        const ALLOWED: &str = "a number";
        match (self.take(key), default) {
            (Some(text), _) => text.parse().map_err(|_| Invalid::new(key, text, ALLOWED)),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(Invalid::new(key, "missing", ALLOWED)),
        }
    }

    fn whole(&mut self, key: &str) -> Result<u64, Invalid> {
        const ALLOWED: &str = "a whole number";
        let text = self.take(key).ok_or_else(|| Invalid::new(key, "missing", ALLOWED))?;
        text.parse().map_err(|_| Invalid::new(key, text, ALLOWED))
    }

    fn seed(&mut self) -> Result<Option<u64>, Invalid> {
        let parse = |text: &str| text.parse().map_err(|_| Invalid::new("seed", text, "a whole number, 0 to 2^64 - 1"));
        self.take("seed").map(parse).transpose()
    }
}
