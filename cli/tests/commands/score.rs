//! `coaming score`: numbers, thresholds, and the forms of the answer.

use coaming_policy::document::parse_policies;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_shim::record::Record;
use coaming_shim::state::State;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::{Said, coaming, policy, write};

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  containers:
    - {name: app, image: registry.example/app:1}
    - {name: agent, image: registry.example/agent:1, securityContext: {privileged: true}}
";
/// A policy that confines as much as one can.
const STRICT: &str = "  noNewPrivileges: true\n  capabilities: {allow: []}\n  readOnlyRootFilesystem: true\n  \
                      landlock: {read: [/], write: [/tmp], execute: [/usr], connect: [443], bind: [8080]}";

/// Runs `score` over a manifest, under a policy with this spec.
fn score(manifest: &str, spec: &str, more: &[&str]) -> Said {
    let folder = tempdir().unwrap();
    let policy = write(folder.path(), "p.yaml", &policy(spec));
    let manifest = write(folder.path(), "web.yaml", manifest);
    let mut arguments = vec!["score", "--manifest", &manifest, "--policy", &policy];
    arguments.extend(more);
    coaming(&arguments)
}

fn numbers(said: &Said) -> Vec<(f64, f64)> {
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let containers = report["containers"].as_array().unwrap();
    let number = |scored: &Value, key: &str| scored[key].as_f64().unwrap();
    containers
        .iter()
        .map(|scored| (number(scored, "number"), number(scored, "numberAsked")))
        .collect()
}

#[test]
fn what_is_enforced_is_scored_beside_what_was_asked() {
    let weak = score(MANIFEST, "  privileged: false", &["--floor", "node", "--output", "json"]);
    assert_eq!(weak.code, Some(0), "{}{}", weak.out, weak.err);
    let strict = score(MANIFEST, STRICT, &["--output", "json"]);
    let (weak, strict) = (numbers(&weak), numbers(&strict));
    // The privileged one is as open as can be when asked, and no more than the other under `privileged: false`.
    assert!(weak[1].1 >= 9.0 && weak[1].0 < 8.0, "{weak:?}");
    assert!(weak[0].1 < 8.0 && strict[0].0 < weak[0].0, "{weak:?} {strict:?}");
    assert!(strict.iter().all(|(number, _)| *number < 3.0), "{strict:?}");
    let asked = score(MANIFEST, STRICT, &["--asked", "--output", "json"]);
    let report: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!(report["containers"][1]["number"].as_f64(), Some(strict[1].1));
    assert_eq!(report["number"], report["containers"][1]["number"]);
    assert!(report["containers"][0].get("numberAsked").is_none());
}

#[test]
fn a_threshold_is_an_exit_code() {
    let at = |threshold: &str| score(MANIFEST, STRICT, &["--asked", "--threshold", threshold]);
    assert_eq!((at("10.0").code, at("8.9").code, at("0").code), (Some(0), Some(1), Some(1)));
    assert!(at("8.9").out.contains("; 1 above 8.9"), "{}", at("8.9").out);
    assert_eq!(at("11").code, Some(2));
    let only = score(MANIFEST, STRICT, &["--asked", "--threshold", "8.9", "--only", "app"]);
    assert_eq!(only.code, Some(0), "{}", only.out);
}

#[test]
fn checks_say_what_was_found_and_what_closes_it() {
    let said = score(MANIFEST, "  privileged: false", &["--floor", "node", "--only", "agent"]);
    let line = said.out.lines().find(|line| line.contains("noNewPrivileges")).unwrap();
    assert!(
        line.contains("100%") && line.contains("not set") && line.contains("spec.noNewPrivileges")
    );
    assert!(
        said.out.starts_with("Pod web: agent: ") && said.out.contains("(asked "),
        "{}",
        said.out
    );
    assert!(!said.out.contains("namespaces.pid") && !said.out.contains('\u{1b}'), "{}", said.out);
    let all = score(MANIFEST, "  privileged: false", &["--only", "agent", "--all"]);
    assert!(all.out.contains("namespaces.pid"), "{}", all.out);
}

