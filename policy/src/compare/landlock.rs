//! Landlock rules in the words in which a policy states them.

use serde_json::{Map, Value, json};

use crate::controls::Rule;
use crate::controls::landlock::names::{EXECUTE, FS_RIGHTS, READ, WRITE};
use crate::controls::landlock::{Landlock, Layer, ScopeName};

/// `LANDLOCK_ACCESS_NET_BIND_TCP` and `LANDLOCK_ACCESS_NET_CONNECT_TCP` (include/uapi/linux/landlock.h).
const PORTS: [(&str, u64); 2] = [("bind", 1), ("connect", 2)];
const SCOPES: [(&str, ScopeName); 2] =
    [("abstractUnixSocket", ScopeName::AbstractUnixSocket), ("signal", ScopeName::Signal)];

/// What a rule says: of one layer its lists, of several the lists of each.
pub(super) fn in_brief(rule: &Landlock) -> Value {
    let mut layers: Vec<Value> = rule.layers().iter().map(layer).collect();
    match layers.len() {
        1 => layers.swap_remove(0),
        _ => json!(layers),
    }
}

fn layer(layer: &Layer) -> Value {
    let mut said = Map::new();
    let mut told = 0;
    for (name, rights) in [("read", READ), ("write", WRITE), ("execute", EXECUTE)] {
        // A list stands for its rights only where no path has a part of them.
        let whole = |granted: &u64| granted & rights == rights;
        let none = |granted: &u64| granted & rights == 0;
        let is_list = layer.handled_fs & rights == rights
            && layer.paths.values().all(|granted| whole(granted) || none(granted));
        if is_list {
            told |= rights;
            let paths = layer.paths.iter().filter(|(_, granted)| whole(granted));
            said.insert(name.to_owned(), paths.map(|(path, _)| json!(path)).collect());
        }
    }
    for (index, (name, _)) in FS_RIGHTS.iter().enumerate() {
        let right = 1 << index;
        if layer.handled_fs & right & !told != 0 {
            let paths = layer.paths.iter().filter(|(_, granted)| *granted & right != 0);
            said.insert((*name).to_owned(), paths.map(|(path, _)| json!(path)).collect());
        }
    }
    for (name, right) in PORTS {
        if layer.handled_net & right != 0 {
            let ports = layer.ports.iter().filter(|(_, granted)| *granted & right != 0);
            said.insert(name.to_owned(), ports.map(|(port, _)| json!(port)).collect());
        }
    }
    let scopes: Vec<&str> = SCOPES
        .into_iter()
        .filter(|(_, scope)| layer.scoped & scope.bit() != 0)
        .map(|(name, _)| name)
        .collect();
    if !scopes.is_empty() {
        said.insert("scopes".to_owned(), json!(scopes));
    }
    Value::Object(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::no_profiles;

    fn brief(document: Value) -> Value {
        let document = serde_json::from_value(document).unwrap();
        in_brief(&Landlock::load(&document, &mut no_profiles).unwrap())
    }

    #[test]
    fn a_rule_is_told_as_it_was_written() {
        for written in [
            json!({"read": ["/etc", "/usr"], "write": [], "execute": ["/usr"]}),
            json!({"write": ["/tmp"], "bind": [8080], "connect": [443, 5432], "scopes": ["signal"]}),
        ] {
            assert_eq!(brief(written.clone()), written);
        }
        let single =
            json!({"read": ["/etc"], "rights": [{"path": "/x", "access": ["REFER", "READ_DIR"]}]});
        assert_eq!(
            brief(single),
            json!({"READ_FILE": ["/etc"], "READ_DIR": ["/etc", "/x"], "REFER": ["/x"]})
        );
    }
}
