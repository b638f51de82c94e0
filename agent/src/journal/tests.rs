use std::fs;

use super::*;

fn refused(seq: u64, namespace: &str, pod: &str) -> String {
    format!(
        r#"{{"seq":{seq},"at":"2026-01-01T00:00:00Z","previous":"00","event":"refused","container":{{"id":"c","namespace":{namespace:?},"pod":{pod:?},"container":"app"}},"operation":"create","reasons":[{{"control":"user","field":"process.user.uid","policy":"payments","allowed":"no root"}}]}}"#
    )
}

#[test]
fn what_stood_there_is_not_told_again_and_what_comes_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |first: u64| folder.path().join(format!("{first:020}.jsonl"));
    fs::write(file(1), format!("{}\n{}\n", refused(1, "a", "p"), refused(2, "a", "p"))).unwrap();
    let mut follower = Follower::of(folder.path());
    assert_eq!(follower.new_lines().unwrap(), []);
    let mut text = fs::read_to_string(file(1)).unwrap();
    text.push_str(&format!("{}\nnot a line\n{}", refused(3, "a", "p"), refused(4, "a", "p")));
    fs::write(file(1), &text).unwrap();
    let seen: Vec<u64> = follower.new_lines().unwrap().iter().map(|line| line.seq).collect();
    assert_eq!(seen, [3], "a line without its break is being written");
    fs::write(file(1), format!("{text}\n")).unwrap();
    fs::write(file(5), format!("{}\n", refused(5, "a", "p"))).unwrap();
    let seen: Vec<u64> = follower.new_lines().unwrap().iter().map(|line| line.seq).collect();
    assert_eq!(seen, [4, 5]);
    assert_eq!(follower.new_lines().unwrap(), []);
    assert!(Follower::of(&folder.path().join("none")).new_lines().unwrap().is_empty());
}

#[test]
fn a_refusal_says_who_what_and_why() {
    let line = read::parse(refused(7, "payments", "web-0").as_bytes()).unwrap();
    let told = told(&line).unwrap();
    assert_eq!(told.pod, ("payments".to_owned(), "web-0".to_owned()));
    assert!(
        told.message.contains("create refused: user (process.user.uid)")
            && told.message.contains("policy payments"),
        "{told:?}"
    );
    let event = told.event("node-1", 7, "2026-01-01T00:00:00Z");
    let typed: k8s_openapi::api::core::v1::Event = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(typed.involved_object.name.as_deref(), Some("web-0"));
    assert_eq!(serde_json::to_value(typed).unwrap()["reason"], event["reason"]);
}

#[test]
fn what_is_no_pod_or_no_news_is_not_told() {
    for (namespace, pod) in [("a", "../x"), ("A", "p"), ("", "p"), ("a/b", "p"), ("a", "")] {
        let line = read::parse(refused(1, namespace, pod).as_bytes()).unwrap();
        assert_eq!(told(&line), None, "{namespace} {pod}");
    }
    for text in [
        r#"{"seq":1,"at":"x","previous":"0","event":"created","container":{"namespace":"a","pod":"p"},"degraded":[]}"#,
        r#"{"seq":1,"at":"x","previous":"0","event":"yodelled"}"#,
    ] {
        assert_eq!(told(&read::parse(text.as_bytes()).unwrap()), None);
    }
    let degraded = r#"{"seq":1,"at":"x","previous":"0","event":"created","container":{"namespace":"a","pod":"p"},"degraded":["landlock"]}"#;
    assert_eq!(told(&read::parse(degraded.as_bytes()).unwrap()).unwrap().reason, "Degraded");
}

#[test]
fn a_storm_becomes_a_few() {
    let of = |pod: u32, why: &str| Told {
        pod: ("a".to_owned(), format!("p{pod}")),
        container: String::new(),
        reason: "Refused",
        message: why.to_owned(),
    };
    let mut limit = Limit::default();
    let second = Duration::from_secs;
    assert!(limit.lets(&of(1, "x"), second(0)));
    assert!(!limit.lets(&of(1, "x"), second(1)), "the same of the same pod");
    assert!(limit.lets(&of(1, "y"), second(1)));
    let said = (0..1000).filter(|pod| limit.lets(&of(*pod + 10, "x"), second(2))).count();
    assert_eq!(said, 18, "twenty at once");
    let said =
        (0..3600).filter(|at| limit.lets(&of(*at + 2000, "x"), second(u64::from(*at) + 3))).count();
    assert!((58..=61).contains(&said), "one a minute: {said}");
    assert!(limit.lets(&of(1, "x"), second(10_000)), "after a while again");
}
