//! Of many policies a start reads the few that may be for its container.

use std::cell::Cell;

use super::*;

/// Counts what is read of it.
#[derive(Debug)]
struct Counted(Vec<u8>, Cell<usize>);

impl ReadAt for Counted {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.1.set(self.1.get() + buffer.len());
        self.0.read_exact_at(buffer, offset)
    }
}

#[test]
fn of_many_policies_for_as_many_namespaces_a_start_reads_few() {
    let policy = |number: usize| {
        format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p{number}}}\nspec:\n  \
             match: {{namespaces: [team-{number}, both]}}\n  noNewPrivileges: true\n"
        )
    };
    let text: Vec<String> = (0..1000).map(policy).collect();
    let mut text = text.join("---\n");
    // One of them is for all.
    text = text.replace("[team-7, both]", "['team-*']");
    let (directory, root, bytes) = written(&sources(&[("all.yaml", &text)]));
    let whole = bytes.len();
    let snapshot = Snapshot::open(Counted(bytes, 0.into()), root).unwrap();
    // A few bytes of each chunk's place, and what is for the container.
    let selected = |facts: &Facts| snapshot.select(facts, BuiltIn::Node).unwrap().0.policies.len();
    assert_eq!(selected(&container(Some("team-3"), None, "web", "container")), 2);
    assert_eq!(selected(&container(Some("team-7"), None, "web", "container")), 1);
    assert_eq!(selected(&container(None, None, "web", "container")), 0);
    let read = snapshot.from.1.get();
    assert!(read * 5 < whole, "{read} of {whole} bytes were read");
    // Said to be in two namespaces, each of which leads to all of them: each is there once.
    let facts = container(Some("both"), Some("team-3"), "web", "container");
    assert_eq!(selected(&facts), 1000);
    assert_eq!(selected(&facts), directory.select(&facts).policies.len());
}
