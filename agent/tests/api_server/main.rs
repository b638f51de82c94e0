//! The agent against a stand-in for the API server ([`server`]): what it writes and reports, whatever comes over the wire.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod real;
mod server;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use coaming_agent::agent::{self, Place, Settings};
use coaming_agent::directory::Directory;
use coaming_config::Policy;
use coaming_policy::document::read_directory;
use coaming_shim::in_force::Keeper;
use serde_json::{Value, json};
use server::{List, Script, Server, Step};
use tokio::sync::oneshot;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

struct Node {
    _kept: tempfile::TempDir,
    directory: PathBuf,
    journal: PathBuf,
    rules: Policy,
    folder: PathBuf,
}

impl Node {
    fn new() -> Node {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path().to_owned();
        let (directory, journal) = (folder.join("policy.d"), folder.join("journal"));
        for path in [&directory, &journal] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Node { _kept: kept, directory, journal, rules: Policy::default(), folder }
    }

    fn keeper(&self) -> Keeper {
        Keeper::at(
            self.directory.clone(),
            self.rules.clone(),
            self.folder.join("kept"),
            self.folder.join("lock"),
        )
    }

    /// The policies and waivers as a start reads them.
    fn names(&self) -> Vec<String> {
        let read = read_directory(&self.directory).unwrap();
        let waivers = read.waivers().map(|(_, waiver)| waiver.metadata.value.name.clone());
        read.names().map(|(name, _)| name.to_owned()).chain(waivers).collect()
    }

    /// An agent at work until the other end of this goes.
    fn agent(&self, server: &Server) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        self.work(server.client())
    }

    fn work(&self, client: kube::Client) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let place = Place {
            directory: Directory::of(&self.directory, self.rules.clone()),
            keeper: self.keeper(),
            journal: self.journal.clone(),
        };
        let settings = Settings {
            node: "node-1".to_owned(),
            namespace: "coaming-system".to_owned(),
            report_within: 1,
            after_failure: 1,
            look: Duration::from_millis(200),
            events: true,
            quiet: Duration::from_millis(50),
        };
        let (end, ended) = oneshot::channel();
        let work = tokio::spawn(async move {
            agent::run(client, place, settings, async { drop(ended.await) }).await.unwrap();
        });
        (end, work)
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited)
        .await
        .unwrap_or_else(|_| panic!("it never came: {what}"));
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "Policy", "spec": spec,
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "7", "generation": 1,
            "managedFields": [{"manager": "kubectl"}], "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "status": {"conditions": []}})
}

fn plain(name: &str) -> Value {
    policy(name, json!({"noNewPrivileges": true}))
}

fn script(lists: Vec<List>, watches: Vec<Vec<Step>>) -> Script {
    Script { lists: lists.into(), watches: watches.into() }
}

fn of(objects: Vec<Value>) -> List {
    List::Of(objects, 10)
}

/// The last report that the API server was given.
fn last_report(server: &Server) -> Option<Value> {
    let seen = server
        .seen()
        .into_iter()
        .rfind(|seen| seen.method == "PATCH" && seen.path.contains("/nodereports/node-1?"));
    seen.map(|seen| seen.body["status"].clone())
}

