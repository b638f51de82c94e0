//! Profiles: files of Landlock rules that policies name.

use super::{Landlock, LandlockDocument};
use crate::controls::Rule;
use crate::document::{DocumentError, parse_strictly};

impl Landlock {
    /// The rule of a document, with the profile that it names.
    ///
    /// # Errors
    /// [`DocumentError`] where the profile cannot be read, with its line and column where it is wrong.
    pub fn load(
        document: &LandlockDocument,
        read: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<Landlock, DocumentError> {
        let own = Landlock::written(document);
        match &document.profile {
            None => Ok(own),
            Some(name) => Ok(own.meet(&Landlock::written(&parse_profile(name, &read(name)?)?))),
        }
    }
}

/// Reads a profile, YAML or JSON, as strictly as a policy.
///
/// # Errors
/// [`DocumentError::Invalid`] with the place; `name` is the file's.
pub fn parse_profile(name: &str, bytes: &[u8]) -> Result<LandlockDocument, DocumentError> {
    let profile: LandlockDocument = parse_strictly(name, bytes)?;
    let problem = if profile.profile.is_some() {
        "a profile names no other profile"
    } else if Landlock::written(&profile) == Landlock::top() {
        "a profile without any rule; whoever names it means to restrict something"
    } else {
        return Ok(profile);
    };
    Err(DocumentError::at(name, 1, problem.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(spec: &str, profile: &str) -> Result<Landlock, String> {
        let document = parse_strictly("p.yaml", spec.as_bytes()).unwrap();
        let read = |name: &str| {
            assert_eq!(name, "landlock/nginx.yaml");
            Ok(profile.as_bytes().to_vec())
        };
        Landlock::load(&document, &mut { read }).map_err(|error| error.to_string())
    }

    const NAMED: &str = "profile: landlock/nginx.yaml\n";
    const NGINX: &str = "# nginx\nread: [/usr, /etc]\nexecute: [/usr]\nbind: [80]\n";

    #[test]
    fn a_profile_says_what_a_policy_that_has_its_rules_says() {
        assert_eq!(load(NAMED, NGINX), load(NGINX, ""));
        let json = r#"{"read": ["/usr", "/etc"], "execute": ["/usr"], "bind": [80]}"#;
        assert_eq!(load(NAMED, json), load(NGINX, ""));
    }

    #[test]
    fn what_stands_beside_a_profile_is_met_with_it() {
        let alone = load(NAMED, NGINX).unwrap();
        let with = load(&format!("{NAMED}connect: [443]\nbind: [80, 443]\n"), NGINX).unwrap();
        assert_eq!(with, alone.meet(&load("connect: [443]\nbind: [80, 443]\n", "").unwrap()));
        assert!(with != alone && with.at_least_as_strict_as(&alone));
        // Port 443 is the policy's and not the profile's: what one allows alone is not allowed.
        assert!(
            !with.layers().iter().any(|layer| layer.ports.get(&443).is_some_and(|r| r & 1 != 0))
        );
    }

    #[test]
    fn profiles_are_read_as_strictly_as_policies() {
        for (profile, words) in [
            (
                "reed: [/usr]\n",
                "landlock/nginx.yaml:1:1: unknown field \"reed\"; did you mean \"read\"",
            ),
            ("read: [/usr]\nread: [/etc]\n", "duplicate"),
            ("read: [usr]\n", "landlock/nginx.yaml:1:"),
            ("read: [/usr]\nprofile: other.yaml\n", "names no other profile"),
            ("{}\n", "without any rule"),
            ("", "landlock/nginx.yaml:1"),
        ] {
            let error = load(NAMED, profile).unwrap_err();
            assert!(error.contains(words), "{profile}: {error}");
        }
    }
}
