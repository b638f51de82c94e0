//! A device, or several, by type and number, as the device cgroup names them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Devices by type and number.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// `c` a character device, `b` a block device, `p` a FIFO, `a` any of them.
    #[serde(rename = "type")]
    pub kind: DeviceType,
    /// The major number (Linux `Documentation/admin-guide/devices.txt`). Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major: Option<u32>,
    /// The minor number. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// What may be done: `r` read, `w` write, `m` create the node. Left out, all three.
    #[serde(default)]
    #[schemars(with = "String")]
    pub access: Access,
}

/// A type of device, as the device cgroup names it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DeviceType {
    /// Any.
    A,
    /// Block.
    B,
    /// Character.
    C,
    /// FIFO.
    P,
}

/// A set of `r`, `w` and `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access(u8);

impl Access {
    const LETTERS: [(char, u8); 3] = [('r', 1), ('w', 2), ('m', 4)];
    /// All three.
    pub(super) const ALL: Access = Access(7);

    /// Creating the node alone.
    pub(super) const CREATE: Access = Access(4);

    /// Reads letters; `None` where another stands among them, or none at all.
    pub(super) fn parse(letters: &str) -> Option<Access> {
        let bit = |letter| Self::LETTERS.iter().find(|(known, _)| *known == letter);
        let mask = letters.chars().try_fold(0, |mask, letter| Some(mask | bit(letter)?.1))?;
        (mask != 0).then_some(Access(mask))
    }

    fn covers(self, other: Access) -> bool {
        other.0 & !self.0 == 0
    }
}

impl Device {
    /// A character device with all access.
    pub(super) const fn character(major: u32, minor: Option<u32>) -> Device {
        Device { kind: DeviceType::C, major: Some(major), minor, access: Access::ALL }
    }

    /// Whether this entry allows all that `asked` asks for.
    pub(super) fn covers(&self, asked: &Device) -> bool {
        let covers = |ours: Option<u32>, theirs| ours.is_none() || ours == theirs;
        (self.kind == DeviceType::A || self.kind == asked.kind)
            && covers(self.major, asked.major)
            && covers(self.minor, asked.minor)
            && self.access.covers(asked.access)
    }

    /// Whether this entry names the device of a node, whatever it lets be done with it.
    pub(super) fn names(&self, node: &Device) -> bool {
        Device { access: Access::ALL, ..self.clone() }.covers(node)
    }
}

impl Default for Access {
    fn default() -> Self {
        Access::ALL
    }
}

impl fmt::Display for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::LETTERS
            .iter()
            .filter(|(_, bit)| self.0 & bit != 0)
            .try_for_each(|(letter, _)| write!(formatter, "{letter}"))
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let letters = String::deserialize(deserializer)?;
        Access::parse(&letters).ok_or_else(|| {
            de::Error::custom(format!("access {letters:?} is not made of the letters r, w and m"))
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceType::A => 'a',
            DeviceType::B => 'b',
            DeviceType::C => 'c',
            DeviceType::P => 'p',
        };
        let number =
            |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(formatter, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_made_of_three_letters() {
        assert_eq!(Access::parse("mw").unwrap().to_string(), "wm");
        assert!(Access::parse("").is_none() && Access::parse("rx").is_none());
    }
}
