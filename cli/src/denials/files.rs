//! Why Landlock denied: which rule of which policy, and what would have allowed it.

use coaming_policy::controls::Rule;
use coaming_policy::controls::landlock::Layer;
use coaming_policy::floor::Source;
use coaming_shim::record::Record;

use super::cause::{Cause, Change, is_written, place, quoted};
use super::danger;

/// Rights of files by the kernel's word in a record (security/landlock/audit.c), and the list of a policy that
/// gives them; in the order of their bits.
const FS: [(&str, &str); 16] = [
    ("fs.execute", "execute"),
    ("fs.write_file", "write"),
    ("fs.read_file", "read"),
    ("fs.read_dir", "read"),
    ("fs.remove_dir", "write"),
    ("fs.remove_file", "write"),
    ("fs.make_char", "write"),
    ("fs.make_dir", "write"),
    ("fs.make_reg", "write"),
    ("fs.make_sock", "write"),
    ("fs.make_fifo", "write"),
    ("fs.make_block", "write"),
    ("fs.make_sym", "write"),
    ("fs.refer", "write"),
    ("fs.truncate", "write"),
    ("fs.ioctl_dev", "write"),
];
/// Rights of TCP, in the same way.
const NET: [(&str, &str); 2] = [("net.bind_tcp", "bind"), ("net.connect_tcp", "connect")];
/// Scopes, in the same way.
const SCOPES: [(&str, &str); 2] =
    [("scope.abstract_unix_socket", "abstractUnixSocket"), ("scope.signal", "signal")];

pub(super) fn cause(
    blockers: &[String],
    path: Option<&str>,
    port: Option<u16>,
    record: &Record,
) -> Cause {
    let mut cause = Cause { caution: path.and_then(danger::of_path), ..Cause::default() };
    for blocker in blockers {
        if let Some((bit, list)) = find(&FS, blocker) {
            let path = path.unwrap_or("/");
            let grants = |layer: &Layer| {
                layer.handled_fs & bit == 0
                    || layer
                        .paths
                        .iter()
                        .any(|(granted, rights)| rights & bit != 0 && is_below(path, granted))
            };
            let handles = |layer: &Layer| layer.handled_fs & bit != 0;
            cause.blame(record, list, &quoted(path), handles, grants);
        } else if let Some((bit, list)) = find(&NET, blocker) {
            let grants = |layer: &Layer| {
                let granted = port.and_then(|port| layer.ports.get(&port));
                layer.handled_net & bit == 0 || granted.is_some_and(|rights| rights & bit != 0)
            };
            let handles = |layer: &Layer| layer.handled_net & bit != 0;
            let entry = port.map_or_else(|| "PORT".to_owned(), |port| port.to_string());
            cause.blame(record, list, &entry, handles, grants);
        } else if let Some((bit, scope)) = find(&SCOPES, blocker) {
            cause.unscope(record, bit, scope);
        } else {
            cause.others.push(match blocker.as_str() {
                "ptrace" => "Landlock itself: a process in a domain traces none outside of it, and each exec is a \
                             domain of its own; no rule allows it".to_owned(),
                "fs.change_topology" => "Landlock itself: a process in a domain does not mount; no rule allows it".to_owned(),
                other => format!("Landlock, for {other}, which this version does not know"),
            });
            for clause in record.floor.landlock.clauses() {
                cause.name(&clause.source);
            }
        }
    }
    if cause.policies.is_empty() && cause.others.is_empty() {
        cause
            .others
            .push("a Landlock domain that a program made itself: no policy denies it".to_owned());
    }
    cause
}

impl Cause {
    /// Blames the clauses that do not grant; where each does by its words, those that handle the right at all: a
    /// path may lead elsewhere than it is spelled.
    fn blame(
        &mut self,
        record: &Record,
        list: &str,
        entry: &str,
        handles: impl Fn(&Layer) -> bool,
        grants: impl Fn(&Layer) -> bool,
    ) {
        let clauses = record.floor.landlock.clauses();
        let refusing = |layers: &dyn Fn(&Layer) -> bool| -> Vec<&Source> {
            let denying = clauses.iter().filter(|clause| clause.rule.layers().iter().any(layers));
            denying.map(|clause| &clause.source).collect()
        };
        let mut blamed = refusing(&|layer| !grants(layer));
        if blamed.is_empty() {
            blamed = refusing(&handles);
            if !blamed.is_empty() {
                self.others.push(
                    "by their words all policies allow it: a path among theirs leads elsewhere (a link or a mount), or \
                     was not there when the container started".to_owned(),
                );
            }
        }
        for source in blamed {
            self.name(source);
            if !is_written(source) {
                self.waiver(record, source, "landlock");
                continue;
            }
            let change = Change {
                at: place(source),
                what: format!("add {entry} to spec.landlock.{list} of policy {}", source.policy),
                fragment: Some(format!("landlock:\n  {list}: [{entry}]  # beside what is there\n")),
            };
            if !self.changes.contains(&change) {
                self.changes.push(change);
            }
        }
    }

    fn unscope(&mut self, record: &Record, bit: u64, scope: &str) {
        for clause in record.floor.landlock.clauses() {
            if !clause.rule.layers().iter().any(|layer| layer.scoped & bit != 0) {
                continue;
            }
            self.name(&clause.source);
            self.changes.push(Change {
                at: place(&clause.source),
                what: format!(
                    "take {scope} out of spec.landlock.scopes of policy {}",
                    clause.source.policy
                ),
                fragment: None,
            });
        }
    }

    fn name(&mut self, source: &Source) {
        if !self.policies.contains(source) {
            self.policies.push(source.clone());
        }
    }
}

/// A word's bit, and its list in a policy.
fn find(names: &[(&str, &'static str)], word: &str) -> Option<(u64, &'static str)> {
    let place = names.iter().position(|(known, _)| *known == word)?;
    Some((1 << place, names.get(place)?.1))
}

fn is_below(path: &str, folder: &str) -> bool {
    folder == "/"
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
