//! The definitions and the agent's requests on an API server that is Kubernetes' own code: schema, CEL, columns, server-side apply, watch.
//!
//! COAMING_KUBE_APISERVER names a kubeconfig with every right on a server that may be changed: a kube-apiserver, or the
//! apiextensions-apiserver alone, which serves nothing but custom resources. Run it with `--ignored`.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coaming_agent::report::{Report, Reporter, Written};
use coaming_agent::watch::{self, Heard, Object, Source};
use futures_util::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::server::Server;
use crate::{Node, of, plain, script, until};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents(path: &Path) -> Vec<Value> {
    coaming_policy::document::parse_strict("file", &fs::read_to_string(path).unwrap()).unwrap()
}

fn api(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let text = str::to_owned;
    let resource = ApiResource {
        group: text("coaming.dev"),
        version: text("v1alpha1"),
        api_version: text("coaming.dev/v1alpha1"),
        kind: text(kind),
        plural: text(plural),
    };
    Api::all_with(client.clone(), &resource)
}

async fn define(client: &Client) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in documents(&root().join("packaging/kubernetes/crds.yaml")) {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        definitions
            .patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&definition))
            .await
            .unwrap();
        let mut waited = 0;
        loop {
            let status = json!(definitions.get(&name).await.unwrap().status);
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let is = |of: &str| {
                conditions
                    .iter()
                    .any(|condition| condition["type"] == of && condition["status"] == "True")
            };
            assert!(!is("NonStructuralSchema"), "{conditions:?}");
            if is("Established") {
                break;
            }
            waited += 1;
            assert!(waited < 600, "{name} is never served: {conditions:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
#[ignore = "needs an API server: COAMING_KUBE_APISERVER, a kubeconfig"]
async fn the_definitions_hold_on_kubernetes_own_code() {
    let path = std::env::var("COAMING_KUBE_APISERVER")
        .expect("COAMING_KUBE_APISERVER: the path of a kubeconfig");
    let kubeconfig = kube::config::Kubeconfig::read_from(path).unwrap();
    let config = kube::Config::from_custom_kubeconfig(
        kubeconfig,
        &kube::config::KubeConfigOptions::default(),
    )
    .await
    .unwrap();
    let client = Client::try_from(config).unwrap();
    define(&client).await;
    let (policies, waivers) =
        (api(&client, "Policy", "policies"), api(&client, "Waiver", "waivers"));
    shipped_ones_are_taken(&policies, &waivers).await;
    wrong_ones_are_not(&policies, &waivers).await;
    unknown_fields_stay(&policies).await;
    columns_are_shown(&client).await;
    what_changes_is_heard(&client, &policies).await;
    reports_are_taken(&client).await;
    for name in ["heard", "odd"] {
        policies.delete(name, &DeleteParams::default()).await.unwrap();
    }
    the_agent_works(&client, &policies).await;
    api(&client, "NodeReport", "nodereports")
        .delete("node-1", &DeleteParams::default())
        .await
        .unwrap();
}

async fn tried(api: &Api<DynamicObject>, document: &Value) -> Result<(), String> {
    let object: DynamicObject = serde_json::from_value(document.clone()).unwrap();
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&parameters, &object).await.map(drop).map_err(|error| error.to_string())
}

async fn shipped_ones_are_taken(policies: &Api<DynamicObject>, waivers: &Api<DynamicObject>) {
    let mut files = vec![
        root().join("packaging/examples/payments.yaml"),
        root().join("packaging/examples/waiver.yaml"),
    ];
    let mut folders =
        vec![root().join("packaging/examples/sets"), root().join("policy/src/builtin")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    let mut count = 0;
    for file in files {
        for document in documents(&file) {
            let api = match document["kind"].as_str() {
                Some("Policy") => policies,
                Some("Waiver") => waivers,
                _ => continue,
            };
            // Names of built-in policies are paths, which no object's is.
            let mut document = document;
            document["metadata"]["name"] =
                json!(document["metadata"]["name"].as_str().unwrap().replace('/', "-"));
            tried(api, &document)
                .await
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

async fn wrong_ones_are_not(policies: &Api<DynamicObject>, waivers: &Api<DynamicObject>) {
    let document = |kind: &str, spec: &Value| json!({"apiVersion": "coaming.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    for (spec, words) in [
        (json!({"privileged": "false"}), "must be of type boolean"),
        (json!({"mode": "off"}), "Unsupported value"),
        (json!({"rollout": {"percentage": 101}}), "less than or equal to 100"),
        (json!({"include": ["pss/none"]}), "Unsupported value"),
        (json!({"audit": ["landlok"]}), "Unsupported value"),
        (json!({"landlock": {"connect": [443, 443]}}), "Duplicate value"),
        (json!({"actions": {"landlok": "refuse"}}), "actions are by control"),
        (json!({"mode": "audit", "rollout": {"percentage": 5}}), "leave one of them out"),
        (json!({"match": {"doors": ["exec"]}, "landlock": {"read": []}}), "policy of their own"),
    ] {
        let said = tried(policies, &document("Policy", &spec))
            .await
            .err()
            .unwrap_or_else(|| panic!("taken: {spec}"));
        assert!(said.contains(words), "{spec}: {said}");
    }
    // Nothing is nothing, as in a file.
    tried(policies, &document("Policy", &json!({"privileged": null}))).await.unwrap();
    let right = json!({"match": {"namespaces": ["pay-*"]}, "waives": ["landlock"], "owner": "o", "reason": "r", "expires": "2027-03-31"});
    tried(waivers, &document("Waiver", &right)).await.unwrap();
    for (field, value, words) in [
        ("owner", json!(" "), "spec.owner"),
        ("reason", Value::Null, "spec.reason"),
        ("expires", json!("soon"), "spec.expires"),
        ("duration", json!("6h"), "a waiver has an end"),
        ("match", json!({"namespaces": ["*"]}), "spec.match.namespaces"),
        ("match", json!({"containers": ["a"]}), "spec.match.namespaces"),
        ("waives", json!([]), "spec.waives"),
    ] {
        let mut spec = right.clone();
        spec[field] = value;
        let said = tried(waivers, &document("Waiver", &spec))
            .await
            .err()
            .unwrap_or_else(|| panic!("taken: {spec}"));
        assert!(said.contains(words), "{spec}: {said}");
    }
}

async fn unknown_fields_stay(policies: &Api<DynamicObject>) {
    let odd = json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "odd"},
        "spec": {"mode": "audit", "capabilites": {"allow": []}, "landlock": {"reads": ["/"]}}});
    let made = policies
        .create(&PostParams::default(), &serde_json::from_value(odd.clone()).unwrap())
        .await
        .unwrap();
    assert_eq!(made.data["spec"], odd["spec"]);
}

async fn columns_are_shown(client: &Client) {
    let mut request = Request::new("/apis/coaming.dev/v1alpha1/policies")
        .get("odd", &kube::api::GetParams::default())
        .unwrap();
    request
        .headers_mut()
        .insert("accept", "application/json;as=Table;g=meta.k8s.io;v=v1".parse().unwrap());
    let table: Value = client.request(request).await.unwrap();
    let names: Vec<&str> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Name", "Mode", "Rollout", "Includes", "Namespaces", "Age"]);
    assert_eq!(table["rows"][0]["cells"][1], "audit", "{table}");
}

async fn what_changes_is_heard(client: &Client, policies: &Api<DynamicObject>) {
    let mut heard = watch::everything(client, "coaming-system");
    let created = json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "Policy", "metadata": {"name": "heard"}, "spec": {"noNewPrivileges": true}});
    let created: DynamicObject = serde_json::from_value(created).unwrap();
    let mut listed = false;
    let hearing = async {
        while let Some((source, what)) = heard.next().await {
            match (source, what) {
                (Source::Policies, Heard::Said(Event::InitDone)) => {
                    listed = true;
                    policies.create(&PostParams::default(), &created).await.unwrap();
                }
                (Source::Policies, Heard::Said(Event::Apply(Object::Document(_, name, spec))))
                    if name == "heard" =>
                {
                    assert_eq!(spec, json!({"noNewPrivileges": true}));
                    return;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), hearing).await.unwrap();
    assert!(listed);
}

async fn reports_are_taken(client: &Client) {
    let mut reporter = Reporter::of(client.clone(), "node-1");
    let digest = "0".repeat(64);
    let written = Written { digest, policies: 3, waivers: 0, profiles: 0, signed: false };
    for errors in [0, 2] {
        let mut report =
            Report { agent: "test", written: Some(written.clone()), ..Report::default() };
        report.blame(
            (0..errors)
                .map(|_| coaming_agent::set::Fault { object: None, message: "m".to_owned() }),
        );
        reporter.write(&report, Timestamp::now()).await.unwrap();
        let kept = api(client, "NodeReport", "nodereports").get("node-1").await.unwrap();
        assert_eq!(
            (kept.name_any().as_str(), &kept.data["status"]["errorCount"]),
            ("node-1", &json!(errors))
        );
        assert_eq!(kept.data["status"]["written"]["policies"], 3);
    }
}

/// What a server of custom resources alone has not (nodes, ConfigMaps, Events) is answered by the stand-in.
async fn the_agent_works(client: &Client, policies: &Api<DynamicObject>) {
    let nothing = || script(vec![of(vec![])], vec![]);
    let stand_in = Server::start(nothing(), nothing(), nothing()).await;
    let other = stand_in.client();
    let real = client.clone();
    let routed = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let to = if request.uri().path().starts_with("/apis/coaming.dev/") {
            real.clone()
        } else {
            other.clone()
        };
        async move { to.send(request).await }
    });
    let create = async |name: &str| {
        let mut object: DynamicObject = serde_json::from_value(plain(name)).unwrap();
        object.metadata =
            kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() };
        policies.create(&PostParams::default(), &object).await.unwrap();
    };
    for n in 0..100 {
        create(&format!("p{n}")).await;
    }
    let node = Node::new();
    let (end, work) = node.work(Client::new(routed, "default"));
    until("a hundred policies", || {
        node.directory.join("kubernetes.yaml").exists() && node.names().len() == 100
    })
    .await;
    policies.delete("p0", &DeleteParams::default()).await.unwrap();
    create("late").await;
    let change = json!({"spec": {"mode": "audit"}});
    policies.patch("p1", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    until("what changed", || {
        let text = fs::read_to_string(node.directory.join("kubernetes.yaml")).unwrap();
        let names = node.names();
        names.contains(&"late".to_owned())
            && !names.contains(&"p0".to_owned())
            && text.contains(r#""mode":"audit""#)
    })
    .await;
    let digest =
        node.keeper().in_force(coaming_shim::in_force::Access::Look).unwrap().digest_in_hex();
    let mut reported = None;
    for _ in 0..600 {
        reported = api(client, "NodeReport", "nodereports").get("node-1").await.ok();
        let status =
            reported.as_ref().map(|report| report.data["status"].clone()).unwrap_or_default();
        if status["inForce"]["digest"].as_str() == digest.as_deref()
            && status["written"]["policies"] == 100
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(reported.unwrap().data["status"]["inForce"]["digest"].as_str(), digest.as_deref());
    drop(end);
    work.await.unwrap();
    for object in policies.list(&Default::default()).await.unwrap() {
        policies.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    }
}