#[test]
fn a_refused_container_has_no_number_and_exceeds_nothing() {
    let manifest = MANIFEST.replace("  containers:", "  hostPID: true\n  containers:");
    let said = score(&manifest, "  privileged: false", &["--threshold", "0"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("Pod web: app: refused, so nothing starts (asked "), "{}", said.out);
    assert!(said.out.contains("spec.hostNamespaces) refuses") && said.out.contains("2 refused"));
}

#[test]
fn what_a_sandbox_sets_for_its_pod_counts() {
    let manifest = MANIFEST.replace(
        "  containers:",
        "  securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}\n  containers:",
    );
    let row = |said: &Said| said.out.lines().any(|line| line.contains("kernel.msgmax"));
    assert!(row(&score(&manifest, "  privileged: true", &["--floor", "node", "--only", "app"])));
    assert!(!row(&score(
        &manifest,
        "  privileged: true",
        &["--floor", "baseline", "--only", "app"]
    )));
    // Where the sandbox is refused, nothing of its pod starts.
    let refused = "  actions: {sysctls: refuse}\n  sysctls: {allow: []}\n  match: {containerTypes: [sandbox]}";
    let said = score(&manifest, refused, &["--floor", "node", "--only", "app"]);
    assert!(said.out.contains("Pod web: app: refused"), "{}", said.out);
    assert!(said.out.contains("kernel.msgmax"), "{}", said.out);
}

#[test]
fn the_page_is_whole_and_nothing_in_it_is_from_a_manifest_but_text() {
    let hostile = MANIFEST.replace("name: app,", "name: \"</td><script src=//x>'\\\"&\\u202e\",");
    let page = score(&hostile, STRICT, &["--output", "html", "--threshold", "1.0"]);
    assert_eq!(page.code, Some(1), "{}", page.err);
    let page = page.out;
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && page.ends_with("</html>\n"));
    assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("&lt;/td&gt;&lt;script src=//x&gt;&#39;&quot;&amp;\\u{202e}"), "{page}");
    for word in [
        "prefers-color-scheme",
        "default-src 'none'",
        "scope=\"col\"",
        "<caption>",
        "above the threshold",
    ] {
        assert!(page.contains(word), "no {word}");
    }
    // Nothing is fetched: links are within the page.
    for outside in ["src=\"", "href=\"http", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let opened = |tag: &str| {
        page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count()
    };
    for tag in
        ["table", "tr", "td", "th", "section", "details", "ul", "li", "span", "thead", "tbody"]
    {
        assert_eq!(opened(tag), page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn bundles_are_scored_and_what_is_none_is_told() {
    let folder = tempdir().unwrap();
    write(
        folder.path(),
        "config.json",
        r#"{"ociVersion": "1.0.2", "process": {"args": ["sh"], "cwd": "/"}, "linux": {}}"#,
    );
    let bundle = folder.path().display().to_string();
    let said = coaming(&["score", "--bundle", &bundle, "--asked", "--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    assert!(report["number"].as_f64().unwrap() >= 9.0, "{report:#}");
    assert_eq!(coaming(&["score"]).code, Some(2));
    assert_eq!(coaming(&["score", "--container", "x", "--asked"]).code, Some(2));
    assert_eq!(coaming(&["score", "--bundle", "/no/such", "--asked"]).code, Some(2));
}

/// A container of this node: a record, and a bundle as the gate leaves it.
#[test]
fn a_container_is_scored_by_its_record_and_its_bundle() {
    let (state, bundle) = (tempdir().unwrap(), tempdir().unwrap());
    let spec = "  landlock: {write: [/tmp], execute: [/usr], connect: [443], bind: [8080]}\n  noNewPrivileges: true";
    let mut floor = Floor::default();
    for document in parse_policies("p.yaml", &policy(spec)).unwrap() {
        floor = floor.meet(&document.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap());
    }
    let process = |args: Value| {
        json!({"args": args, "cwd": "/", "noNewPrivileges": true,
        "user": {"uid": 1000, "gid": 1000}, "capabilities": {"bounding": ["CAP_KILL"]}})
    };
    let config = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs", "readonly": true},
        "process": process(json!(["/dev/.coaming/init", "plan", "sh"])),
        "mounts": [{"destination": "/dev/.coaming", "type": "bind", "source": "/etc/x", "options": ["bind"]}],
        "hooks": {"poststop": [{"path": "/usr/libexec/coaming/coaming-hook"}]},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    });
    write(bundle.path(), "config.json", &config.to_string());
    let own = State::of(state.path(), bundle.path(), "abc");
    own.reserve().unwrap();
    let record = json!({
        "version": 1, "id": "abc", "runtime": "/usr/bin/runc", "runtimeRoot": bundle.path(),
        "bundle": bundle.path(), "createdAt": 0, "facts": Facts::of("abc", &json!({})), "changes": [],
        "degraded": [], "notes": [], "process": process(json!(["sh"])), "bounding": ["CAP_KILL"],
        "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}, "plan": "digest", "floor": floor,
    });
    let record: Record = serde_json::from_value(record).unwrap();
    record.write(&own).unwrap();
    let state = state.path().display().to_string();
    let said = coaming(&["score", "--container", "ab", "--state", &state, "--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
    let checks = report["containers"][0]["checks"].as_array().unwrap();
    let open = |id: &str| {
        checks.iter().find(|check| check["id"] == id).unwrap()["exposure"].as_u64().unwrap()
    };
    // What is coaming's own in the bundle is no exposure; the filter is the record's.
    for id in [
        "mounts.hostPaths",
        "hooks",
        "seccomp.filter",
        "seccomp.kernel",
        "noNewPrivileges",
        "user.root",
    ] {
        assert_eq!(open(id), 0, "{id}");
    }
    assert_eq!(open("namespaces.network"), 100);
    assert!(open("capabilities.other") > 0);
    // Landlock as far as this kernel has it.
    let has_landlock = std::fs::read_to_string("/sys/kernel/security/lsm")
        .is_ok_and(|list| list.contains("landlock"));
    assert!(!has_landlock || open("landlock.files") == 0, "{report:#}");
    assert_eq!(coaming(&["score", "--container", "none", "--state", &state]).code, Some(2));
}