#[tokio::test]
async fn what_is_listed_and_watched_stands_in_the_directory_and_is_reported() {
    let node = Node::new();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"p.json": "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}"},
        "metadata": {"name": "profiles", "labels": {"coaming.dev/part-of-policy": "profiles"}}});
    let waiver = json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "Waiver", "metadata": {"name": "w"},
        "spec": {"match": {"namespaces": ["a"]}, "waives": ["landlock"], "owner": "o", "reason": "r", "expires": "2099-01-01"}});
    let server = Server::start(
        script(
            vec![of(vec![policy("a", json!({"seccomp": {"floor": "profiles/p.json"}}))])],
            vec![vec![
                Step::Bookmark(11),
                Step::Event("ADDED", plain("b")),
                Step::Event("MODIFIED", policy("b", json!({"privileged": false}))),
            ]],
        ),
        script(vec![of(vec![waiver])], vec![]),
        script(vec![of(vec![map])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("both policies and the waiver", || node.names() == ["a", "b", "w"]).await;
    until("a report of them", || {
        last_report(&server).is_some_and(|report| report["written"]["policies"] == 2)
    })
    .await;
    let report = last_report(&server).unwrap();
    assert_eq!(report["errorCount"], 0, "{report}");
    assert_eq!(
        (&report["written"]["waivers"], &report["written"]["profiles"]),
        (&json!(1), &json!(1))
    );
    let in_force =
        node.keeper().in_force(coaming_shim::in_force::Access::Look).unwrap().digest_in_hex();
    until("the digest of what a start reads", || {
        last_report(&server).unwrap()["inForce"]["digest"].as_str() == in_force.as_deref()
    })
    .await;
    let owner = server.seen().into_iter().rfind(|seen| seen.method == "PATCH").unwrap().body["metadata"]["ownerReferences"][0].clone();
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Node"), &json!("u-1")));
    // From the API server's memory, with bookmarks, and ConfigMaps of one namespace by their label.
    let asked: Vec<String> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.method == "GET")
        .map(|seen| seen.path)
        .collect();
    assert!(
        asked.iter().any(|path| path.contains("/policies?") && path.contains("resourceVersion=0")),
        "{asked:?}"
    );
    assert!(asked.iter().any(|path| path.contains("allowWatchBookmarks=true")), "{asked:?}");
    assert!(
        asked.iter().filter(|path| path.contains("configmaps")).all(|path| {
            path.starts_with("/api/v1/namespaces/coaming-system/configmaps")
                && path.contains("labelSelector=coaming.dev%2Fpart-of-policy")
        }),
        "{asked:?}"
    );
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn what_ends_is_taken_up_where_it_was_and_what_expired_is_listed_anew() {
    let node = Node::new();
    let server = Server::start(
        script(
            vec![
                of(vec![plain("a")]),
                of(vec![plain("a"), plain("c")]),
                of(vec![plain("c"), plain("d")]),
            ],
            vec![
                vec![Step::Bookmark(15), Step::End],
                vec![Step::Event("ADDED", plain("b")), Step::Cut],
                vec![Step::Gone],
                // After the list with a and c.
                vec![
                    Step::Event("DELETED", plain("a")),
                    Step::Raw("{\"type\": \"ADDED\", \"obj".to_owned()),
                    Step::Cut,
                ],
            ],
        ),
        script(vec![of(vec![])], vec![]),
        script(vec![of(vec![])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("c alone", || node.names() == ["c"]).await;
    let asked = || {
        server
            .seen()
            .into_iter()
            .map(|seen| seen.path)
            .filter(|path| path.contains("/policies?"))
            .collect::<Vec<_>>()
    };
    assert!(
        asked()
            .iter()
            .any(|path| path.contains("watch=true") && path.contains("resourceVersion=15")),
        "{:?}",
        asked()
    );
    server.next_watch("policies", vec![Step::Gone]);
    until("the next list", || {
        asked().iter().filter(|path| !path.contains("watch=true")).count() >= 2
    })
    .await;
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn a_partition_leaves_the_last_set_and_a_part_is_no_set() {
    let node = Node::new();
    let server = Server::start(
        script(vec![of(vec![plain("a")])], vec![vec![Step::Cut]]),
        script(vec![List::Status(403)], vec![]),
        script(vec![List::Cut, List::Status(500), of(vec![])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("a report of what cannot be heard", || {
        last_report(&server).is_some_and(|report| {
            report["errors"].to_string().contains("waivers cannot be watched")
        })
    })
    .await;
    assert!(
        !node.directory.join("kubernetes.yaml").exists(),
        "waivers are not known, so that nothing is"
    );
    drop(end);
    work.await.unwrap();

    // A node with a set, and an API server that is gone.
    fs::write(node.directory.join("kubernetes.yaml"), format!("{}---\n{}\n", coaming_agent::set::HEAD,
        json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "last"}, "spec": {}}))).unwrap();
    let gone = Server::start(
        script(vec![List::Status(503)], vec![]),
        script(vec![List::Status(503)], vec![]),
        script(vec![List::Status(503)], vec![]),
    )
    .await;
    gone.fail_writes(&[503; 3]);
    let (end, work) = node.agent(&gone);
    until("some attempts", || gone.seen().len() > 8).await;
    assert_eq!(node.names(), ["last"]);
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn a_hostile_object_is_reported_and_changes_nothing() {
    let node = Node::new();
    let server = Server::start(
        script(vec![of(vec![plain("good")])], vec![vec![]]),
        script(vec![of(vec![])], vec![]),
        script(vec![of(vec![])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("the good one", || {
        node.directory.join("kubernetes.yaml").exists() && node.names() == ["good"]
    })
    .await;
    drop(end);
    work.await.unwrap();

    let hostile = [
        policy("typo", json!({"noNewPrivilege": true})),
        policy("../../../etc/passwd", json!({})),
        policy("Good", json!({})),
        policy(
            "escape",
            json!({"refuse": [{"if": "x", "because": "\n---\nkind: Waiver\u{2028}"}]}),
        ),
    ];
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let raw = format!(
        "{{\"type\":\"ADDED\",\"object\":{{\"apiVersion\":\"coaming.dev/v1alpha1\",\"kind\":\"Policy\",\"metadata\":{{\"name\":\"deep\"}},\"spec\":{{\"x\":{deep}}}}}}}"
    );
    let server = Server::start(
        script(
            vec![of([vec![plain("good"), plain("other")], hostile.to_vec()].concat())],
            vec![vec![Step::Raw(raw), Step::Cut]],
        ),
        script(vec![of(vec![])], vec![]),
        script(vec![of(vec![])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("a report", || {
        last_report(&server).is_some_and(|report| report["errorCount"].as_u64() > Some(3))
    })
    .await;
    let report = last_report(&server).unwrap();
    for name in ["Policy typo", "passwd", "Good", "Policy escape"] {
        assert!(report["errors"].to_string().contains(name), "{name}: {report}");
    }
    assert_eq!(node.names(), ["good"], "the set as a whole waits");
    let mut inside: Vec<String> = fs::read_dir(&node.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    inside.sort();
    assert_eq!(inside, ["journal", "policy.d"], "nothing was written elsewhere");
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn what_is_mended_on_the_node_needs_no_word_of_the_cluster() {
    let node = Node::new();
    let place = node.directory.join("kubernetes.yaml");
    fs::write(&place, "# somebody's own\n").unwrap();
    let server = Server::start(
        script(vec![of(vec![plain("a")])], vec![]),
        script(vec![of(vec![])], vec![]),
        script(vec![of(vec![])], vec![]),
    )
    .await;
    let (end, work) = node.agent(&server);
    until("a report", || {
        last_report(&server)
            .is_some_and(|report| report["errors"].to_string().contains("not written by the agent"))
    })
    .await;
    assert_eq!(fs::read_to_string(&place).unwrap(), "# somebody's own\n");
    fs::remove_file(&place).unwrap();
    until("the set", || place.exists() && node.names() == ["a"]).await;
    until("a report without errors", || {
        last_report(&server).is_some_and(|report| report["errorCount"] == 0)
    })
    .await;
    fs::remove_file(&place).unwrap();
    until("the set again", || place.exists() && node.names() == ["a"]).await;
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn what_loosens_waits_on_the_node_and_the_report_says_so() {
    let node = Node::new();
    let objects = |objects: Vec<Value>| script(vec![of(objects)], vec![]);
    let server =
        Server::start(objects(vec![plain("a"), plain("b")]), objects(vec![]), objects(vec![]))
            .await;
    let (end, work) = node.agent(&server);
    until("both", || node.directory.join("kubernetes.yaml").exists() && node.names().len() == 2)
        .await;
    drop(end);
    work.await.unwrap();
    let loaded = node.keeper().load(false).unwrap();
    assert!(loaded.in_force);
    let before =
        node.keeper().in_force(coaming_shim::in_force::Access::Look).unwrap().digest_in_hex();
    // Whoever owns the API server takes everything away.
    let server = Server::start(objects(vec![]), objects(vec![]), objects(vec![])).await;
    let (end, work) = node.agent(&server);
    until("an alarm", || {
        last_report(&server)
            .is_some_and(|report| report["inForce"]["alarm"].to_string().contains("loosens"))
    })
    .await;
    assert_eq!(last_report(&server).unwrap()["inForce"]["digest"].as_str(), before.as_deref());
    drop(end);
    work.await.unwrap();
}

#[tokio::test]
async fn refusals_become_events_and_reports_are_tried_again() {
    let node = Node::new();
    let nothing = || script(vec![of(vec![])], vec![]);
    let server = Server::start(nothing(), nothing(), nothing()).await;
    server.fail_writes(&[403]);
    let (end, work) = node.agent(&server);
    until("a report", || last_report(&server).is_some()).await;
    fs::write(
        node.journal.join(format!("{:020}.jsonl", 1)),
        "{\"seq\":1,\"at\":\"x\",\"previous\":\"0\",\"event\":\"refused\",\"container\":{\"namespace\":\"pay\",\"pod\":\"web-0\",\"container\":\"app\"},\"operation\":\"create\",\"reasons\":[{\"control\":\"user\",\"field\":\"process.user.uid\",\"policy\":\"p\",\"allowed\":\"no root\"}]}\n",
    )
    .unwrap();
    until("an event", || {
        server.seen().iter().any(|seen| {
            seen.method == "POST"
                && seen.path.starts_with("/api/v1/namespaces/pay/events")
                && seen.body["reason"] == "Refused"
        })
    })
    .await;
    until("the clock's difference in a second report", || {
        last_report(&server).is_some_and(|report| report["clockSkewSeconds"].is_i64())
    })
    .await;
    drop(end);
    work.await.unwrap();
}

/// What docs/kubernetes.md says that agents ask of the API server, counted.
#[tokio::test]
async fn forty_nodes_ask_for_what_is_written_down() {
    const NODES: usize = 40;
    let server = Server::start(
        script(
            vec![of(vec![plain("a")])],
            (0..NODES).map(|_| vec![Step::Event("ADDED", plain("b"))]).collect(),
        ),
        script(vec![of(vec![])], vec![]),
        script(vec![of(vec![])], vec![]),
    )
    .await;
    let nodes: Vec<Node> = (0..NODES).map(|_| Node::new()).collect();
    let work: Vec<_> = nodes.iter().map(|node| node.agent(&server)).collect();
    let is_done =
        |node: &Node| node.directory.join("kubernetes.yaml").exists() && node.names() == ["a", "b"];
    until("all nodes", || nodes.iter().all(is_done)).await;
    let written = |seen: &server::Seen| {
        seen.method == "PATCH" && seen.body["status"]["written"]["policies"] == 2
    };
    until("a report of each", || {
        server.seen().iter().filter(|seen| written(seen)).count() >= NODES
    })
    .await;
    for (end, work) in work {
        drop(end);
        work.await.unwrap();
    }
    let seen = server.seen();
    let count = |is: &dyn Fn(&server::Seen) -> bool| seen.iter().filter(|seen| is(seen)).count();
    assert_eq!(count(&|seen| seen.path.contains("watch=true")), 3 * NODES);
    let lists = |seen: &server::Seen| {
        seen.method == "GET" && !seen.path.contains("watch=true") && !seen.path.contains("/nodes/")
    };
    assert_eq!(count(&lists), 3 * NODES);
    let reports = count(&|seen| seen.method == "PATCH");
    // Some find out after their first report that their clock differs, or that b came.
    assert!((NODES..=4 * NODES).contains(&reports), "{reports} reports");
    eprintln!("{NODES} nodes: {} lists, {} watches, {reports} reports", count(&lists), 3 * NODES);
}
