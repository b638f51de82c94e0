//! Colours, for a terminal and for whoever did not ask for none (no-color.org).

use std::io::IsTerminal;

use super::number::Number;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colour(bool);

impl Colour {
    pub(super) fn of_stdout() -> Colour {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Colour(!unwanted && std::io::stdout().is_terminal())
    }

    /// A number, or a text about it, in the colour of the number.
    pub(super) fn by(self, number: Number, text: &str) -> String {
        let code = match number.word() {
            "confined" | "tight" => 32,
            "ordinary" => 33,
            _ => 31,
        };
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_only_for_who_sees_them() {
        let high: Number = "9.0".parse().unwrap();
        assert_eq!(Colour(false).by(high, "9.0"), "9.0");
        assert_eq!(Colour(true).by(high, "9.0"), "\u{1b}[31m9.0\u{1b}[0m");
        assert!(Colour(true).by("1.0".parse().unwrap(), "1.0").contains("[32m"));
    }
}
