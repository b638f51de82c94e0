//! The number: from 0.0, confined, to 10.0, as good as no container.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::checks::Checked;

/// A number of the scale, in tenths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u32);

impl Number {
    /// The number of a container: the average of what the checks found, by weight; and at least
    /// what the worst door that stands open makes of it alone. Both only fall when any check does.
    pub(super) fn of(checks: &[Checked]) -> Number {
        let weights: u32 = checks.iter().map(|checked| checked.weight).sum();
        let found: u32 = checks.iter().map(Checked::share).sum();
        // An average of per cents is a number of tenths. Rounded up: what stands open is never 0.0.
        let average = found.div_ceil(weights.max(1));
        let worst = checks.iter().map(|checked| checked.at_least * checked.exposure / 100).max();
        Number(average.max(worst.unwrap_or(0)))
    }

    /// The number in a word.
    pub(super) fn word(self) -> &'static str {
        match self.0 {
            0..=19 => "confined",
            20..=39 => "tight",
            40..=59 => "ordinary",
            60..=79 => "exposed",
            _ => "open",
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Number, String> {
        let wrong = || format!("{text:?} is no number from 0.0 to 10.0 with at most one decimal");
        let (whole, tenths) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if tenths.len() != 1 || !digits(tenths) || !digits(whole) {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let tenths: u32 = tenths.parse().map_err(|_| wrong())?;
        let number = whole.checked_mul(10).and_then(|whole| whole.checked_add(tenths));
        number.filter(|&number| number <= 100).map(Number).ok_or_else(wrong)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 10.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written_alike() {
        for text in ["0.0", "3.7", "10.0"] {
            assert_eq!(text.parse::<Number>().unwrap().to_string(), text);
        }
        assert_eq!("4".parse::<Number>().unwrap().to_string(), "4.0");
        for text in ["10.1", "-1", "", ".", "3.75", "1e1", "nan", "99999999999"] {
            assert!(text.parse::<Number>().is_err(), "{text}");
        }
        assert_eq!(serde_json::to_string(&"3.7".parse::<Number>().unwrap()).unwrap(), "3.7");
    }

    #[test]
    fn the_number_is_the_average_by_weight_and_no_less_than_the_worst_door() {
        let checked = |weight, at_least, exposure| Checked {
            id: "x",
            about: "",
            weight,
            at_least,
            exposure,
            found: String::new(),
            closed_by: "",
        };
        let number = |checks: &[Checked]| Number::of(checks).to_string();
        assert_eq!(number(&[checked(3, 0, 100), checked(1, 0, 0)]), "7.5");
        assert_eq!(number(&[checked(1, 90, 100), checked(9, 0, 0)]), "9.0");
        assert_eq!(number(&[checked(1, 90, 50), checked(9, 0, 0)]), "4.5");
        assert_eq!(number(&[checked(5, 0, 100)]), "10.0");
        assert_eq!(number(&[]), "0.0");
    }
}
